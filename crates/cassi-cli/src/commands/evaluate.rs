//! `cassi evaluate`: every metric of an estimate, each with its convention in its name.

use anyhow::bail;
use cassi_core::metrics::Scores;

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, AxisOptions};
use crate::output::print_line;

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
        context.print_json(&serde_json::to_value(&scores)?)?;
        return Ok(Outcome::Done);
    }
    print_scores(&scores)?;
    Ok(Outcome::Done)
}

/// One line a figure, under the names of `--json`.
fn print_scores(scores: &Scores) -> anyhow::Result<()> {
    let lines = [
        ("psnr_unit_peak", scores.psnr_unit_peak, "dB"),
        ("psnr_mst", scores.psnr_mst, "dB"),
        ("psnr_matlab", scores.psnr_matlab, "dB"),
        ("ssim_unit_peak", scores.ssim_unit_peak, ""),
        ("ssim_mst", scores.ssim_mst, ""),
        ("ssim_matlab", scores.ssim_matlab, ""),
        ("sam_deg", scores.sam_deg, "degrees"),
        ("sam_matlab_deg", scores.sam_matlab_deg, "degrees"),
        ("rmse", scores.rmse, ""),
        ("mrae", scores.mrae, ""),
        ("ergas", scores.ergas, ""),
        ("ergas_matlab", scores.ergas_matlab, ""),
    ];
    for (name, value, unit) in lines {
        print_line!("{}", format!("{name:<18} {value:>9.4} {unit}").trim_end())?;
    }
    let (low, high) = scores
        .psnr_unit_peak_per_band
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    print_line!("psnr_unit_peak by band: {low:.2} to {high:.2} dB; all bands with --json")
}
