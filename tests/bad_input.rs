//! Bad input through the binary: one clear error, exit code 2, nothing written.

use crate::util::{Scratch, cassi, output, refused};

fn write(scratch: &Scratch, name: &str, bytes: &[u8]) -> String {
    let path = scratch.file(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn missing_empty_and_truncated_files() {
    let scratch = Scratch::new();
    let out = scratch.file("x.h5");
    refused(&["reconstruct", "--snapshot", "nowhere.h5", "-o", &out], &["nowhere.h5"]);
    for name in ["y.h5", "y.mat", "y.npy", "y.npz", "y.png", "y.safetensors"] {
        let empty = write(&scratch, name, b"");
        refused(&["reconstruct", "--snapshot", &empty, "-o", &out], &[name]);
    }
    let scene = scratch.file("scene.npy");
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    let bytes = std::fs::read(&scene).unwrap();
    let cut = write(&scratch, "cut.npy", &bytes[..bytes.len() / 2]);
    refused(&["simulate", "--scene", &cut, "-o", &out], &["cut.npy"]);
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn a_mask_that_does_not_fit_names_the_expected_shape() {
    let scratch = Scratch::new();
    let (scene, y, mask) = (scratch.file("s.npy"), scratch.file("y.npy"), scratch.file("m.npy"));
    output(&["scene", "make", "--rows", "32", "--columns", "32", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    output(&["mask", "make", "bernoulli", "--rows", "40", "--columns", "32", "-o", &mask]);
    let out = scratch.file("x.npy");
    refused(
        &["reconstruct", "--snapshot", &y, "--mask", &mask, "-o", &out],
        &["mask", "[40, 32]", "[32, 32]"],
    );
}

#[test]
fn the_real_instrument_needs_a_mask() {
    let scratch = Scratch::new();
    let (scene, y) = (scratch.file("s.npy"), scratch.file("y.npy"));
    output(&["scene", "make", "--rows", "32", "--columns", "32", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    let out = scratch.file("x.npy");
    refused(
        &["reconstruct", "--snapshot", &y, "--instrument", "tsa-real", "-o", &out],
        &["tsa-real", "--mask"],
    );
}

#[test]
fn unknown_names_get_the_nearest() {
    let scratch = Scratch::new();
    let (scene, y, out) = (scratch.file("s.npy"), scratch.file("y.npy"), scratch.file("x.npy"));
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    refused(&["reconstruct", "--snapshot", &y, "--method", "gaptv", "-o", &out], &["gap-tv"]);
    refused(&["reconstruct", "--snapshot", &y, "--method", "desci", "-o", &out], &["not implemented"]);
    refused(&["reconstruct", "--snapshot", &y, "--set", "iteratons=3", "-o", &out], &["iterations"]);
    refused(&["reconstruct", "--snapshot", &y, "--set", "iterations=-3", "-o", &out], &["iterations"]);
    refused(&["simulate", "--scene", &scene, "--instrument", "standart", "-o", &out], &["standard"]);
    refused(&["simulate", "--scene", &scene, "--noise", "gausian:1", "-o", &out], &["gaussian"]);
    refused(&["reconstrct"], &["reconstruct"]);
}

#[test]
fn unknown_keys_in_toml_are_refused() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.npy");
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    let out = scratch.file("y.npy");
    let camera = write(&scratch, "camera.toml", b"name = \"mine\"\ndispersoin = 3\n");
    refused(
        &["simulate", "--scene", &scene, "--instrument", &camera, "-o", &out],
        &["camera.toml", "dispersoin"],
    );
    let config = write(&scratch, "c.toml", b"[simulate]\nnoisy = \"none\"\n");
    refused(&["--config", &config, "simulate", "--scene", &scene, "-o", &out], &["c.toml", "noisy"]);
}

#[test]
fn not_a_number_is_found_and_placed() {
    let scratch = Scratch::new();
    let (scene, y) = (scratch.file("s.npy"), scratch.file("y.npy"));
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    let mut bytes = std::fs::read(&y).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let bad = write(&scratch, "nan.npy", &bytes);
    refused(&["reconstruct", "--snapshot", &bad, "-o", &scratch.file("x.npy")], &["nan.npy", "NaN"]);
}

#[test]
fn an_output_that_cannot_be_written_loses_nothing() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.npy");
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    refused(&["simulate", "--scene", &scene, "-o", &scratch.file("y.xyz")], &["y.xyz"]);
    refused(&["simulate", "--scene", &scene, "-o", &scene], &["input"]);
    // A file stands where a folder would have to be.
    refused(&["simulate", "--scene", &scene, "-o", &scratch.file("s.npy/y.npy")], &["s.npy"]);
    assert!(std::fs::metadata(&scene).unwrap().len() > 28 * 16 * 16 * 4);
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "temporary files stay behind: {left:?}");
}

#[test]
fn usage_errors_exit_with_two() {
    cassi(["simulate"]).assert().code(2);
    cassi(["--threads", "0", "methods"]).assert().code(2);
    cassi(["--help"]).assert().code(0);
}
