//! `cassi evaluate`: every metric of an estimate, each with its convention in its name.

use anyhow::bail;
use cassi_core::metrics::Scores;

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, AxisOptions};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi evaluate --truth scene.h5 --estimate x.h5
  cassi evaluate --truth Test_result.mat:truth[0] --estimate Test_result.mat:pred[0] --json
  cassi evaluate --truth scene.h5 --estimate x.h5 --clip

docs/metrics.md says what each name means and by how much the conventions differ.")]
pub(crate) struct Args {
    /// The true cube: FILE, or FILE:VARIABLE
    #[arg(long, value_name = "FILE")]
    truth: String,
    /// The estimate; a truth on another wavelength grid is resampled to this one
    #[arg(long, value_name = "FILE")]
    estimate: String,
    /// Limit the estimate to [0, 1] first
    #[arg(long)]
    clip: bool,
    #[command(flatten)]
    axes: AxisOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let (truth, _, truth_path) = inputs::cube(&args.truth, &args.axes, context)?;
    let (mut estimate, _, estimate_path) = inputs::cube(&args.estimate, &args.axes, context)?;
    if args.clip {
        estimate = estimate.clamped();
    }
    let truth = inputs::on_the_grid_of(truth, &estimate, context);
    if [truth.rows(), truth.columns()] != [estimate.rows(), estimate.columns()] {
        bail!(
            "{}: shape {:?} (band, row, column), expected {:?} as in {}",
            estimate_path.display(),
            estimate.shape(),
            truth.shape(),
            truth_path.display()
        );
    }
    let scores = Scores::compute(&truth, &estimate)?;
    if context.json {
        context.print_json(&serde_json::to_value(&scores)?);
        return Ok(Outcome::Done);
    }
    for (name, value, unit) in scores.summary() {
        println!("{name:<18} {value:>9.4} {unit}");
    }
    Ok(Outcome::Done)
}
