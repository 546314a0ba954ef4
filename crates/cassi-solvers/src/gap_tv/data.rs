//! The camera as the iteration needs it: forward passes, back-projections row by row, the misfit on the detector.

use cassi_core::{CodedShear, LinearOperator, elements};
use rayon::prelude::*;

use crate::kernels::{Kernel, best};

/// Detector pixels that one task works on.
const PIECE: usize = 4096;
/// Side of a tile of the detector: large enough for its misfit to be known to a few per cent, small enough to tell dark
/// ground from bright objects.
const TILE: usize = 16;

/// An operator over a cube `[band, row, column]`, with its mask and step where it is a coded shear.
pub(crate) struct Camera<'a> {
    pub(crate) operator: &'a dyn LinearOperator,
    pub(crate) coded: Option<CodedShear<'a>>,
    pub(crate) kernel: &'static Kernel,
    pub(crate) bands: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Columns of the detector, where the operator is a coded shear.
    pub(crate) detector_columns: usize,
}

impl<'a> Camera<'a> {
    pub(crate) fn new(operator: &'a dyn LinearOperator, [bands, rows, columns]: [usize; 3]) -> Self {
        let coded = operator.as_coded_shear();
        let detector_columns = operator.range().last().copied().unwrap_or(1);
        Self { operator, coded, kernel: best(), bands, rows, columns, detector_columns }
    }

    /// Number of values of one band.
    pub(crate) fn plane(&self) -> usize {
        self.rows * self.columns
    }

    /// Number of values of the snapshot.
    pub(crate) fn pixels(&self) -> usize {
        elements(self.operator.range())
    }

    /// `y = A x`.
    pub(crate) fn forward(&self, x: &[f32], y: &mut [f32]) {
        self.operator.forward(x, y);
    }

    /// The level of the uniform cube that would make as bright a snapshot: what weights and ridges are relative to.
    /// 1 for a snapshot of zeros, where it does not matter.
    pub(crate) fn brightness(&self, y: &[f32]) -> f64 {
        let mut uniform = vec![0.0; self.pixels()];
        self.forward(&vec![1.0; self.bands * self.plane()], &mut uniform);
        let sum = |v: &[f32]| v.iter().map(|&v| f64::from(v).abs()).sum::<f64>();
        let level = sum(y) / sum(&uniform);
        if level.is_finite() && level > 0.0 { level } else { 1.0 }
    }
}

/// What the detector still misses, and the accumulated snapshot `y₁` of the accelerated iteration.
pub(crate) struct Misfit<'a> {
    snapshot: &'a [f32],
    columns: usize,
    accumulated: Option<Vec<f32>>,
    /// Variance of the noise, pixel by pixel; `None` for a snapshot without noise.
    variance: Option<Vec<f32>>,
    /// `y₁ − A x`, or `y − A x`: what the next step is to add on the detector.
    pub(crate) wanted: Vec<f32>,
    /// `A x`.
    pub(crate) seen: Vec<f32>,
}

impl<'a> Misfit<'a> {
    /// For a snapshot of so many columns with noise of standard deviation `sigma`, pixel by pixel.
    pub(crate) fn new(snapshot: &'a [f32], columns: usize, accelerated: bool, sigma: &[f32]) -> Self {
        let variance = sigma.iter().any(|&s| s > 0.0).then(|| sigma.iter().map(|s| s * s).collect());
        let zeros = || vec![0.0; snapshot.len()];
        let accumulated = accelerated.then(zeros);
        Self { snapshot, columns, accumulated, variance, wanted: zeros(), seen: zeros() }
    }

    /// `‖y − A x‖` for the `A x` that `seen` holds.
    pub(crate) fn norm(&self) -> f64 {
        // Fixed pieces, added up in their order: the thread count changes nothing.
        let pieces = self.snapshot.par_chunks(PIECE).zip(self.seen.par_chunks(PIECE));
        let squares = pieces.map(|(y, seen)| squared_distance(y, seen)).collect::<Vec<f64>>();
        squares.iter().sum::<f64>().sqrt()
    }

    /// Sets `wanted` from `seen`; times `scale`, pixel by pixel, where it is given.
    ///
    /// What accumulates is the misfit times `1 − σ √pixels / ‖y − A x‖`, tile by tile: where the snapshot is explained
    /// up to its noise it fades out, whatever is still missing elsewhere.
    pub(crate) fn update(&mut self, scale: Option<&[f32]>) {
        let (columns, tile_rows) = (self.columns, TILE * self.columns);
        let (snapshot, seen, variance) = (self.snapshot, &self.seen[..], self.variance.as_deref());
        let wanted = self.wanted.par_chunks_mut(tile_rows).enumerate();
        let difference = |range: std::ops::Range<usize>, wanted: &mut [f32]| {
            let pixels = wanted.iter_mut().zip(&snapshot[range.clone()]).zip(&seen[range]);
            pixels.for_each(|((wanted, y), seen)| *wanted = y - seen);
        };
        match &mut self.accumulated {
            Some(sums) => wanted.zip(sums.par_chunks_mut(tile_rows)).for_each(|((at, wanted), sums)| {
                let start = at * tile_rows;
                difference(start..start + wanted.len(), wanted);
                if let Some(variance) = variance {
                    fade(wanted, &variance[start..start + wanted.len()], columns);
                }
                for ((wanted, sum), seen) in wanted.iter_mut().zip(sums).zip(&seen[start..]) {
                    *sum += *wanted;
                    *wanted = *sum - seen;
                }
            }),
            None => wanted.for_each(|(at, wanted)| {
                difference(at * tile_rows..at * tile_rows + wanted.len(), wanted);
            }),
        }
        if let Some(scale) = scale {
            let pieces = self.wanted.par_chunks_mut(PIECE).zip(scale.par_chunks(PIECE));
            pieces.for_each(|(wanted, scale)| wanted.iter_mut().zip(scale).for_each(|(w, s)| *w *= s));
        }
    }
}

/// Multiplies the misfit of each tile of some rows by `1 − √(Σ variance / Σ misfit²)`, or by 0 where that is negative.
fn fade(misfit: &mut [f32], variance: &[f32], columns: usize) {
    for left in (0..columns).step_by(TILE) {
        let right = (left + TILE).min(columns);
        let (mut found, mut expected) = (0.0, 0.0);
        for (misfit, variance) in misfit.chunks(columns).zip(variance.chunks(columns)) {
            found += misfit[left..right].iter().map(|v| v * v).sum::<f32>();
            expected += variance[left..right].iter().sum::<f32>();
        }
        let gain = if found > expected { 1.0 - (expected / found).sqrt() } else { 0.0 };
        for misfit in misfit.chunks_mut(columns) {
            misfit[left..right].iter_mut().for_each(|v| *v *= gain);
        }
    }
}

/// `Σ (a − b)²`: sums side by side, which any compiler vectorises, added up in f64.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    const SUMS: usize = 16;
    let mut sums = [0.0f32; SUMS];
    let (a, b) = (a.chunks(SUMS), b.chunks(SUMS));
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().map(|&sum| f64::from(sum)).sum()
}

/// Solves `M u = r` for a symmetric positive definite `M` by at most `limit` steps of conjugate gradients from
/// `u = 0`; stops early at rounding level.
pub(crate) fn conjugate_gradients(
    mut apply: impl FnMut(&[f32], &mut [f32]),
    r: &[f32],
    u: &mut [f32],
    limit: usize,
) {
    let dot = cassi_core::check::dot;
    u.fill(0.0);
    let (mut rest, mut direction, mut image) = (r.to_vec(), r.to_vec(), vec![0.0; r.len()]);
    let start = dot(r, r);
    let mut energy = start;
    for _ in 0..limit {
        if energy <= 1e-13 * start {
            break;
        }
        apply(&direction, &mut image);
        let curvature = dot(&direction, &image);
        if curvature <= 0.0 {
            break; // the null space: nothing there can be explained
        }
        let step = (energy / curvature) as f32;
        for ((u, rest), (d, m)) in u.iter_mut().zip(&mut rest).zip(direction.iter().zip(&image)) {
            *u += step * d;
            *rest -= step * m;
        }
        let next = dot(&rest, &rest);
        let momentum = (next / energy) as f32;
        direction.iter_mut().zip(&rest).for_each(|(d, rest)| *d = rest + momentum * *d);
        energy = next;
    }
}
