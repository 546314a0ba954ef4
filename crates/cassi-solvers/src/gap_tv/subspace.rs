//! The iteration on the coefficients of a spectral subspace, which follows the scene as it becomes known.
//!
//! After a quarter and after half of the iterations the subspace is fitted anew, to the prior blended with the
//! spectra of the estimate so far (with feature `lapack`; without it the prior stays).

use cassi_core::{CodedShear, Problem};
use ndarray::ArrayView3;
use rayon::prelude::*;

use super::data::{Camera, Misfit, conjugate_gradients};
use super::method::{GapTv, Weight};
use super::monitor::Monitor;
use crate::gram::RowGram;
use crate::kernels::{Plane, Wavefront};
use crate::spectra::{Synthesis, overreach};

/// TV weight of `weight=auto`, as a multiple of the scene's brightness.
const WEIGHT: f64 = 0.4;
/// Ridge of the data step for a noise-free snapshot, relative to the largest variance of the prior: below it the
/// reconstruction does not change, and f32 factors stay exact to three digits.
const SMALLEST_RIDGE: f64 = 1e-3;
/// Ridge per noise level, the level relative to the mean of the snapshot; about the best on the training scenes
/// between levels of 2 and 40 %.
const RIDGE_PER_LEVEL: f64 = 2.0;
/// Below this level the ridge falls with its square: an estimate of 1 % may be the scene's own structure.
const FAINT_LEVEL: f64 = 0.02;
/// Conjugate-gradient steps of the data step for operators that are no coded shear.
const INNER_SOLVE: usize = 60;
/// Reach beyond the fitted wavelengths, in nm, that is worth a note.
const OVERREACH_NM: f64 = 20.0;

/// Ridge of every detector pixel for noise of standard deviation `sigma` there.
fn ridge(sigma: &[f32], snapshot: &[f32]) -> Vec<f32> {
    let mean = snapshot.iter().map(|&v| f64::from(v).abs()).sum::<f64>() / snapshot.len() as f64;
    let of_level = |level: f64| RIDGE_PER_LEVEL * level * (level / FAINT_LEVEL).min(1.0);
    let level = |sigma: f32| if mean > 0.0 { f64::from(sigma) / mean } else { 0.0 };
    sigma.iter().map(|&sigma| of_level(level(sigma)).max(SMALLEST_RIDGE) as f32).collect()
}

/// Runs the iteration and returns the cube's values.
pub(super) fn run(
    method: &GapTv,
    camera: &Camera<'_>,
    problem: &Problem<'_>,
    rank: usize,
    brightness: f64,
    sigma: &[f32],
    monitor: &mut Monitor<'_>,
) -> Vec<f32> {
    let wavelengths = &problem.instrument.wavelengths_nm;
    let reach = overreach(wavelengths);
    if reach > OVERREACH_NM {
        monitor.note(format!(
            "the spectral prior ends {reach:.0} nm short of the bands: its ends are held beyond"
        ));
    }
    // A coefficient of a flat spectrum is √bands times the level of the cube.
    let weight = match method.weight {
        Weight::Fixed(weight) => weight,
        Weight::Auto => WEIGHT * brightness,
    } * (camera.bands as f64).sqrt();
    let y = problem.snapshot.as_slice();
    let mut state = State::new(camera, Synthesis::prior(wavelengths, rank), method.inner.unwrap_or(3));
    if let Some(start) = problem.warm_start {
        state.analyse(start.as_slice());
    }
    let refits: &[usize] =
        if cfg!(feature = "lapack") { &[method.iterations / 4, method.iterations / 2] } else { &[] };
    let mut cube = vec![0.0; camera.bands * camera.plane()];
    let ridge = ridge(sigma, y);
    let mut data = DataStep::new(camera, &state.synthesis, &ridge);
    let mut misfit = Misfit::new(y, camera.detector_columns, method.accelerated, sigma);
    state.forward(&mut cube, &mut misfit.seen);
    for iteration in 0..method.iterations {
        if iteration > 0 && refits.contains(&iteration) && state.refit(wavelengths) {
            data = DataStep::new(camera, &state.synthesis, &ridge);
            state.forward(&mut cube, &mut misfit.seen);
        }
        misfit.update(None);
        data.solve(camera, &state.synthesis, &mut misfit.wanted);
        let sums = state.denoise(&misfit.wanted, &mut cube, weight as f32);
        state.forward(&mut cube, &mut misfit.seen);
        let norm = misfit.norm();
        let view = monitor.wants_estimate().then(|| {
            state.synthesise(&mut cube);
            let shape = (camera.bands, camera.rows, camera.columns);
            ArrayView3::from_shape(shape, &cube).expect("as many values as the shape says")
        });
        if monitor.step(norm, sums, view) {
            break;
        }
    }
    state.synthesise(&mut cube);
    cube
}

/// Coefficients, their TV duals, and the spectra they belong to.
struct State<'a> {
    camera: &'a Camera<'a>,
    synthesis: Synthesis,
    inner: usize,
    /// `z [rank, row, column]`.
    coefficients: Vec<f32>,
    /// `[rank, 2, row, column]`.
    duals: Vec<f32>,
}

impl<'a> State<'a> {
    fn new(camera: &'a Camera<'a>, synthesis: Synthesis, inner: usize) -> Self {
        let n = synthesis.rank * camera.plane();
        Self { camera, synthesis, inner, coefficients: vec![0.0; n], duals: vec![0.0; 2 * n] }
    }

    /// Sets the coefficients to those nearest to a cube.
    fn analyse(&mut self, cube: &[f32]) {
        let (analysis, bands) = (self.synthesis.analysis(), self.camera.bands);
        mix(self.camera, &analysis, bands, cube, &mut self.coefficients);
    }

    /// `x = T z`.
    fn synthesise(&self, cube: &mut [f32]) {
        mix(self.camera, &self.synthesis.by_band, self.synthesis.rank, &self.coefficients, cube);
    }

    /// `seen = A T z`; `cube` is scratch for operators that need it whole.
    fn forward(&self, cube: &mut [f32], seen: &mut [f32]) {
        let camera = self.camera;
        let Some(CodedShear { mask, step }) = camera.coded else {
            self.synthesise(cube);
            return camera.operator.forward(cube, seen);
        };
        let (columns, rank) = (camera.columns, self.synthesis.rank);
        seen.par_chunks_mut(camera.detector_columns).enumerate().for_each_init(
            || vec![0.0; columns],
            |band, (row, seen)| {
                seen.fill(0.0);
                let mask = &mask[row * columns..][..columns];
                let coefficients = &self.coefficients[row * columns..];
                for (b, spectrum) in self.synthesis.by_band.chunks(rank).enumerate() {
                    (camera.kernel.combine)(band, spectrum, coefficients, camera.plane());
                    (camera.kernel.accumulate)(&mut seen[step * b..], mask, band);
                }
            },
        );
    }

    /// `z ← TV(z + Tᵀ Aᵀ u)`, coefficient by coefficient; returns `Σ (new − old)²` and `Σ new²`.
    fn denoise(&mut self, u: &[f32], cube: &mut [f32], weight: f32) -> [f64; 2] {
        let (camera, plane, columns) = (self.camera, self.camera.plane(), self.camera.columns);
        if camera.coded.is_none() {
            camera.operator.adjoint(u, cube);
        }
        let mut sums = vec![[0.0; 2]; self.synthesis.rank];
        let planes = (self.coefficients.par_chunks_mut(plane).zip(self.duals.par_chunks_mut(2 * plane)))
            .zip(self.synthesis.by_spectrum.par_chunks(camera.bands))
            .zip(&mut sums);
        let (inner, back) = (self.inner, &*cube);
        planes.for_each_init(
            || (Wavefront::new(columns, inner, true), vec![0.0; columns]),
            |(front, scratch), (((plane_z, dual), spectrum), sums)| {
                let fill = &mut |row: usize, old: &[f32], image: &mut [f32]| match camera.coded {
                    // Σ_b T[b] m u[w + s b]: the sum over bands reads one detector row at `bands` offsets.
                    Some(CodedShear { mask, step }) => {
                        let u = &u[row * camera.detector_columns..][..camera.detector_columns];
                        (camera.kernel.combine)(scratch, spectrum, u, step);
                        (camera.kernel.lift)(image, old, &mask[row * columns..], scratch);
                    }
                    None => {
                        (camera.kernel.combine)(scratch, spectrum, &back[row * columns..], plane);
                        image.iter_mut().zip(old).zip(&*scratch).for_each(|((v, z), u)| *v = z + u);
                    }
                };
                *sums =
                    (camera.kernel.denoise)(front, Plane { values: plane_z, dual: Some(dual), weight, fill });
            },
        );
        sums.iter().fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
    }

    /// Moves to the subspace that fits the prior and the estimate; the duals start anew. Says whether it did.
    #[cfg(feature = "lapack")]
    fn refit(&mut self, wavelengths: &cassi_core::Wavelengths) -> bool {
        let (camera, rank) = (self.camera, self.synthesis.rank);
        let planes: Vec<&[f32]> = self.coefficients.chunks(camera.plane()).collect();
        let moments: Vec<f64> = (0..rank * rank)
            .into_par_iter()
            .map(|i| {
                if i / rank < i % rank {
                    0.0
                } else {
                    cassi_core::check::dot(planes[i / rank], planes[i % rank])
                }
            })
            .collect();
        let symmetric: Vec<f64> = (0..rank * rank)
            .map(|i| moments[(i / rank).max(i % rank) * rank + (i / rank).min(i % rank)])
            .collect();
        let Some(adapted) = self.synthesis.adapted(wavelengths, &symmetric) else { return false };
        // Old coefficients to new ones: analysis of the new spectra after synthesis of the old.
        let analysis = adapted.analysis();
        let change: Vec<f32> = (0..rank * rank)
            .map(|i| {
                let (to, from) = (
                    &analysis[i / rank * camera.bands..],
                    &self.synthesis.by_spectrum[i % rank * camera.bands..],
                );
                cassi_core::check::dot(&to[..camera.bands], &from[..camera.bands]) as f32
            })
            .collect();
        let mut moved = vec![0.0; self.coefficients.len()];
        mix(camera, &change, rank, &self.coefficients, &mut moved);
        self.coefficients = moved;
        self.duals.fill(0.0);
        self.synthesis = adapted;
        true
    }

    #[cfg(not(feature = "lapack"))]
    fn refit(&mut self, _: &cassi_core::Wavelengths) -> bool {
        false
    }
}

/// `output[i] = Σ_j matrix[i, j] · input[j]` over the planes of two cubes; `matrix` has `inputs` columns.
fn mix(camera: &Camera<'_>, matrix: &[f32], inputs: usize, input: &[f32], output: &mut [f32]) {
    let (plane, columns) = (camera.plane(), camera.columns);
    output.par_chunks_mut(columns).enumerate().for_each(|(line, out)| {
        let (i, row) = (line / camera.rows, line % camera.rows);
        (camera.kernel.combine)(out, &matrix[i * inputs..][..inputs], &input[row * columns..], plane);
    });
}

/// `(A T Tᵀ Aᵀ + ρ)⁻¹` on the detector.
enum DataStep {
    /// Factored, for a coded shear.
    Factored { gram: RowGram, solution: Vec<f32> },
    /// By conjugate gradients, for any operator.
    Iterated { covariance: Vec<f32>, ridge: Vec<f32>, cubes: [Vec<f32>; 2], solution: Vec<f32> },
}

impl DataStep {
    fn new(camera: &Camera<'_>, synthesis: &Synthesis, ridge: &[f32]) -> Self {
        let (covariance, solution) = (synthesis.covariance(), vec![0.0; camera.pixels()]);
        match camera.coded {
            Some(coded) => {
                let gram = RowGram::new(coded, camera.rows, camera.bands, &covariance, ridge);
                Self::Factored { gram, solution }
            }
            None => {
                let cube = || vec![0.0; camera.bands * camera.plane()];
                Self::Iterated { covariance, ridge: ridge.to_vec(), cubes: [cube(), cube()], solution }
            }
        }
    }

    /// Overwrites `r` by the solution.
    fn solve(&mut self, camera: &Camera<'_>, synthesis: &Synthesis, r: &mut Vec<f32>) {
        match self {
            Self::Factored { gram, solution } => {
                gram.solve(camera.kernel, r, solution);
                std::mem::swap(r, solution);
            }
            Self::Iterated { covariance, ridge, cubes: [back, mixed], solution } => {
                let apply = |v: &[f32], out: &mut [f32]| {
                    camera.operator.adjoint(v, back);
                    mix(camera, covariance, synthesis.bands, back, mixed);
                    camera.operator.forward(mixed, out);
                    out.iter_mut().zip(v).zip(&*ridge).for_each(|((out, v), ridge)| *out += ridge * v);
                };
                conjugate_gradients(apply, r, solution, INNER_SOLVE);
                r.copy_from_slice(solution);
            }
        }
    }
}
