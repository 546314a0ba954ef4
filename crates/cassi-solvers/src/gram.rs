//! The exact data step of a coded-shear camera under a spectral prior: `(A C Aᵀ + diag ρ)⁻¹` on the detector.
//!
//! With a spectral covariance `C [band, band]` in place of the identity, `A C Aᵀ` is no longer diagonal; but two
//! detector pixels interact only within a row, and only where some scene pixel sends light to both: columns `w + s b`
//! and `w + s b'`. So every row falls into `s` interleaved banded systems of half-bandwidth `bands − 1`, which a
//! Cholesky factorisation settles once and for all. Eight rows are solved side by side.

use cassi_core::CodedShear;
use rayon::prelude::*;

use crate::kernels::{Kernel, LANES};

type Lanes = [f32; LANES];

/// The Cholesky factors of every row of a detector.
pub(crate) struct RowGram {
    /// One entry for each group of [`LANES`] rows: the factors of its interleaved systems, one after the other.
    groups: Vec<Vec<Vec<f32>>>,
    step: usize,
    band: usize,
    columns: usize,
}

impl RowGram {
    /// Factors `A C Aᵀ + diag(ridge)` for a mask of `rows` rows; `covariance [bands, bands]` in C order, positive
    /// semi-definite, and `ridge [row, column]` of the detector, positive.
    pub(crate) fn new(
        camera: CodedShear<'_>,
        rows: usize,
        bands: usize,
        covariance: &[f32],
        ridge: &[f32],
    ) -> Self {
        let width = camera.mask.len() / rows;
        // Without dispersion all bands fall on one pixel: one band that varies as their sum does.
        let total = [covariance.iter().sum::<f32>()];
        let (step, band, covariance) =
            if camera.step == 0 { (1, 1, &total[..]) } else { (camera.step, bands, covariance) };
        let columns = width + step * (band - 1);
        let groups = (0..rows.div_ceil(LANES))
            .into_par_iter()
            .map(|group| {
                let energy = |column: usize| -> Lanes {
                    std::array::from_fn(|lane| {
                        let row = group * LANES + lane;
                        if row < rows { camera.mask[row * width + column].powi(2) } else { 0.0 }
                    })
                };
                (0..step.min(columns))
                    .map(|phase| {
                        let n = (columns - phase).div_ceil(step);
                        let mut system = vec![[0.0; LANES]; n * band];
                        for (i, diagonal) in system.iter_mut().step_by(band).enumerate() {
                            *diagonal = std::array::from_fn(|lane| {
                                let row = group * LANES + lane;
                                // Lanes beyond the last row are solved for nothing.
                                if row < rows { ridge[row * columns + phase + step * i] } else { 1.0 }
                            });
                        }
                        for (j, column) in (phase..width).step_by(step).enumerate() {
                            add_outer(&mut system, band, j, energy(column), covariance);
                        }
                        factor(&mut system, band);
                        system.into_flattened()
                    })
                    .collect()
            })
            .collect();
        Self { groups, step, band, columns }
    }

    /// Overwrites `u` by `(A C Aᵀ + diag ρ)⁻¹ r`, both `[row, column]` of the detector.
    pub(crate) fn solve(&self, kernel: &Kernel, r: &[f32], u: &mut [f32]) {
        let columns = self.columns;
        let group_len = LANES * columns;
        u.par_chunks_mut(group_len).zip(r.par_chunks(group_len)).zip(&self.groups).for_each_init(
            Vec::new,
            |t: &mut Vec<f32>, ((u, r), systems)| {
                for (phase, system) in systems.iter().enumerate() {
                    let n = (columns - phase).div_ceil(self.step);
                    t.clear();
                    t.resize(n * LANES, 0.0);
                    for (lane, row) in r.chunks(columns).enumerate() {
                        for (i, value) in row[phase..].iter().step_by(self.step).enumerate() {
                            t[i * LANES + lane] = *value;
                        }
                    }
                    (kernel.solve)(system, self.band, t);
                    for (lane, row) in u.chunks_mut(columns).enumerate() {
                        for (i, value) in row[phase..].iter_mut().step_by(self.step).enumerate() {
                            *value = t[i * LANES + lane];
                        }
                    }
                }
            },
        );
    }
}

/// Adds what one scene column sends to the detector: `energy · C` from diagonal place `j` on.
fn add_outer(system: &mut [Lanes], band: usize, j: usize, energy: Lanes, covariance: &[f32]) {
    for b in 0..band {
        for d in 0..=b {
            let c = covariance[b * band + b - d];
            let entry = &mut system[(j + b) * band + d];
            for lane in 0..LANES {
                entry[lane] += energy[lane] * c;
            }
        }
    }
}

/// Overwrites the lower band of a matrix, `system[i, d] = M[i, i − d]`, by its Cholesky factor, with the reciprocal
/// of the diagonal at `d = 0`.
fn factor(system: &mut [Lanes], band: usize) {
    for i in 0..system.len() / band {
        for d in (0..band.min(i + 1)).rev() {
            let j = i - d;
            let mut value = system[i * band + d];
            for t in 1..(band - d).min(j + 1) {
                let (a, b) = (system[i * band + d + t], system[j * band + t]);
                for lane in 0..LANES {
                    value[lane] -= a[lane] * b[lane];
                }
            }
            if d > 0 {
                let reciprocal = system[j * band];
                system[i * band + d] = std::array::from_fn(|lane| value[lane] * reciprocal[lane]);
            } else {
                // The pivot is at least the ridge in exact arithmetic; rounding must not take it below zero.
                system[i * band] = value.map(|pivot| 1.0 / pivot.max(f32::MIN_POSITIVE).sqrt());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;

    use super::*;
    use crate::kernels::best;

    /// `A C Aᵀ r + ridge ⊙ r`, term by term in f64.
    fn apply(
        mask: &[f32],
        [rows, width, bands, step]: [usize; 4],
        c: &[f32],
        ridge: &[f32],
        r: &[f32],
    ) -> Vec<f64> {
        let columns = width + step * (bands - 1);
        let mut y: Vec<f64> =
            r.iter().zip(ridge).map(|(&r, &ridge)| f64::from(ridge) * f64::from(r)).collect();
        for row in 0..rows {
            for w in 0..width {
                let m = f64::from(mask[row * width + w]);
                for b in 0..bands {
                    for other in 0..bands {
                        let from = f64::from(r[row * columns + w + step * other]);
                        y[row * columns + w + step * b] += m * m * f64::from(c[b * bands + other]) * from;
                    }
                }
            }
        }
        y
    }

    #[test]
    fn solving_undoes_the_operator() {
        for case @ [rows, width, bands, step] in
            [[1, 4, 2, 1], [3, 9, 5, 2], [9, 20, 6, 3], [8, 16, 4, 0], [2, 3, 4, 7], [11, 5, 1, 2]]
        {
            let mut stream = Stream::new(2, "gram", (rows * width) as u64);
            let mut draw = |n: usize| (0..n).map(|_| stream.uniform() as f32).collect::<Vec<_>>();
            let mut mask = draw(rows * width);
            mask[0] = 0.0;
            // C = F Fᵀ of a random factor, of full rank or not.
            let f = draw(bands * 2);
            let c: Vec<f32> = (0..bands * bands)
                .map(|i| {
                    f[2 * (i / bands)] * f[2 * (i % bands)] + f[2 * (i / bands) + 1] * f[2 * (i % bands) + 1]
                })
                .collect();
            let r = draw(rows * (width + step * (bands - 1)));
            let ridge: Vec<f32> = draw(r.len()).iter().map(|v| 0.05 + 0.05 * v).collect();
            let gram = RowGram::new(CodedShear { mask: &mask, step }, rows, bands, &c, &ridge);
            let mut u = vec![f32::NAN; r.len()];
            gram.solve(best(), &r, &mut u);
            // A condition number of about 100 on top of f32 rounding.
            for (back, r) in apply(&mask, case, &c, &ridge, &u).iter().zip(&r) {
                assert!((back - f64::from(*r)).abs() < 1e-4, "{case:?}: {back} for {r}");
            }
        }
    }
}
