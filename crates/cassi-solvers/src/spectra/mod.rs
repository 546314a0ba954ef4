//! What spectra look like: a second-moment matrix fitted to measured scenes, and the subspaces it suggests.
//!
//! The prior is `C = F Fᵀ` with the columns of `F` interpolated from a table onto the instrument's bands. From it, or
//! from its blend with what a running estimate holds, comes a synthesis matrix `T [band, rank]` whose columns are
//! orthogonal spectra of length `λ^(GRADING/2)`: coefficients of equal size are then equally surprising, which lets
//! one TV weight serve them all.

mod table;

use cassi_core::Wavelengths;

/// Number of spectra in the table: the largest rank of a subspace.
pub const RANK: usize = table::SPECTRA[0].len();
/// Rank of `subspace=auto`: beyond it the reconstruction of the training scenes gains nothing.
pub const DEFAULT_RANK: usize = 16;

/// Exponent between plain orthonormal spectra (0) and fully whitened ones (1), chosen on the training scenes.
const GRADING: f64 = 0.6;
/// Share of the estimate's own spectra in a blended prior.
#[cfg(feature = "lapack")]
const BLEND: f64 = 0.8;

/// `F [band, RANK]` in C order for a wavelength grid: the table, interpolated linearly and constant beyond its ends.
fn prior_factor(wavelengths: &Wavelengths) -> Vec<f64> {
    let last = table::SPECTRA.len() - 1;
    let place = |nm: f64| ((nm - table::FIRST_NM) / table::STEP_NM).clamp(0.0, last as f64);
    (wavelengths.nm().iter())
        .flat_map(|&nm| {
            let (low, part) = ((place(nm) as usize).min(last - 1), place(nm));
            let above = part - low as f64;
            (0..RANK).map(move |k| {
                let (a, b) = (table::SPECTRA[low][k], table::SPECTRA[low + 1][k]);
                a + above * (b - a)
            })
        })
        .collect()
}

/// How far a grid reaches beyond the wavelengths that the prior was fitted on, in nm.
pub(crate) fn overreach(wavelengths: &Wavelengths) -> f64 {
    let (first, last) = (wavelengths.nm()[0], wavelengths.nm()[wavelengths.len() - 1]);
    let end = table::FIRST_NM + table::STEP_NM * (table::SPECTRA.len() - 1) as f64;
    (table::FIRST_NM - first).max(last - end).max(0.0)
}

/// A synthesis matrix `x = T z` of spectra.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Synthesis {
    pub(crate) bands: usize,
    pub(crate) rank: usize,
    /// `T [band, rank]` in C order.
    pub(crate) by_band: Vec<f32>,
    /// `Tᵀ [rank, band]` in C order.
    pub(crate) by_spectrum: Vec<f32>,
}

impl Synthesis {
    /// From the prior alone.
    pub(crate) fn prior(wavelengths: &Wavelengths, rank: usize) -> Self {
        let bands = wavelengths.len();
        let factor = prior_factor(wavelengths);
        // On the benchmark's grid the columns of F are orthogonal with falling length; on others nearly so, and the
        // iteration does not rely on it.
        let lengths: Vec<f64> =
            (0..rank).map(|k| (0..bands).map(|b| factor[b * RANK + k].powi(2)).sum::<f64>().sqrt()).collect();
        let entry = |b: usize, k: usize| {
            let grade = (lengths[k] / lengths[0]).max(1e-4).powf(GRADING);
            factor[b * RANK + k] / lengths[k].max(f64::MIN_POSITIVE) * grade
        };
        Self::from_fn(bands, rank, entry)
    }

    fn from_fn(bands: usize, rank: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        let by_band = (0..bands * rank).map(|i| entry(i / rank, i % rank) as f32).collect();
        let by_spectrum = (0..bands * rank).map(|i| entry(i % bands, i / bands) as f32).collect();
        Self { bands, rank, by_band, by_spectrum }
    }

    /// `T Tᵀ [band, band]`.
    pub(crate) fn covariance(&self) -> Vec<f32> {
        let row = |b: usize| &self.by_band[b * self.rank..][..self.rank];
        (0..self.bands * self.bands)
            .map(|i| cassi_core::check::dot(row(i / self.bands), row(i % self.bands)) as f32)
            .collect()
    }

    /// The matrix `[rank, band]` that takes a spectrum to the coefficients nearest to it in the least-squares sense.
    pub(crate) fn analysis(&self) -> Vec<f32> {
        let (bands, rank) = (self.bands, self.rank);
        // Modified Gram-Schmidt, T = Q R; then R⁻¹ Qᵀ by substitution from the last row up.
        let mut q: Vec<Vec<f64>> =
            self.by_spectrum.chunks(bands).map(|t| t.iter().map(|&v| f64::from(v)).collect()).collect();
        let mut r = vec![0.0; rank * rank];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for k in 0..rank {
            let length = dot(&q[k], &q[k]).sqrt();
            r[k * rank + k] = length;
            // A column that depends on those before it takes no coefficient.
            let scale = if length > 1e-9 { 1.0 / length } else { 0.0 };
            q[k].iter_mut().for_each(|v| *v *= scale);
            let (done, todo) = q.split_at_mut(k + 1);
            for (later, column) in todo.iter_mut().enumerate() {
                let part = dot(&done[k], column);
                r[k * rank + k + 1 + later] = part;
                column.iter_mut().zip(&done[k]).for_each(|(v, d)| *v -= part * d);
            }
        }
        let mut inverse = q;
        for k in (0..rank).rev() {
            let (todo, done) = inverse.split_at_mut(k + 1);
            for (later, solved) in done.iter().enumerate() {
                let factor = r[k * rank + k + 1 + later];
                todo[k].iter_mut().zip(solved).for_each(|(v, s)| *v -= factor * s);
            }
            let pivot = r[k * rank + k];
            let scale = if pivot > 1e-9 { 1.0 / pivot } else { 0.0 };
            todo[k].iter_mut().for_each(|v| *v *= scale);
        }
        inverse.into_iter().flatten().map(|v| v as f32).collect()
    }

    /// The leading subspace of the prior blended with the second moments of an estimate, `moments [rank, rank]` of
    /// its coefficients in this synthesis. `None` if the estimate is zero.
    #[cfg(feature = "lapack")]
    pub(crate) fn adapted(&self, wavelengths: &Wavelengths, moments: &[f64]) -> Option<Self> {
        use ndarray::{Array2, ArrayView2};
        use ndarray_linalg::{Eigh, UPLO};

        let (bands, rank) = (self.bands, self.rank);
        let factor = Array2::from_shape_vec((bands, RANK), prior_factor(wavelengths)).ok()?;
        let synthesis = Array2::from_shape_fn((bands, rank), |(b, k)| f64::from(self.by_band[b * rank + k]));
        let moments = ArrayView2::from_shape((rank, rank), moments).ok()?;
        let seen = synthesis.dot(&moments).dot(&synthesis.t());
        let prior = factor.dot(&factor.t());
        let power = seen.diag().sum();
        if !(power.is_finite() && power > 0.0) {
            return None;
        }
        let blend = &prior * ((1.0 - BLEND) / prior.diag().sum()) + &seen * (BLEND / power);
        // A symmetric matrix of finite numbers: LAPACK cannot fail on it, but nothing depends on that.
        let (values, vectors) = blend.eigh(UPLO::Lower).ok()?;
        let largest = values[bands - 1];
        let entry = |b: usize, k: usize| {
            let (at, grade) = (bands - 1 - k, (values[bands - 1 - k] / largest).max(1e-7));
            vectors[[b, at]] * grade.powf(0.5 * GRADING)
        };
        Some(Self::from_fn(bands, rank, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_is_orthogonal_on_the_benchmark_and_graded() {
        let t = Synthesis::prior(&Wavelengths::benchmark(), DEFAULT_RANK);
        let spectrum = |k: usize| &t.by_spectrum[k * t.bands..][..t.bands];
        let dot = cassi_core::check::dot;
        let mut before = f64::INFINITY;
        for k in 0..t.rank {
            let length = dot(spectrum(k), spectrum(k)).sqrt();
            assert!(length <= before * (1.0 + 1e-6) && length > 0.0, "spectrum {k}");
            before = length;
            for other in 0..k {
                // The table has seven digits, and its weakest columns are a hundredth of its strongest.
                assert!(dot(spectrum(k), spectrum(other)).abs() < 1e-3 * length, "spectra {k} and {other}");
            }
        }
        assert!((dot(spectrum(0), spectrum(0)) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn analysis_undoes_synthesis_on_any_grid() {
        for wavelengths in [
            Wavelengths::benchmark(),
            Wavelengths::linspace(400.0, 720.0, 9),
            Wavelengths::linspace(550.0, 560.0, 1),
        ] {
            let rank = 6.min(wavelengths.len());
            let t = Synthesis::prior(&wavelengths, rank);
            let analysis = t.analysis();
            for k in 0..rank {
                for other in 0..rank {
                    let product = cassi_core::check::dot(
                        &analysis[k * t.bands..][..t.bands],
                        &t.by_spectrum[other * t.bands..][..t.bands],
                    );
                    let expected = if k == other { 1.0 } else { 0.0 };
                    // f32 entries times a condition number of a few tens.
                    assert!((product - expected).abs() < 1e-4, "{k} {other}: {product}");
                }
            }
        }
    }

    #[cfg(feature = "lapack")]
    #[test]
    fn an_estimate_of_one_spectrum_leads_the_adapted_subspace() {
        let wavelengths = Wavelengths::benchmark();
        let t = Synthesis::prior(&wavelengths, 4);
        let mut moments = vec![0.0; 16];
        moments[2 * 4 + 2] = 1.0;
        let adapted = t.adapted(&wavelengths, &moments).unwrap();
        let dot = cassi_core::check::dot;
        let (lead, seen) = (&adapted.by_spectrum[..28], &t.by_spectrum[2 * 28..3 * 28]);
        let cosine = dot(lead, seen).abs() / (dot(lead, lead) * dot(seen, seen)).sqrt();
        // It has 0.8 of the power and the prior's own leading spectrum, orthogonal to it, less than 0.2.
        assert!(cosine > 0.999, "{cosine}");
        assert!(t.adapted(&wavelengths, &[0.0; 16]).is_none());
    }

    #[test]
    fn grids_beyond_the_table_are_told_apart() {
        assert_eq!(overreach(&Wavelengths::benchmark()), 0.0);
        assert_eq!(overreach(&Wavelengths::linspace(380.0, 700.0, 5)), 20.0);
    }
}
