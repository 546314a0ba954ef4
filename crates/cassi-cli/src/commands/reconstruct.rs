//! `cassi reconstruct`: the cube behind a snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use cassi_core::{InstrumentDescription, NoiseLevel, Problem, Reconstruction, Reconstructor, Snapshot};
use cassi_io::Metadata;
use cassi_optics::{SdCassi, detector};

use super::Outcome;
use crate::context::{self, Context};
use crate::inputs::{self, AxisOptions};
use crate::registry;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi reconstruct --snapshot y.h5 -o x.h5
  cassi reconstruct --snapshot y.mat --mask mask.mat --method gap-tv --set iterations=200 -o x.mat
  cassi reconstruct --snapshot scene1.mat --mask mask.mat --instrument tsa-real -o x.h5
  cassi reconstruct --snapshot y.h5 --method gap-tv --set weight=0.1 --set subspace=none --json -o x.h5
  cassi reconstruct --snapshot y.h5 --method bisrnet --weights bisrnet.safetensors -o x.h5
  cassi reconstruct --snapshot y.h5 --repeat 5 --json -o x.h5      (timing: median of five)")]
pub(crate) struct Args {
    /// The snapshot: FILE, or FILE:VARIABLE
    #[arg(long, value_name = "FILE")]
    snapshot: String,
    /// The mask it was taken through [default: the instrument's own]
    #[arg(long, value_name = "FILE")]
    mask: Option<String>,
    /// A built-in instrument or a TOML file [default: the one named in the snapshot's file, else standard]
    #[arg(long, value_name = "NAME|FILE.toml")]
    instrument: Option<String>,
    /// The method; `cassi methods` lists them
    #[arg(long, value_name = "NAME", default_value = "gap-tv")]
    method: String,
    /// A setting of the method; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = registry::parse_setting)]
    settings: Vec<(String, String)>,
    /// The weights of a network (.safetensors, .pth; .cbin for the binarized ones)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Standard deviation of the noise in the snapshot [default: as its file says, else estimated]
    #[arg(long, value_name = "SIGMA")]
    noise_level: Option<f64>,
    /// A cube to start from
    #[arg(long, value_name = "FILE")]
    warm_start: Option<String>,
    /// Limit the result to [0, 1]
    #[arg(long)]
    clip: bool,
    /// Reconstruct N times and report the median time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Write the history of the iteration (iteration, residual, objective, change) to this CSV file
    #[arg(long, value_name = "FILE.csv")]
    trace: Option<PathBuf>,
    /// Where to write the cube (.h5, .mat, .npy, .npz)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    if args.noise_level.is_some_and(|sigma| !(sigma.is_finite() && sigma >= 0.0)) {
        bail!("--noise-level: expected a number of at least 0");
    }
    let (snapshot, metadata, snapshot_path) = inputs::snapshot(&args.snapshot, context)?;
    let instrument = inputs::instrument(args.instrument.as_deref(), &metadata, context)?;
    let method = registry::build(&args.method, &args.settings, args.weights.as_deref(), &instrument)?;
    let scene = inputs::scene_shape(&snapshot, &instrument)?;
    let (mask, mask_path) = inputs::mask(args.mask.as_deref(), &instrument, scene, context)?;
    let operator = mask.as_ref().map(|mask| SdCassi::new(mask, instrument.bands(), instrument.step()));
    let warm_start = match &args.warm_start {
        Some(text) => Some(inputs::cube(text, &AxisOptions::default(), context)?),
        None => None,
    };
    let mut files: Vec<&Path> = vec![&snapshot_path];
    files.extend(mask_path.as_deref());
    files.extend(args.weights.as_deref());
    files.extend(warm_start.as_ref().map(|(_, _, path)| path.as_path()));
    inputs::refuse_overwriting(&args.output, &files)?;

    let problem = Problem {
        snapshot: &snapshot,
        instrument: &instrument,
        operator: operator.as_ref().map(|operator| operator as _),
        mask: mask.as_ref(),
        noise: noise_level(args.noise_level, &metadata, &snapshot, &instrument)?,
        warm_start: warm_start.as_ref().map(|(cube, _, _)| cube),
    };
    let (mut result, times) = repeat(method.as_ref(), &problem, args.repeat, context)?;
    context.say_all(&result.notes);
    if args.clip {
        result.cube = result.cube.clamped();
    }
    let metadata = Metadata {
        instrument: Some(cassi_optics::to_toml(&instrument)),
        provenance: Some(context.provenance(&files)?),
        ..Metadata::default()
    };
    cassi_io::write_cube(&args.output, &result.cube, &metadata)?;
    if let Some(path) = &args.trace {
        write_trace(path, &result)?;
    }

    let seconds = median(&times);
    let peak = context::peak_memory_mb();
    if context.json {
        context.print_json(&serde_json::json!({
            "output": args.output,
            "method": method.describe().name,
            "seconds": seconds,
            "seconds_all": times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
            "peak_memory_mb": peak,
            "iterations": result.iterations,
            "residual": result.residual,
            "shape": result.cube.shape(),
            "instrument": instrument.name,
            "notes": result.notes,
        }));
    } else {
        let residual = result.residual.map(|r| format!(", residual {r:.2e}")).unwrap_or_default();
        let [bands, rows, columns] = result.cube.shape();
        context.say(format!(
            "{}: cube {bands}x{rows}x{columns} by {} in {seconds:.2} s, {} iteration{}{residual}",
            args.output.display(),
            method.describe().name,
            result.iterations,
            if result.iterations == 1 { "" } else { "s" },
        ));
    }
    Ok(Outcome::Done)
}

/// The noise level given; else that of the noise which the snapshot's own file states; else unknown.
fn noise_level(
    given: Option<f64>,
    metadata: &Metadata,
    snapshot: &Snapshot,
    instrument: &InstrumentDescription,
) -> anyhow::Result<NoiseLevel> {
    if let Some(sigma) = given {
        return Ok(NoiseLevel::Known(sigma));
    }
    let Some(toml) = &metadata.instrument else { return Ok(NoiseLevel::Unknown) };
    let stated = cassi_optics::parse_instrument(toml, "the snapshot's own file")?.camera.noise;
    Ok(NoiseLevel::Known(detector::noise_sigma(stated, snapshot, instrument.bands())))
}

/// Runs a method `n` times with progress on the first; returns the last result and every time.
fn repeat(
    method: &dyn Reconstructor,
    problem: &Problem<'_>,
    n: u32,
    context: &Context,
) -> anyhow::Result<(Reconstruction, Vec<Duration>)> {
    let mut times = Vec::new();
    loop {
        let mut progress = context.progress(method.describe().name, 1);
        let result = method.reconstruct(problem, &mut progress)?;
        times.push(result.elapsed);
        if times.len() == n as usize {
            return Ok((result, times));
        }
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn write_trace(path: &Path, result: &Reconstruction) -> anyhow::Result<()> {
    let mut text = String::from("iteration,residual,objective,change\n");
    let cell = |value: Option<f64>| value.map(|v| format!("{v:.6e}")).unwrap_or_default();
    for point in &result.trace {
        text += &format!(
            "{},{},{},{}\n",
            point.iteration,
            cell(point.residual),
            cell(point.objective),
            cell(point.change)
        );
    }
    Ok(cassi_io::write_bytes(path, text.as_bytes())?)
}
