//! `cassi train` from outside: what a signal leaves behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::util::Scratch;

/// A training of a second or two on procedural scenes, with checkpoints at its end alone.
const CONFIGURATION: &str = r#"
    name = "small"
    method = "mst-s"
    instrument = "standard"
    seed = 5
    steps = 40
    checkpoint_every = 1000
    [[data]]
    procedural = { kinds = ["still-life"], count = 1, size = [32, 32] }
    [[masks]]
    kind = "bernoulli"
    count = 1
    [[stages]]
    until = 1.0
    crop = 16
    batch = 2
"#;

/// Trains into a folder and sends the signal, if there is one, as soon as the training has begun.
fn train(scratch: &Scratch, folder: &str, signal: Option<i32>) -> (std::process::ExitStatus, String) {
    let configuration = scratch.file("small.toml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cassi"));
    command.args(["train", &configuration, "-o", &scratch.file(folder), "--threads", "1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("cassi starts");
    let mut text = String::new();
    for line in BufReader::new(child.stderr.take().expect("piped")).lines() {
        text += &(line.expect("UTF-8") + "\n");
        if let Some(signal) = signal
            && text.lines().count() == 1
        {
            let id = libc::pid_t::try_from(child.id()).expect("a small number");
            // SAFETY: the process is a child of ours that nobody has waited for yet.
            #[allow(unsafe_code)] // foreign call
            unsafe {
                libc::kill(id, signal)
            };
        }
    }
    (child.wait().expect("cassi ends"), text)
}

#[test]
fn a_training_that_is_terminated_resumes_to_the_same_weights() {
    let scratch = Scratch::new();
    let (status, text) = train(&scratch, "whole", None);
    assert!(status.success(), "{text}");
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = format!("stopped{signal}");
        let (status, text) = train(&scratch, &folder, Some(signal));
        assert_eq!(status.signal(), Some(signal), "{status}: {text}");
        assert!(text.contains("of 40: the same command goes on from the checkpoint in"), "{text}");
        let (status, text) = train(&scratch, &folder, None);
        assert!(status.success() && text.contains("resumed at step "), "{text}");
        for file in ["small.safetensors", "checkpoint.safetensors"] {
            let read = |folder: &str| {
                cassi_io::read_tensors(scratch.file(&format!("{folder}/{file}")).as_ref()).expect("tensors")
            };
            assert_eq!(read(&folder), read("whole"), "{file} after signal {signal}");
        }
    }
}
