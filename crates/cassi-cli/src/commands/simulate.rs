//! `cassi simulate`: a snapshot of a cube.

use std::path::PathBuf;

use cassi_core::NoiseModel;
use cassi_io::Metadata;
use cassi_optics::detector;

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, AxisOptions};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi simulate --scene scene.h5 -o y.h5
  cassi simulate --scene scene01.mat:img --mask mask.mat --noise binomial -o y.mat
  cassi simulate --scene scene.h5 --noise gaussian:0.01 --seed 3 -o y.h5
  cassi simulate --scene cave.mat --wavelengths 400:700:31 --instrument camera.toml -o y.npy")]
pub(crate) struct Args {
    /// The cube to photograph: FILE, or FILE:VARIABLE
    #[arg(long, value_name = "FILE")]
    scene: String,
    /// The mask [default: the instrument's own]
    #[arg(long, value_name = "FILE")]
    mask: Option<String>,
    /// A built-in instrument or a TOML file
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "standard")]
    instrument: String,
    /// none, gaussian:SIGMA (in the unit of the snapshot) or binomial[:QE,LEVELS] [default: the instrument's]
    #[arg(long, value_name = "MODEL")]
    noise: Option<String>,
    /// Where to write the snapshot (.h5, .mat, .npy, .npz, .png)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    axes: AxisOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let instrument = inputs::instrument_by_name(&args.instrument)?;
    let noise: NoiseModel = match &args.noise {
        Some(text) => detector::parse_noise(text)?,
        None => instrument.camera.noise,
    };
    let (cube, _, scene_path) = inputs::cube(&args.scene, &args.axes, context)?;
    let (mask, mask_path) =
        inputs::mask(args.mask.as_deref(), &instrument, [cube.rows(), cube.columns()], context)?;
    let Some(mask) = mask else {
        anyhow::bail!("instrument `{}` ships no mask; pass --mask FILE", instrument.name);
    };
    let mut files = vec![scene_path.as_path()];
    files.extend(mask_path.as_deref());
    inputs::refuse_overwriting(&args.output, &files)?;

    let simulated = cassi_optics::simulate(&cube, &instrument, &mask, noise, context.seed)?;
    context.say_all(&simulated.notes);
    let snapshot = simulated.snapshot;
    // The file says which noise it has, so that methods need not guess.
    let mut described = instrument.clone();
    described.camera.noise = noise;
    let metadata = Metadata {
        instrument: Some(cassi_optics::to_toml(&described)),
        provenance: Some(context.provenance(&files)?),
        ..Metadata::default()
    };
    cassi_io::write_snapshot(&args.output, &snapshot, &metadata)?;

    let sigma = detector::noise_sigma(noise, &snapshot, instrument.bands());
    let largest = snapshot.as_slice().iter().copied().fold(f32::MIN, f32::max);
    if context.json {
        context.print_json(&serde_json::json!({
            "output": args.output,
            "shape": snapshot.shape(),
            "instrument": instrument.name,
            "noise_sigma": sigma,
            "maximum": largest,
            "mask_throughput": mask.throughput(),
            "seed": context.seed,
        }))?;
    } else {
        context.say(format!(
            "{}: snapshot {}x{} of instrument {}, maximum {largest:.3}, noise sigma {sigma:.2e}",
            args.output.display(),
            snapshot.rows(),
            snapshot.columns(),
            instrument.name
        ));
    }
    Ok(Outcome::Done)
}
