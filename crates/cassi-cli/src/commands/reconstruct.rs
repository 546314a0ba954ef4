//! `cassi reconstruct`: the cube behind a snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cassi_core::{InstrumentDescription, NoiseLevel, Problem, Reconstruction, Reconstructor, Snapshot};
use cassi_io::Metadata;
use cassi_optics::{SdCassi, detector};

use super::Outcome;
use crate::context::{self, Context};
use crate::engine::EngineOptions;
use crate::inputs::{self, AxisOptions};
use crate::registry::{self, Built, Request};
use crate::weights::Weights;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi reconstruct --snapshot y.h5 -o x.h5
  cassi reconstruct --snapshot y.mat --mask mask.mat --method gap-tv --set iterations=200 -o x.mat
  cassi reconstruct --snapshot scene1.mat --mask mask.mat --instrument tsa-real -o x.h5
  cassi reconstruct --snapshot y.h5 --method gap-tv --set weight=0.1 --set subspace=none --json -o x.h5
  cassi reconstruct --snapshot y.h5 --method mst-s -o x.h5             (weights that ship, chosen by instrument and mask)
  cassi reconstruct --snapshot y.h5 --method mst-l --weights mst_l.pth --instrument standard -o x.h5
  cassi reconstruct --snapshot y.h5 --method mst-s --engine torch --device cuda --precision bf16 -o x.h5
  cassi reconstruct --snapshot y.h5 --repeat 5 --json -o x.h5      (timing: median of five)
  cassi reconstruct --stream --snapshot frames --mask mask.npy --method bisrnet -o cubes
  camera | cassi reconstruct --stream --snapshot - --mask mask.npy --method bisrnet --json

Weights without a card (official checkpoints) need --instrument. docs/formats.md describes cards and what --stream
takes on standard input.")]
pub(crate) struct Args {
    /// The snapshot: FILE, or FILE:VARIABLE; with --stream files, folders, patterns (`frames/*.npy`) or - for standard
    /// input
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub(super) snapshot: Vec<String>,
    /// Reconstruct a sequence of snapshots, network and mask loaded once; reports frames a second and latency
    #[arg(long, conflicts_with_all = ["repeat", "trace", "warm_start"])]
    stream: bool,
    /// The mask it was taken through [default: the instrument's own]
    #[arg(long, value_name = "FILE")]
    pub(super) mask: Option<String>,
    /// A built-in instrument or a TOML file [default: as the snapshot's file says, else as the weights', else standard]
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub(super) instrument: Option<String>,
    /// The method; `cassi methods` lists them
    #[arg(long, value_name = "NAME", default_value = "gap-tv")]
    pub(super) method: String,
    /// A setting of the method; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = registry::parse_setting)]
    pub(super) settings: Vec<(String, String)>,
    /// The weights of a network: a file (.safetensors, .pth; .cbin for the binarized ones) or the name of weights that
    /// ship [default: those that fit the instrument and the mask]
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    #[command(flatten)]
    pub(super) engine: EngineOptions,
    /// Standard deviation of the noise in the snapshot [default: as its file says, else estimated]
    #[arg(long, value_name = "SIGMA")]
    pub(super) noise_level: Option<f64>,
    /// A cube to start from
    #[arg(long, value_name = "FILE")]
    warm_start: Option<String>,
    /// Limit the result to [0, 1]
    #[arg(long)]
    pub(super) clip: bool,
    /// Reconstruct N times and report the median time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Write the history of the iteration (iteration, residual, objective, change) to this CSV file
    #[arg(long, value_name = "FILE.csv")]
    trace: Option<PathBuf>,
    /// Where to write the cube (.h5, .mat, .npy, .npz); with --stream a folder (numbered .h5 files), or FOLDER/NAME.npy
    /// for FOLDER/NAME-00000.npy and so on, or nothing to keep no cube
    #[arg(short, long, value_name = "FILE", required_unless_present = "stream")]
    pub(super) output: Option<PathBuf>,
}

impl Args {
    /// The weights that were named, opened and fit to be used without asking what instrument they are for.
    ///
    /// # Errors
    /// If they cannot be opened, or nothing says what instrument they are for.
    pub(super) fn open_weights(&self) -> anyhow::Result<Option<Weights>> {
        registry::check_name(&self.method)?;
        let Some(path) = &self.weights else { return Ok(None) };
        let weights = Weights::open(path)?;
        if weights.instrument().is_none() && self.instrument.is_none() {
            bail!(
                "{} has no card that says which instrument it is for; say so with --instrument ({} or a TOML file)",
                weights.place,
                cassi_optics::builtin_names().collect::<Vec<_>>().join(", ")
            );
        }
        Ok(Some(weights))
    }

    /// The instrument: as given, else as the snapshot's file says, else the one that the weights are for, else standard.
    ///
    /// # Errors
    /// If there is no such instrument.
    pub(super) fn choose_instrument(
        &self,
        metadata: &Metadata,
        weights: Option<&Weights>,
        context: &Context,
    ) -> anyhow::Result<InstrumentDescription> {
        let of_weights = || weights.filter(|_| metadata.instrument.is_none()).and_then(Weights::instrument);
        let name = self.instrument.as_deref().or_else(of_weights);
        inputs::instrument(name, metadata, context)
    }
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    if args.noise_level.is_some_and(|sigma| !(sigma.is_finite() && sigma >= 0.0)) {
        bail!("--noise-level: expected a number of at least 0");
    }
    if args.stream {
        return super::stream::run(&args, context);
    }
    let [snapshot] = args.snapshot.as_slice() else {
        bail!("--snapshot: {} files; sequences are for --stream", args.snapshot.len());
    };
    let output = args.output.as_deref().context("--output is required without --stream")?;
    let weights = args.open_weights()?;
    let (snapshot, metadata, snapshot_path) = inputs::snapshot(snapshot, context)?;
    let instrument = args.choose_instrument(&metadata, weights.as_ref(), context)?;
    let scene = inputs::scene_shape(&snapshot, &instrument)?;
    let (mask, mask_path) = inputs::mask(args.mask.as_deref(), &instrument, scene, context)?;
    let (name, settings, engine) = (args.method.as_str(), args.settings.as_slice(), &args.engine);
    let request = Request { name, settings, weights, engine, instrument: &instrument, mask: mask.as_ref() };
    let Built { method, weights: weights_path, notes } = registry::make(request)?;
    context.say_all(&notes);
    let operator = mask.as_ref().map(|mask| SdCassi::new(mask, instrument.bands(), instrument.step()));
    let warm_start = match &args.warm_start {
        Some(text) => Some(inputs::cube(text, &AxisOptions::default(), context)?),
        None => None,
    };
    let mut files: Vec<&Path> = vec![&snapshot_path];
    files.extend(mask_path.as_deref());
    files.extend(weights_path.as_deref());
    files.extend(warm_start.as_ref().map(|(_, _, path)| path.as_path()));
    inputs::refuse_overwriting(output, &files)?;

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
    let mut provenance = context.provenance(&files)?;
    if let Some(label) = &method.describe().weights {
        provenance["weights"] = label.as_str().into();
    }
    let metadata = Metadata {
        instrument: Some(cassi_optics::to_toml(&instrument)),
        provenance: Some(provenance),
        ..Metadata::default()
    };
    cassi_io::write_cube(output, &result.cube, &metadata)?;
    if let Some(path) = &args.trace {
        write_trace(path, &result)?;
    }

    let seconds = median(&times);
    let peak = context::peak_memory_mb();
    if context.json {
        context.print_json(&serde_json::json!({
            "output": output,
            "method": method.describe().name,
            "weights": method.describe().weights,
            "seconds": seconds,
            "seconds_all": times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
            "peak_memory_mb": peak,
            "iterations": result.iterations,
            "residual": result.residual,
            "shape": result.cube.shape(),
            "instrument": instrument.name,
            "notes": result.notes,
        }))?;
    } else {
        let residual = result.residual.map(|r| format!(", residual {r:.2e}")).unwrap_or_default();
        let [bands, rows, columns] = result.cube.shape();
        context.say(format!(
            "{}: cube {bands}x{rows}x{columns} by {} in {seconds:.2} s, {} iteration{}{residual}",
            output.display(),
            method.describe().name,
            result.iterations,
            if result.iterations == 1 { "" } else { "s" },
        ));
    }
    Ok(Outcome::Done)
}

/// The noise level given; else that of the noise which the snapshot's own file states; else unknown.
pub(super) fn noise_level(
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
