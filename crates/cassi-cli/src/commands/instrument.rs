//! `cassi instrument`: what a camera does to which voxel, and what a mask file holds.

use cassi_optics::{MaskConvention, RecognisedMask, explain, mask};

use super::Outcome;
use crate::context::Context;
use crate::inputs;
use crate::output::print_line;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi instrument list
  cassi instrument show standard > camera.toml                  a file to start one's own from
  cassi instrument explain standard --pixel 100,60              which voxels reach this detector pixel
  cassi instrument explain --mask mask_3d_shift.mat             which convention this mask file has
  cassi instrument explain --voxel 13,100,60                    where this voxel lands

`explain` runs the adjoint test on the operator that it explains; exit code 1 if that fails.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the built-in instruments
    #[command(after_help = "Examples:\n  cassi instrument list")]
    List,
    /// Print an instrument as TOML
    #[command(after_help = "Examples:\n  cassi instrument show tsa-real")]
    Show {
        /// A built-in instrument or a TOML file
        #[arg(default_value = "standard")]
        instrument: String,
    },
    /// Say which voxels reach a pixel, where a voxel lands, and what a mask file holds
    #[command(after_help = "Examples:\n  cassi instrument explain standard --pixel 100,60")]
    Explain {
        /// A built-in instrument or a TOML file
        #[arg(default_value = "standard")]
        instrument: String,
        /// A mask file in any convention [default: the instrument's own mask]
        #[arg(long, value_name = "FILE")]
        mask: Option<String>,
        /// A detector pixel
        #[arg(long, value_name = "ROW,COLUMN", value_parser = parse_numbers::<2>)]
        pixel: Option<[usize; 2]>,
        /// A voxel of the scene
        #[arg(long, value_name = "BAND,ROW,COLUMN", value_parser = parse_numbers::<3>)]
        voxel: Option<[usize; 3]>,
    },
}

/// `N` whole numbers separated by commas.
pub(crate) fn parse_numbers<const N: usize>(text: &str) -> Result<[usize; N], String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| format!("expected {N} whole numbers separated by commas"))
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    match args.action {
        Action::List => {
            let all: Vec<_> = cassi_optics::builtin_names().filter_map(cassi_optics::builtin).collect();
            if context.json {
                context.print_json(&serde_json::to_value(&all)?)?;
                return Ok(Outcome::Done);
            }
            for description in &all {
                print_line!("{:<12} {}", description.name, description.summary)?;
            }
            Ok(Outcome::Done)
        }
        Action::Show { instrument } => {
            let description = inputs::instrument_by_name(&instrument)?;
            if context.json {
                context.print_json(&serde_json::to_value(&description)?)?;
            } else {
                print_line!("{}", cassi_optics::to_toml(&description).trim_end())?;
            }
            Ok(Outcome::Done)
        }
        Action::Explain { instrument, mask, pixel, voxel } => {
            explain_it(&instrument, mask, pixel, voxel, context)
        }
    }
}

fn explain_it(
    name: &str,
    mask_file: Option<String>,
    pixel: Option<[usize; 2]>,
    voxel: Option<[usize; 3]>,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let instrument = inputs::instrument_by_name(name)?;
    let recognised = match (&mask_file, &instrument.default_mask) {
        (Some(file), _) => Some(inputs::mask_file(file, &instrument, context)?.0),
        (None, Some(own)) => Some(RecognisedMask {
            mask: mask::shipped(own)?,
            convention: MaskConvention::Plain,
            sentence: format!("the instrument's own mask `{own}`, plain (row, column)"),
        }),
        (None, None) => None,
    };
    let explanation = explain::explain(&instrument, recognised.as_ref());
    let needs_mask = || anyhow::anyhow!("instrument `{}` ships no mask; pass --mask FILE", instrument.name);
    let plain = recognised.as_ref().map(|found| &found.mask);
    let sources = match pixel {
        Some([row, column]) => {
            Some(explain::pixel_sources(&instrument, plain.ok_or_else(needs_mask)?, row, column)?)
        }
        None => None,
    };
    let target = match voxel {
        Some(at) => Some(explain::voxel_target(&instrument, plain.ok_or_else(needs_mask)?, at)?),
        None => None,
    };
    let passes = explanation.check.as_ref().is_none_or(|check| check.passes);
    if context.json {
        let mut json = serde_json::to_value(&explanation)?;
        if let Some(sources) = &sources {
            json["voxels"] = serde_json::to_value(&sources.voxels)?;
        }
        if let Some(target) = &target {
            json["voxel"] = serde_json::to_value(target)?;
        }
        context.print_json(&json)?;
    } else {
        print_line!("{explanation}")?;
        if let Some(sources) = &sources {
            print_line!("{sources}")?;
        }
        if let Some(target) = &target {
            print_line!("{target}")?;
        }
    }
    Ok(if passes { Outcome::Done } else { Outcome::CheckFailed })
}
