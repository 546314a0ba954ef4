//! What every command needs beside its arguments: where messages go, progress, seed, provenance.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use cassi_core::{Control, Observer, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Common;
use crate::output;

/// The surroundings of one run.
pub(crate) struct Context {
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
    /// Seed of everything random.
    pub(crate) seed: u64,
    quiet: bool,
    verbose: bool,
    command_line: Vec<String>,
}

impl Context {
    /// Reads the common options and sets the number of threads for the whole process.
    pub(crate) fn new(common: &Common, arguments: &[OsString]) -> Self {
        if let Some(threads) = common.threads {
            // Fails only if the pool is in use already, and this is the first thing that happens.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
        }
        Self {
            json: common.json,
            seed: common.seed,
            quiet: common.quiet,
            verbose: common.verbose,
            // Where this binary lies is nobody's business but this machine's.
            command_line: std::iter::once("cassi".to_string())
                .chain(arguments.iter().skip(1).map(|a| a.to_string_lossy().into_owned()))
                .collect(),
        }
    }

    /// A line for the user, on standard error, unless `--quiet`.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            output::message(line.as_ref());
        }
    }

    /// The command line as it was given, configuration included.
    pub(crate) fn command_line(&self) -> String {
        self.command_line.join(" ")
    }

    /// Several such lines.
    pub(crate) fn say_all(&self, lines: &[String]) {
        lines.iter().for_each(|line| self.say(format!("note: {line}")));
    }

    /// A line for those who asked for more, with `--verbose`.
    pub(crate) fn detail(&self, line: impl AsRef<str>) {
        if self.verbose {
            output::message(line.as_ref());
        }
    }

    /// A progress display for `steps` steps: a bar on a terminal, a line every few seconds elsewhere.
    pub(crate) fn progress(&self, what: &str, steps: usize) -> Steps {
        let bar = (!self.quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{msg:<24} {bar:32} {pos}/{len} {eta:>4} left")
                .expect("a template that is right");
            ProgressBar::new(steps as u64).with_style(style).with_message(what.to_string())
        });
        Steps {
            what: what.into(),
            bar,
            quiet: self.quiet,
            started: Instant::now(),
            last_line: Instant::now(),
        }
    }

    /// What produced a file: command, inputs with SHA-256, seed and version.
    pub(crate) fn provenance(&self, inputs: &[&Path]) -> anyhow::Result<serde_json::Value> {
        let mut hashed = Vec::new();
        for path in inputs {
            hashed.push(serde_json::json!({ "path": path, "sha256": cassi_io::sha256_file(path)? }));
        }
        Ok(serde_json::json!({
            "command": self.command_line,
            "inputs": hashed,
            "seed": self.seed,
            "version": env!("CARGO_PKG_VERSION"),
        }))
    }

    /// Prints a JSON value on standard output.
    ///
    /// # Errors
    /// If the system refuses the write.
    pub(crate) fn print_json(&self, value: &serde_json::Value) -> anyhow::Result<()> {
        output::result(serde_json::to_string_pretty(value).expect("JSON without odd keys"))
    }
}

/// A running progress display; it is also an observer of methods.
pub(crate) struct Steps {
    what: String,
    bar: Option<ProgressBar>,
    quiet: bool,
    started: Instant,
    last_line: Instant,
}

/// Elsewhere than on a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Steps {
    /// `done` of `all` steps are done.
    pub(crate) fn at(&mut self, done: usize, all: usize, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        } else if !self.quiet && self.last_line.elapsed() > LINE_EVERY {
            self.last_line = Instant::now();
            output::message(format_args!(
                "{}: {done}/{all} after {:.0} s{detail}",
                self.what,
                self.started.elapsed().as_secs_f64()
            ));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Steps {
    fn observe(&mut self, progress: &Progress<'_>) -> Control {
        let residual = progress.residual.map(|r| format!(", residual {r:.2e}")).unwrap_or_default();
        self.at(progress.iteration, progress.iterations, &residual);
        Control::Continue
    }
}

/// The largest resident size of this process so far, in MB (10^6 bytes), where the system tells (Linux).
pub(crate) fn peak_memory_mb() -> Option<f64> {
    let status = cassi_io::read_text(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
