//! `cassi reconstruct --stream`: sequences of snapshots from files and from standard input.

use cassi_infer::float::Layout;
use cassi_io::{Source, TensorPrecision};

use crate::util::{Scratch, cassi, json, output, random_weights, write_weights};

/// Four snapshots of 16 x 16 scenes in the folder `frames`, their mask, and weights of bisrnet.
struct Bench {
    scratch: Scratch,
    mask: String,
    weights: String,
    frames: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (mask, weights) = (scratch.file("m.npy"), scratch.file("w.safetensors"));
        output(&["mask", "make", "bernoulli", "--rows", "16", "--columns", "16", "-o", &mask]);
        write_weights(&weights, &random_weights("bisrnet", Layout::Standard, 3), TensorPrecision::F32);
        std::fs::create_dir(scratch.file("frames")).unwrap();
        let scene = scratch.file("s.npy");
        let frames = (0..4)
            .map(|i| {
                let frame = scratch.file(&format!("frames/y{i}.npy"));
                let seed = i.to_string();
                output(&["scene", "make", "--rows", "16", "--columns", "16", "--seed", &seed, "-o", &scene]);
                output(&["simulate", "--scene", &scene, "--mask", &mask, "-o", &frame]);
                frame
            })
            .collect();
        Self { scratch, mask, weights, frames }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let network = ["--method", "bisrnet", "--weights", &self.weights, "--instrument", "standard"];
        [&["reconstruct", "--stream", "--mask", &self.mask], &network[..], more].concat()
    }

    /// Streams these bytes; exit code, what is printed, and messages.
    fn stdin(&self, bytes: Vec<u8>, more: &[&str]) -> (Option<i32>, serde_json::Value, String) {
        let arguments = self.arguments(&[&["--snapshot", "-", "--json"], more].concat());
        let run = cassi(arguments).write_stdin(bytes).output().unwrap();
        let printed = serde_json::from_slice(&run.stdout).unwrap_or(serde_json::Value::Null);
        (run.status.code(), printed, String::from_utf8_lossy(&run.stderr).into_owned())
    }

    fn bare(&self) -> Vec<u8> {
        // An NPY file ends with its values: 16 x 70 singles.
        self.frames.iter().flat_map(|f| std::fs::read(f).unwrap().split_off(128)).collect()
    }
}

#[test]
fn files_folders_and_patterns_give_what_single_runs_give() {
    let bench = Bench::new();
    let (folder, pattern) = (bench.scratch.file("frames"), bench.scratch.file("frames/y?.npy"));
    let x = bench.scratch.file("x.npy");
    let network = ["--method", "bisrnet", "--weights", &bench.weights, "--instrument", "standard"];
    let single = ["reconstruct", "--snapshot", &bench.frames[2], "--mask", &bench.mask, "-o", &x];
    output(&[&single[..], &network].concat());
    let files: Vec<&str> = bench.frames.iter().map(String::as_str).collect();
    for (name, named) in
        [("files", &files[..]), ("folder", &[folder.as_str()]), ("pattern", &[pattern.as_str()])]
    {
        let cubes = bench.scratch.file(&format!("{name}/x.npy"));
        let result = json(&bench.arguments(&[&["--snapshot"], named, &["-o", &cubes]].concat()));
        assert_eq!(result["frames"], 4, "{result}");
        let latency = &result["latency_ms"];
        let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|key| latency[key].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max, "{result}");
        assert!(result["frames_per_second"].as_f64().unwrap() > 0.0, "{result}");
        let third = bench.scratch.file(&format!("{name}/x-00002.npy"));
        assert!(std::fs::read(third).unwrap() == std::fs::read(&x).unwrap(), "{name}: another cube");
    }
    // Without an output nothing is kept; with a folder, cubes say what they are.
    json(&bench.arguments(&["--snapshot", &folder]));
    let kept = bench.scratch.file("kept");
    json(&bench.arguments(&["--snapshot", &folder, "-o", &kept]));
    let info = json(&["info", &format!("{kept}/frame-00003.h5")]).to_string();
    assert!(info.contains("y3.npy") && info.contains("wavelengths_nm"), "{info}");
}

#[test]
fn frames_on_standard_input() {
    let bench = Bench::new();
    let cubes = bench.scratch.file("bare/x.npy");
    let (code, result, text) = bench.stdin(bench.bare(), &["-o", &cubes]);
    assert_eq!((code, &result["frames"]), (Some(0), &serde_json::json!(4)), "{text}");
    let files: Vec<u8> = bench.frames.iter().flat_map(|f| std::fs::read(f).unwrap()).collect();
    // A stack counts as so many frames.
    let plane =
        |f: &String| cassi_io::read_array(&Source::parse(f)).unwrap().value.into_raw_vec_and_offset().0;
    let stack: Vec<f32> = bench.frames[..2].iter().flat_map(plane).collect();
    let files = [cassi_io::npy_bytes(&[2, 16, 70], &stack), files].concat();
    let again = bench.scratch.file("npy/x.npy");
    let (code, result, text) = bench.stdin(files, &["-o", &again]);
    assert_eq!((code, &result["frames"]), (Some(0), &serde_json::json!(6)), "{text}");
    let read = |folder: &str, i: usize| {
        std::fs::read(bench.scratch.file(&format!("{folder}/x-{i:05}.npy"))).unwrap()
    };
    assert!(read("bare", 1) == read("npy", 1) && read("bare", 3) == read("npy", 5));
}

#[test]
fn a_bad_frame_is_named_and_the_others_go_on() {
    let bench = Bench::new();
    let bare = bench.bare();
    std::fs::write(&bench.frames[1], b"no snapshot").unwrap();
    let wide = bench.scratch.file("frames/y4.npy");
    let mut bytes = cassi_io::npy_bytes(&[16, 80], &[0.5; 16 * 80]);
    std::fs::write(&wide, &bytes).unwrap();
    let folder = bench.scratch.file("frames");
    let run = cassi(bench.arguments(&["--snapshot", &folder, "--json"])).output().unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{text}");
    assert!(text.contains("frame 1") && text.contains("y1.npy"), "{text}");
    assert!(text.contains("frame 4") && text.contains("[16, 80]") && text.contains("[16, 70]"), "{text}");
    let result: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&result["frames"], &result["failed"][0]["index"]), (&3.into(), &1.into()), "{result}");

    // A broken stream: what came before counts.
    bytes = bare;
    bytes.truncate(bytes.len() - 5);
    let (code, result, text) = bench.stdin(bytes.clone(), &[]);
    assert_eq!((code, &result["frames"]), (Some(1), &serde_json::json!(3)), "{text}");
    assert!(text.contains("frame 3") && text.contains("truncated"), "{text}");
    // A number that is none, in the second of them.
    bytes[16 * 70 * 4 + 3..16 * 70 * 4 + 8].fill(0xff);
    let (code, _, text) = bench.stdin(bytes, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("frame 1") && text.contains("NaN"), "{text}");
}

#[test]
fn nothing_good_at_all_is_bad_input() {
    let bench = Bench::new();
    for bytes in [vec![], b"short".to_vec(), b"\x93NUMPY and then nothing of it".to_vec()] {
        let (code, _, text) = bench.stdin(bytes, &[]);
        assert_eq!(code, Some(2), "{text}");
    }
    let empty = bench.scratch.file("empty");
    std::fs::create_dir(&empty).unwrap();
    let pattern = format!("{empty}/*.npy");
    for named in [empty.as_str(), &pattern, "nowhere.npy"] {
        cassi(bench.arguments(&["--snapshot", named])).assert().code(2);
    }
    // Several files without --stream are a mistake.
    let files: Vec<&str> = bench.frames.iter().map(String::as_str).collect();
    let x = bench.scratch.file("x.npy");
    let several = [&["reconstruct", "-o", &x, "--snapshot"], &files[..]].concat();
    crate::util::refused(&several, &["--stream"]);
}
