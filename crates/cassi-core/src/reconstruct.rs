//! The contract between a snapshot and a method: problem, reconstructor, observer, reconstruction.

use std::time::Duration;

use ndarray::ArrayView3;

use crate::{Cube, InputConvention, InstrumentDescription, LinearOperator, Mask, Snapshot};

/// What is to be solved.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The snapshot `[row, column]`.
    pub snapshot: &'a Snapshot,
    /// The camera that took it.
    pub instrument: &'a InstrumentDescription,
    /// Its linear operator; absent where the mask is not known (networks for a real instrument need none).
    pub operator: Option<&'a dyn LinearOperator>,
    /// Its mask `[row, column]`, for networks that take it as an input.
    pub mask: Option<&'a Mask>,
    /// The noise in the snapshot.
    pub noise: NoiseLevel,
    /// Where to start, instead of the method's own initial estimate.
    pub warm_start: Option<&'a Cube>,
}

/// The solver and the network of a method that refines the solver's estimate, as `gap-tv` and `mst-s` of `gap-tv+mst-s`;
/// no solver and the whole name for others.
pub fn refinement(method: &str) -> (Option<&str>, &str) {
    match method.split_once('+') {
        Some((solver, network)) => (Some(solver), network),
        None => (None, method),
    }
}

/// Whether the network of a method takes snapshots of an instrument as they are and no mask. A network that refines an
/// estimate takes that and the mask, for every instrument.
pub fn takes_snapshots(method: &str, instrument: &InstrumentDescription) -> bool {
    let normalised = matches!(instrument.network_input, InputConvention::Normalised { .. });
    normalised && refinement(method).0.is_none()
}

/// What is known of the noise in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum NoiseLevel {
    /// Nothing: methods that need it estimate it.
    #[default]
    Unknown,
    /// Standard deviation, in the unit of the snapshot; 0 for noise-free.
    Known(f64),
}

impl<'a> Problem<'a> {
    /// The operator, or the error that says that `method` needs a mask.
    pub fn require_operator(&self, method: &str) -> Result<&'a dyn LinearOperator, ReconstructError> {
        self.operator.ok_or_else(|| ReconstructError::NeedsMask {
            method: method.into(),
            instrument: self.instrument.name.clone(),
        })
    }

    /// The mask, or the error that says that `method` needs one.
    pub fn require_mask(&self, method: &str) -> Result<&'a Mask, ReconstructError> {
        self.mask.ok_or_else(|| ReconstructError::NeedsMask {
            method: method.into(),
            instrument: self.instrument.name.clone(),
        })
    }
}

/// A way from a snapshot to a cube.
pub trait Reconstructor: Send + Sync {
    /// Name, source, parameters and weights.
    fn describe(&self) -> &MethodCard;

    /// Reconstructs the cube `[band, row, column]` behind a snapshot.
    ///
    /// # Errors
    /// If the problem does not fit the method, or its numbers are not finite.
    fn reconstruct(
        &self,
        problem: &Problem<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Reconstruction, ReconstructError>;
}

/// What a method says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodCard {
    /// The published name, e.g. `gap-tv`.
    pub name: &'static str,
    /// The kind of method.
    pub family: Family,
    /// One line.
    pub summary: &'static str,
    /// The paper it comes from.
    pub source: &'static str,
    /// What `--set` takes.
    pub parameters: Vec<Parameter>,
    /// The weights in use, for a trained method: name and SHA-256.
    pub weights: Option<String>,
}

/// Kinds of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Iterative solvers with a hand-made prior.
    Classical,
    /// Trained float networks.
    Network,
    /// Trained networks with binary weights and activations.
    BinaryNetwork,
    /// Samplers of the posterior.
    Posterior,
}

/// One setting of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its key, as in `--set iterations=100`.
    pub name: &'static str,
    /// Its default, as it would be written.
    pub default: String,
    /// What it does, with its unit and range.
    pub meaning: &'static str,
}

/// One moment of a running method, as its observer sees it.
pub struct Progress<'a> {
    /// Steps done so far, from 1.
    pub iteration: usize,
    /// Steps that will be done unless something stops it.
    pub iterations: usize,
    /// `‖y − A x‖ / ‖y‖`, where the method has it.
    pub residual: Option<f64>,
    /// What the method minimises, where it has one.
    pub objective: Option<f64>,
    /// `‖x − x_before‖ / ‖x‖`, where the method has it.
    pub change: Option<f64>,
    /// The estimate `[band, row, column]` as it stands, where the method has one at hand.
    pub estimate: Option<ArrayView3<'a, f32>>,
}

/// Whether a method goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop after this step and return the estimate as it stands.
    Stop,
}

/// Watches a method at work, and may stop it.
pub trait Observer {
    /// Called after every step.
    fn observe(&mut self, progress: &Progress<'_>) -> Control;

    /// Whether [`Progress::estimate`] is wanted; methods that would have to compute it skip it otherwise.
    fn wants_estimate(&self) -> bool {
        false
    }
}

/// The observer that looks at nothing.
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: &Progress<'_>) -> Control {
        Control::Continue
    }
}

impl<F: FnMut(&Progress<'_>) -> Control> Observer for F {
    fn observe(&mut self, progress: &Progress<'_>) -> Control {
        self(progress)
    }
}

/// One line of a method's history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TracePoint {
    /// Steps done.
    pub iteration: usize,
    /// `‖y − A x‖ / ‖y‖`.
    pub residual: Option<f64>,
    /// What the method minimises.
    pub objective: Option<f64>,
    /// `‖x − x_before‖ / ‖x‖`.
    pub change: Option<f64>,
}

/// What a method gives back.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// The estimate.
    pub cube: Cube,
    /// Pixelwise standard deviation, for methods that know how sure they are.
    pub standard_deviation: Option<Cube>,
    /// Samples of the posterior, for samplers.
    pub samples: Vec<Cube>,
    /// History, one point a step; empty for networks.
    pub trace: Vec<TracePoint>,
    /// Steps done (1 for a network).
    pub iterations: usize,
    /// `‖y − A x‖ / ‖y‖` of the result, where an operator was given.
    pub residual: Option<f64>,
    /// Time of the reconstruction itself.
    pub elapsed: Duration,
    /// What the user should know, one sentence each (settings chosen by themselves, early stops).
    pub notes: Vec<String>,
}

/// Why a method could not reconstruct.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconstructError {
    /// The method needs to know the mask.
    #[error(
        "{method} needs the mask of the snapshot, and instrument `{instrument}` ships none; pass it with --mask FILE"
    )]
    NeedsMask {
        /// The method's name.
        method: String,
        /// The instrument's name.
        instrument: String,
    },
    /// An array has the wrong shape.
    #[error(transparent)]
    Shape(#[from] crate::ShapeError),
    /// The snapshot holds a number that is not finite.
    #[error("snapshot[{row}, {column}] is {value}, expected finite numbers")]
    NotFinite {
        /// Row of the first such number.
        row: usize,
        /// Column of it.
        column: usize,
        /// The number.
        value: f32,
    },
    /// A setting that the method does not have or cannot take.
    #[error("{method}: {key}={value} is not possible: {expected}")]
    Setting {
        /// The method's name.
        method: String,
        /// The setting's key.
        key: String,
        /// The value given.
        value: String,
        /// What would be possible.
        expected: String,
    },
    /// Anything else, in a sentence that says what to do.
    #[error("{0}")]
    Other(String),
}
