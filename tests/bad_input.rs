//! Bad input through the binary: one clear error, exit code 2, nothing written.

use std::path::Path;
use std::process::{Command, Stdio};

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

/// A scene of 28 bands in every format that a cube is written in, and a snapshot as a picture.
fn samples(scratch: &Scratch) -> Vec<String> {
    let scene = scratch.file("scene.npy");
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    let mut files = vec![scene.clone()];
    for extension in ["h5", "mat", "npz"] {
        files.push(scratch.file(&format!("scene.{extension}")));
        output(&["convert", &scene, files.last().unwrap()]);
    }
    files.push(scratch.file("y.png"));
    output(&["simulate", "--scene", &scene, "-o", files.last().unwrap()]);
    files
}

/// The command that reads such a file.
fn reading<'a>(file: &'a str, out: &'a str) -> Vec<&'a str> {
    if file.ends_with(".png") {
        vec!["reconstruct", "--snapshot", file, "--set", "iterations=2", "-o", out]
    } else {
        vec!["simulate", "--scene", file, "-o", out]
    }
}

#[test]
fn truncated_and_mutated_files_of_every_format() {
    let scratch = Scratch::new();
    let samples = samples(&scratch);
    let out = scratch.file("out.npy");
    for file in &samples {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(file).unwrap();
        for (part, of) in [(1, 2), (1, 10), (9, 10)] {
            let cut = write(&scratch, &format!("cut-{name}"), &bytes[..bytes.len() * part / of]);
            refused(&reading(&cut, &out), &[&format!("cut-{name}")]);
        }
        // A stretch of the header and one of the data overwritten: refused, or, where the format has no checksum and
        // the numbers are still numbers, read. Never a crash.
        for at in [40, bytes.len() / 2] {
            let mut bad = bytes.clone();
            bad[at..at + 24].fill(0xa5);
            let bad = write(&scratch, &format!("bad-{name}"), &bad);
            let result = cassi(reading(&bad, &out)).output().unwrap();
            let text = String::from_utf8_lossy(&result.stderr);
            assert!(matches!(result.status.code(), Some(0 | 2)), "{name} at {at}: {text}");
            assert_eq!(result.status.code() == Some(2), text.contains("error: "), "{name} at {at}: {text}");
            assert_eq!(result.status.code() == Some(0), Path::new(&out).exists(), "{name} at {at}");
            let _ = std::fs::remove_file(&out);
        }
    }
}

/// An NPY file by hand.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn wrong_types_shapes_and_headers() {
    let scratch = Scratch::new();
    let out = scratch.file("x.npy");
    let floats = [0; 4 * 24];
    for (name, bytes, words) in [
        ("text.npy", npy("<U4", "(2,)", &[0; 32]), &["text.npy"][..]),
        ("objects.npy", npy("|O", "(2,)", b"\x80\x04]."), &["objects.npy", "'|O'", "float32"]),
        ("flat.npy", npy("<f4", "(4, 6)", &floats), &["flat.npy", "[4, 6]", "three axes"]),
        ("empty.npy", npy("<f4", "(28, 0, 4)", &[]), &["empty.npy", "[28, 0, 4]"]),
        ("short.npy", npy("<f4", "(28, 4, 4)", &floats), &["short.npy"]),
        ("huge.npy", npy("<f4", "(1099511627776, 28, 4)", &floats), &["huge.npy"]),
        ("prose.npy", b"Call me Ishmael.".to_vec(), &["prose.npy", "unknown format", "43 61 6c 6c"]),
    ] {
        let file = write(&scratch, name, &bytes);
        refused(&["simulate", "--scene", &file, "-o", &out], words);
    }
    // A scene is no snapshot, a snapshot no scene, and a folder no file.
    let (scene, y) = (scratch.file("s.npy"), scratch.file("y.npy"));
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    refused(&["simulate", "--scene", &y, "-o", &out], &["y.npy", "[16, 70]", "three axes"]);
    refused(&["simulate", "--scene", scratch.path().to_str().unwrap(), "-o", &out], &["cannot read"]);
    // A snapshot that no scene of this instrument gives: narrower than its 28 bands are apart.
    let narrow = write(&scratch, "narrow.npy", &npy("<f4", "(4, 6)", &floats));
    refused(&["reconstruct", "--snapshot", &narrow, "-o", &out], &["[4, 6]"]);
    assert!(!Path::new(&out).exists());
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

/// Names and contents of a folder.
#[cfg(target_os = "linux")]
fn contents(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    (std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn folders_and_devices_that_cannot_be_written() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.npy");
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    let full = scratch.file("full.npy");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    for out in ["/proc/cassi/y.npy", "/proc/cassi/y.h5", &full] {
        refused(&["simulate", "--scene", &scene, "-o", out], &[out, "cannot write"]);
    }
    refused(&["compare", "--estimate", &format!("a={scene}"), "-o", "/proc/cassi"], &["/proc/cassi"]);
    assert!(Path::new(&full).is_symlink(), "a device is not replaced");
}

/// What a full disk does: writes fail half-way. A limit on the size of files does it without a disk to fill.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_leaves_what_was_there() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.npy");
    output(&["scene", "make", "--rows", "64", "--columns", "64", "-o", &scene]);
    let limited = |arguments: &[&str]| {
        // Ignored, the signal becomes an error of the write. 16 blocks are 8 or 16 KiB, as the shell counts.
        Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_cassi")])
            .args(arguments)
            .output()
            .unwrap()
    };
    for name in ["x.npy", "x.npz", "x.mat", "x.h5"] {
        let out = write(&scratch, name, b"what was there");
        let before = contents(scratch.path());
        let result = limited(&["convert", &scene, &out]);
        let text = String::from_utf8_lossy(&result.stderr);
        assert_eq!(result.status.code(), Some(2), "{text}");
        let error: Vec<&str> = text.lines().filter(|line| !line.starts_with("note: ")).collect();
        assert!(matches!(error[..], [line] if line.starts_with("error: ") && line.contains(name)), "{text}");
        assert!(contents(scratch.path()) == before, "{name}");
    }
    let report = scratch.path().join("report");
    let result = limited(&["compare", "--estimate", &format!("a={scene}"), "-o", report.to_str().unwrap()]);
    assert_eq!(result.status.code(), Some(2));
    // What was finished before is whole, and nothing else is there.
    for (name, bytes) in contents(&report.join("figures")) {
        let whole = if name.ends_with(".png") {
            bytes.ends_with(b"IEND\xaeB`\x82")
        } else {
            bytes.ends_with(b"</svg>\n")
        };
        assert!(whole, "{name} of {} bytes is cut short", bytes.len());
    }
    assert!(!report.join("report.html").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_write_leaves_what_was_there() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.npy");
    // Two seconds of deflating: time enough to be interrupted in, on a busy machine, too.
    output(&["scene", "make", "--rows", "512", "--columns", "512", "-o", &scene]);
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let out = write(&scratch, "x.h5", b"what was there");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cassi"))
            .args(["convert", &scene, &out])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let under_way = || names_in(scratch.path()).iter().any(|name| name.ends_with(".part"));
        while !under_way() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        }
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number), "{status}");
        assert_eq!(names_in(scratch.path()), ["s.npy", "x.h5"], "after SIG{signal}");
        assert_eq!(std::fs::read(&out).unwrap(), b"what was there");
    }
}

/// Names in a folder, sorted.
#[cfg(unix)]
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn usage_errors_exit_with_two() {
    cassi(["simulate"]).assert().code(2);
    cassi(["--threads", "0", "methods"]).assert().code(2);
    cassi(["--help"]).assert().code(0);
}
