//! The measured files of the field: real snapshots, masks, scenes, official weights, golden arrays.

#![allow(clippy::disallowed_methods)] // tests make and damage files themselves

mod common;

use cassi_io::{
    MaskFile, ReadOptions, Source, inspect, read_array, read_cube, read_mask, read_plain_mask, read_snapshot,
    read_tensors,
};
use common::{golden, shared};

#[test]
fn real_snapshots_and_their_mask() {
    let Some(shared) = shared() else { return };
    for (scene, mean) in [("scene1", 0.034), ("scene2", 0.080), ("scene3", 0.049)] {
        let loaded = read_snapshot(&Source::from(shared.join(format!("real/{scene}.mat")))).unwrap();
        assert_eq!((loaded.value.shape(), loaded.variable.as_str()), ([660, 714], "meas_real"));
        assert_eq!(loaded.notes, Vec::<String>::new());
        let found = loaded.value.as_slice().iter().sum::<f32>() / (660.0 * 714.0);
        assert!((found - mean).abs() < 5e-4, "{scene}: {found}"); // means are quoted to three digits
    }
    let mask = read_plain_mask(&Source::from(shared.join("real/mask.mat"))).unwrap().value;
    assert_eq!(mask.shape(), [660, 660]);
    assert!((mask.throughput() - 0.501).abs() < 5e-4);
}

#[test]
fn benchmark_masks() {
    let Some(shared) = shared() else { return };
    let grey = read_plain_mask(&Source::from(shared.join("masks/mask256.mat"))).unwrap().value;
    assert!((grey.throughput() - 0.563).abs() < 5e-4);
    for (name, fill) in [("mask256_binary", 0.5026), ("mask512_binary", 0.4997)] {
        let mask = read_plain_mask(&Source::from(shared.join(format!("masks/{name}.mat")))).unwrap().value;
        assert!(
            mask.as_slice().iter().all(|&v| v == 0.0 || v == 1.0),
            "{name}: bytes of 0 and 1 are no grey values"
        );
        assert!((mask.throughput() - fill).abs() < 5e-5, "{name}");
    }
    // The same mask travels with the golden inputs as an array of another format.
    let same =
        read_array(&Source::parse(&format!("{}:mask", shared.join("golden/inputs_256.npz").display())))
            .unwrap();
    assert_eq!(same.value.as_slice().unwrap(), grey.as_slice());
}

#[test]
fn scenes_are_scaled_and_have_their_wavelengths() {
    let Some(shared) = shared() else { return };
    for (name, first) in [("feathers", 400.0), ("kaist_03", 420.0)] {
        let source = Source::from(shared.join(format!("scenes/validation/{name}.h5")));
        let cube = read_cube(&source, &ReadOptions::default()).unwrap();
        assert_eq!(cube.value.shape(), [31, 256, 256]);
        assert_eq!(cube.value.wavelengths().nm()[0], first);
        assert_eq!(cube.value.wavelengths().nm()[30], first + 300.0);
        let stored = read_array(&Source { variable: Some("cube".into()), ..source.clone() }).unwrap().value;
        for (value, count) in cube.value.as_slice().iter().zip(&stored) {
            // One rounding of a product whose factors are exact to 1e-16.
            assert!((f64::from(*value) - f64::from(*count) / 4095.0).abs() < 1e-7);
        }
        let info = inspect(&source.path).unwrap();
        let variable = info.variables.iter().find(|v| v.name == "cube").unwrap();
        assert_eq!(variable.class, "u16");
        assert!(variable.range.unwrap().1 <= 4095.0);
    }
}

#[test]
fn pth_equals_safetensors() {
    let Some(shared) = shared() else { return };
    // One is a state dict, the other a whole pickled module.
    for name in ["bisrnet_sim", "bisrnet_real"] {
        let pickled = read_tensors(&shared.join(format!("weights/{name}.pth"))).unwrap();
        let plain = read_tensors(&shared.join(format!("weights/{name}.safetensors"))).unwrap();
        assert_eq!((pickled.len(), plain.len()), (457, 457), "{name}");
        for (key, tensor) in plain.iter() {
            assert_eq!(pickled.get(key), Some(tensor), "{name}: {key}");
        }
        let values: usize = plain.iter().map(|(_, tensor)| tensor.data.len()).sum();
        assert_eq!(values, 659_319, "{name}");
    }
}

#[test]
fn half_precision_of_the_golden_scene() {
    let Some(shared) = shared() else { return };
    let path = shared.join("golden/inputs_256.npz");
    let info = inspect(&path).unwrap();
    let truth = info.variables.iter().find(|v| v.name == "truth_f16").unwrap();
    assert_eq!((truth.class.as_str(), &truth.shape[..]), ("<f2", &[1, 28, 256, 256][..]));
    let cube =
        read_cube(&Source::parse(&format!("{}:truth_f16", path.display())), &ReadOptions::default()).unwrap();
    assert_eq!(cube.value.shape(), [28, 256, 256]);
    let snapshot = read_snapshot(&Source::parse(&format!("{}:meas_Y", path.display()))).unwrap().value;
    let mask = read_plain_mask(&Source::parse(&format!("{}:mask", path.display()))).unwrap().value;
    // Three arrays of two types belong together only if all were read right: y = Σ_b m x, sheared by two columns.
    for (r, c) in [(0, 0), (100, 60), (255, 309), (31, 155)] {
        let mut expected = 0.0;
        for b in 0..28 {
            if let Some(column) = usize::checked_sub(c, 2 * b).filter(|&column| column < 256) {
                expected += mask.view()[[r, column]] * cube.value.view()[[b, r, column]];
            }
        }
        assert!(
            (snapshot.view()[[r, c]] - expected).abs() < 2e-5,
            "28 sums in another order, values up to 14"
        );
    }
}

#[test]
fn golden_operators() {
    let path = golden("operators_small.npz");
    let tensors = read_tensors(&path).unwrap();
    assert_eq!(tensors.len(), 4 * 14);
    for (case, bands, step) in [("s2", 28, 2), ("s1", 5, 1), ("s3", 5, 3), ("zero", 5, 2)] {
        let get = |name: &str| tensors.get(&format!("{case}_{name}")).unwrap();
        assert_eq!(get("step").data, [step as f32]);
        assert_eq!(get("x").shape, [1, bands, 16, 20]);
        let width = 20 + step * (bands - 1);
        assert_eq!(get("y").shape, [1, 16, width]);
        let (x, mask, y) = (&get("x").data, &get("mask").data, &get("y").data);
        let mut expected = vec![0.0; y.len()];
        for b in 0..bands {
            for r in 0..16 {
                for c in 0..20 {
                    expected[r * width + c + step * b] += mask[r * 20 + c] * x[(b * 16 + r) * 20 + c];
                }
            }
        }
        // The tolerance that comes with the golden file.
        assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 2e-6), "{case}");
    }
    let mask =
        read_mask(&Source::parse(&format!("{}:s2_Phi", path.display())), &ReadOptions::default()).unwrap();
    let MaskFile::Bands(bands) = mask.value else { panic!("a sheared mask has a plane for every band") };
    assert_eq!(bands.shape(), [28, 16, 74]);
}
