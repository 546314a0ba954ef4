//! Figures made of squared or relative errors: PSNR in three conventions, RMSE, ERGAS, MRAE.

use super::{Pair, level, mean};

/// Smallest truth that [`Pair::mrae`] divides by: a thousandth of full scale, about the noise of an 8- to 10-bit
/// camera. Without it one black pixel would decide the figure.
pub(super) const MRAE_FLOOR: f64 = 1e-3;

/// Mean of `map(truth) - map(estimate)` squared.
fn mse(truth: &[f32], estimate: &[f32], map: impl Fn(f32) -> f64) -> f64 {
    let sum: f64 = truth.iter().zip(estimate).map(|(&t, &e)| (map(t) - map(e)).powi(2)).sum();
    sum / truth.len() as f64
}

/// Infinite where there is no error.
fn decibel(peak: f64, mse: f64) -> f64 {
    10.0 * (peak * peak / mse).log10()
}

/// `100 sqrt(mean_b (mse_b / mean_b^2))`, resolution ratio 1.
fn ergas(mse: &[f64], means: &[f64]) -> f64 {
    let ratios: Vec<f64> = mse.iter().zip(means).map(|(e, m)| e / (m * m)).collect();
    100.0 * mean(&ratios).sqrt()
}

impl Pair<'_> {
    fn mse_per_band(&self) -> Vec<f64> {
        self.each_band(|t, e| mse(t, e, f64::from))
    }

    /// PSNR in dB over the whole cube: peak 1, values as they are (nothing clamped or rounded). Infinite when the
    /// cubes are equal.
    pub fn psnr_unit_peak(&self) -> f64 {
        decibel(1.0, mean(&self.mse_per_band()))
    }

    /// PSNR in dB of every band, peak 1, values as they are.
    pub fn psnr_unit_peak_per_band(&self) -> Vec<f64> {
        self.mse_per_band().into_iter().map(|mse| decibel(1.0, mse)).collect()
    }

    /// PSNR in dB as the MST toolbox logs it in training and validation: values times 256, rounded half to even, not
    /// clamped; peak 255; mean of the band PSNRs. Infinite as soon as one band agrees after rounding.
    pub fn psnr_mst(&self) -> f64 {
        // Times 256 is exact in f32.
        let level = |v: f32| f64::from((v * 256.0).round_ties_even());
        mean(&self.each_band(|t, e| decibel(255.0, mse(t, e, level))))
    }

    /// PSNR in dB as published tables have it (`Cal_quality_assessment.m`, `csnr.m` of the MST toolbox): clamped to
    /// [0, 1], 8-bit levels, peak 255, mean of the band PSNRs. Infinite as soon as one band agrees after rounding.
    pub fn psnr_matlab(&self) -> f64 {
        mean(&self.each_band(|t, e| decibel(255.0, mse(t, e, level))))
    }

    /// Root of the mean squared error over the whole cube, in the unit of the cube.
    pub fn rmse(&self) -> f64 {
        mean(&self.mse_per_band()).sqrt()
    }

    /// Root of the mean squared error of every band, in the unit of the cube.
    pub fn rmse_per_band(&self) -> Vec<f64> {
        self.mse_per_band().into_iter().map(f64::sqrt).collect()
    }

    /// ERGAS, `100 sqrt(mean_b (mse_b / mean(t_b)^2))`, resolution ratio 1, values as they are. Not finite when a
    /// band of the truth has mean 0.
    pub fn ergas(&self) -> f64 {
        let means = self.each_band(|t, _| t.iter().map(|&v| f64::from(v)).sum::<f64>() / t.len() as f64);
        ergas(&self.mse_per_band(), &means)
    }

    /// ERGAS as published tables have it: the same formula on clamped 8-bit levels.
    pub fn ergas_matlab(&self) -> f64 {
        let means = self.each_band(|t, _| t.iter().map(|&v| level(v)).sum::<f64>() / t.len() as f64);
        ergas(&self.each_band(|t, e| mse(t, e, level)), &means)
    }

    /// Mean relative absolute error, the mean of `|e - t| / max(t, 0.001)` over the whole cube.
    pub fn mrae(&self) -> f64 {
        mean(&self.each_band(|truth, estimate| {
            let relative = |(&t, &e): (&f32, &f32)| {
                let (t, e) = (f64::from(t), f64::from(e));
                (e - t).abs() / t.max(MRAE_FLOOR)
            };
            truth.iter().zip(estimate).map(relative).sum::<f64>() / truth.len() as f64
        }))
    }
}
