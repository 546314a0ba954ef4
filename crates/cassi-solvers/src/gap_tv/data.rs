//! The camera as the iteration needs it: forward passes, back-projections row by row, the misfit on the detector.

use cassi_core::{CodedShear, LinearOperator, elements};
use rayon::prelude::*;

use crate::kernels::{Kernel, best};

/// Pixels whose squared misfits are summed in one go.
const PIECE: usize = 4096;

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
        let Some(CodedShear { mask, step }) = self.coded else { return self.operator.forward(x, y) };
        let columns = self.columns;
        y.par_chunks_mut(self.detector_columns).enumerate().for_each(|(row, y)| {
            y.fill(0.0);
            let mask = &mask[row * columns..][..columns];
            for b in 0..self.bands {
                let x = &x[b * self.plane() + row * columns..][..columns];
                (self.kernel.accumulate)(&mut y[step * b..], mask, x);
            }
        });
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
    accumulated: Option<Vec<f32>>,
    /// `‖y − A x‖` at which the accumulation has faded out.
    target: f64,
    /// `y₁ − A x`, or `y − A x`: what the next step is to add on the detector.
    pub(crate) wanted: Vec<f32>,
    /// `A x`.
    pub(crate) seen: Vec<f32>,
}

impl<'a> Misfit<'a> {
    /// For a snapshot with noise of standard deviation `sigma`.
    pub(crate) fn new(snapshot: &'a [f32], accelerated: bool, sigma: f64) -> Self {
        let target = sigma * (snapshot.len() as f64).sqrt();
        let zeros = || vec![0.0; snapshot.len()];
        Self { snapshot, accumulated: accelerated.then(zeros), target, wanted: zeros(), seen: zeros() }
    }

    /// `‖y − A x‖` for the `A x` that `seen` holds.
    pub(crate) fn norm(&self) -> f64 {
        // Fixed pieces, added up in their order: the thread count changes nothing.
        let pieces = self.snapshot.par_chunks(PIECE).zip(self.seen.par_chunks(PIECE));
        let squares =
            pieces.map(|(y, seen)| y.iter().zip(seen).map(|(y, s)| f64::from(y - s).powi(2)).sum::<f64>());
        squares.collect::<Vec<f64>>().iter().sum::<f64>().sqrt()
    }

    /// Sets `wanted` from `seen`, whose misfit is `norm`.
    pub(crate) fn update(&mut self, norm: f64) {
        let gain = if norm > self.target { (1.0 - self.target / norm) as f32 } else { 0.0 };
        let detector = self.wanted.iter_mut().zip(self.snapshot).zip(&self.seen);
        match &mut self.accumulated {
            Some(accumulated) => {
                for (((wanted, y), seen), sum) in detector.zip(accumulated) {
                    *sum += gain * (y - seen);
                    *wanted = *sum - seen;
                }
            }
            None => detector.for_each(|((wanted, y), seen)| *wanted = y - seen),
        }
    }
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
