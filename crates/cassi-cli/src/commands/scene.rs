//! `cassi scene`: procedural scenes of any size, and photographs lifted to spectra.

use std::path::PathBuf;

use cassi_core::Wavelengths;
use cassi_io::Metadata;
use cassi_scene::{Kind, SceneRecipe};

use super::Outcome;
use crate::context::Context;
use crate::inputs;
use crate::output::print_line;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi scene make -o scene.h5
  cassi scene make --kind fabric --seed 7 --rows 512 --columns 512 -o scene.h5
  cassi scene make --bands 400:700:31 -o scene31.mat
  cassi scene lift photos --size 512 -o photos.h5
  cassi scene list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a scene
    #[command(after_help = "Examples:\n  cassi scene make --kind chart --seed 3 -o chart.h5")]
    Make {
        /// What it shows; `cassi scene list` has them all
        #[arg(long, value_name = "KIND", default_value = "still-life")]
        kind: String,
        /// Height in pixels
        #[arg(long, value_name = "N", default_value_t = 256)]
        rows: usize,
        /// Width in pixels
        #[arg(long, value_name = "N", default_value_t = 256)]
        columns: usize,
        /// The bands: `benchmark`, FIRST:LAST:COUNT or a list in nm
        #[arg(long, value_name = "NM", default_value = "benchmark")]
        bands: String,
        /// Where to write the cube (.h5, .mat, .npy, .npz)
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Lift photographs to spectra
    Lift(super::lift::Args),
    /// List the kinds of scenes
    #[command(after_help = "Examples:\n  cassi scene list")]
    List,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let (kind, rows, columns, bands, output) = match args.action {
        Action::Make { kind, rows, columns, bands, output } => (kind, rows, columns, bands, output),
        Action::Lift(args) => return super::lift::run(&args, context),
        Action::List => {
            if context.json {
                context.print_json(&serde_json::json!(Kind::ALL.map(Kind::name)))?;
            } else {
                Kind::ALL.iter().try_for_each(|kind| print_line!("{}", kind.name()))?;
            }
            return Ok(Outcome::Done);
        }
    };
    let kind: Kind = kind.parse()?;
    let wavelengths: Wavelengths = inputs::parse_bands(&bands)?;
    let voxels = rows.checked_mul(columns).and_then(|n| n.checked_mul(wavelengths.len()));
    if rows == 0 || columns == 0 || voxels.is_none_or(|n| n > 1 << 32) {
        anyhow::bail!(
            "--rows {rows} --columns {columns}: expected at least 1x1 and at most 2^32 voxels in all"
        );
    }
    let cube = SceneRecipe::new(kind, context.seed).with_size(rows, columns).render(&wavelengths);
    let metadata = Metadata { provenance: Some(context.provenance(&[])?), ..Metadata::default() };
    cassi_io::write_cube(&output, &cube, &metadata)?;
    if context.json {
        context.print_json(&serde_json::json!({
            "output": output, "kind": kind.name(), "seed": context.seed, "shape": cube.shape(),
        }))?;
    } else {
        let bands = cube.bands();
        context.say(format!(
            "{}: {} {bands}x{rows}x{columns}, seed {}",
            output.display(),
            kind.name(),
            context.seed
        ));
    }
    Ok(Outcome::Done)
}
