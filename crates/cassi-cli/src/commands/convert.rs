//! `cassi convert`: from any format we read to any we write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cassi_core::NamedTensors;
use cassi_io::{Metadata, Source, TensorPrecision};

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, AxisOptions, Kind, has_extension};
use crate::weights;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi convert scene01.mat scene01.h5
  cassi convert scene01.mat:img scene01.npy
  cassi convert mask_3d_shift.mat mask.npy --as mask
  cassi convert bisrnet.pth bisrnet.safetensors
  cassi convert bisrnet.pth:conv_in.weight conv_in.npy
  cassi convert runs/mst-s/mst-s.safetensors weights/mst-s.safetensors --half     (the card comes along)
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
    /// Write weights in half precision
    #[arg(long)]
    half: bool,
    #[command(flatten)]
    axes: AxisOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let source = Source::parse(&args.input);
    inputs::refuse_overwriting(&args.output, &[&source.path])?;
    let kind = match args.kind {
        Some(kind) => kind,
        None if has_extension(&args.output, &["safetensors"]) => Kind::Tensors,
        None => match inputs::kind_of(&source)? {
            // A file for one array takes the one that was named, or the only one.
            Kind::Tensors if has_extension(&args.output, &["npy", "png"]) => Kind::Array,
            kind => kind,
        },
    };
    if args.half && !(kind == Kind::Tensors && has_extension(&args.output, &["safetensors"])) {
        bail!("--half is for weights written as .safetensors");
    }
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
            let loaded = inputs::array(&source, context)?;
            let metadata = Metadata { provenance, ..loaded.metadata };
            cassi_io::write_array(&args.output, &loaded.variable, loaded.value.view(), &metadata)?;
        }
        Kind::Tensors => {
            let tensors = inputs::tensors(&source, context)?;
            let precision = if args.half { TensorPrecision::F16 } else { TensorPrecision::F32 };
            write_tensors(&args.output, &tensors, precision, provenance)?;
            if source.variable.is_none() {
                carry_card(&source.path, &args.output)?;
            }
        }
    }
    if context.json {
        let kind = format!("{kind:?}").to_lowercase();
        context.print_json(&serde_json::json!({ "output": args.output, "kind": kind }))?;
    } else {
        context.say(format!("{}: written", args.output.display()));
    }
    Ok(Outcome::Done)
}

/// Writes the card of weights, where there is one, and the log that it names, beside their new file, with that file's
/// hash.
fn carry_card(input: &Path, output: &Path) -> anyhow::Result<()> {
    let (from, to) = (input.with_extension("toml"), output.with_extension("toml"));
    if !from.is_file() || !has_extension(output, &["safetensors"]) {
        return Ok(());
    }
    let mut card = weights::read_card(&from)?;
    card.check_sha256(&cassi_io::sha256_file(input)?).with_context(|| input.display().to_string())?;
    card.sha256 = cassi_io::sha256_file(output)?;
    if let Some(log) = card.training.as_mut().and_then(|training| training.log.as_mut()) {
        // Beside the card, whatever path it names.
        let table = from.with_file_name(Path::new(&*log).file_name().unwrap_or_default());
        let new = to.with_extension("csv");
        if table.is_file() {
            cassi_io::write_bytes(&new, &cassi_io::read_bytes(&table)?)?;
            *log = new.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        }
    }
    Ok(cassi_io::write_bytes(&to, toml::to_string(&card)?.as_bytes())?)
}

/// Tensors as safetensors, or as named arrays in any format that holds several.
fn write_tensors(
    output: &Path,
    tensors: &NamedTensors,
    precision: TensorPrecision,
    provenance: Option<serde_json::Value>,
) -> anyhow::Result<()> {
    if has_extension(output, &["safetensors"]) {
        cassi_io::write_tensors(output, tensors, precision, &BTreeMap::new())?;
    } else {
        cassi_io::write_arrays(output, tensors, &Metadata { provenance, ..Metadata::default() })?;
    }
    Ok(())
}
