//! The command `cassi`: simulate, reconstruct, evaluate and compare snapshot spectral cameras and methods.
//!
//! This crate parses arguments, opens files, calls the libraries and prints; it decides nothing about optics or
//! mathematics. Each sub-command is a module of [`commands`]; what they share is in [`context`] (messages, progress,
//! provenance), [`output`] (standard output and error), [`inputs`] (files and instruments), [`registry`] (methods by
//! name), [`weights`] (those that ship, and those that are named) and [`engine`] (who computes).
//!
//! Exit codes: 0 done; 1 a check or some jobs failed; 2 bad input or usage. A training that was
//! interrupted ends by that signal, which a shell shows as 128 and its number.

#![allow(rustdoc::broken_intra_doc_links)] // arguments' doc comments are help texts, where brackets are brackets
#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone
#![warn(clippy::print_stdout, clippy::print_stderr)] // `output` alone writes there

mod cli;
mod commands;
mod config;
mod context;
mod engine;
mod frames;
mod inputs;
mod output;
mod registry;
#[cfg(feature = "torch")]
mod signals;
#[cfg(feature = "torch")]
mod torch;
mod weights;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A reader that closes the pipe early (`cassi info ... | head`) ends us quietly, as it does other tools.
    output::restore_default_sigpipe();
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let (cli, context) = match cli::parse(arguments) {
        Ok(parsed) => parsed,
        Err(cli::ParseError::Clap(error)) => {
            if error.use_stderr() {
                let _ = error.print();
                return ExitCode::from(2);
            }
            // Help and version are results like others.
            return match output::with_stdout(|_| error.print()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            };
        }
        Err(cli::ParseError::Config(error)) => return fail(&error),
    };
    match commands::run(cli.command, &context) {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::CheckFailed) => ExitCode::from(1),
        #[cfg(feature = "torch")]
        Ok(commands::Outcome::Stopped(signal)) => signals::end_by(signal),
        Err(error) => fail(&error),
    }
}

/// Prints one error, with what lies behind it, and returns the exit code of bad input.
fn fail(error: &anyhow::Error) -> ExitCode {
    // Many typed errors already tell their source; a cause is shown only if it adds something.
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    output::message(format_args!("error: {text}"));
    ExitCode::from(2)
}
