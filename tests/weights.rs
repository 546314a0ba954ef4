//! Weights with cards: chosen by what they are for, and refused where they are not what their card says.

use std::path::Path;
use std::process::Output;

use cassi_core::card::{MaskPolicy, WeightsCard};
use cassi_infer::float::Layout;
use cassi_io::TensorPrecision;

use crate::util::{Scratch, cassi, json, output, random_weights, refused, shared, write_weights};

/// An instrument of our own with a band of its own, so that weights that ship never fit it.
const CAMERA: &str = "test-camera";

/// A snapshot of that camera and the camera's file.
struct Bench {
    scratch: Scratch,
    camera: String,
    snapshot: String,
    mask: String,
    mask_hash: String,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let file = |name: &str| scratch.file(name);
        let (camera, scene, snapshot, mask) =
            (file("camera.toml"), file("s.npy"), file("y.npy"), file("m.npy"));
        let standard = output(&["instrument", "show", "standard"]);
        let ours = standard.replace("\"standard\"", &format!("{CAMERA:?}")).replace("453.5", "453.0");
        assert!(ours.contains("453.0"), "{ours}");
        std::fs::write(&camera, ours).unwrap();
        output(&["scene", "make", "--rows", "16", "--columns", "16", "-o", &scene]);
        let made = json(&["mask", "make", "bernoulli", "--rows", "16", "--columns", "16", "-o", &mask]);
        output(&["simulate", "--scene", &scene, "--mask", &mask, "--instrument", &camera, "-o", &snapshot]);
        std::fs::create_dir(file("weights")).unwrap();
        let mask_hash = made["sha256"].as_str().unwrap().to_string();
        Self { scratch, camera, snapshot, mask, mask_hash }
    }

    /// Random weights of mst-s with a card, in the folder of weights.
    fn add(&self, name: &str, seed: u64, mask: MaskPolicy) -> String {
        let path = self.scratch.file(&format!("weights/{name}.safetensors"));
        let tensors = random_weights("mst-s", Layout::Standard, seed);
        let sha256 = write_weights(&path, &tensors, TensorPrecision::F16);
        let standard = cassi_optics::builtin("standard").unwrap();
        let card = WeightsCard {
            name: name.into(),
            method: "mst-s".into(),
            bands: 28,
            width: 28,
            columns_per_band: 2,
            instrument: CAMERA.into(),
            sha256,
            licence: "MIT".into(),
            mask,
            network_input: standard.network_input,
            limits: Some("a first try".into()),
            training: None,
            metrics: None,
        };
        std::fs::write(Path::new(&path).with_extension("toml"), toml::to_string(&card).unwrap()).unwrap();
        path
    }

    /// `cassi reconstruct` of the snapshot with these arguments more, weights looked for in the folder.
    fn reconstruct(&self, more: &[&str]) -> Output {
        let out = self.scratch.file("x.npy");
        let common =
            ["reconstruct", "--json", "--snapshot", &self.snapshot, "--mask", &self.mask, "-o", &out];
        let mut command = cassi([&common[..], more].concat());
        command.env("CASSI_WEIGHTS", self.scratch.file("weights"));
        command.output().expect("cassi starts")
    }

    /// The same for mst-s on the camera, which must succeed; which weights were used.
    fn used(&self) -> String {
        let run = self.reconstruct(&["--method", "mst-s", "--instrument", &self.camera]);
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{text}");
        let result: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        result["weights"].as_str().unwrap().to_string()
    }

    /// The same, which must be refused with these words and leave nothing.
    fn refused(&self, more: &[&str], words: &[&str]) {
        let run = self.reconstruct(more);
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{text}");
        for word in words {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
        assert!(!Path::new(&self.scratch.file("x.npy")).exists());
    }
}

#[test]
fn the_weights_for_the_mask_come_first_and_those_for_any_next() {
    let bench = Bench::new();
    let on_camera = ["--method", "mst-s", "--instrument", &bench.camera];
    bench.refused(&on_camera, &["mst-s", "--weights FILE"]);
    bench.add("other-mask", 1, MaskPolicy::Only("0".repeat(64)));
    // Which there are, and for what.
    bench.refused(&on_camera, &["other-mask", CAMERA, &bench.mask_hash[..12], "000000000000"]);
    bench.add("z-any-mask", 2, MaskPolicy::Any);
    assert!(bench.used().starts_with("z-any-mask.safetensors"), "{}", bench.used());
    bench.add("z-this-mask", 3, MaskPolicy::Only(bench.mask_hash.clone()));
    assert!(bench.used().starts_with("z-this-mask.safetensors"), "{}", bench.used());
    let run = bench.reconstruct(&on_camera);
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(text.contains("a first try"), "the limits on the card are said: {text}");
}

#[test]
fn weights_that_are_not_what_their_card_says_are_refused_with_both_values() {
    let bench = Bench::new();
    let path = bench.add("mine", 1, MaskPolicy::Any);
    let on_camera = ["--method", "mst-s", "--instrument", &bench.camera];
    let named = [&on_camera[..], &["--weights", &path]].concat();
    assert!(bench.reconstruct(&named).status.success());
    std::fs::remove_file(bench.scratch.file("x.npy")).unwrap();
    // Another instrument, another method.
    bench.refused(
        &["--method", "mst-s", "--instrument", "standard", "--weights", &path],
        &["`standard`", CAMERA],
    );
    let other = ["--method", "mst-m", "--instrument", &bench.camera, "--weights", &path];
    bench.refused(&other, &["`mst-s`", "`mst-m`"]);
    // One bit of the file.
    let stated = cassi_io::sha256_file(Path::new(&path)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let found = cassi_io::sha256_file(Path::new(&path)).unwrap();
    bench.refused(&named, &["mine.safetensors", &stated, &found]);
    bench.refused(&on_camera, &["mine.safetensors", &stated, &found]);
    // A card that is none.
    std::fs::write(Path::new(&path).with_extension("toml"), "name = 3").unwrap();
    bench.refused(&named, &["mine.toml"]);
}

#[test]
fn weights_without_a_card_need_to_be_told_their_instrument() {
    let bench = Bench::new();
    let path = bench.scratch.file("bare.safetensors");
    let tensors = random_weights("bnn", Layout::Standard, 4);
    write_weights(&path, &tensors, TensorPrecision::F32);
    bench.refused(&["--method", "bnn", "--weights", &path], &["bare.safetensors", "--instrument"]);
    let told = ["--method", "bnn", "--weights", &path, "--instrument", "standard"];
    assert!(bench.reconstruct(&told).status.success());
    // Halves are widened, not refused.
    write_weights(&path, &tensors, TensorPrecision::F16);
    assert!(bench.reconstruct(&told).status.success());
    // Packed bits know what they are for.
    let packed = bench.scratch.file("bnn.cbin");
    output(&["compile", "--method", "bnn", &path, "-o", &packed]);
    assert!(bench.reconstruct(&["--method", "bnn", "--weights", &packed]).status.success());
    let real = ["--method", "bnn", "--weights", &packed, "--instrument", "tsa-real"];
    std::fs::remove_file(bench.scratch.file("x.npy")).unwrap();
    bench.refused(&real, &["standard", "tsa-real"]);
}

#[test]
fn halved_weights_take_their_card_along() {
    let bench = Bench::new();
    let path = bench.add("mine", 1, MaskPolicy::Any);
    let (whole, half) = (bench.scratch.file("whole.safetensors"), bench.scratch.file("half.safetensors"));
    // With the log of its training, which is looked for beside the card only.
    let card = Path::new(&path).with_extension("toml");
    let training = "\n[training]\ndata = []\ncommand = \"\"\nseed = 0\nsteps = 1\nsamples = 1\nseconds = 1.0\n\
                    version = \"0\"\nlog = \"elsewhere/run.csv\"\n";
    std::fs::write(&card, std::fs::read_to_string(&card).unwrap() + training).unwrap();
    std::fs::write(card.with_file_name("run.csv"), "step,loss\n1,0.5\n").unwrap();
    output(&["convert", &path, &whole]);
    output(&["convert", &whole, &half, "--half"]);
    assert_eq!(std::fs::read_to_string(bench.scratch.file("half.csv")).unwrap(), "step,loss\n1,0.5\n");
    let carried = std::fs::read_to_string(bench.scratch.file("half.toml")).unwrap();
    assert!(carried.contains("log = \"half.csv\""), "{carried}");
    let length = |path: &str| std::fs::metadata(path).unwrap().len();
    assert!(length(&half) * 3 < length(&whole) * 2, "{} against {}", length(&half), length(&whole));
    for weights in [&whole, &half] {
        let on_camera = ["--method", "mst-s", "--instrument", &bench.camera, "--weights", weights];
        assert!(bench.reconstruct(&on_camera).status.success());
    }
    refused(&["convert", &bench.snapshot, &bench.scratch.file("y.h5"), "--half"], &["--half"]);
}

#[test]
fn what_is_there_is_listed() {
    let bench = Bench::new();
    bench.add("mine", 1, MaskPolicy::Any);
    let mut command = cassi(["methods", "mst-s", "--json"]);
    let listed = command.env("CASSI_WEIGHTS", bench.scratch.file("weights")).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let weights = listed[0]["weights"].as_array().unwrap();
    assert!(
        weights.iter().any(|w| w["card"]["name"] == "mine" && w["card"]["instrument"] == CAMERA),
        "{listed}"
    );
    let mut command = cassi(["methods"]);
    command.env("CASSI_WEIGHTS", bench.scratch.file("nowhere")).assert().code(2);
}

#[test]
fn the_official_pair_is_recognised() {
    let Some(shared) = shared() else { return };
    let file = |name: &str| shared.join(name).to_str().unwrap().to_string();
    let bench = Bench::new();
    let out = bench.scratch.file("x.npy");
    // Two files of the same names and shapes: the hash tells which camera each is for.
    let (sim, real) = (file("weights/bisrnet_sim.pth"), file("weights/bisrnet_real.safetensors"));
    let with = |weights: &str| {
        let y = &bench.snapshot;
        json(&[
            "reconstruct",
            "--snapshot",
            y,
            "--mask",
            &bench.mask,
            "--method",
            "bisrnet",
            "--weights",
            weights,
            "-o",
            &out,
        ])
    };
    assert_eq!(with(&sim)["instrument"], "standard");
    assert_eq!(with(&real)["instrument"], "tsa-real");
    std::fs::remove_file(&out).unwrap();
    let y = &bench.snapshot;
    let wrong = [
        "reconstruct",
        "--snapshot",
        y,
        "--method",
        "bisrnet",
        "--weights",
        &sim,
        "--instrument",
        "tsa-real",
    ];
    refused(&[&wrong[..], &["--mask", &bench.mask, "-o", &out]].concat(), &["`standard`", "`tsa-real`"]);
}

#[test]
fn quality_fills_cards_and_averages_procedural_scenes_apart() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.file("scenes")).unwrap();
    let made = ["scene", "make", "--rows", "32", "--columns", "32", "-o", &scratch.file("scenes/one.h5")];
    assert!(cassi(made).output().unwrap().status.success());
    let weights = scratch.file("mine.safetensors");
    let tensors = random_weights("mst-s", Layout::Standard, 5);
    let sha256 = write_weights(&weights, &tensors, TensorPrecision::F16);
    let card_file = scratch.file("mine.toml");
    let card = WeightsCard {
        name: "mine".into(),
        method: "mst-s".into(),
        bands: 28,
        width: 28,
        columns_per_band: 2,
        instrument: "standard".into(),
        sha256,
        licence: "MIT".into(),
        mask: MaskPolicy::Any,
        network_input: cassi_optics::builtin("standard").unwrap().network_input,
        limits: None,
        training: None,
        metrics: None,
    };
    std::fs::write(&card_file, toml::to_string(&card).unwrap()).unwrap();
    let (scenes, method, out) = (scratch.file("scenes"), format!("mst-s={weights}"), scratch.file("out.md"));
    let quality = ["bench", "quality", "--scenes", &scenes, "--procedural", "2", "--method", &method];
    let output = cassi([&quality[..], &["--cards", "-o", &out]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&out).unwrap();
    for expected in ["procedural_*", "| procedural_00_still-life |", "| procedural_01_chart |", "| one |"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let filled: WeightsCard = toml::from_str(&std::fs::read_to_string(&card_file).unwrap()).unwrap();
    let metrics = filled.metrics.clone().expect("filled");
    assert_eq!(metrics.scenes.keys().collect::<Vec<_>>(), ["one"], "procedural scenes are not on cards");
    assert_eq!(metrics.mean, metrics.scenes["one"]);
    assert!(text.contains(&format!("| mst-s | {:.2} |", metrics.mean.psnr_unit_peak)), "{text}");
    assert_eq!(WeightsCard { metrics: None, ..filled }, card, "nothing else changes");
}

#[test]
fn quality_takes_snapshots_of_other_instruments_with_noise() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.file("scenes")).unwrap();
    output(&["scene", "make", "--rows", "32", "--columns", "32", "-o", &scratch.file("scenes/one.h5")]);
    let mask = scratch.file("m.npy");
    output(&["mask", "make", "bernoulli", "--rows", "48", "--columns", "40", "-o", &mask]);
    // A network that adds nothing to the estimate of GAP-TV.
    let mut tensors = random_weights("mst-s", Layout::Standard, 5);
    let last = cassi_core::Tensor::new(vec![28, 28, 3, 3], vec![0.0; 28 * 28 * 9]).expect("so many values");
    tensors.insert("mapping.weight", last);
    let weights = scratch.file("w.safetensors");
    write_weights(&weights, &tensors, TensorPrecision::F32);
    let (scenes, method) = (scratch.file("scenes"), format!("gap-tv+mst-s={weights}"));
    let quality = ["bench", "quality", "--scenes", &scenes, "--instrument", "tsa-real", "--mask", &mask];
    let methods = ["--method", "gap-tv", "--method", &method];
    let figures = |noise: &str| -> Vec<f64> {
        let results = json(&[&quality[..], &methods, &["--noise", noise]].concat());
        let results = results.as_array().expect("two methods").clone();
        results.iter().map(|result| result["scenes"][0][1]["psnr_unit_peak"].as_f64().expect("dB")).collect()
    };
    let (clean, noisy) = (figures("none"), figures("gaussian:0.5"));
    // Half of all light of a scene in 0..1 is within 10 dB; GAP-TV is well above, noise below it.
    assert!(clean[0] > 20.0 && noisy[0] < clean[0] - 1.0, "{clean:?} and {noisy:?} dB");
    for [solver, refined] in [[clean[0], clean[1]], [noisy[0], noisy[1]]] {
        // A factor and its inverse on every value.
        assert!((solver - refined).abs() < 1e-4, "{solver} and {refined} dB");
    }
    let text = output(&[&quality[..], &methods, &["--noise", "binomial"]].concat());
    assert!(text.contains("Instrument `tsa-real`, snapshots with noise `binomial:0.4,2048`"), "{text}");
    let missing = ["bench", "quality", "--scenes", &scenes, "--instrument", "tsa-real", "--method", "gap-tv"];
    refused(&missing, &["tsa-real", "--mask"]);
}
