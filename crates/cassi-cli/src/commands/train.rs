//! `cassi train`: a network from a training configuration.

use std::io::IsTerminal;
use std::path::PathBuf;

use cassi_nets::train::{Event, RunOptions, TrainConfig, run as train, validate::mean};

use super::Outcome;
use crate::context::Context;
use crate::signals;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi train experiments/train/mst-s.toml -o runs/mst-s
  cassi train experiments/train/mst-s.toml -o runs/mst-s            (again: resumes from the last checkpoint)
  cassi train experiments/train/bisrnet.toml --continue weights.safetensors -o runs/bisrnet
  cassi train experiments/train/mst-s.toml --device cuda -o runs/mst-s-gpu

Ctrl-C (or SIGTERM) ends a training after its step, with a checkpoint; a second one at once.

docs/training.md describes the configuration and the recipes.")]
pub(crate) struct Args {
    /// The training configuration
    #[arg(value_name = "CONFIG.toml")]
    configuration: PathBuf,
    /// Start from these weights instead of random ones
    #[arg(long = "continue", value_name = "WEIGHTS")]
    continue_from: Option<PathBuf>,
    /// cpu or cuda
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// The folder of the run: checkpoints, metrics, pictures, weights
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let text = cassi_io::read_text(&args.configuration)?;
    let config = TrainConfig::parse(&text, &args.configuration.display().to_string())?;
    let options = RunOptions {
        command: context.command_line(),
        device: args.device,
        threads: rayon::current_num_threads(),
        continue_from: args.continue_from,
        interrupt: signals::stop_flag(),
        ..RunOptions::default()
    };
    let mut screen = Screen { context, live: std::io::stderr().is_terminal(), on_progress: false };
    let report = train(&config, &args.output, &options, &mut |event| screen.show(event))?;
    let stopped = signals::caught().filter(|_| !report.finished);
    if context.json {
        context.print_json(&serde_json::json!({
            "steps": report.steps, "seconds": report.seconds, "samples": report.samples, "finished": report.finished,
            "weights": report.weights,
        }))?;
    } else if stopped.is_none() {
        context.say(format!(
            "{}: {} steps, {} samples, {:.0} s",
            report.weights.display(),
            report.steps,
            report.samples,
            report.seconds
        ));
    }
    let Some(signal) = stopped else { return Ok(Outcome::Done) };
    context.say(format!(
        "stopped after step {} of {}: the same command goes on from the checkpoint in {}",
        report.steps,
        config.steps,
        args.output.display()
    ));
    Ok(Outcome::Stopped(signal))
}

/// Messages; on a terminal progress is one line that is written again and again, elsewhere lines like others.
struct Screen<'a> {
    context: &'a Context,
    live: bool,
    /// Whether the last line is one of progress.
    on_progress: bool,
}

impl Screen<'_> {
    fn show(&mut self, event: Event) {
        let was_progress = std::mem::take(&mut self.on_progress);
        match event {
            Event::Note(text) => self.context.say(text),
            Event::Progress { step, steps, loss, rate, samples_per_second, data_share, seconds_left } => {
                let line = format!(
                    "step {step}/{steps}  loss {loss:.5}  rate {rate:.1e}  {samples_per_second:.1} samples/s  \
                     data {:.1} %  {:.0} min left",
                    100.0 * data_share,
                    seconds_left / 60.0
                );
                // One line up, and what was there wiped away.
                let again = if self.live && was_progress { "\x1b[1A\x1b[2K" } else { "" };
                self.context.say(format!("{again}{line}"));
                self.on_progress = true;
            }
            Event::Validation { step, scores, best } => {
                let mark = if best { " (best)" } else { "" };
                self.context.say(format!(
                    "step {step}: validation psnr_unit_peak {:.3} dB{mark}",
                    mean(&scores).psnr_unit_peak
                ));
                for score in &scores {
                    self.context
                        .detail(format!("  {:32} {:6.2} dB", score.name, score.scores.psnr_unit_peak));
                }
            }
            Event::Checkpoint { path } => self.context.detail(format!("checkpoint {}", path.display())),
        }
    }
}
