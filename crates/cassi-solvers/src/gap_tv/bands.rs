//! The published iteration: one plane per band.

use cassi_core::{CodedShear, Problem};
use ndarray::ArrayView3;
use rayon::prelude::*;

use super::data::{Camera, Misfit, conjugate_gradients};
use super::method::{GapTv, Weight};
use super::monitor::Monitor;
use crate::joint::JointTv;
use crate::tv::Wavefront;

/// TV weight of `weight=auto`, as a multiple of the scene's brightness.
const WEIGHT: f64 = 0.7;
/// Steps of the inner solve for operators whose `A Aᵀ` is not diagonal: each is an application of `A Aᵀ`.
const INNER_SOLVE: usize = 10;

/// Runs the iteration and returns the cube's values.
pub(super) fn run(
    method: &GapTv,
    camera: &Camera<'_>,
    problem: &Problem<'_>,
    brightness: f64,
    sigma: f64,
    monitor: &mut Monitor<'_>,
) -> Vec<f32> {
    let weight = match method.weight {
        Weight::Fixed(weight) => weight,
        Weight::Auto => WEIGHT * brightness,
    } as f32;
    let inner = method.inner.unwrap_or(5);
    let (y, plane, columns) = (problem.snapshot.as_slice(), camera.plane(), camera.columns);
    let mut x = vec![0.0; camera.bands * plane];
    match problem.warm_start {
        Some(start) => x.copy_from_slice(start.as_slice()),
        None => camera.operator.adjoint(y, &mut x),
    }
    let mut joint = method.joint.then(|| JointTv::new([camera.bands, camera.rows, columns]));
    let fused = camera.coded.filter(|_| joint.is_none());
    let mut back = if fused.is_some() { Vec::new() } else { vec![0.0; x.len()] };
    let mut step = Step::new(camera);
    let mut misfit = Misfit::new(y, method.accelerated, sigma);
    camera.forward(&x, &mut misfit.seen);
    misfit.update(misfit.norm());
    for _ in 0..method.iterations {
        step.divide(camera, &mut misfit.wanted);
        let wanted = &misfit.wanted;
        if fused.is_none() {
            camera.operator.adjoint(wanted, &mut back);
        }
        let sums: [f64; 2] = if let Some(joint) = &mut joint {
            joint.run(&mut x, &back, weight, inner)
        } else {
            let mut sums = vec![[0.0; 2]; camera.bands];
            let planes = x.par_chunks_mut(plane).zip(&mut sums).enumerate();
            planes.for_each_init(
                || Wavefront::new(columns, inner, false),
                |front, (b, (band, sums))| {
                    *sums = front.run(camera.kernel, band, None, weight, |row, old, image| match fused {
                        Some(CodedShear { mask, step }) => {
                            let u = &wanted[row * camera.detector_columns + step * b..];
                            (camera.kernel.lift)(image, old, &mask[row * columns..], u);
                        }
                        None => {
                            let back = &back[b * plane + row * columns..];
                            image.iter_mut().zip(old).zip(back).for_each(|((v, x), u)| *v = x + u);
                        }
                    });
                },
            );
            sums.iter().fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
        };
        camera.forward(&x, &mut misfit.seen);
        let norm = misfit.norm();
        let shape = (camera.bands, camera.rows, columns);
        let view = ArrayView3::from_shape(shape, &x).expect("as many values as the shape says");
        if monitor.step(norm, sums, Some(view)) {
            break;
        }
        misfit.update(norm);
    }
    x
}

/// The inverse of `A Aᵀ`.
enum Step {
    /// One over its diagonal, zeros taken as 1.
    Diagonal(Vec<f32>),
    /// Conjugate gradients, for operators whose `A Aᵀ` is not diagonal.
    Solve { cube: Vec<f32>, solution: Vec<f32> },
}

impl Step {
    fn new(camera: &Camera<'_>) -> Self {
        match camera.operator.gram_diagonal() {
            Some(gram) => {
                Self::Diagonal(gram.iter().map(|&g| if g == 0.0 { 1.0 } else { 1.0 / g }).collect())
            }
            None => Self::Solve {
                cube: vec![0.0; camera.bands * camera.plane()],
                solution: vec![0.0; camera.pixels()],
            },
        }
    }

    /// Overwrites `r` by `(A Aᵀ)⁻¹ r`.
    fn divide(&mut self, camera: &Camera<'_>, r: &mut [f32]) {
        match self {
            Self::Diagonal(inverse) => r.iter_mut().zip(inverse).for_each(|(r, inverse)| *r *= *inverse),
            Self::Solve { cube, solution } => {
                let apply = |v: &[f32], out: &mut [f32]| {
                    camera.operator.adjoint(v, cube);
                    camera.operator.forward(cube, out);
                };
                conjugate_gradients(apply, r, solution, INNER_SOLVE);
                r.copy_from_slice(solution);
            }
        }
    }
}
