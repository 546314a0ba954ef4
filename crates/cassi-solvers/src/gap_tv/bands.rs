//! The published iteration: one plane per band.

use cassi_core::{CodedShear, Problem};
use ndarray::ArrayView3;
use rayon::prelude::*;

use super::data::{Camera, Misfit, conjugate_gradients};
use super::method::{GapTv, Weight};
use super::monitor::Monitor;
use crate::joint::JointTv;
use crate::kernels::{Plane, Wavefront};

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
    sigma: &[f32],
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
    let mut misfit = Misfit::new(y, camera.detector_columns, method.accelerated, sigma);
    camera.forward(&x, &mut misfit.seen);
    for _ in 0..method.iterations {
        // One visit to the thread pool for the whole step: entering it for every pass costs more than some of them.
        let (sums, norm) = rayon::scope(|_| {
            step.prepare(camera, &mut misfit);
            let wanted = &misfit.wanted;
            if fused.is_none() {
                camera.operator.adjoint(wanted, &mut back);
            }
            let sums = match &mut joint {
                Some(joint) => joint.run(&mut x, &back, weight, inner),
                None => denoise(camera, fused, wanted, &back, &mut x, weight, inner),
            };
            camera.forward(&x, &mut misfit.seen);
            (sums, misfit.norm())
        });
        let shape = (camera.bands, camera.rows, columns);
        let view = ArrayView3::from_shape(shape, &x).expect("as many values as the shape says");
        if monitor.step(norm, sums, Some(view)) {
            break;
        }
    }
    x
}

/// `x ← TV(x + Aᵀ u)` band by band; `back` is `Aᵀ u` unless the camera is `fused`. Returns `Σ (new − old)²` and `Σ new²`.
fn denoise(
    camera: &Camera<'_>,
    fused: Option<CodedShear<'_>>,
    u: &[f32],
    back: &[f32],
    x: &mut [f32],
    weight: f32,
    inner: usize,
) -> [f64; 2] {
    let (plane, columns) = (camera.plane(), camera.columns);
    let mut sums = vec![[0.0; 2]; camera.bands];
    x.par_chunks_mut(plane).zip(&mut sums).enumerate().for_each_init(
        || Wavefront::new(columns, inner, false),
        |front, (b, (band, sums))| {
            let fill = &mut |row: usize, old: &[f32], image: &mut [f32]| match fused {
                Some(CodedShear { mask, step }) => {
                    let u = &u[row * camera.detector_columns + step * b..];
                    (camera.kernel.lift)(image, old, &mask[row * columns..], u);
                }
                None => {
                    let back = &back[b * plane + row * columns..];
                    image.iter_mut().zip(old).zip(back).for_each(|((v, x), u)| *v = x + u);
                }
            };
            *sums = (camera.kernel.denoise)(front, Plane { values: band, dual: None, weight, fill });
        },
    );
    sums.iter().fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
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

    /// Sets what is wanted on the detector to `(A Aᵀ)⁻¹ (y₁ − A x)` from what was seen.
    fn prepare(&mut self, camera: &Camera<'_>, misfit: &mut Misfit<'_>) {
        match self {
            Self::Diagonal(inverse) => misfit.update(Some(inverse)),
            Self::Solve { cube, solution } => {
                misfit.update(None);
                let apply = |v: &[f32], out: &mut [f32]| {
                    camera.operator.adjoint(v, cube);
                    camera.operator.forward(cube, out);
                };
                conjugate_gradients(apply, &misfit.wanted, solution, INNER_SOLVE);
                std::mem::swap(&mut misfit.wanted, solution);
            }
        }
    }
}
