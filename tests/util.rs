//! What the command tests share: a scratch folder, the binary, the shared data.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

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
