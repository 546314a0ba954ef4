//! What can go wrong while a report is made.

use cassi_core::ShapeError;

/// A report that could not be made. Nothing half-written is left under a final name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Nothing to show.
    #[error("{0}: neither a truth nor an estimate to draw; pass at least one cube")]
    Empty(String),
    /// A cube does not have the shape of the others of its scene.
    #[error("{scene}, {name}: {source}; crop or resample it first")]
    Shape {
        /// Title of the scene.
        scene: String,
        /// Name of the estimate.
        name: String,
        /// What was found and expected.
        source: ShapeError,
    },
    /// A cube lies on other wavelengths than the others of its scene.
    #[error("{scene}, {name}: band centres differ from those of {reference}; resample it to that grid first")]
    Wavelengths {
        /// Title of the scene.
        scene: String,
        /// Name of the estimate.
        name: String,
        /// Name of the cube it was compared with.
        reference: String,
    },
    /// A number that is not finite.
    #[error("{scene}, {name}{at:?} is {value}, expected finite numbers")]
    NotFinite {
        /// Title of the scene.
        scene: String,
        /// Name of the cube or "snapshot".
        name: String,
        /// Place, `[band, row, column]` or `[row, column]`.
        at: Vec<usize>,
        /// The number.
        value: f32,
    },
    /// A point or the zoomed window lies outside of the picture.
    #[error("{scene}: {what} {found:?} leaves the picture of {rows} rows and {columns} columns")]
    Outside {
        /// Title of the scene.
        scene: String,
        /// "point" or "zoom".
        what: &'static str,
        /// `[row, column]` or `[row, column, rows, columns]`.
        found: Vec<usize>,
        /// Rows of the picture.
        rows: usize,
        /// Columns of the picture.
        columns: usize,
    },
    /// A figure that could not be drawn.
    #[error("{figure}: cannot draw: {reason}")]
    Draw {
        /// Name of the figure.
        figure: String,
        /// What the drawing library says.
        reason: String,
    },
    /// A picture that could not be coded as PNG.
    #[error("cannot code a picture as PNG: {0}")]
    Encode(#[from] image::ImageError),
    /// A file that could not be written.
    #[error(transparent)]
    Write(#[from] cassi_io::IoError),
}
