//! How far an estimate is from the truth, every figure named after its convention.
//!
//! Three conventions of PSNR and SSIM are in use in this field and papers mix them; between the band means they
//! differ by up to 0.2 dB, and a whole-cube PSNR differs from a band mean by much more. So each figure says what it
//! is:
//!
//! | name | values | peak | average |
//! |---|---|---|---|
//! | `psnr_unit_peak` | as they are | 1 | of squared errors, over the whole cube |
//! | `psnr_mst` | times 256, rounded half to even | 255 | of band PSNRs |
//! | `psnr_matlab` | estimate clamped, 8-bit levels | 255 | of band PSNRs |
//! | `ssim_unit_peak` | as they are | 1 | valid region, over bands |
//! | `ssim_mst` | as they are | 1 | zero-padded border included, over bands |
//! | `ssim_matlab` | estimate clamped, 8-bit levels | 255 | valid region, over bands |
//!
//! [`Pair`] checks the two shapes once and offers each figure alone; [`Scores`] is all of them, in the order and under
//! the names in which they are published. Sums are f64 and taken band by band (angles: row by row), so results do
//! not depend on the number of threads. `docs/metrics.md` has every formula with its source.
//!
//! ```
//! use cassi_core::{Cube, Wavelengths, metrics::Scores};
//! let truth = Cube::zeros([28, 16, 16], Wavelengths::benchmark());
//! let mut estimate = truth.clone();
//! estimate.as_mut_slice().fill(0.1);
//! let scores = Scores::compute(&truth, &estimate)?;
//! assert!((scores.psnr_unit_peak - 20.0).abs() < 1e-5);
//! # Ok::<(), cassi_core::ShapeError>(())
//! ```

mod scores;
mod spectral;
mod squared;
mod ssim;

pub use scores::Scores;
pub use spectral::pearson;

use rayon::prelude::*;

use crate::{Cube, ShapeError};

/// A true cube and an estimate of it, of one shape `[band, row, column]`: what every figure is computed from.
///
/// Wavelengths are not compared: resample first if the grids differ.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    truth: &'a Cube,
    estimate: &'a Cube,
}

impl<'a> Pair<'a> {
    /// Takes a truth and an estimate.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn new(truth: &'a Cube, estimate: &'a Cube) -> Result<Self, ShapeError> {
        if truth.shape() != estimate.shape() {
            return Err(ShapeError {
                what: "estimate",
                found: estimate.shape().to_vec(),
                expected: format!("{:?} as the truth", truth.shape()),
                axes: "(band, row, column)",
            });
        }
        Ok(Self { truth, estimate })
    }

    /// Values of one band: truth and estimate.
    fn band(&self, band: usize) -> (&'a [f32], &'a [f32]) {
        let pixels = self.truth.rows() * self.truth.columns();
        let range = band * pixels..(band + 1) * pixels;
        (&self.truth.as_slice()[range.clone()], &self.estimate.as_slice()[range])
    }

    /// `f(truth, estimate)` of every band, computed in parallel, in the order of the bands.
    fn each_band(&self, f: impl Fn(&[f32], &[f32]) -> f64 + Sync) -> Vec<f64> {
        (0..self.truth.bands())
            .into_par_iter()
            .map(|band| {
                let (truth, estimate) = self.band(band);
                f(truth, estimate)
            })
            .collect()
    }
}

/// PSNR over the whole cube, peak 1: short for [`Pair::psnr_unit_peak`].
///
/// # Errors
/// If the shapes differ.
pub fn psnr_unit_peak(truth: &Cube, estimate: &Cube) -> Result<f64, ShapeError> {
    Ok(Pair::new(truth, estimate)?.psnr_unit_peak())
}

/// The 8-bit level of a value, 0 to 255, rounded half away from zero; values beyond [0, 1] saturate.
fn level(value: f32) -> f64 {
    (f64::from(value.clamp(0.0, 1.0)) * 255.0).round()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
