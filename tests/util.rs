//! What the command tests share: a scratch folder, the binary, the shared data.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cassi_core::random::Stream;
use cassi_core::{NamedTensors, Tensor};
use cassi_infer::binary;
use cassi_infer::float::{Layout, MstNetwork, Variant};
use cassi_io::TensorPrecision;

/// A scratch folder that goes away with the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it, as text for a command line.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a plain path").to_string()
    }
}

/// `cassi` with these arguments.
pub(crate) fn cassi<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cassi"));
    command.args(arguments);
    command
}

/// Runs `cassi`, which must succeed, and returns its standard output.
pub(crate) fn output(arguments: &[&str]) -> String {
    let output = cassi(arguments).output().expect("cassi starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cassi {arguments:?} failed: {text}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs `cassi --json`, which must succeed, and parses what it prints.
pub(crate) fn json(arguments: &[&str]) -> serde_json::Value {
    let text = output(&[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs `cassi`, which must refuse with exit code 2 and one line of error that has every word of `words`.
pub(crate) fn refused(arguments: &[&str], words: &[&str]) {
    let output = cassi(arguments).output().expect("cassi starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "cassi {arguments:?}: {text}");
    assert!(output.stdout.is_empty(), "cassi {arguments:?} printed a result beside its error");
    assert_eq!(text.matches("error:").count(), 1, "cassi {arguments:?}: one error expected: {text}");
    for word in words {
        assert!(text.contains(word), "cassi {arguments:?}: `{word}` is not in: {text}");
    }
}

/// Weights of a network drawn at random (same seed, same numbers), of the size that training leaves them with: layers
/// keep the scale of what passes them, norms are near one, variances positive. Weights keep away from zero, between a
/// half and a whole of their size: where a latent weight lies outside of half to twice the mean size, the published
/// binarization `mean − w + w`, which the libtorch twins follow, can leave a residue of 6e-8, and the sign of a sum that
/// is exactly zero on bits is then anything.
pub(crate) fn random_weights(method: &str, layout: Layout, seed: u64) -> NamedTensors {
    let shapes = match Variant::from_name(method) {
        Some(variant) => MstNetwork::expected_tensors(variant, layout, 28),
        None => binary::expected_tensors(binary::Method::from_name(method).expect("a network")),
    };
    // Checkpoints of batch normalisation count the batches that they have seen; only libtorch asks for it.
    let counters: Vec<_> = (shapes.iter())
        .filter_map(|(name, _)| {
            Some((format!("{}num_batches_tracked", name.strip_suffix("running_var")?), vec![]))
        })
        .collect();
    let shapes = shapes.into_iter().chain(counters);
    let mut stream = Stream::new(seed, "test/weights", 0);
    let draw = |(name, shape): (String, Vec<usize>)| {
        let fan_in: usize = shape.iter().skip(1).product();
        let mut value = |name: &str| {
            let normal = stream.normal();
            let side = if stream.chance(0.5) { 1.0 } else { -1.0 };
            let away = side * (0.5 + 0.5 * stream.uniform());
            match shape[..] {
                _ if name.ends_with("running_var") => 1.0 + 0.5 * away,
                [] => 1.0,
                [_] if name.ends_with("weight") => 1.0 + 0.1 * normal,
                [_] => 0.1 * normal,
                // Bi-Real's, stored as a column.
                [_, 1] => 0.1 * away,
                _ => away * (1.7 / fan_in as f64).sqrt(),
            }
        };
        let data = (0..shape.iter().product()).map(|_| value(&name) as f32).collect();
        (name, Tensor::new(shape, data).expect("so many values"))
    };
    shapes.map(draw).collect()
}

/// Writes them as a safetensors file and returns its SHA-256.
pub(crate) fn write_weights(path: &str, tensors: &NamedTensors, precision: TensorPrecision) -> String {
    let path = Path::new(path);
    cassi_io::write_tensors(path, tensors, precision, &Default::default())
        .expect("a folder that can be written");
    cassi_io::sha256_file(path).expect("just written")
}

/// The folder of measured data that belongs to others, where there is one.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("CASSI_SHARED").map_or(beside, PathBuf::from);
    if folder.join("scenes").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no measured data at {} (set CASSI_SHARED)", folder.display());
    None
}
