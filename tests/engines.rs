//! The two engines of the networks: equal on random weights, and clear about what this build or machine has not.

use cassi_core::Tensor;
use cassi_infer::float::Layout;
use cassi_io::{Source, TensorPrecision};

use crate::util::{Scratch, output, random_weights, refused, write_weights};

/// A snapshot of 16 x 16 pixels, and where to put a cube.
fn snapshot(scratch: &Scratch) -> (String, String) {
    let (scene, y, x) = (scratch.file("s.npy"), scratch.file("y.npy"), scratch.file("x.npy"));
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    (y, x)
}

/// A mask for such a snapshot.
fn small_mask(scratch: &Scratch) -> String {
    let mask = scratch.file("m.npy");
    output(&["mask", "make", "bernoulli", "--rows", "16", "--columns", "16", "-o", &mask]);
    mask
}

#[test]
fn solvers_have_one_engine() {
    let scratch = Scratch::new();
    let (y, x) = snapshot(&scratch);
    let plain = ["reconstruct", "--snapshot", &y, "--method", "gap-tv", "-o", &x];
    for more in [["--engine", "torch"], ["--device", "cuda"], ["--precision", "bf16"]] {
        refused(&[&plain[..], &more].concat(), &["gap-tv"]);
    }
}

#[test]
fn a_device_of_no_kind_is_refused() {
    let scratch = Scratch::new();
    let (y, x) = snapshot(&scratch);
    refused(
        &["reconstruct", "--snapshot", &y, "--method", "mst-s", "--device", "gpu", "-o", &x],
        &["cuda:N"],
    );
    let native =
        ["reconstruct", "--snapshot", &y, "--method", "mst-s", "--engine", "native", "--device", "cuda"];
    refused(&[&native[..], &["-o", &x]].concat(), &["native", "--engine torch"]);
}

#[test]
fn a_network_that_adds_nothing_leaves_the_estimate_of_the_solver() {
    let scratch = Scratch::new();
    let (y, x) = snapshot(&scratch);
    let solved = scratch.file("solved.npy");
    output(&["reconstruct", "--snapshot", &y, "--method", "gap-tv", "-o", &solved]);
    let mut tensors = random_weights("mst-s", Layout::Standard, 5);
    let last = Tensor::new(vec![28, 28, 3, 3], vec![0.0; 28 * 28 * 9]).expect("so many values");
    tensors.insert("mapping.weight", last);
    let weights = scratch.file("w.safetensors");
    write_weights(&weights, &tensors, TensorPrecision::F32);
    let both = ["reconstruct", "--snapshot", &y, "--method", "gap-tv+mst-s", "--weights", &weights];
    output(&[&both[..], &["--instrument", "standard", "-o", &x]].concat());
    let cube = |file: &str| cassi_io::read_array(&Source::parse(file)).unwrap().value;
    assert_eq!(cube(&x), cube(&solved));
    // For the real instrument the network gets the estimate in another unit, which is taken off again.
    let mask = small_mask(&scratch);
    let real = ["--instrument", "tsa-real", "--mask", &mask];
    output(&[&["reconstruct", "--snapshot", &y, "--method", "gap-tv", "-o", &solved], &real[..]].concat());
    output(&[&both[..], &real, &["-o", &x]].concat());
    for (found, expected) in cube(&x).iter().zip(&cube(&solved)) {
        // A factor, and its inverse.
        assert!((found - expected).abs() <= 2.0 * f32::EPSILON * expected.abs(), "{found} and {expected}");
    }
    refused(&["reconstruct", "--snapshot", &y, "--method", "gap-tv+mst", "-o", &x], &["gap-tv+mst-"]);
}

#[cfg(not(feature = "torch"))]
#[test]
fn a_build_without_libtorch_says_how_to_get_it() {
    let scratch = Scratch::new();
    let (y, x) = snapshot(&scratch);
    for more in [["--engine", "torch"], ["--device", "cuda"]] {
        let plain = ["reconstruct", "--snapshot", &y, "--method", "bisrnet", "-o", &x];
        refused(&[&plain[..], &more].concat(), &[more[1], "make build-torch"]);
    }
    assert!(!std::path::Path::new(&x).exists());
}

#[cfg(feature = "torch")]
mod torch {
    use cassi_core::random::Stream;
    use cassi_core::refinement;
    use cassi_infer::float::Layout;
    use cassi_io::{Metadata, Source, TensorPrecision};
    use ndarray::{ArrayD, Axis};

    use super::{small_mask, snapshot};
    use crate::util::{Scratch, json, output, random_weights, refused, write_weights};

    const FLOAT: [&str; 4] = ["mst-s", "mst-m", "mst-l", "mst-pp"];
    const BINARY: [&str; 8] = ["bisrnet", "bnn", "bireal", "irnet", "reactnet", "bbcu", "btm", "biconnect"];

    fn random(shape: &[usize], seed: u64) -> ArrayD<f32> {
        let mut stream = Stream::new(seed, "test/input", 0);
        ArrayD::from_shape_simple_fn(shape, || stream.uniform() as f32)
    }

    fn write(path: &str, array: &ArrayD<f32>) {
        cassi_io::write_array(path.as_ref(), "array", array.view(), &Metadata::default()).unwrap();
    }

    /// Relative distance of each image of a batch between the engines, the largest difference over the largest value.
    fn distances(method: &str, layout: Layout, images: usize) -> Vec<f32> {
        let scratch = Scratch::new();
        let file = |name: &str| scratch.file(name);
        let weights = file("w.safetensors");
        write_weights(&weights, &random_weights(method, layout, 11), TensorPrecision::F32);
        // No multiple of 8 or 4: both engines have to pad.
        let (rows, columns) = (13, 22);
        let (name, shape) = match layout {
            Layout::Standard => ("standard", vec![images, 28, rows, columns]),
            Layout::TsaReal => ("tsa-real", vec![images, rows, columns + 54]),
        };
        let (input, mask) = (file("in.npy"), file("mask.npy"));
        write(&input, &random(&shape, 12));
        write(&mask, &random(&[rows, columns], 13));
        let run = |engine: &str| {
            let out = file(&format!("{engine}.npy"));
            let what = ["network", "run", "--method", method, "--weights", &weights, "--instrument", name];
            // Small images: a second thread of libtorch would wait more than work.
            let how = ["--input", &input, "--mask", &mask, "--engine", engine, "--threads", "1", "-o", &out];
            output(&[&what[..], &how].concat());
            cassi_io::read_array(&Source::parse(&out)).unwrap().value
        };
        let (native, torch) = (run("native"), run("torch"));
        assert_eq!(native.shape(), [images, 28, rows, columns]);
        assert_eq!(native.shape(), torch.shape());
        let distance = |i: usize| {
            let (a, b) = (native.index_axis(Axis(0), i), torch.index_axis(Axis(0), i));
            let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest.is_finite() && largest > 0.0, "{method} {name}");
            a.iter().zip(&b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
        };
        (0..images).map(distance).collect()
    }

    #[test]
    fn float_networks_are_equal_on_random_weights() {
        for method in FLOAT {
            for layout in [Layout::Standard, Layout::TsaReal] {
                for distance in distances(method, layout, 2) {
                    assert!(distance < 1e-4, "{method} {layout:?}: {distance}");
                }
            }
        }
    }

    #[test]
    fn binarized_networks_are_equal_on_random_weights() {
        for method in BINARY {
            for layout in [Layout::Standard, Layout::TsaReal] {
                let mut distances = distances(method, layout, 7);
                distances.sort_by(f32::total_cmp);
                // Rounding turns the sign of a feature that lies within a few units in the last place of zero, about
                // one in a million; an image of this size has some 200,000 signs, so that most images have none and a
                // few are changed by one. The median image has none.
                assert!(distances[3] < 1e-4, "{method} {layout:?}: {distances:?}");
            }
        }
    }

    #[test]
    fn reconstruct_gives_the_same_cube_on_either_engine() {
        let scratch = Scratch::new();
        let (y, _) = snapshot(&scratch);
        let mask = small_mask(&scratch);
        for (method, instrument) in [
            ("mst-s", "standard"),
            ("mst-pp", "standard"),
            ("gap-tv+mst-s", "standard"),
            ("gap-tv+mst-pp", "tsa-real"),
        ] {
            let weights = scratch.file("w.safetensors");
            let network = refinement(method).1;
            write_weights(&weights, &random_weights(network, Layout::Standard, 5), TensorPrecision::F32);
            let run = |name: &str, more: &[&str]| {
                let x = scratch.file(name);
                let what = ["reconstruct", "--snapshot", &y, "--mask", &mask, "--method", method];
                let how = ["--weights", &weights, "--instrument", instrument, "-o", &x];
                let result = json(&[&what[..], &how, more].concat());
                assert!(result["residual"].as_f64().is_some_and(f64::is_finite), "{result}");
                cassi_io::read_array(&Source::parse(&x)).unwrap().value
            };
            let native = run("native.npy", &[]);
            let torch = run("torch.npy", &["--engine", "torch", "--repeat", "2"]);
            let half = run("half.npy", &["--engine", "torch", "--precision", "bf16"]);
            let largest = native.iter().fold(0f32, |m, v| m.max(v.abs()));
            let gap = |other: &ArrayD<f32>| {
                native.iter().zip(other).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
            };
            assert!(gap(&torch) < 1e-4, "{method}: {}", gap(&torch));
            // bfloat16 keeps 8 bits, and some dozens of layers add their roundings up.
            let half = gap(&half);
            assert!(half > 1e-5 && half < 0.2, "{method}: {half}");
        }
    }

    #[test]
    fn cuda_that_is_not_there_is_said() {
        let scratch = Scratch::new();
        let (y, x) = snapshot(&scratch);
        let weights = scratch.file("w.safetensors");
        write_weights(&weights, &random_weights("mst-s", Layout::Standard, 5), TensorPrecision::F32);
        // An index that no machine has.
        let what = ["reconstruct", "--snapshot", &y, "--method", "mst-s", "--weights", &weights, "-o", &x];
        refused(&[&what[..], &["--instrument", "standard", "--device", "cuda:99"]].concat(), &["cuda:99"]);
        assert!(!std::path::Path::new(&x).exists());
    }

    #[test]
    fn what_torch_cannot_take_is_said() {
        let scratch = Scratch::new();
        let (y, x) = snapshot(&scratch);
        let weights = scratch.file("w.safetensors");
        write_weights(&weights, &random_weights("mst-s", Layout::Standard, 5), TensorPrecision::F32);
        let torch = ["--instrument", "standard", "--engine", "torch", "-o", &x];
        let what = |method: &'static str| {
            ["reconstruct", "--snapshot", &y, "--method", method, "--weights", &weights]
        };
        refused(&[&what("mst-m")[..], &torch].concat(), &["w.safetensors", "missing"]);
        // Two rows cannot be padded to four by reflection.
        let (input, out) = (scratch.file("in.npy"), scratch.file("out.npy"));
        write(&input, &random(&[28, 2, 16], 1));
        let run = ["network", "run", "--method", "mst-s", "--weights", &weights, "--engine", "torch"];
        let mask = scratch.file("m.npy");
        write(&mask, &random(&[2, 16], 1));
        refused(
            &[&run[..], &["--input", &input, "--mask", &mask, "-o", &out]].concat(),
            &["2 x 16", "at least 3"],
        );
    }
}
