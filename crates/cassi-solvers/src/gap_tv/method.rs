//! The method as its users see it: settings, card, checks, choice of mode.

use std::time::Instant;

use cassi_core::{
    Cube, Family, MethodCard, NoiseLevel, Observer, Parameter, Problem, ReconstructError, Reconstruction,
    Reconstructor, ShapeError,
};
use ndarray::Array3;

use super::data::Camera;
use super::monitor::Monitor;
use super::{bands, subspace};
use crate::noise::estimate_noise;
use crate::settings::{Settings, number, switch};
use crate::spectra;

const NAME: &str = "gap-tv";

/// What a noise level is multiplied by: fitting a snapshot down to its very noise still fits some of it.
pub(crate) const MARGIN: f64 = 2.0;

/// The strength of the total variation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// Chosen from the scene's brightness.
    Auto,
    /// In the unit of the cube.
    Fixed(f64),
}

/// Where the total variation is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subspace {
    /// On the bands themselves: the published method.
    None,
    /// On the coefficients of as many fitted spectra as proved best.
    Auto,
    /// On the coefficients of this many.
    Rank(usize),
}

/// GAP-TV with its settings.
///
/// ```
/// use cassi_solvers::GapTv;
/// let set = |key: &str, value: &str| (key.to_string(), value.to_string());
/// let method = GapTv::from_settings(&[set("iterations", "50"), set("subspace", "none")])?;
/// let error = GapTv::from_settings(&[set("iteration", "50")]).unwrap_err();
/// assert!(error.to_string().contains("did you mean `iterations`?"));
/// # Ok::<(), cassi_core::ReconstructError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GapTv {
    pub(super) iterations: usize,
    pub(super) inner: Option<usize>,
    pub(super) weight: Weight,
    pub(super) accelerated: bool,
    pub(super) tolerance: f64,
    pub(super) subspace: Subspace,
    pub(super) joint: bool,
    card: MethodCard,
}

impl Default for GapTv {
    fn default() -> Self {
        Self {
            iterations: 100,
            inner: None,
            weight: Weight::Auto,
            accelerated: true,
            tolerance: 0.0,
            subspace: Subspace::Auto,
            joint: false,
            card: card(),
        }
    }
}

fn card() -> MethodCard {
    let parameter = |name, default: &str, meaning| Parameter { name, default: default.into(), meaning };
    MethodCard {
        name: NAME,
        family: Family::Classical,
        summary: "alternating projection with total variation, in bands or in a spectral subspace",
        source: "X. Yuan, Generalized alternating projection based total variation minimization for compressive \
                 sensing, ICIP 2016",
        parameters: vec![
            parameter("iterations", "100", "projections, 1 to 1000000"),
            parameter(
                "inner",
                "auto",
                "steps of the TV denoiser per projection, 1 to 1000; auto is 5, or 3 in a subspace",
            ),
            parameter(
                "weight",
                "auto",
                "TV weight in the unit of the cube, above 0; auto follows the brightness",
            ),
            parameter("accelerated", "true", "whether the misfit accumulates from step to step"),
            parameter(
                "tolerance",
                "0",
                "stop once the relative change of a step falls below this; 0 never stops",
            ),
            parameter("subspace", "auto", "spectra whose coefficients carry the TV: none, auto or a number"),
            parameter("joint", "false", "one gradient norm over all bands; needs subspace=none"),
        ],
        weights: None,
    }
}

impl GapTv {
    /// The method with the settings of `--set key=value`; what is not set keeps its default.
    ///
    /// # Errors
    /// An unknown key (with the nearest known one), a value that does not parse or is out of range, or `joint`
    /// together with a subspace.
    pub fn from_settings(pairs: &[(String, String)]) -> Result<Self, ReconstructError> {
        let mut method = Self::default();
        let known: Vec<&str> = method.card.parameters.iter().map(|p| p.name).collect();
        let settings = Settings::new(NAME, &known, pairs)?;
        let count = |limit: usize| move |text: &str| text.parse().ok().filter(|n| (1..=limit).contains(n));
        if let Some(n) = settings.get("iterations", "a whole number from 1 to 1000000", count(1_000_000))? {
            method.iterations = n;
        }
        let steps = |text: &str| if text == "auto" { Some(None) } else { count(1000)(text).map(Some) };
        if let Some(inner) = settings.get("inner", "auto or a whole number from 1 to 1000", steps)? {
            method.inner = inner;
        }
        let weight = |text: &str| match text {
            "auto" => Some(Weight::Auto),
            _ => number(text, |v| v > 0.0 && (v as f32).is_normal()).map(Weight::Fixed),
        };
        if let Some(weight) = settings.get("weight", "auto or a positive number", weight)? {
            method.weight = weight;
        }
        if let Some(on) = settings.get("accelerated", "true or false", switch)? {
            method.accelerated = on;
        }
        if let Some(on) = settings.get("joint", "true or false", switch)? {
            method.joint = on;
        }
        let tolerance = |text: &str| number(text, |v| (0.0..1.0).contains(&v));
        if let Some(tolerance) = settings.get("tolerance", "a number from 0 to below 1", tolerance)? {
            method.tolerance = tolerance;
        }
        let subspace = |text: &str| match text {
            "none" => Some(Subspace::None),
            "auto" => Some(Subspace::Auto),
            _ => count(spectra::RANK)(text).map(Subspace::Rank),
        };
        let expected = format!("none, auto or a whole number from 1 to {}", spectra::RANK);
        if let Some(subspace) = settings.get("subspace", &expected, subspace)? {
            method.subspace = subspace;
        }
        if method.joint && method.subspace != Subspace::None {
            return Err(ReconstructError::Setting {
                method: NAME.into(),
                key: "joint".into(),
                value: "true".into(),
                expected: "one gradient norm over all bands exists without a subspace: add subspace=none"
                    .into(),
            });
        }
        Ok(method)
    }
}

/// The shape `[band, row, column]` of the problem, after everything that can be wrong with it was looked at.
fn checked_shape(problem: &Problem<'_>) -> Result<[usize; 3], ReconstructError> {
    let operator = problem.require_operator(NAME)?;
    let wrong = |what, found: &[usize], expected: String, axes| {
        Err(ReconstructError::from(ShapeError { what, found: found.to_vec(), expected, axes }))
    };
    let &[bands, rows, columns] = operator.domain() else {
        return wrong("operator domain", operator.domain(), "three axes".into(), "(band, row, column)");
    };
    if bands != problem.instrument.bands() || rows * columns == 0 {
        let expected = format!("[{}, at least 1, at least 1]", problem.instrument.bands());
        return wrong("operator domain", operator.domain(), expected, "(band, row, column)");
    }
    if operator.range() != problem.snapshot.shape() {
        let expected = format!("{:?} for this mask and instrument", operator.range());
        return wrong("snapshot", &problem.snapshot.shape(), expected, "(row, column)");
    }
    if let Some(start) = problem.warm_start {
        if start.shape() != [bands, rows, columns] {
            let expected = format!("{:?}", [bands, rows, columns]);
            return wrong("warm start", &start.shape(), expected, "(band, row, column)");
        }
        if let Some((at, value)) = start.first_not_finite() {
            return Err(ReconstructError::Other(format!(
                "warm start{at:?} is {value}, expected finite numbers"
            )));
        }
    }
    if let Some(([row, column], value)) = problem.snapshot.first_not_finite() {
        return Err(ReconstructError::NotFinite { row, column, value });
    }
    Ok([bands, rows, columns])
}

impl Reconstructor for GapTv {
    fn describe(&self) -> &MethodCard {
        &self.card
    }

    fn reconstruct(
        &self,
        problem: &Problem<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Reconstruction, ReconstructError> {
        let started = Instant::now();
        let shape = checked_shape(problem)?;
        let camera = Camera::new(problem.require_operator(NAME)?, shape);
        let y = problem.snapshot.as_slice();
        let brightness = camera.brightness(y);
        let mut monitor = Monitor::new(observer, self.iterations, self.tolerance, y);
        let rank = match self.subspace {
            Subspace::None => None,
            Subspace::Auto => Some(spectra::DEFAULT_RANK.min(shape[0])),
            Subspace::Rank(rank) => Some(rank.min(shape[0])),
        };
        let sigma = match (problem.noise, rank) {
            (NoiseLevel::Known(sigma), _) => vec![(MARGIN * sigma) as f32; y.len()],
            // The published method knows no noise; it is given what it asks for.
            (NoiseLevel::Unknown, None) => vec![0.0; y.len()],
            (NoiseLevel::Unknown, Some(_)) => {
                let sigma = estimate_noise(&camera, &problem.instrument.wavelengths_nm, y);
                let rms = (cassi_core::check::dot(&sigma, &sigma) / sigma.len() as f64).sqrt();
                monitor.note(format!(
                    "noise of the snapshot estimated at {rms:.3e} (standard deviation, with a margin)"
                ));
                sigma
            }
        };
        let x = match rank {
            None => bands::run(self, &camera, problem, brightness, &sigma, &mut monitor),
            Some(rank) => subspace::run(self, &camera, problem, rank, brightness, &sigma, &mut monitor),
        };
        let data = Array3::from_shape_vec(shape, x).expect("as many values as the shape says");
        let cube = Cube::new(data, problem.instrument.wavelengths_nm.clone())?;
        if let Some((at, value)) = cube.first_not_finite() {
            return Err(ReconstructError::Other(format!(
                "{NAME}: the estimate became {value} at {at:?}: the snapshot's values are beyond what f32 can square; \
                 scale it"
            )));
        }
        Ok(monitor.finish(cube, started.elapsed()))
    }
}
