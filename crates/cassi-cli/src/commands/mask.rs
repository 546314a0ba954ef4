//! `cassi mask`: masks of our own, each with a card.

use std::path::PathBuf;

use cassi_io::Metadata;
use cassi_optics::mask::{Grey, MaskCard, MaskRecipe, shipped_card, shipped_names};

use super::Outcome;
use crate::context::Context;
use crate::output::print_line;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi mask make grey -o mask.npy                               like a photographed mask, 256x256
  cassi mask make bernoulli --open-fraction 0.4 --seed 7 -o mask.h5
  cassi mask make blue-noise --rows 660 --columns 660 -o mask660.npy
  cassi mask list                                                the masks that ship")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a mask, and its card beside it
    #[command(after_help = "Examples:\n  cassi mask make grey --rows 512 --columns 512 -o mask512.npy")]
    Make {
        /// The kind of mask
        kind: Kind,
        /// Rows of the scene
        #[arg(long, value_name = "N", default_value_t = 256)]
        rows: usize,
        /// Columns of the scene
        #[arg(long, value_name = "N", default_value_t = 256)]
        columns: usize,
        /// Fraction of open pixels, 0 to 1 [default: 0.5, grey 0.48]
        #[arg(long, value_name = "F")]
        open_fraction: Option<f64>,
        /// Side of a grey mask's cell in pixels [default: 2.05]
        #[arg(long, value_name = "PIXELS")]
        cell: Option<f64>,
        /// Blur of a grey mask in pixels [default: 0.36]
        #[arg(long, value_name = "PIXELS")]
        blur: Option<f64>,
        /// Where to write the mask (.npy, .npz, .mat, .h5, .png); the card goes beside it as .toml
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// List the masks that ship
    #[command(after_help = "Examples:\n  cassi mask list --json")]
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Kind {
    /// Every pixel open or shut on its own
    Bernoulli,
    /// Open pixels spread evenly
    BlueNoise,
    /// As a camera photographs a binary mask
    Grey,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    match args.action {
        Action::Make { kind, rows, columns, open_fraction, cell, blur, output } => {
            if kind != Kind::Grey && (cell.is_some() || blur.is_some()) {
                anyhow::bail!("--cell and --blur are for grey masks");
            }
            if rows.checked_mul(columns).is_none_or(|n| n > 1 << 28) {
                anyhow::bail!("--rows {rows} --columns {columns}: a mask of at most 2^28 pixels can be made");
            }
            let fraction = open_fraction.unwrap_or(0.5);
            let recipe = match kind {
                Kind::Bernoulli => MaskRecipe::Bernoulli { open_fraction: fraction },
                Kind::BlueNoise => MaskRecipe::BlueNoise { open_fraction: fraction },
                Kind::Grey => {
                    let usual = Grey::default();
                    MaskRecipe::Grey(Grey {
                        open_fraction: open_fraction.unwrap_or(usual.open_fraction),
                        cell: cell.unwrap_or(usual.cell),
                        blur: blur.unwrap_or(usual.blur),
                        ..usual
                    })
                }
            };
            let name = output.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let (mask, card) = MaskCard::make(&name, recipe, rows, columns, context.seed)?;
            let metadata = Metadata {
                provenance: Some(context.provenance(&[])?),
                card: Some(card.to_toml()),
                ..Metadata::default()
            };
            cassi_io::write_mask(&output, &mask, &metadata)?;
            let card_path = output.with_extension("toml");
            cassi_io::write_bytes(&card_path, card.to_toml().as_bytes())?;
            if context.json {
                context.print_json(&serde_json::to_value(&card)?)?;
            } else {
                context.say(format!(
                    "{}: {rows}x{columns}, throughput {:.3}; card {}",
                    output.display(),
                    card.throughput,
                    card_path.display()
                ));
            }
        }
        Action::List => {
            let cards = shipped_names().map(shipped_card).collect::<Result<Vec<_>, _>>()?;
            if context.json {
                context.print_json(&serde_json::to_value(&cards)?)?;
                return Ok(Outcome::Done);
            }
            for card in &cards {
                let hash = card.sha256.get(..12).unwrap_or(&card.sha256);
                print_line!(
                    "{:<16} {}x{}  throughput {:.3}  sha256 {hash}...",
                    card.name,
                    card.rows,
                    card.columns,
                    card.throughput
                )?;
            }
        }
    }
    Ok(Outcome::Done)
}
