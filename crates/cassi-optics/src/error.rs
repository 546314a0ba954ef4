//! What can go wrong in this crate, with what was found and what was expected.

use cassi_core::{InstrumentError, ShapeError};

/// An error of instruments, masks or detectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpticsError {
    /// A TOML file that is not what it should be.
    #[error("{origin}:{line}: {message}{}", did_you_mean(nearest))]
    Toml {
        /// The file, or what stands for one.
        origin: String,
        /// Line of the fault, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
        /// The known key that resembles the unknown one.
        nearest: Option<String>,
    },
    /// A description that no camera can have.
    #[error("{origin}: {source}")]
    Instrument {
        /// The file, or what stands for one.
        origin: String,
        /// The field at fault.
        source: InstrumentError,
    },
    /// An array of the wrong shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A mask and a scene or snapshot that do not belong together.
    #[error("{what} has shape {found:?}, but instrument `{instrument}` {expected}")]
    Fit {
        /// What does not fit, e.g. "the mask".
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The instrument's name.
        instrument: String,
        /// What the instrument expects, in words with numbers.
        expected: String,
    },
    /// A number that is not finite, or a value that cannot be a transmittance.
    #[error("{what}{at:?} is {found}, expected {expected}")]
    Value {
        /// The array, e.g. "mask".
        what: &'static str,
        /// Where, in the order of its axes.
        at: Vec<usize>,
        /// The value met.
        found: f32,
        /// What would be right.
        expected: &'static str,
    },
    /// A place that does not exist.
    #[error("there is no {what} {at:?}: the shape is {shape:?}")]
    Outside {
        /// What was asked for, e.g. "detector pixel".
        what: &'static str,
        /// The indices asked for, from 0.
        at: Vec<usize>,
        /// The shape that they must stay below.
        shape: Vec<usize>,
    },
    /// A mask recipe with an impossible parameter.
    #[error("mask recipe: {field} is {found}, expected {expected}")]
    Recipe {
        /// The parameter.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// No shipped mask of this name.
    #[error("no shipped mask is called `{name}` (there are {known}){}", did_you_mean(nearest))]
    UnknownMask {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
        /// The name most like it.
        nearest: Option<String>,
    },
    /// A mask that is not the one its card describes.
    #[error(
        "mask `{name}` is not what its card says: found {found}, expected {expected}; take the file from masks/"
    )]
    Card {
        /// The card's name.
        name: String,
        /// Shape or hash of what is there.
        found: String,
        /// Shape and hash of the card.
        expected: String,
    },
    /// A noise model that cannot be read.
    #[error("noise `{found}` is not possible: expected {expected}")]
    Noise {
        /// The text given.
        found: String,
        /// What may be written.
        expected: &'static str,
    },
}

impl OpticsError {
    pub(crate) fn recipe(field: &'static str, found: impl ToString, expected: &'static str) -> Self {
        Self::Recipe { field, found: found.to_string(), expected }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
