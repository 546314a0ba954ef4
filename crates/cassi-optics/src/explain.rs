//! Answers to the most frequent question about such a camera: which voxels reach this detector pixel, where does a
//! voxel land, what is in this mask file, and does the operator keep its word on what was loaded.
//!
//! Everything is plain data (serde) that also displays as text. Indices count from 0.

use std::fmt;

use cassi_core::{InputConvention, InstrumentDescription, LinearOperator, Mask, check};
use serde::Serialize;

use crate::{MaskConvention, OpticsError, RecognisedMask, SdCassi, detector, mask};

/// One element of the scene and what the mask does to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Voxel {
    /// Band, from 0.
    pub band: usize,
    /// Row of scene and detector.
    pub row: usize,
    /// Column of the scene.
    pub column: usize,
    /// Centre of the band in nm.
    pub wavelength_nm: f64,
    /// Mask value at its row and column.
    pub transmittance: f32,
    /// Detector column that it reaches.
    pub detector_column: usize,
}

/// The voxels that add up in one detector pixel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PixelSources {
    /// Detector row.
    pub row: usize,
    /// Detector column.
    pub column: usize,
    /// One a band, for the bands whose scene column exists.
    pub voxels: Vec<Voxel>,
}

/// Which voxels reach detector pixel `(row, column)`.
///
/// ```
/// use cassi_optics::{builtin, explain::pixel_sources, mask::shipped};
/// let sources = pixel_sources(&builtin("standard").unwrap(), &shipped("cassi256")?, 0, 2)?;
/// let places: Vec<_> = sources.voxels.iter().map(|v| (v.band, v.column)).collect();
/// assert_eq!(places, [(0, 2), (1, 0)]); // band 2 would need column −2
/// # Ok::<(), cassi_optics::OpticsError>(())
/// ```
///
/// # Errors
/// If the detector has no such pixel.
pub fn pixel_sources(
    instrument: &InstrumentDescription,
    mask: &Mask,
    row: usize,
    column: usize,
) -> Result<PixelSources, OpticsError> {
    let detector = instrument.snapshot_shape(mask.rows(), mask.columns());
    if row >= detector[0] || column >= detector[1] {
        return Err(outside("detector pixel", &[row, column], &detector));
    }
    let voxels = (0..instrument.bands())
        .filter_map(|band| {
            let scene_column = column.checked_sub(instrument.step() * band)?;
            (scene_column < mask.columns()).then(|| voxel(instrument, mask, band, row, scene_column))
        })
        .collect();
    Ok(PixelSources { row, column, voxels })
}

/// Where voxel `(band, row, column)` lands, and through which mask value.
///
/// # Errors
/// If the scene has no such voxel.
pub fn voxel_target(
    instrument: &InstrumentDescription,
    mask: &Mask,
    [band, row, column]: [usize; 3],
) -> Result<Voxel, OpticsError> {
    let scene = [instrument.bands(), mask.rows(), mask.columns()];
    if band >= scene[0] || row >= scene[1] || column >= scene[2] {
        return Err(outside("voxel", &[band, row, column], &scene));
    }
    Ok(voxel(instrument, mask, band, row, column))
}

fn voxel(instrument: &InstrumentDescription, mask: &Mask, band: usize, row: usize, column: usize) -> Voxel {
    Voxel {
        band,
        row,
        column,
        wavelength_nm: instrument.wavelengths_nm.nm()[band],
        transmittance: mask.view()[[row, column]],
        detector_column: column + instrument.step() * band,
    }
}

fn outside(what: &'static str, at: &[usize], shape: &[usize]) -> OpticsError {
    OpticsError::Outside { what, at: at.to_vec(), shape: shape.to_vec() }
}

/// What an instrument is, with the mask that was loaded and the check of the operator they make.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The description itself.
    pub instrument: InstrumentDescription,
    /// `[band, row, column]` of a scene at the instrument's own size, or of the mask if there is one.
    pub scene: [usize; 3],
    /// `[row, column]` of its snapshot.
    pub snapshot: [usize; 2],
    /// The mask, if one was loaded.
    pub mask: Option<MaskFacts>,
    /// How the operator of that mask did in its check.
    pub check: Option<CheckFacts>,
}

/// What a mask is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaskFacts {
    /// What its file holds.
    pub convention: MaskConvention,
    /// The same in a sentence.
    pub sentence: String,
    /// Mean transmittance.
    pub throughput: f64,
    /// Smallest and largest value.
    pub range: [f32; 2],
    /// SHA-256 of the plain mask's values as little-endian f32.
    pub sha256: String,
}

/// The operator check of `cassi_core::check` in figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CheckFacts {
    /// `|⟨A x, y⟩ − ⟨x, Aᵀ y⟩| / (‖A x‖ ‖y‖)`.
    pub adjoint_mismatch: f64,
    /// Deviation from linearity, relative.
    pub linearity_mismatch: f64,
    /// Deviation of `A Aᵀ` from its stated diagonal, relative.
    pub gram_mismatch: Option<f64>,
    /// Largest singular value over the stated bound.
    pub norm_over_bound: f64,
    /// What the mismatches must stay below.
    pub tolerance: f64,
    /// Whether all do.
    pub passes: bool,
}

/// Random draws of the check: two show a wrong operator as surely as eight, as each draw touches every element.
const SEEDS: u64 = 2;

/// Explains an instrument; with a mask, the operator of both is built and checked.
pub fn explain(instrument: &InstrumentDescription, mask: Option<&RecognisedMask>) -> Explanation {
    let [rows, columns] =
        mask.map_or([instrument.scene.rows, instrument.scene.columns], |found| found.mask.shape());
    Explanation {
        instrument: instrument.clone(),
        scene: [instrument.bands(), rows, columns],
        snapshot: instrument.snapshot_shape(rows, columns),
        mask: mask.map(mask_facts),
        check: mask.map(|found| check_facts(&SdCassi::for_instrument(instrument, &found.mask))),
    }
}

fn mask_facts(found: &RecognisedMask) -> MaskFacts {
    let values = found.mask.as_slice().iter().copied();
    MaskFacts {
        convention: found.convention,
        sentence: found.sentence.clone(),
        throughput: found.mask.throughput(),
        range: [values.clone().fold(f32::INFINITY, f32::min), values.fold(f32::NEG_INFINITY, f32::max)],
        sha256: mask::sha256(&found.mask),
    }
}

/// Runs the operator check and puts it into figures.
pub fn check_facts(operator: &dyn LinearOperator) -> CheckFacts {
    let report = check::check_operator(operator, SEEDS);
    CheckFacts {
        adjoint_mismatch: report.adjoint_mismatch,
        linearity_mismatch: report.linearity_mismatch,
        gram_mismatch: report.gram_mismatch,
        norm_over_bound: report.norm_over_bound,
        tolerance: check::OperatorReport::TOLERANCE,
        passes: report.passes(),
    }
}

impl fmt::Display for PixelSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, column, voxels } = self;
        writeln!(f, "detector pixel [{row}, {column}] sums {} voxels:", voxels.len())?;
        writeln!(f, "  band  wavelength  scene [row, column]  mask")?;
        for v in voxels {
            let place = format!("[{}, {}]", v.row, v.column);
            writeln!(f, "  {:>4}  {:>7.1} nm  {place:<19}  {:.4}", v.band, v.wavelength_nm, v.transmittance)?;
        }
        Ok(())
    }
}

impl fmt::Display for Voxel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { band, row, column, wavelength_nm, transmittance, detector_column } = self;
        write!(
            f,
            "voxel [{band}, {row}, {column}] ({wavelength_nm:.1} nm) reaches detector pixel [{row}, \
             {detector_column}] through a mask value of {transmittance:.4}"
        )
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let camera = &self.instrument;
        let ([bands, rows, columns], [_, width], step) = (self.scene, self.snapshot, camera.step());
        let nm = camera.wavelengths_nm.nm();
        writeln!(f, "{}: {}", camera.name, camera.summary)?;
        writeln!(
            f,
            "scene [{bands}, {rows}, {columns}] (band, row, column), {} to {} nm",
            nm[0],
            nm[bands - 1]
        )?;
        writeln!(
            f,
            "snapshot [{rows}, {width}] (row, column): y[r, c] = Σ_b m[r, c − {step}b] · x[b, r, c − {step}b]"
        )?;
        writeln!(
            f,
            "  a sum over bands; band b lies {step}b columns to the right, band 0 ({} nm) first",
            nm[0]
        )?;
        writeln!(f, "noise: {}", detector::format_noise(camera.camera.noise))?;
        match camera.network_input {
            InputConvention::Unsheared { gain } => writeln!(
                f,
                "networks take H[b, r, c] = (y[r, c + {step}b] / {bands}) · {gain} [{bands}, {rows}, {columns}] and the mask"
            )?,
            InputConvention::Normalised { peak } => writeln!(
                f,
                "networks take the snapshot clipped to [0, 1], divided by its maximum, times {peak}; no mask"
            )?,
        }
        match (&self.mask, &camera.default_mask) {
            (Some(mask), _) => {
                writeln!(f, "mask: {}", mask.sentence)?;
                let [low, high] = mask.range;
                writeln!(
                    f,
                    "  values {low:.4} to {high:.4}, mean {:.4}, SHA-256 {}",
                    mask.throughput, mask.sha256
                )?;
            }
            (None, Some(name)) => writeln!(f, "mask: the shipped `{name}` unless told otherwise")?,
            (None, None) => writeln!(f, "mask: none ships with it")?,
        }
        let Some(check) = &self.check else { return Ok(()) };
        let verdict = if check.passes { "passes" } else { "FAILS" };
        writeln!(f, "operator check {verdict} (each below {:.0e}):", check.tolerance)?;
        writeln!(f, "  adjoint mismatch |⟨Ax, y⟩ − ⟨x, Aᵀy⟩| / (‖Ax‖ ‖y‖) = {:.1e}", check.adjoint_mismatch)?;
        writeln!(f, "  linearity mismatch {:.1e}", check.linearity_mismatch)?;
        if let Some(gram) = check.gram_mismatch {
            writeln!(f, "  A Aᵀ against its diagonal Σ_b m² {gram:.1e}")?;
        }
        writeln!(f, "  largest singular value / stated bound = {:.6}", check.norm_over_bound)
    }
}

#[cfg(test)]
mod tests {
    use cassi_core::Tensor;

    use super::*;
    use crate::{builtin, mask::shipped, recognise_mask};

    #[test]
    fn sources_and_targets_agree_with_the_operator() {
        let camera = builtin("standard").unwrap();
        let (mask, _) = mask::fit_to(&shipped("cassi256").unwrap(), 5, 30);
        let operator = SdCassi::for_instrument(&camera, &mask);
        for (row, column) in [(0, 0), (2, 2), (4, 40), (1, 83)] {
            // Aᵀ of one lit detector pixel shows its voxels and their mask values.
            let mut y = vec![0.0; 5 * 84];
            y[row * 84 + column] = 1.0;
            let mut x = vec![f32::NAN; 28 * 5 * 30];
            operator.adjoint(&y, &mut x);
            let sources = pixel_sources(&camera, &mask, row, column).unwrap();
            for v in &sources.voxels {
                let at = (v.band * 5 + v.row) * 30 + v.column;
                assert_eq!(x[at], v.transmittance);
                x[at] = 0.0;
                assert_eq!(voxel_target(&camera, &mask, [v.band, v.row, v.column]).unwrap(), *v);
                assert_eq!((v.row, v.detector_column), (row, column));
            }
            assert!(x.iter().all(|&v| v == 0.0), "a voxel was left out");
        }
        let message = pixel_sources(&camera, &mask, 0, 84).unwrap_err().to_string();
        assert!(message.contains("[0, 84]") && message.contains("[5, 84]"), "{message}");
        assert!(voxel_target(&camera, &mask, [28, 0, 0]).is_err());
    }

    #[test]
    fn an_explanation_names_everything() {
        let camera = builtin("standard").unwrap();
        let plain = shipped("cassi256").unwrap();
        let file = Tensor::new(vec![256, 256], plain.as_slice().to_vec()).unwrap();
        let explanation = explain(&camera, Some(&recognise_mask(&file, &camera).unwrap()));
        assert!(explanation.check.unwrap().passes);
        let text = explanation.to_string();
        for part in ["[256, 310]", "453.5 nm", "check passes", "plain: 256x256", "SHA-256 f194f3a1"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let text = explain(&builtin("tsa-real").unwrap(), None).to_string();
        assert!(text.contains("[660, 714]") && text.contains("none ships"), "{text}");
    }
}
