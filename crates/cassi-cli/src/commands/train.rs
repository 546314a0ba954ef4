//! `cassi train`: a network from a training configuration.

use std::path::PathBuf;

use cassi_nets::train::{Event, RunOptions, TrainConfig, run as train, validate::mean};

use super::Outcome;
use crate::context::Context;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi train experiments/train/mst-s.toml -o runs/mst-s
  cassi train experiments/train/mst-s.toml -o runs/mst-s            (again: resumes from the last checkpoint)
  cassi train experiments/train/bisrnet.toml --continue weights.safetensors -o runs/bisrnet
  cassi train experiments/train/mst-s.toml --device cuda -o runs/mst-s-gpu

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
        ..RunOptions::default()
    };
    let report = train(&config, &args.output, &options, &mut |event| show(event, context))?;
    if context.json {
        context.print_json(&serde_json::json!({
            "steps": report.steps, "seconds": report.seconds, "samples": report.samples, "weights": report.weights,
        }));
    } else {
        context.say(format!(
            "{}: {} steps, {} samples, {:.0} s",
            report.weights.display(),
            report.steps,
            report.samples,
            report.seconds
        ));
    }
    Ok(Outcome::Done)
}

fn show(event: Event, context: &Context) {
    match event {
        Event::Note(text) => context.say(text),
        Event::Progress { step, steps, loss, rate, samples_per_second, data_share, seconds_left } => {
            context.say(format!(
                "step {step}/{steps}  loss {loss:.5}  rate {rate:.2e}  {samples_per_second:.2} samples/s  \
                 data {:.1} %  {:.1} min left",
                100.0 * data_share,
                seconds_left / 60.0
            ));
        }
        Event::Validation { step, scores, best } => {
            let mark = if best { " (best)" } else { "" };
            context.say(format!("step {step}: validation psnr_unit_peak {:.3} dB{mark}", mean(&scores)));
            for score in &scores {
                context.detail(format!("  {:32} {:6.2} dB", score.name, score.psnr_unit_peak));
            }
        }
        Event::Checkpoint { path } => context.detail(format!("checkpoint {}", path.display())),
    }
}
