//! `cassi convert`: from any format we read to any we write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cassi_core::NamedTensors;
use cassi_io::{Metadata, Source, TensorPrecision};

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, AxisOptions, Kind, has_extension};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi convert scene01.mat scene01.h5
  cassi convert scene01.mat:img scene01.npy
  cassi convert mask_3d_shift.mat mask.npy --as mask
  cassi convert bisrnet.pth bisrnet.safetensors
  cassi convert balloons.h5 balloons28.h5 --bands benchmark")]
pub(crate) struct Args {
    /// What to read: FILE, or FILE:VARIABLE
    input: String,
    /// What to write; the format follows the extension
    output: PathBuf,
    /// What it holds [default: by variable name and number of axes]
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<Kind>,
    /// Resample a cube linearly to these bands: `benchmark`, FIRST:LAST:COUNT or a list in nm
    #[arg(long, value_name = "NM")]
    bands: Option<String>,
    /// Limit a cube to [0, 1]
    #[arg(long)]
    clip: bool,
    #[command(flatten)]
    axes: AxisOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let source = Source::parse(&args.input);
    inputs::refuse_overwriting(&args.output, &[&source.path])?;
    let kind = match args.kind {
        Some(kind) => kind,
        None if has_extension(&args.output, &["safetensors"]) => Kind::Tensors,
        None => inputs::kind_of(&source)?,
    };
    let provenance = Some(context.provenance(&[&source.path])?);
    match kind {
        Kind::Cube => {
            let (mut cube, metadata, _) = inputs::cube(&args.input, &args.axes, context)?;
            if let Some(bands) = &args.bands {
                cube = cube.resample(&inputs::parse_bands(bands)?);
            }
            if args.clip {
                cube = cube.clamped();
            }
            cassi_io::write_cube(&args.output, &cube, &Metadata { provenance, ..metadata })?;
        }
        Kind::Snapshot => {
            let (snapshot, metadata, _) = inputs::snapshot(&args.input, context)?;
            cassi_io::write_snapshot(&args.output, &snapshot, &Metadata { provenance, ..metadata })?;
        }
        Kind::Mask => {
            let standard = inputs::instrument_by_name("standard")?;
            let (found, _) = inputs::mask_file(&args.input, &standard, context)?;
            cassi_io::write_mask(&args.output, &found.mask, &Metadata { provenance, ..Metadata::default() })?;
        }
        Kind::Array => {
            let loaded = cassi_io::read_array(&source)?;
            context.say_all(&loaded.notes);
            let metadata = Metadata { provenance, ..loaded.metadata };
            cassi_io::write_array(&args.output, &loaded.variable, loaded.value.view(), &metadata)?;
        }
        Kind::Tensors => {
            let tensors = cassi_io::read_tensors(&source.path)?;
            write_tensors(&args.output, &tensors, provenance)?;
        }
    }
    context.say(format!("{}: written", args.output.display()));
    Ok(Outcome::Done)
}

/// Tensors as safetensors, or as named arrays in any format that holds several.
fn write_tensors(
    output: &Path,
    tensors: &NamedTensors,
    provenance: Option<serde_json::Value>,
) -> anyhow::Result<()> {
    if has_extension(output, &["safetensors"]) {
        cassi_io::write_tensors(output, tensors, TensorPrecision::F32, &BTreeMap::new())?;
    } else {
        cassi_io::write_arrays(output, tensors, &Metadata { provenance, ..Metadata::default() })?;
    }
    Ok(())
}
