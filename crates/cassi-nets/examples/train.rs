//! `train CONFIG.toml OUT [--device cpu|cuda] [--threads N] [--continue WEIGHTS]`: a thin front of `cassi_nets::train`.

use std::path::{Path, PathBuf};

use cassi_nets::train::{Event, RunOptions, TrainConfig, run, validate::mean};

fn main() {
    if let Err(error) = start() {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}

fn start() -> Result<(), Box<dyn std::error::Error>> {
    let mut plain = Vec::new();
    let mut options =
        RunOptions { command: std::env::args().collect::<Vec<_>>().join(" "), ..RunOptions::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--device" => options.device = value()?,
            "--threads" => options.threads = value()?.parse()?,
            "--continue" => options.continue_from = Some(PathBuf::from(value()?)),
            _ => plain.push(argument),
        }
    }
    let [config, out] = &plain[..] else { return Err("expected CONFIG.toml and an output folder".into()) };
    let config = TrainConfig::parse(&cassi_io::read_text(config.as_ref())?, config)?;
    let report = run(&config, Path::new(out), &options, &mut show)?;
    println!(
        "{} steps, {:.0} s, {} samples; {}",
        report.steps,
        report.seconds,
        report.samples,
        report.weights.display()
    );
    Ok(())
}

fn show(event: Event) {
    match event {
        Event::Note(text) => println!("{text}"),
        Event::Progress { step, steps, loss, rate, samples_per_second, data_share, seconds_left } => {
            println!(
                "step {step}/{steps}  loss {loss:.5}  rate {rate:.2e}  {samples_per_second:.2} samples/s  \
             data {:.1} %  {:.1} min left",
                100.0 * data_share,
                seconds_left / 60.0
            )
        }
        Event::Validation { step, scores, best } => {
            for score in &scores {
                println!("  {:32} {:6.2} dB", score.name, score.psnr_unit_peak);
            }
            if scores.is_empty() {
                return;
            }
            let mark = if best { " (best)" } else { "" };
            println!("step {step}: validation psnr_unit_peak {:.3} dB{mark}", mean(&scores));
        }
        Event::Checkpoint { path } => println!("checkpoint {}", path.display()),
    }
}
