//! Results on standard output: a write that fails is an error, a reader that goes away is none.

use std::process::{Command, Output, Stdio};

use crate::util::{Scratch, output};

/// Commands that print: lines, JSON, a document, what a library writes, and help.
const PRINTING: &[&[&str]] = &[
    &["methods"],
    &["methods", "gap-tv", "--json"],
    &["instrument", "list"],
    &["instrument", "show", "standard"],
    &["instrument", "explain", "standard", "--pixel", "100,60"],
    &["mask", "list"],
    &["scene", "list"],
    &["scene", "list", "--json"],
    &["datasets"],
    &["network", "list", "--method", "mst-s"],
    &["completions", "bash"],
    &["--help"],
    &["convert", "--help"],
    &["--version"],
];

/// Runs `cassi` into this standard output.
fn into(stdout: impl Into<Stdio>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cassi"));
    let child = command.args(arguments).stdout(stdout).stderr(Stdio::piped()).spawn().expect("cassi starts");
    child.wait_with_output().expect("cassi ends")
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output_is_one_error() {
    let scratch = Scratch::new();
    let (scene, full) = (scratch.file("s.h5"), || std::fs::File::create("/dev/full").expect("Linux has it"));
    output(&["scene", "make", "--rows", "8", "--columns", "8", "-o", &scene]);
    let files: [&[&str]; 3] = [
        &["info", &scene],
        &["evaluate", "--truth", &scene, "--estimate", &scene],
        &["convert", &scene, &scratch.file("s.npy"), "--json"],
    ];
    for arguments in PRINTING.iter().chain(&files) {
        let output = into(full(), arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "cassi {arguments:?}: {text}");
        assert!(text.contains("error: cannot write to standard output: "), "cassi {arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "cassi {arguments:?}: {text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn messages_that_nobody_can_read_stop_nothing() {
    let scratch = Scratch::new();
    let scene = scratch.file("s.h5");
    let full = std::fs::File::create("/dev/full").expect("Linux has it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cassi"));
    command.args(["scene", "make", "--rows", "8", "--columns", "8", "-o", &scene]);
    assert!(command.stderr(full).status().expect("cassi starts").success());
    assert!(std::path::Path::new(&scene).exists());
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    use std::os::unix::process::ExitStatusExt;
    for arguments in PRINTING {
        // Closed before anything is written, as `| head -1` closes it after a line.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = into(writer, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(13), "cassi {arguments:?}: {:?}, {text}", output.status);
        assert!(text.is_empty(), "cassi {arguments:?}: {text}");
    }
}
