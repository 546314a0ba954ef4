//! The smaller commands: info, convert, render, mask, instrument, methods, datasets, completions, config.

use std::path::Path;

use cassi_core::{NamedTensors, Tensor};
use cassi_io::TensorPrecision;

use crate::util::{Scratch, cassi, json, output, refused, shared, write_weights};

#[test]
fn methods_tell_what_is_there_and_what_is_missing() {
    let all = json(&["methods"]);
    let find = |name: &str| all.as_array().unwrap().iter().find(|m| m["name"] == name).cloned();
    let gap = find("gap-tv").expect("gap-tv is listed");
    assert_eq!(gap["available"], true);
    assert!(!gap["source"].as_str().unwrap().is_empty());
    let keys: Vec<_> = gap["parameters"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    for key in ["iterations", "inner", "weight", "tolerance", "subspace"] {
        assert!(keys.iter().any(|k| k == key), "gap-tv has no setting {key}: {keys:?}");
    }
    assert_eq!(find("desci").expect("desci is listed")["available"], false);
}

#[test]
fn conversion_between_any_two_formats_keeps_the_cube() {
    let scratch = Scratch::new();
    let first = scratch.file("s.h5");
    output(&["scene", "make", "--rows", "12", "--columns", "20", "--seed", "2", "-o", &first]);
    let mut before = first.clone();
    for name in ["a.mat", "b.npy", "c.npz", "d.h5", "e.npz", "f.mat", "g.h5"] {
        let next = scratch.file(name);
        output(&["convert", &before, &next]);
        before = next;
    }
    let scores = json(&["evaluate", "--truth", &first, "--estimate", &before]);
    assert_eq!(scores["rmse"], 0.0, "{scores}");
}

#[test]
fn a_variable_is_picked_from_every_format_that_holds_several() {
    let scratch = Scratch::new();
    let tensor = |shape: &[usize], first: u8| {
        let count: usize = shape.iter().product();
        Tensor::new(shape.to_vec(), (0..count).map(|i| f32::from(first) + i as f32).collect()).unwrap()
    };
    let all = NamedTensors::from_iter([
        ("first.weight".to_string(), tensor(&[2, 3], 0)),
        ("first.bias".to_string(), tensor(&[3], 40)),
        ("second".to_string(), tensor(&[2, 3], 80)),
    ]);
    let picked = |file: &str, name: &str| {
        let out = scratch.file("picked.npy");
        output(&["convert", &format!("{file}:{name}"), &out]);
        cassi_io::read_array(&cassi_io::Source::parse(&out)).unwrap().value
    };
    for extension in ["safetensors", "npz", "mat", "h5"] {
        let file = scratch.file(&format!("several.{extension}"));
        match extension {
            "safetensors" => drop(write_weights(&file, &all, TensorPrecision::F32)),
            _ => cassi_io::write_arrays(Path::new(&file), &all, &Default::default()).unwrap(),
        }
        for name in ["first.weight", "second"] {
            let (array, expected) = (picked(&file, name), all.get(name).unwrap());
            assert_eq!(array.shape(), expected.shape, "{file}");
            assert!(array.iter().eq(&expected.data), "{file}: {name}: {array}");
        }
        let out = scratch.file("none.npy");
        let nearest =
            "no variable `first.weigth`; it holds, nearest first, first.weight [2, 3], first.bias [";
        refused(&["convert", &format!("{file}:first.weigth"), &out], &[nearest, "second [2, 3]"]);
        refused(&["convert", &file, &out], &["cannot tell which variable", "first.weight", "second"]);
        assert!(!Path::new(&out).exists());
        // Of weights, the one alone.
        let one = scratch.file("one.safetensors");
        output(&["convert", &format!("{file}:second"), &one]);
        let names: Vec<_> =
            cassi_io::read_tensors(Path::new(&one)).unwrap().iter().map(|(n, _)| n.to_string()).collect();
        assert_eq!(names, ["second"], "{file}");
    }
    let Some(shared) = shared() else { return };
    let checkpoint = shared.join("weights/bisrnet_sim.pth").to_str().unwrap().to_string();
    let tensors = cassi_io::read_tensors(Path::new(&checkpoint)).unwrap();
    let (name, expected) = tensors.iter().last().unwrap();
    assert!(picked(&checkpoint, name).iter().eq(&expected.data), "{name}");
    let missing = format!("{checkpoint}:{}", &name[..name.len() - 1]);
    refused(&["convert", &missing, &scratch.file("none.npy")], &[&format!("nearest first, {name} [")]);
}

#[test]
fn masks_come_with_a_card_and_explain_themselves() {
    let scratch = Scratch::new();
    for kind in ["bernoulli", "blue-noise", "grey"] {
        let path = scratch.file(&format!("{kind}.npy"));
        let made =
            json(&["mask", "make", kind, "--rows", "48", "--columns", "40", "--seed", "1", "-o", &path]);
        let card = std::fs::read_to_string(scratch.file(&format!("{kind}.toml"))).unwrap();
        assert!(card.contains(made["sha256"].as_str().unwrap()), "{card}");
        let explained = output(&["instrument", "explain", "--mask", &path, "--pixel", "10,30"]);
        assert!(explained.contains("nm"), "{explained}");
    }
}

#[test]
fn explaining_runs_the_adjoint_test() {
    let explained = json(&["instrument", "explain", "standard", "--pixel", "100,60"]);
    assert_eq!(explained["check"]["passes"], true, "{explained}");
    // Column 60 at step 2: bands 0..=27 reach it from columns 60 - 2b.
    assert_eq!(explained["voxels"].as_array().unwrap().len(), 28);
}

#[test]
fn rendering_a_cube_a_band_and_a_snapshot() {
    let scratch = Scratch::new();
    let (scene, y) = (scratch.file("s.h5"), scratch.file("y.h5"));
    output(&["scene", "make", "--rows", "24", "--columns", "24", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    for (input, extra) in [(&scene, None), (&scene, Some("--band=550")), (&y, None)] {
        let png = scratch.file("out.png");
        let mut arguments = vec!["render", input, "-o", &png];
        arguments.extend(extra);
        output(&arguments);
        let bytes = std::fs::read(&png).unwrap();
        assert_eq!(&bytes[1..4], b"PNG");
    }
}

#[test]
fn datasets_are_listed_and_checked() {
    assert!(output(&["datasets"]).contains("cave_1024_28"));
    let scratch = Scratch::new();
    let root = scratch.file("");
    // Absent sets are no failure; half a set is.
    cassi(["datasets", "check", "--root", &root]).assert().code(0);
    std::fs::create_dir(scratch.path().join("TSA_real_data")).unwrap();
    std::fs::write(scratch.path().join("TSA_real_data/mask.mat"), b"no mask").unwrap();
    cassi(["datasets", "check", "--root", &root]).assert().code(1);
}

#[test]
fn completions_and_man_pages() {
    assert!(output(&["completions", "bash"]).contains("reconstruct"));
    let scratch = Scratch::new();
    let folder = scratch.file("man1");
    output(&["completions", "--man", &folder]);
    for page in ["cassi", "cassi-reconstruct", "cassi-scene-lift"] {
        assert!(scratch.path().join(format!("man1/{page}.1")).is_file(), "{page}");
    }
}

#[test]
fn options_from_a_file_yield_to_the_command_line() {
    let scratch = Scratch::new();
    let (scene, y, config) = (scratch.file("s.npy"), scratch.file("y.npy"), scratch.file("c.toml"));
    output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
    output(&["simulate", "--scene", &scene, "-o", &y]);
    std::fs::write(&config, "[common]\nseed = 9\n[reconstruct]\nset = { iterations = 3, tolerance = 0 }\n")
        .unwrap();
    let x = scratch.file("x.npy");
    let from_file = json(&["--config", &config, "reconstruct", "--snapshot", &y, "-o", &x]);
    assert_eq!(from_file["iterations"], 3);
    let overridden = json(&[
        "--config",
        &config,
        "reconstruct",
        "--snapshot",
        &y,
        "--set",
        "iterations=4",
        "--set",
        "tolerance=0",
        "-o",
        &x,
    ]);
    assert_eq!(overridden["iterations"], 4);
}

#[test]
fn commands_within_commands_have_tables_of_their_own() {
    let scratch = Scratch::new();
    let (scene, config) = (scratch.file("s.npy"), scratch.file("c.toml"));
    std::fs::write(&config, "[scene.make]\nrows = 12\ncolumns = 20\n").unwrap();
    let made = json(&["--config", &config, "scene", "make", "--columns", "24", "-o", &scene]);
    assert_eq!(made["shape"], serde_json::json!([28, 12, 24]));
    for (wrong, word) in [("[scene]\nrows = 12\n", "rows"), ("[scene.make]\nrow = 12\n", "rows")] {
        std::fs::write(&config, wrong).unwrap();
        crate::util::refused(&["--config", &config, "scene", "make", "-o", &scene], &["c.toml", word]);
    }
}

#[test]
fn quiet_is_quiet() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.npy");
    let made =
        cassi(["-q", "scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]).output().unwrap();
    assert!(made.status.success() && made.stdout.is_empty() && made.stderr.is_empty());
}

#[test]
fn a_network_lists_its_tensors_and_refuses_those_of_another() {
    let listed = json(&["network", "list", "--method", "mst-s"]);
    assert_eq!(listed.as_array().unwrap().len(), 202);
    let golden = |name: &str| format!("{}/../../tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let scratch = Scratch::new();
    let out = scratch.file("out.npy");
    let input = format!("{}:x_16", golden("net_inputs.npz"));
    // The inputs are no weights: missing and unexpected names are said, and nothing is written.
    let weights = golden("net_inputs.npz");
    let run = ["network", "run", "--method", "bisrnet", "--weights", &weights, "--input", &input, "-o", &out];
    crate::util::refused(&run, &["bisrnet", "missing"]);
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn official_weights_run_on_bits_and_packed() {
    let Some(shared) = crate::util::shared() else { return };
    let scratch = Scratch::new();
    let file = |name: &str| shared.join(name).to_str().unwrap().to_string();
    let (weights, small) = (file("weights/bisrnet_sim.pth"), file("golden/bisrnet_sim_small.npz"));
    let out = scratch.file("out.npy");
    let (input, mask) = (format!("{small}:x_16"), format!("{small}:mask2d_16"));
    output(&[
        "network",
        "run",
        "--method",
        "bisrnet",
        "--weights",
        &weights,
        "--input",
        &input,
        "--mask",
        &mask,
        "-o",
        &out,
    ]);
    let found = cassi_io::read_array(&cassi_io::Source::parse(&out)).unwrap().value;
    let expected = cassi_io::read_array(&cassi_io::Source::parse(&format!("{small}:out_16"))).unwrap().value;
    assert_eq!(found.shape(), expected.shape());
    // This case was chosen so that no sign lies on the edge: the official code moves by less than 5e-6 under rounding.
    let gap = found.iter().zip(&expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(gap < 1e-4, "{gap}");
    let packed = scratch.file("bisrnet.cbin");
    let size = json(&["compile", "--method", "bisrnet", &weights, "-o", &packed]);
    assert_eq!(size["binary_weights_bits"], 611_072);
}
