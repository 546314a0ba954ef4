//! What holds for the networks whatever their weights: engines, threads, windows, names, bad input.

mod common;

use cassi_core::{NamedTensors, Tensor};
use cassi_infer::RunError;
use cassi_infer::binary::{
    BinaryNetwork, Engine, Input, Layout, Method, Workspace, expected_tensors, nearest_method, rule_weights,
};
use cassi_infer::kernels::KERNELS;
use common::{largest, largest_difference};

fn image(values: usize, seed: u32) -> Vec<f32> {
    let value = |i: usize| {
        let mixed = (i as u32 ^ seed).wrapping_mul(0x9E37_79B1);
        (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA77) as f32 / u32::MAX as f32
    };
    (0..values).map(value).collect()
}

fn run_size(network: &BinaryNetwork, workspace: &mut Workspace, rows: usize, columns: usize) -> Vec<f32> {
    let mut cube = vec![f32::NAN; 28 * rows * columns];
    let (features, mask) = (image(28 * rows * columns, 1), image(rows * columns, 2));
    let snapshot = image(rows * (columns + 54), 3);
    let input = match network.layout() {
        Layout::Standard => Input::Standard { features: &features, mask: &mask, rows, columns },
        Layout::TsaReal => Input::Real { snapshot: &snapshot, rows, columns },
    };
    network.run(input, workspace, &mut cube).unwrap();
    cube
}

fn network(method: Method, layout: Layout) -> BinaryNetwork {
    BinaryNetwork::from_tensors(&rule_weights(method), method, layout).unwrap()
}

/// Sums of signs and binary weights are integers, exact in both engines, and all else is the same code.
#[test]
fn bits_and_floats_give_the_same_bits() {
    for method in Method::ALL {
        let bits = network(method, Layout::Standard);
        let floats = bits.clone().with_engine(Engine::Float);
        for (rows, columns) in [(16, 24), (30, 101), (72, 40)] {
            let a = run_size(&bits, &mut Workspace::default(), rows, columns);
            let b = run_size(&floats, &mut Workspace::default(), rows, columns);
            assert!(a.iter().all(|v| v.is_finite()));
            assert_eq!(a, b, "{method} {rows}x{columns}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    for method in [Method::BiSrNet, Method::Bnn, Method::BiConnect] {
        let network = network(method, Layout::Standard);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run_size(&network, &mut Workspace::default(), 60, 52))
        };
        let one = on(1);
        for threads in [2, 3, 7] {
            assert_eq!(on(threads), one, "{method} {threads} threads");
        }
    }
}

/// An image higher than the window goes through in strips with a halo, and comes out the same.
#[test]
fn windows_change_nothing() {
    for (method, layout) in [
        (Method::BiSrNet, Layout::Standard),
        (Method::BiSrNet, Layout::TsaReal),
        (Method::BiReal, Layout::Standard),
        (Method::Bbcu, Layout::TsaReal),
    ] {
        let network = network(method, layout);
        let (rows, columns) = (501, 24);
        let whole = run_size(&network, &mut Workspace::with_window(rows), rows, columns);
        for window in [160, 200, 344] {
            let strips = run_size(&network, &mut Workspace::with_window(window), rows, columns);
            assert_eq!(strips, whole, "{method} {layout} {window}");
        }
    }
}

/// The halo is no wider than it must be, or the test above would prove little: far rows do change.
#[test]
fn the_receptive_field_is_wide() {
    let network = network(Method::BiSrNet, Layout::TsaReal);
    let (rows, columns) = (96, 16);
    let mut snapshot = image(rows * (columns + 54), 5);
    let run = |snapshot: &[f32]| {
        let mut cube = vec![0.0; 28 * rows * columns];
        network.run(Input::Real { snapshot, rows, columns }, &mut Workspace::default(), &mut cube).unwrap();
        cube
    };
    let before = run(&snapshot);
    snapshot[..(columns + 54)].iter_mut().for_each(|v| *v = 1.0 - *v);
    let after = run(&snapshot);
    let row_changed = |r: usize| {
        (0..28 * columns).any(|i| {
            let at = (i / columns * rows + r) * columns + i % columns;
            before[at] != after[at]
        })
    };
    assert!(row_changed(20));
    assert!(!(40..rows).any(row_changed));
}

/// One workspace serves changing sizes and networks.
#[test]
fn a_workspace_is_replanned() {
    let (a, b) = (network(Method::BiSrNet, Layout::TsaReal), network(Method::Btm, Layout::TsaReal));
    let mut shared = Workspace::default();
    for (rows, columns) in [(16, 16), (40, 24), (16, 16)] {
        for network in [&a, &b] {
            let reused = run_size(network, &mut shared, rows, columns);
            assert_eq!(reused, run_size(network, &mut Workspace::default(), rows, columns));
            assert_eq!(reused, run_size(network, &mut shared, rows, columns));
        }
    }
}

/// Float convolutions round differently with and without fused multiply-adds, so signs on the edge may flip; on
/// these inputs they do not, and what is left is rounding.
#[test]
fn every_kernel_runs_every_network() {
    for method in Method::ALL {
        let best = network(method, Layout::Standard);
        let expected = run_size(&best, &mut Workspace::default(), 16, 16);
        for kernel in KERNELS.iter().filter(|k| (k.available)()) {
            let found = run_size(&best.clone().with_kernel(kernel), &mut Workspace::default(), 16, 16);
            let difference = largest_difference(&found, &expected) / largest(&expected);
            assert!(difference < 1e-4, "{method} {}: {difference}", kernel.name);
        }
    }
}

#[derive(serde::Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
}

/// Names and shapes are those of the published state dictionaries, batch counters apart.
#[test]
fn names_are_the_official_ones() {
    for method in Method::ALL {
        let stem = match method {
            Method::BiSrNet => "bisrnet_rule",
            Method::BiReal => "birealnet",
            other => other.name(),
        };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../tests/golden/{stem}_sim_names.json"));
        let official: Vec<Entry> = serde_json::from_str(&cassi_io::read_text(&path).unwrap()).unwrap();
        let mut official: Vec<(String, Vec<usize>)> = official
            .into_iter()
            .filter(|e| !e.name.ends_with("num_batches_tracked"))
            .map(|e| (e.name, e.shape))
            .collect();
        let mut ours = expected_tensors(method);
        official.sort();
        ours.sort();
        assert_eq!(ours, official, "{method}");
    }
}

/// `rule_vectors.json`: the rule behind the goldens.
#[test]
fn rule_weights_follow_the_rule() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/rule_vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(&cassi_io::read_text(&path).unwrap()).unwrap();
    let weights = rule_weights(Method::BiSrNet);
    let mut compared = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let Some(tensor) = weights.get(vector["name"].as_str().unwrap()) else { continue };
        for (value, expected) in tensor.data.iter().zip(vector["first4"].as_array().unwrap()) {
            assert_eq!(f64::from(*value), expected.as_f64().unwrap());
        }
        assert_eq!(f64::from(*tensor.data.last().unwrap()), vector["last"].as_f64().unwrap());
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn weights_of_another_network_are_named() {
    let weights = rule_weights(Method::BiSrNet);
    let error = BinaryNetwork::from_tensors(&weights, Method::Bbcu, Layout::Standard).unwrap_err();
    assert_eq!(error.nearest.as_ref().unwrap().0, "bisrnet");
    assert!(!error.missing.is_empty() && !error.unexpected.is_empty());
    assert!(error.to_string().contains("they look like weights of bisrnet (100 % fit)"), "{error}");
    for method in Method::ALL {
        assert_eq!(nearest_method(&rule_weights(method)).unwrap(), (method, 1.0));
    }
    assert_eq!(nearest_method(&NamedTensors::new()), None);
}

#[test]
fn faults_in_weights_are_listed_by_name() {
    let good = rule_weights(Method::IrNet);
    let spoil = |change: &dyn Fn(&str, Tensor) -> Option<Tensor>| -> NamedTensors {
        good.iter().filter_map(|(n, t)| Some((n.to_string(), change(n, t.clone())?))).collect()
    };
    let read =
        |t: &NamedTensors| BinaryNetwork::from_tensors(t, Method::IrNet, Layout::Standard).unwrap_err();
    let without = read(&spoil(&|n, t| (n != "conv_in.weight").then_some(t)));
    assert_eq!((without.missing, without.nearest), (vec!["conv_in.weight".to_string()], None));
    let misshaped = read(&spoil(&|n, mut t| {
        if n == "fution.bias" {
            t.shape = vec![28, 1];
        }
        Some(t)
    }));
    assert_eq!(misshaped.misshaped, vec![("fution.bias".to_string(), vec![28, 1], vec![28])]);
    let infinite = read(&spoil(&|n, mut t| {
        if n == "conv_out.weight" {
            t.data[7] = f32::INFINITY;
        }
        Some(t)
    }));
    assert_eq!(infinite.not_finite, vec!["conv_out.weight".to_string()]);
    let mut more = good.clone();
    more.insert("body.1.mapping.weight", Tensor::new(vec![1], vec![0.0]).unwrap());
    assert_eq!(read(&more).unexpected, vec!["body.1.mapping.weight".to_string()]);
    // Counters of batches may be there or not.
    let mut counted = good.clone();
    counted
        .insert("body.0.decoder_layers.1.0.bn1.num_batches_tracked", Tensor::new(vec![], vec![3.0]).unwrap());
    assert!(BinaryNetwork::from_tensors(&counted, Method::IrNet, Layout::Standard).is_ok());
}

#[test]
fn bad_inputs_are_refused() {
    let standard = network(Method::BiSrNet, Layout::Standard);
    let run = |rows, columns, features: usize, mask: usize, cube: usize| {
        let (features, mask) = (vec![0.0; features], vec![0.0; mask]);
        let input = Input::Standard { features: &features, mask: &mask, rows, columns };
        standard.run(input, &mut Workspace::default(), &mut vec![0.0; cube])
    };
    let length = |what| move |e: RunError| matches!(e, RunError::Length { what: w, .. } if w == what);
    assert!(run(8, 8, 28 * 64, 64, 28 * 64).is_ok());
    assert!(length("features")(run(8, 8, 27 * 64, 64, 28 * 64).unwrap_err()));
    assert!(length("mask")(run(8, 8, 28 * 64, 28 * 64, 28 * 64).unwrap_err()));
    assert!(length("cube")(run(8, 8, 28 * 64, 64, 64).unwrap_err()));
    assert_eq!(run(4, 8, 28 * 32, 32, 28 * 32), Err(RunError::TooSmall { rows: 4, columns: 8 }));
    assert_eq!(run(0, 8, 0, 0, 0), Err(RunError::TooSmall { rows: 0, columns: 8 }));
    assert!(run(5, 8, 28 * 40, 40, 28 * 40).is_ok());
    let snapshot = vec![0.0; 8 * 62];
    let input = Input::Real { snapshot: &snapshot, rows: 8, columns: 8 };
    let error = standard.run(input, &mut Workspace::default(), &mut vec![0.0; 28 * 64]).unwrap_err();
    assert!(matches!(error, RunError::Layout { found: "standard", .. }));
}

/// `CASSI_ISA` in the environment, if any, is obeyed (the test below calls this one with it).
#[test]
fn the_instruction_set_is_the_best_allowed() {
    let allowed = std::env::var("CASSI_ISA").ok();
    let first = KERNELS.iter().position(|k| Some(k.name) == allowed.as_deref()).unwrap_or(0);
    let expected = KERNELS[first..].iter().find(|k| (k.available)()).unwrap();
    let network = network(Method::BiSrNet, Layout::TsaReal);
    assert_eq!(network.kernel().name, expected.name);
    assert!(run_size(&network, &mut Workspace::default(), 16, 16).iter().all(|v| v.is_finite()));
}

#[test]
fn the_environment_can_lower_the_instruction_set() {
    for name in ["portable", "avx2", "avx512", "no such set"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_instruction_set_is_the_best_allowed"])
            .env("CASSI_ISA", name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{name}: {text}");
    }
}

/// A wide frame of many windows, odd in both directions, equals the whole; memory is that of one window.
#[test]
fn a_large_frame_by_windows() {
    let network = network(Method::BiSrNet, Layout::TsaReal);
    let (rows, columns) = (1037, 203);
    let whole = run_size(&network, &mut Workspace::with_window(rows), rows, columns);
    let by_windows = run_size(&network, &mut Workspace::with_window(160), rows, columns);
    assert!(by_windows == whole, "windows and whole differ");
}
