//! `cassi demo`: three procedural scenes through camera, methods and report; a real snapshot as well if given.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cassi_core::{Cube, InstrumentDescription, Mask, NoiseLevel, NoiseModel, Problem, Snapshot, Wavelengths};
use cassi_io::Metadata;
use cassi_optics::{SdCassi, detector, mask};
use cassi_report::{CompareOptions, Comparison, Estimate, write_comparison};
use cassi_scene::{Kind, SceneRecipe};

use super::Outcome;
use crate::context::Context;
use crate::inputs;
use crate::registry;

/// A thousandth of the snapshot's full scale (about 10), as of a good 10-bit camera.
const NOISE: NoiseModel = NoiseModel::Gaussian { sigma: 0.01 };

const SCENES: [Kind; 3] = [Kind::StillLife, Kind::Chart, Kind::Fabric];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi demo -o demo
  cassi demo --seed 5 -o demo
  cassi demo --real scene1.mat --mask mask.mat -o demo        a real 660x714 snapshot as well")]
pub(crate) struct Args {
    /// Side of the scenes in pixels
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=2048))]
    size: u32,
    /// A real snapshot of the instrument tsa-real, to be reconstructed too
    #[arg(long, value_name = "FILE", requires = "mask")]
    real: Option<String>,
    /// The mask of the real snapshot
    #[arg(long, value_name = "FILE", requires = "real")]
    mask: Option<String>,
    /// The folder to write into
    #[arg(short, long, value_name = "FOLDER", default_value = "demo")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let side = args.size as usize;
    let standard = inputs::instrument_by_name("standard")?;
    let own = standard.default_mask.as_deref().context("the standard instrument names a mask")?;
    let (mask, note) = mask::fit_to(&mask::shipped(own)?, side, side);
    context.say_all(note.as_slice());
    // Before the other scenes are computed, so that a file that cannot be read costs nothing.
    let real_inputs = match (&args.real, &args.mask) {
        (Some(file), Some(mask_file)) => Some(RealInputs::read(file, mask_file, context)?),
        _ => None,
    };
    let mut comparisons = Vec::new();
    for (index, kind) in SCENES.into_iter().enumerate() {
        let seed = context.seed.wrapping_add(index as u64);
        context.say(format!(
            "scene {} of {}: {} {side}x{side}x28, seed {seed}",
            index + 1,
            SCENES.len(),
            kind.name()
        ));
        let truth = SceneRecipe::new(kind, seed).with_size(side, side).render(&Wavelengths::benchmark());
        let snapshot = cassi_optics::simulate(&truth, &standard, &mask, NOISE, seed)?.snapshot;
        let noise = NoiseLevel::Known(detector::noise_sigma(NOISE, &snapshot, standard.bands()));
        let estimates = reconstruct_all(&snapshot, &standard, &mask, noise, context)?;
        let name = kind.name();
        let metadata = Metadata {
            instrument: Some(cassi_optics::to_toml(&standard)),
            provenance: Some(context.provenance(&[])?),
            ..Metadata::default()
        };
        save(&args.output, name, "truth", &truth, &metadata)?;
        cassi_io::write_snapshot(&args.output.join(format!("{name}-snapshot.h5")), &snapshot, &metadata)?;
        for estimate in &estimates {
            save(&args.output, name, &estimate.name, &estimate.cube, &metadata)?;
        }
        let provenance = vec![
            format!("cassi scene make --kind {name} --seed {seed} --rows {side} --columns {side}"),
            format!("mask {own}, noise {}, seed {seed}", detector::format_noise(NOISE)),
        ];
        comparisons.push(Comparison {
            title: name.into(),
            truth: Some(truth),
            snapshot: Some(snapshot),
            estimates,
            provenance,
        });
    }
    if let Some(inputs) = real_inputs {
        comparisons.push(inputs.compare(&args.output, context)?);
    }
    context.say("drawing the report ...");
    let written = write_comparison(&args.output, &comparisons, &CompareOptions::default())?;
    let page = args.output.join("report.html");
    if context.json {
        context.print_json(&serde_json::json!({ "report": page, "files": written.files }))?;
        return Ok(Outcome::Done);
    }
    for row in &written.rows {
        if let Some(scores) = &row.scores {
            context.say(format!(
                "{:<12} {:<14} psnr_unit_peak {:.2} dB, ssim_unit_peak {:.3}, sam_deg {:.2}{}",
                row.scene,
                row.method,
                scores.psnr_unit_peak,
                scores.ssim_unit_peak,
                scores.sam_deg,
                row.seconds.map(|s| format!(", {s:.2} s")).unwrap_or_default(),
            ));
        }
    }
    context.say(format!("report: {}", page.display()));
    Ok(Outcome::Done)
}

fn save(folder: &Path, scene: &str, what: &str, cube: &Cube, metadata: &Metadata) -> anyhow::Result<()> {
    cassi_io::ensure_folder(folder)?;
    Ok(cassi_io::write_cube(&folder.join(format!("{scene}-{what}.h5")), cube, metadata)?)
}

/// Every method of this build that fits the instrument.
fn reconstruct_all(
    snapshot: &Snapshot,
    instrument: &InstrumentDescription,
    mask: &Mask,
    noise: NoiseLevel,
    context: &Context,
) -> anyhow::Result<Vec<Estimate>> {
    let operator = SdCassi::for_instrument(instrument, mask);
    let problem = Problem {
        snapshot,
        instrument,
        operator: Some(&operator),
        mask: Some(mask),
        noise,
        warm_start: None,
    };
    let mut estimates = Vec::new();
    for method in registry::ready(instrument, mask)? {
        let name = method.describe().name;
        let mut progress = context.progress(name, 1);
        let result = method.reconstruct(&problem, &mut progress)?;
        let mut estimate = Estimate::new(name, result.cube);
        estimate.seconds = Some(result.elapsed.as_secs_f64());
        estimate.residual = result.residual;
        estimates.push(estimate);
    }
    Ok(estimates)
}

/// A real snapshot and the mask that it was taken through.
struct RealInputs {
    instrument: InstrumentDescription,
    snapshot: Snapshot,
    path: PathBuf,
    mask: Mask,
    mask_path: Option<PathBuf>,
}

impl RealInputs {
    fn read(file: &str, mask_file: &str, context: &Context) -> anyhow::Result<Self> {
        let instrument = inputs::instrument_by_name("tsa-real")?;
        let (snapshot, _, path) = inputs::snapshot(file, context)?;
        let scene = inputs::scene_shape(&snapshot, &instrument)?;
        let (mask, mask_path) = inputs::mask(Some(mask_file), &instrument, scene, context)?;
        Ok(Self { instrument, snapshot, path, mask: mask.context("a mask that was named")?, mask_path })
    }

    /// No truth, so pictures and spectra only.
    fn compare(self, folder: &Path, context: &Context) -> anyhow::Result<Comparison> {
        let Self { instrument, snapshot, path, mask, mask_path } = self;
        context.say(format!("real snapshot {}: {}x{}", path.display(), snapshot.rows(), snapshot.columns()));
        let estimates = reconstruct_all(&snapshot, &instrument, &mask, NoiseLevel::Unknown, context)?;
        let mut inputs_used = vec![path.as_path()];
        inputs_used.extend(mask_path.as_deref());
        let metadata = Metadata {
            instrument: Some(cassi_optics::to_toml(&instrument)),
            provenance: Some(context.provenance(&inputs_used)?),
            ..Metadata::default()
        };
        for estimate in &estimates {
            save(folder, "real", &estimate.name, &estimate.cube, &metadata)?;
        }
        let through = mask_path.map(|path| format!(", mask {}", path.display())).unwrap_or_default();
        Ok(Comparison {
            title: "real snapshot".into(),
            truth: None,
            snapshot: Some(snapshot),
            estimates,
            provenance: vec![format!("real snapshot {}{through}", path.display())],
        })
    }
}
