//! MST and MST++ against the outputs of the official code with rule weights (tests/golden/README.md).
//!
//! Tolerance: 2e-5 of the output's maximum. The official code itself moves by about 1e-6 relative under rounding
//! changes (threads, convolution kernels); ours differs in the order of every sum.

use std::path::PathBuf;

use cassi_core::{NamedTensors, Tensor, shear};
use cassi_infer::float::{Layout, MaskInput, MaskShift, MstNetwork, Precision, Variant, Workspace};
use ndarray::{Array2, Array3, Array4, ArrayView3, Axis, Ix2, Ix4};

fn golden(name: &str) -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    let shared = std::env::var_os("CASSI_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from)
        .join("golden")
        .join(name);
    // The shared files hold more cases than those that may be copied here.
    let found = [shared, own].into_iter().find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} is in neither tests/golden nor CASSI_SHARED/golden");
    }
    found
}

fn array(tensors: &NamedTensors, name: &str) -> ndarray::ArrayD<f32> {
    let tensor = tensors.get(name).unwrap_or_else(|| panic!("no {name}"));
    ndarray::ArrayD::from_shape_vec(tensor.shape.clone(), tensor.data.clone()).unwrap()
}

fn cube(tensors: &NamedTensors, name: &str) -> Array3<f32> {
    array(tensors, name).into_dimensionality::<Ix4>().unwrap().index_axis_move(Axis(0), 0)
}

/// The rule of the goldens: SplitMix64 seeded by FNV-1a of the name, centre and half-width by the last component.
fn rule_weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let n: usize = shape.iter().product();
    let inputs: usize = shape.iter().skip(1).product();
    let (centre, half) = match name.rsplit('.').next().unwrap() {
        "rescale" | "beta" => (2.0, 1.0),
        "bias" | "b" => (0.0, 0.1),
        "weight" if shape.len() == 1 => (1.0, 0.1),
        _ => (0.0, (3.0 / inputs as f64).sqrt()),
    };
    let seed = cassi_core::random::fnv1a(name);
    (1..=n as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let s = 2.0 * ((z >> 11) as f64 / (1u64 << 53) as f64) - 1.0;
            (centre + half * s) as f32
        })
        .collect()
}

fn rule_network(names: &str, variant: Variant, layout: Layout) -> Option<MstNetwork> {
    let text = std::fs::read_to_string(golden(names)?).unwrap();
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tensors: NamedTensors = (list.as_array().unwrap().iter())
        .map(|entry| {
            let name = entry["name"].as_str().unwrap().to_string();
            let shape: Vec<usize> =
                entry["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            let data = rule_weight(&name, &shape);
            (name, Tensor::new(shape, data).unwrap())
        })
        .collect();
    Some(MstNetwork::from_tensors(&tensors, variant, layout, 28, 2).unwrap())
}

fn assert_close(found: ArrayView3<'_, f32>, expected: ArrayView3<'_, f32>, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let gap = found.iter().zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    println!("{what}: largest difference {:.2e} of the maximum", gap / largest);
    assert!(gap <= 2e-5 * largest, "{what}: {gap} against a maximum of {largest}");
}

fn mask2d(inputs: &NamedTensors, size: &str) -> Array2<f32> {
    array(inputs, &format!("mask2d_{size}")).squeeze().into_dimensionality::<Ix2>().unwrap()
}

fn run(
    network: &MstNetwork,
    x: ArrayView3<'_, f32>,
    mask: Option<MaskInput<'_>>,
    shift: MaskShift,
) -> Array3<f32> {
    let (_, rows, columns) = x.dim();
    let prepared = network.prepare_mask(mask, rows, columns, shift).unwrap();
    network.run(x, &prepared, &mut Workspace::default()).unwrap()
}

/// Compares the network on every f32 kernel of this CPU.
fn check(
    network: &MstNetwork,
    x: ArrayView3<'_, f32>,
    mask: Option<MaskInput<'_>>,
    shift: MaskShift,
    expected: ArrayView3<'_, f32>,
    what: &str,
) {
    for (name, _) in MstNetwork::kernels().filter(|(_, precision)| *precision == Precision::F32) {
        match network.clone().with_kernel(name) {
            Some(network) => {
                assert_close(run(&network, x, mask, shift).view(), expected, &format!("{what}, {name}"));
            }
            None => assert_ne!(std::env::var("CASSI_REQUIRE_ISA").as_deref(), Ok(name), "this CPU lacks it"),
        }
    }
}

#[test]
fn rule_weights_are_the_rule() {
    let Some(path) = golden("rule_vectors.json") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("weights") || text.contains("name"), "the vectors name their weights");
    // The first input value of key `input/net/x/16` is uniform in [0, 1): checked through the inputs themselves.
    let Some(path) = golden("net_inputs.npz") else { return };
    let inputs = cassi_io::read_tensors(&path).unwrap();
    let mut z = cassi_core::random::fnv1a("input/net/x/16").wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    assert_eq!(inputs.get("x_16").unwrap().data[0], ((z >> 11) as f64 / (1u64 << 53) as f64) as f32);
}

#[test]
fn mst_of_every_depth() {
    let Some(path) = golden("net_inputs.npz") else { return };
    let inputs = cassi_io::read_tensors(&path).unwrap();
    for (variant, file) in [(Variant::MstS, "mst_s"), (Variant::MstM, "mst_m"), (Variant::MstL, "mst_l")] {
        let Some(network) = rule_network(&format!("{file}_names.json"), variant, Layout::Standard) else {
            return;
        };
        let Some(path) = golden(&format!("{file}_small.npz")) else { return };
        let outputs = cassi_io::read_tensors(&path).unwrap();
        for size in [32, 64].into_iter().filter(|size| outputs.get(&format!("out_{size}")).is_some()) {
            let (x, mask) = (cube(&inputs, &format!("x_{size}")), mask2d(&inputs, &size.to_string()));
            let expected = cube(&outputs, &format!("out_{size}"));
            let plain = Some(MaskInput::Plain(mask.view()));
            check(&network, x.view(), plain, MaskShift::Official, expected.view(), &format!("{file} {size}"));
            let found = run(&network, x.view(), plain, MaskShift::Official);
            let sheared = shear::shear_mask(mask.view(), 28, 2);
            let again =
                run(&network, x.view(), Some(MaskInput::Sheared(sheared.view())), MaskShift::Official);
            assert!(again == found, "a mask sheared by the caller gives other numbers");
        }
        assert!(outputs.get("out_32").is_some(), "the smallest case is always there");
        if variant == Variant::MstS && outputs.get("out_48").is_some() {
            let x = cube(&inputs, "x_64").slice_move(ndarray::s![.., ..48, ..48]);
            let mask = mask2d(&inputs, "64").slice_move(ndarray::s![..48, ..48]);
            let found = run(&network, x.view(), Some(MaskInput::Plain(mask.view())), MaskShift::Official);
            assert_close(found.view(), cube(&outputs, "out_48").view(), "mst_s 48");
        }
    }
}

#[test]
fn mst_at_the_size_of_the_benchmark() {
    let (Some(inputs), Some(outputs)) = (golden("inputs_256.npz"), golden("mst_s_256.npz")) else { return };
    let Some(network) = rule_network("mst_s_names.json", Variant::MstS, Layout::Standard) else { return };
    let inputs = cassi_io::read_tensors(&inputs).unwrap();
    let outputs = cassi_io::read_tensors(&outputs).unwrap();
    let y = array(&inputs, "meas_Y").squeeze().into_dimensionality::<Ix2>().unwrap();
    let mask = array(&inputs, "mask").into_dimensionality::<Ix2>().unwrap();
    let h = shear::unshear_snapshot(y.view(), 28, 2).mapv(|y| y / 28.0 * 2.0);
    // At 256 rows the two rules of the mask's shift are one.
    for shift in [MaskShift::Level, MaskShift::Official] {
        let found = run(&network, h.view(), Some(MaskInput::Plain(mask.view())), shift);
        let crop = found.slice(ndarray::s![.., 96..160, 96..160]);
        assert_close(crop, cube(&outputs, "crop").view(), "mst_s 256");
    }
    // What bf16 costs a network of 34 dB, the published MST-S: the same error relative to the cube, added to its own.
    let Ok(half) = network.clone().with_precision(Precision::Bf16) else { return };
    let plain = Some(MaskInput::Plain(mask.view()));
    let [single, half] = [&network, &half].map(|network| run(network, h.view(), plain, MaskShift::Level));
    let power = single.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let error = single.iter().zip(&half).map(|(&a, &b)| f64::from(a - b).powi(2)).sum::<f64>();
    println!("bf16: relative error {:.2e}", (error / power).sqrt());
    // Eight significant bits through about forty layers: each rounds by up to 2e-3, independently.
    assert!((error / power).sqrt() < 2e-2, "bf16 is off by {:.2e}", (error / power).sqrt());
}

#[test]
fn mst_plus_plus_and_the_real_variants() {
    let Some(path) = golden("net_inputs.npz") else { return };
    let inputs = cassi_io::read_tensors(&path).unwrap();
    let Some(network) = rule_network("mst_plus_plus_names.json", Variant::MstPp, Layout::Standard) else {
        return;
    };
    let Some(path) = golden("mst_plus_plus_small.npz") else { return };
    let outputs = cassi_io::read_tensors(&path).unwrap();
    for size in ["16", "32", "30x36"] {
        let (x, mask) = (cube(&inputs, &format!("x_{size}")), mask2d(&inputs, size));
        let expected = cube(&outputs, &format!("out_{size}"));
        let plain = Some(MaskInput::Plain(mask.view()));
        check(&network, x.view(), plain, MaskShift::Level, expected.view(), &format!("mst++ {size}"));
    }
    let real = [
        (Variant::MstS, "mst_real_s", &["16", "32"][..]),
        (Variant::MstM, "mst_real_m", &["32"]),
        (Variant::MstL, "mst_real_l", &["32"]),
        (Variant::MstPp, "mst_plus_plus_real", &["30", "32"]),
    ];
    for (variant, file, sizes) in real {
        let Some(network) = rule_network(&format!("{file}_names.json"), variant, Layout::TsaReal) else {
            return;
        };
        let Some(path) = golden(&format!("{file}_small.npz")) else { return };
        let outputs = cassi_io::read_tensors(&path).unwrap();
        for size in sizes {
            let y = array(&inputs, &format!("y_real_{size}")).squeeze().into_dimensionality::<Ix2>().unwrap();
            let windows = shear::unshear_snapshot(y.view(), 28, 2);
            let expected = cube(&outputs, &format!("out_{size}"));
            let what = format!("{file} {size}");
            check(&network, windows.view(), None, MaskShift::Level, expected.view(), &what);
        }
    }
}

#[test]
fn threads_and_repeated_calls_change_nothing() {
    let Some(path) = golden("net_inputs.npz") else { return };
    let inputs = cassi_io::read_tensors(&path).unwrap();
    let Some(network) = rule_network("mst_s_names.json", Variant::MstS, Layout::Standard) else { return };
    let (x, mask) = (cube(&inputs, "x_64"), mask2d(&inputs, "64"));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let plain = Some(MaskInput::Plain(mask.view()));
            let prepared = network.prepare_mask(plain, 64, 64, MaskShift::Level).unwrap();
            let mut workspace = Workspace::default();
            let first = network.run(x.view(), &prepared, &mut workspace).unwrap();
            let second = network.run(x.view(), &prepared, &mut workspace).unwrap();
            assert!(first == second, "a second call on the same memory gives other numbers");
            first
        })
    };
    assert!(on(1) == on(3));
}

#[test]
fn wrong_weights_are_named() {
    let Some(path) = golden("mst_s_names.json") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut tensors = NamedTensors::new();
    for entry in list.as_array().unwrap().iter().skip(1) {
        let shape: Vec<usize> =
            entry["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let n = shape.iter().product();
        tensors.insert(entry["name"].as_str().unwrap(), Tensor::new(shape, vec![0.0; n]).unwrap());
    }
    tensors.insert("stranger", Tensor::new(vec![1], vec![0.0]).unwrap());
    tensors.insert("mapping.weight", Tensor::new(vec![1], vec![0.0]).unwrap());
    let error = MstNetwork::from_tensors(&tensors, Variant::MstS, Layout::Standard, 28, 2).unwrap_err();
    assert_eq!(error.missing, ["embedding.weight"]);
    assert_eq!(error.unexpected, ["stranger"]);
    assert_eq!(error.misshaped[0].0, "mapping.weight");
    let text = error.to_string();
    assert!(
        text.contains("embedding.weight") && text.contains("stranger") && text.contains("[28, 28, 3, 3]"),
        "{text}"
    );
}

#[test]
fn a_batch_of_odd_sizes_keeps_its_shape() {
    let Some(network) = rule_network("mst_s_names.json", Variant::MstS, Layout::Standard) else { return };
    for (rows, columns) in [(30, 33), (17, 64), (65, 19)] {
        let x = Array4::from_shape_fn((1, 28, rows, columns), |(_, b, r, c)| {
            ((b + 3 * r + 7 * c) % 11) as f32 / 11.0
        });
        let mask = Array2::from_shape_fn((rows, columns), |(r, c)| ((r * c) % 3) as f32 / 2.0);
        let found =
            run(&network, x.index_axis(Axis(0), 0), Some(MaskInput::Plain(mask.view())), MaskShift::Level);
        assert_eq!(found.dim(), (28, rows, columns));
        assert!(found.iter().all(|v| v.is_finite()));
    }
}
