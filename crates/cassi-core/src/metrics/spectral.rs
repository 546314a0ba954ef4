//! Figures of spectra: the spectral angle in two conventions, and the correlation of two curves.

use rayon::prelude::*;

use super::{Pair, level, mean};

/// The correlation coefficient of two curves of one length, e.g. two spectra: NaN if either is constant.
///
/// # Panics
/// If the lengths differ.
pub fn pearson(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "curves of one length");
    let average = |v: &[f32]| v.iter().map(|&x| f64::from(x)).sum::<f64>() / v.len() as f64;
    let (mean_a, mean_b) = (average(a), average(b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x) - mean_a, f64::from(y) - mean_b);
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    // Rounding may carry a perfect correlation past 1 by an ulp.
    (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0)
}

impl Pair<'_> {
    /// Sum over rows of `angle(<t, t>, <e, e>, <t, e>)` of each pixel where it is Some, and how many were.
    fn angles(&self, map: fn(f32) -> f64, angle: fn(f64, f64, f64) -> Option<f64>) -> (f64, usize) {
        let columns = self.truth.columns();
        let rows: Vec<(f64, usize)> = (0..self.truth.rows())
            .into_par_iter()
            .map_init(
                || vec![[0.0; 3]; columns],
                |sums, row| {
                    sums.fill([0.0; 3]);
                    for band in 0..self.truth.bands() {
                        let (truth, estimate) = self.band(band);
                        let range = row * columns..(row + 1) * columns;
                        for (sum, (&t, &e)) in
                            sums.iter_mut().zip(truth[range.clone()].iter().zip(&estimate[range]))
                        {
                            let (t, e) = (map(t), map(e));
                            sum[0] += t * t;
                            sum[1] += e * e;
                            sum[2] += t * e;
                        }
                    }
                    let angles = sums.iter().filter_map(|&[tt, ee, te]| angle(tt, ee, te));
                    angles.fold((0.0, 0), |(sum, count), a| (sum + a, count + 1))
                },
            )
            .collect();
        rows.into_iter().fold((0.0, 0), |(sum, count), (s, c)| (sum + s, count + c))
    }

    /// Mean spectral angle in degrees, values as they are; pixels where either spectrum is zero are left out (NaN
    /// if all are).
    pub fn sam_deg(&self) -> f64 {
        let (sum, count) = self.angles(f64::from, |tt, ee, te| {
            (tt != 0.0 && ee != 0.0).then(|| (te / (tt.sqrt() * ee.sqrt())).clamp(-1.0, 1.0).acos())
        });
        (sum / count as f64).to_degrees()
    }

    /// Mean spectral angle in degrees as published tables have it (`SpectAngMapper.m` of the MST toolbox): clamped
    /// 8-bit levels, all pixels. Machine epsilon is added to the product and to each norm, and the real part of the
    /// arc cosine taken, so a pixel that is zero in both cubes counts 0 degrees and one that is zero in one of them
    /// nearly 90.
    pub fn sam_matlab_deg(&self) -> f64 {
        let (sum, count) = self.angles(level, |tt, ee, te| {
            let cosine = (te + f64::EPSILON) / ((tt.sqrt() + f64::EPSILON) * (ee.sqrt() + f64::EPSILON));
            // The real part of the arc cosine is 0 beyond 1; products of levels are never negative.
            Some(cosine.min(1.0).acos())
        });
        (sum / count as f64).to_degrees()
    }

    /// Correlation of truth and estimate at every pixel, averaged over the pixels where both spectra vary; NaN if
    /// there are none.
    pub fn mean_spectral_correlation(&self) -> f64 {
        let shape = self.truth.shape();
        let rows: Vec<Vec<f64>> = (0..shape[1])
            .into_par_iter()
            .map(|row| {
                let at =
                    |column| pearson(&self.truth.spectrum(row, column), &self.estimate.spectrum(row, column));
                (0..shape[2]).map(at).filter(|r| !r.is_nan()).collect()
            })
            .collect();
        mean(&rows.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_of_lines() {
        let up = [0.1, 0.2, 0.3, 0.4];
        assert!((pearson(&up, &[1.0, 3.0, 5.0, 7.0]) - 1.0).abs() < 1e-6);
        assert!((pearson(&up, &[7.0, 5.0, 3.0, 1.0]) + 1.0).abs() < 1e-6);
        assert!(pearson(&up, &[1.0; 4]).is_nan());
        // By hand: deviations (-1, 0, 1) and (-1, 2, -1) are orthogonal.
        assert!(pearson(&[0.0, 1.0, 2.0], &[0.0, 3.0, 0.0]).abs() < 1e-12);
    }
}
