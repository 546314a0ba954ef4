//! What can go wrong: [`ParseError`] inside some bytes, [`IoError`] at a path.

use std::path::PathBuf;

use cassi_core::{ShapeError, WavelengthsError};

/// Bytes that are not what a parser expects. Parsers never see a path; [`IoError::Parse`] adds it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes do not begin as this format does.
    #[error("not a {format} file: it begins with {found}, expected {expected}")]
    Magic {
        /// The format that was asked for.
        format: &'static str,
        /// The first bytes met, in words or hexadecimal.
        found: String,
        /// What stands there in such a file.
        expected: &'static str,
    },
    /// The bytes end too early.
    #[error("truncated: {what} needs {needed} bytes at offset {at}, only {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Offset from the start of the file or of the (inflated) part being read.
        at: usize,
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        left: usize,
    },
    /// A field holds a value that it cannot have.
    #[error("{what} is {found}, expected {expected}")]
    Invalid {
        /// The field.
        what: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A declared size is beyond what such a file can hold, or beyond what this reader takes.
    #[error("{what} declares {bytes} bytes, at most {limit} are possible here")]
    TooLarge {
        /// What declares it.
        what: String,
        /// The bytes it declares.
        bytes: u64,
        /// The largest number that is believed.
        limit: u64,
    },
    /// Valid, but not read by this crate; the text says what to do instead.
    #[error("{what} is not supported: {hint}")]
    Unsupported {
        /// The feature met.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A library that reads the container refused the bytes.
    #[error("damaged {format}: {message}")]
    Library {
        /// The container's format.
        format: &'static str,
        /// What the library said.
        message: String,
    },
}

impl ParseError {
    pub(crate) fn invalid(
        what: impl Into<String>,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Invalid { what: what.into(), found: found.to_string(), expected: expected.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), hint: hint.into() }
    }

    pub(crate) fn library(format: &'static str, error: impl ToString) -> Self {
        Self::Library { format, message: error.to_string() }
    }
}

/// A file that cannot be read or written as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// The operating system refused to read.
    #[error("{path}: cannot read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system refused to write.
    #[error("{path}: cannot write: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An output folder that is already there.
    #[error("{path}: exists already; name a new folder, or remove this one first")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The contents are damaged or not supported.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ParseError,
    },
    /// Neither the first bytes nor the extension belong to a known format.
    #[error(
        "{path}: unknown format ({found}); known are .mat .h5 .npy .npz .safetensors .pth .pt .png .jpg .tiff"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The first bytes, or the extension, met.
        found: String,
    },
    /// An output extension that does not serve for this kind of data.
    #[error("{path}: a {what} cannot be written as {extension}; {hint}")]
    Output {
        /// The file.
        path: PathBuf,
        /// What was to be written.
        what: &'static str,
        /// The extension met.
        extension: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The named variable is not in the file.
    #[error("{path}: no variable `{name}`; it holds {available}")]
    NoVariable {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// What the file holds.
        available: String,
    },
    /// No variable, or more than one, can be what was asked for.
    #[error(
        "{path}: cannot tell which variable is the {what}; it holds {available}; name one as {path}:VARIABLE"
    )]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        what: &'static str,
        /// What the file holds.
        available: String,
    },
    /// The variable holds no numbers.
    #[error("{path}: `{name}` holds no numbers: {reason}")]
    NotNumeric {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// What it is instead.
        reason: String,
    },
    /// The variable has a shape that cannot serve.
    #[error("{path}: `{name}` has shape {found:?}, expected {expected}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// The shape met.
        found: Vec<usize>,
        /// The shapes that serve, and what to do.
        expected: String,
    },
    /// A number that is not finite.
    #[error("{path}: `{name}` holds {value} at {place:?} {axes}, expected finite numbers")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// Index of the first such number.
        place: Vec<usize>,
        /// The meaning of the index.
        axes: &'static str,
        /// The number.
        value: f32,
    },
    /// A cube without wavelengths, of a number of bands that says nothing.
    #[error(
        "{path}: `{name}` has {bands} bands and the file gives no wavelengths; give them, e.g. --wavelengths 400:700:31 \
         or a list in nm"
    )]
    NoWavelengths {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
        /// Its number of bands.
        bands: usize,
    },
    /// Wavelengths that are no grid.
    #[error("{path}: wavelengths: {source}")]
    Wavelengths {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: WavelengthsError,
    },
    /// An array that does not fit its meaning.
    #[error("{path}: {source}")]
    Meaning {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: ShapeError,
    },
    /// The HDF5 library could not write.
    #[error("{path}: cannot write HDF5: {message}")]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// What the library said.
        message: String,
    },
}
