//! MST and MST++ with weights by rule against the published code: names, outputs, taps, both mask shifts.
#![cfg(feature = "torch")]

#[path = "binary_common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::path::PathBuf;

use cassi_core::NamedTensors;
use cassi_nets::arch::{Layout, MaskForm, MaskShift, Network, Options, Shape, build};
use cassi_nets::weights;
use common::{assert_close, evaluate, fill_by_rule, get, golden_path, read, shared};
use tch::{Device, Kind, Tensor, nn};

/// Of the largest value: the published code moves by 1e-6 when only its rounding changes.
const TOLERANCE: f64 = 2e-5;

fn network(method: &str, layout: Layout, mask_shift: MaskShift) -> (nn::VarStore, Box<dyn Network>) {
    tch::set_num_threads(1);
    let store = nn::VarStore::new(Device::Cpu);
    let options = Options { mask_shift, ..Options::new(layout) };
    let network = build(method, &options, &store.root()).expect("a method");
    fill_by_rule(&store);
    (store, network)
}

/// The name of a method in reference files.
fn published(method: &str, layout: Layout) -> String {
    match (method, layout) {
        ("mst-pp", Layout::Standard) => "mst_plus_plus".into(),
        ("mst-pp", Layout::TsaReal) => "mst_plus_plus_real".into(),
        (_, Layout::Standard) => method.replace('-', "_"),
        (_, Layout::TsaReal) => method.replace("mst-", "mst_real_"),
    }
}

/// A reference file: the repository's part of it, or the whole of it where the shared folder is there.
fn golden(name: &str) -> Option<NamedTensors> {
    let file = format!("{name}.npz");
    let own = golden_path(&file);
    let path: PathBuf = match shared() {
        Some(shared) => shared.join("golden").join(file),
        None if own.exists() => own,
        None => return None,
    };
    Some(read(&path))
}

/// A mask `[row, column]` repeated over 28 bands, and sheared by two columns a band.
fn in_form(mask: &Tensor, form: MaskForm) -> Option<Tensor> {
    let (rows, columns) = mask.size2().expect("[row, column]");
    match form {
        MaskForm::None => None,
        MaskForm::Plain => Some(common::repeated(mask)),
        MaskForm::Sheared => {
            let frame = Tensor::zeros([1, 28, rows, columns + 54], (mask.kind(), Device::Cpu));
            for b in 0..28 {
                frame.select(1, b).narrow(2, 2 * b, columns).copy_(&mask.unsqueeze(0));
            }
            Some(frame)
        }
    }
}

fn run(network: &dyn Network, x: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let mask = mask.and_then(|mask| in_form(mask, network.mask_form()));
    evaluate(network, x, mask.as_ref())
}

const METHODS: [&str; 4] = ["mst-s", "mst-m", "mst-l", "mst-pp"];

#[test]
fn names_and_shapes_are_those_of_the_published_checkpoints() {
    for method in METHODS {
        for layout in [Layout::Standard, Layout::TsaReal] {
            let name = format!("{}_names.json", published(method, layout));
            let text = cassi_io::read_text(&golden_path(&name)).expect("a list of names");
            let list: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
            let entry = |e: &serde_json::Value| {
                let shape: Vec<usize> = serde_json::from_value(e["shape"].clone()).expect("a shape");
                (e["name"].as_str().expect("a name").to_string(), shape)
            };
            let expected: HashMap<String, Vec<usize>> = list.iter().map(entry).collect();
            let (store, _network) = network(method, layout, MaskShift::Level);
            assert_eq!(weights::names(&store).into_iter().collect::<HashMap<_, _>>(), expected, "{name}");
        }
    }
}

#[test]
fn outputs_of_small_frames() {
    let inputs = read(&golden_path("net_inputs.npz"));
    let mut compared = 0;
    for method in METHODS {
        let Some(golden) = golden(&format!("{}_small", published(method, Layout::Standard))) else {
            continue;
        };
        let (_store, network) = network(method, Layout::Standard, MaskShift::Official);
        for size in ["16", "32", "48", "64", "30x36"] {
            let Some(expected) = golden.get(&format!("out_{size}")) else { continue };
            // The 48 case is the top left of the 64 one.
            let source = if size == "48" { "64" } else { size };
            let (mut x, mut mask) =
                (get(&inputs, &format!("x_{source}")), get(&inputs, &format!("mask2d_{source}")));
            if size == "48" {
                x = x.narrow(2, 0, 48).narrow(3, 0, 48).contiguous();
                mask = mask.narrow(0, 0, 48).narrow(1, 0, 48).contiguous();
            }
            let out = run(&*network, &x, Some(&mask));
            assert_close(&out, &weights::to_torch(expected), TOLERANCE, &format!("{method} {size}"));
            compared += 1;
        }
    }
    assert!(compared >= 4, "{compared} cases");
}

#[test]
fn outputs_for_the_real_instrument() {
    let inputs = read(&golden_path("net_inputs.npz"));
    let mut compared = 0;
    for method in METHODS {
        let Some(golden) = golden(&format!("{}_small", published(method, Layout::TsaReal))) else { continue };
        let (_store, network) = network(method, Layout::TsaReal, MaskShift::Level);
        for size in ["16", "30", "32"] {
            let Some(expected) = golden.get(&format!("out_{size}")) else { continue };
            let out = run(&*network, &get(&inputs, &format!("y_real_{size}")), None);
            assert_close(&out, &weights::to_torch(expected), TOLERANCE, &format!("{method} real {size}"));
            compared += 1;
        }
    }
    assert!(compared >= 4, "{compared} cases");
}

/// Compares what was recorded with the taps of a file. Ours are channels-last; the published ones mostly not.
fn compare_taps(found: &HashMap<String, Tensor>, golden: &NamedTensors, prefix: &str) -> usize {
    let mut compared = 0;
    for (name, expected) in golden.iter() {
        let Some(tap) = name.strip_prefix(prefix) else { continue };
        let first = |name: &str| found[name].shallow_clone();
        let value = match tap {
            "enc0_block0_msa" => {
                let x = first("embedding_before_lrelu");
                first("enc0_block0_attended") - x.maximum(&(&x * 0.1))
            }
            "enc0_block0_ff" => first("enc0_block0_out") - first("enc0_block0_attended"),
            _ => first(tap),
        };
        let expected = weights::to_torch(expected);
        let value = if value.size() == expected.size() { value } else { value.permute([0, 3, 1, 2]) };
        assert_close(&value, &expected, TOLERANCE, name);
        compared += 1;
    }
    compared
}

#[test]
fn every_tap() {
    // Method, front end, input, mask, and how many taps there are; the repository's file of MST-S has half of them.
    let inputs = read(&golden_path("net_inputs.npz"));
    let cases = [
        (
            "mst-s",
            Layout::Standard,
            "x_32",
            Some("mask2d_32"),
            "tap32_",
            if shared().is_some() { 18 } else { 9 },
        ),
        ("mst-s", Layout::TsaReal, "y_real_16", None, "tap16_", 4),
        ("mst-pp", Layout::Standard, "x_16", Some("mask2d_16"), "tap16_", 6),
    ];
    for (method, layout, x, mask, prefix, expected) in cases {
        let name = format!("{}_small", published(method, layout));
        let Some(golden) = golden(&name) else { panic!("{name} is part of the repository") };
        let (_store, network) = network(method, layout, MaskShift::Official);
        network.record_taps();
        let mask = mask.map(|mask| get(&inputs, mask));
        let _ = run(&*network, &get(&inputs, x), mask.as_ref());
        let found: HashMap<_, _> = network.take_taps().into_iter().collect();
        assert_eq!(compare_taps(&found, &golden, prefix), expected, "{name}: taps in the file");
    }
}

/// Un-sheared features of a snapshot `[1, row, sheared column]`, as the published code makes them.
fn features(snapshot: &Tensor) -> Tensor {
    let columns = snapshot.size()[2] - 54;
    let windows: Vec<Tensor> = (0..28).map(|b| snapshot.narrow(2, 2 * b, columns)).collect();
    Tensor::stack(&windows, 1) / 28.0 * 2.0
}

#[test]
fn the_whole_benchmark_frame_with_either_shift() {
    let Some(shared) = shared() else { return };
    let inputs = read(&shared.join("golden/inputs_256.npz"));
    let (x, mask) = (features(&get(&inputs, "meas_Y")), get(&inputs, "mask"));
    for (method, shift) in [
        ("mst-s", MaskShift::Level),
        ("mst-s", MaskShift::Official),
        ("mst-m", MaskShift::Level),
        ("mst-l", MaskShift::Level),
        ("mst-pp", MaskShift::Level),
    ] {
        let name = published(method, Layout::Standard);
        let golden = read(&shared.join(format!("golden/{name}_256.npz")));
        let (_store, network) = network(method, Layout::Standard, shift);
        network.record_taps();
        let out = run(&*network, &x, Some(&mask));
        let crop = out.narrow(2, 96, 64).narrow(3, 96, 64);
        assert_close(&crop, &get(&golden, "crop"), TOLERANCE, &format!("{method} crop"));
        let largest = out.abs().max().double_value(&[]);
        for (key, axes) in [("band_mean", [0i64, 2, 3]), ("row_mean", [0, 1, 3]), ("col_mean", [0, 1, 2])] {
            let mean = out.to_kind(Kind::Double).mean_dim(axes.as_slice(), false, Kind::Double);
            let gap = common::distance(&mean, &get(&golden, key).to_kind(Kind::Double));
            assert!(gap < TOLERANCE * largest, "{method} {key}: {gap:e}");
        }
        if method == "mst-s" {
            let small = read(&shared.join("golden/mst_s_small.npz"));
            let taps: HashMap<_, _> = network.take_taps().into_iter().collect();
            for place in ["enc0", "enc1", "bottleneck"] {
                let found = taps[&format!("{place}_block0_mask_attention")].permute([0, 3, 1, 2]);
                let expected = get(&small, &format!("tap256_{place}_block0_mask_attention_crop16"));
                assert_close(&found.narrow(2, 8, 16).narrow(3, 8, 16), &expected, TOLERANCE, place);
            }
        }
    }
}

#[test]
fn the_official_shift_of_128_rows() {
    let Some(shared) = shared() else { return };
    let inputs = read(&shared.join("golden/inputs_256.npz"));
    let cut =
        |t: &Tensor, rows: i64, columns: i64| t.narrow(rows, 64, 128).narrow(columns, 64, 128).contiguous();
    let x = cut(&features(&get(&inputs, "meas_Y")), 2, 3);
    let mask = cut(&get(&inputs, "mask"), 0, 1);
    for method in ["mst-s", "mst-m", "mst-l"] {
        let golden = read(&shared.join(format!("golden/{}_small.npz", published(method, Layout::Standard))));
        let (_store, official) = network(method, Layout::Standard, MaskShift::Official);
        let out = run(&*official, &x, Some(&mask)).narrow(2, 48, 32).narrow(3, 48, 32);
        assert_close(&out, &get(&golden, "out_128_crop32"), TOLERANCE, method);
        // The optical shift is another one at this size.
        let (_store, level) = network(method, Layout::Standard, MaskShift::Level);
        let other = run(&*level, &x, Some(&mask)).narrow(2, 48, 32).narrow(3, 48, 32);
        assert!(common::distance(&out, &other) > 1e-3, "{method}");
    }
}

#[test]
fn any_size_bands_step_and_width() {
    tch::manual_seed(1);
    let random = |shape: &[i64]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
    for (bands, width, step) in [(28, 28, 2), (5, 5, 1), (6, 6, 4), (7, 8, 3)] {
        let store = nn::VarStore::new(Device::Cpu);
        let options = Options { shape: Shape { bands, width, step }, ..Options::new(Layout::Standard) };
        let network = build("mst-s", &options, &store.root()).expect("sizes");
        let (bands, step) = (bands as i64, step as i64);
        for (rows, columns) in [(16, 16), (13, 22), (32, 9)] {
            let mask = random(&[1, bands, rows, columns + step * (bands - 1)]);
            let out = evaluate(&*network, &random(&[2, bands, rows, columns]), Some(&mask));
            assert_eq!(out.size(), [2, bands, rows, columns]);
            assert_eq!(out.isfinite().all().int64_value(&[]), 1);
        }
    }
}

#[test]
fn a_batch_is_its_items_and_masks_may_differ() {
    let inputs = read(&golden_path("net_inputs.npz"));
    let (x, mask) = (get(&inputs, "x_32"), get(&inputs, "mask2d_32"));
    let (other_x, other_mask) = (x.flip([3]), mask.flip([0]));
    let (_store, network) = network("mst-s", Layout::Standard, MaskShift::Level);
    let sheared = |mask: &Tensor| in_form(mask, MaskForm::Sheared).expect("sheared");
    let masks = Tensor::cat(&[sheared(&mask), sheared(&other_mask)], 0);
    let batch = evaluate(&*network, &Tensor::cat(&[&x, &other_x], 0), Some(&masks));
    for (i, (x, mask)) in [(&x, &mask), (&other_x, &other_mask)].into_iter().enumerate() {
        let alone = run(&*network, x, Some(mask));
        assert_close(&batch.narrow(0, i as i64, 1), &alone, TOLERANCE, "item of a batch");
    }
}
