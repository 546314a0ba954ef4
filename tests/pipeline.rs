//! The main job through the binary: scene, snapshot, cube, scores, report.

use crate::util::{Scratch, cassi, json, output, shared};

/// A small scene, written once a test: 28 bands, 64x64.
fn small_scene(scratch: &Scratch) -> String {
    let path = scratch.file("scene.h5");
    output(&["scene", "make", "--rows", "64", "--columns", "64", "--seed", "5", "-o", &path]);
    path
}

#[test]
fn from_a_scene_to_scores() {
    let scratch = Scratch::new();
    let scene = small_scene(&scratch);
    let (y, x) = (scratch.file("y.h5"), scratch.file("x.h5"));
    let simulated = json(&["simulate", "--scene", &scene, "-o", &y]);
    assert_eq!(simulated["shape"], serde_json::json!([64, 118]));
    let result = json(&["reconstruct", "--snapshot", &y, "--method", "gap-tv", "-o", &x]);
    for key in ["method", "seconds", "peak_memory_mb", "iterations", "residual"] {
        assert!(!result[key].is_null(), "reconstruct --json has no {key}: {result}");
    }
    assert_eq!(result["method"], "gap-tv");
    let scores = json(&["evaluate", "--truth", &scene, "--estimate", &x]);
    let keys = [
        "psnr_unit_peak",
        "psnr_unit_peak_per_band",
        "psnr_mst",
        "ssim_mst",
        "psnr_matlab",
        "ssim_matlab",
        "sam_matlab_deg",
        "ergas_matlab",
        "sam_deg",
        "rmse",
        "ergas",
        "mrae",
        "ssim_unit_peak",
    ];
    for key in keys {
        assert!(!scores[key].is_null(), "evaluate --json has no {key}: {scores}");
    }
    // A reconstruction that carries information is far above the mean cube (about 15 dB here).
    assert!(scores["psnr_unit_peak"].as_f64().unwrap() > 22.0, "{scores}");
}

#[test]
fn same_seed_same_bytes_at_any_thread_count() {
    let scratch = Scratch::new();
    let scene = small_scene(&scratch);
    let run = |threads: &str, seed: &str, name: &str| {
        let (y, x) = (scratch.file(&format!("y{name}.npy")), scratch.file(&format!("x{name}.npy")));
        let simulate = [
            "simulate",
            "--scene",
            &scene,
            "--noise",
            "binomial",
            "--seed",
            seed,
            "--threads",
            threads,
            "-o",
            &y,
        ];
        output(&simulate);
        let reconstruct =
            ["reconstruct", "--snapshot", &y, "--set", "iterations=10", "--threads", threads, "-o", &x];
        output(&reconstruct);
        (std::fs::read(y).unwrap(), std::fs::read(x).unwrap())
    };
    let first = run("1", "7", "a");
    assert!(first == run("2", "7", "b"), "two threads give other bytes than one");
    assert!(first.0 != run("1", "8", "c").0, "another seed gives the same noise");
}

#[test]
fn a_snapshot_knows_its_instrument_and_its_making() {
    let scratch = Scratch::new();
    let scene = small_scene(&scratch);
    let y = scratch.file("y.h5");
    output(&["simulate", "--scene", &scene, "--noise", "gaussian:0.01", "--seed", "3", "-o", &y]);
    let info = json(&["info", &y]);
    let text = info.to_string();
    assert!(text.contains("sha256") && text.contains("gaussian:0.01"), "{text}");
    assert!(text.contains("columns_per_band"), "{text}");
}

#[test]
fn warm_start_trace_and_repeat() {
    let scratch = Scratch::new();
    let scene = small_scene(&scratch);
    let (y, x, trace) = (scratch.file("y.h5"), scratch.file("x.h5"), scratch.file("t.csv"));
    output(&["simulate", "--scene", &scene, "-o", &y]);
    output(&["reconstruct", "--snapshot", &y, "--set", "iterations=20", "--set", "tolerance=0", "-o", &x]);
    let again = json(&[
        "reconstruct",
        "--snapshot",
        &y,
        "--warm-start",
        &x,
        "--set",
        "iterations=5",
        "--set",
        "tolerance=0",
        "--repeat",
        "3",
        "--trace",
        &trace,
        "-o",
        &scratch.file("x2.h5"),
    ]);
    assert_eq!(again["seconds_all"].as_array().unwrap().len(), 3);
    assert_eq!(again["iterations"], 5);
    let lines = std::fs::read_to_string(trace).unwrap();
    assert_eq!(lines.lines().count(), 6, "{lines}");
}

#[test]
fn comparing_draws_figures_tables_and_a_page() {
    let scratch = Scratch::new();
    let scene = small_scene(&scratch);
    let (y, x, folder) = (scratch.file("y.h5"), scratch.file("x.h5"), scratch.file("report"));
    output(&["simulate", "--scene", &scene, "-o", &y]);
    output(&["reconstruct", "--snapshot", &y, "--set", "iterations=20", "-o", &x]);
    let estimate = format!("gap-tv={x}");
    output(&["compare", "--truth", &scene, "--estimate", &estimate, "--snapshot", &y, "-o", &folder]);
    let files = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut names = files(&folder);
    names.extend(files(&format!("{folder}/figures")));
    assert!(names.iter().any(|name| name == "report.html"), "{names:?}");
    for extension in [".svg", ".png", ".md", ".csv", ".tex"] {
        assert!(names.iter().any(|name| name.ends_with(extension)), "no {extension} in {names:?}");
    }
    // A real snapshot has no truth: everything but the scores.
    let folder = scratch.file("report-without-truth");
    output(&["compare", "--estimate", &estimate, "--snapshot", &y, "-o", &folder]);
}

#[test]
fn measured_scene_reaches_the_published_level_of_gap_tv() {
    let Some(shared) = shared() else { return };
    let scratch = Scratch::new();
    let path = |name: &str| shared.join(name).to_str().unwrap().to_string();
    let scene = path("scenes/validation/balloons.h5");
    let (y, x, truth) = (scratch.file("y.h5"), scratch.file("x.h5"), scratch.file("truth.h5"));
    output(&["convert", &scene, &truth, "--bands", "benchmark"]);
    output(&["simulate", "--scene", &truth, "--mask", &path("masks/mask256.mat"), "-o", &y]);
    output(&["reconstruct", "--snapshot", &y, "--mask", &path("masks/mask256.mat"), "-o", &x]);
    let scores = json(&["evaluate", "--truth", &truth, "--estimate", &x]);
    // A plain, tuned GAP-TV reaches 26.06 dB on this scene.
    assert!(scores["psnr_unit_peak"].as_f64().unwrap() > 26.0, "{scores}");
}

#[test]
fn demo_writes_its_report() {
    let scratch = Scratch::new();
    let folder = scratch.file("demo");
    let mut command = cassi(["demo", "--size", "64", "--quiet", "-o", &folder]);
    command.assert().success();
    assert!(scratch.path().join("demo/report.html").is_file());
}
