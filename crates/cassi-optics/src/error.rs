//! What can go wrong in this crate, with what was found and what was expected.

use cassi_core::{InstrumentError, ShapeError};

/// An error of instruments, masks or detectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpticsError {
    /// A TOML file that is not what it should be.
    #[error("{origin}:{line}: {message}{}", did_you_mean(nearest.as_deref()))]
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
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
