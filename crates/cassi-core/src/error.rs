//! The one error of constructors: an array whose shape is not what its meaning asks for.

/// An array has a shape that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has shape {found:?}, expected {expected} {axes}")]
pub struct ShapeError {
    /// What was being made or used, e.g. "cube".
    pub what: &'static str,
    /// The shape that was met.
    pub found: Vec<usize>,
    /// The shape that fits, in words or numbers, e.g. "[28, 256, 256]".
    pub expected: String,
    /// The meaning of the axes, e.g. "(band, row, column)".
    pub axes: &'static str,
}
