//! Which format some bytes are, by their first bytes, and the parser for it.

use std::path::Path;

use crate::bytes::first_bytes;
use crate::{
    Contents, IoError, ParseError, Source, hdf5_file, mat5, npy, picture, read_bytes, tensor_file, torch,
};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the format it is named after
pub enum Format {
    Mat5,
    Hdf5,
    Npy,
    Npz,
    Safetensors,
    Torch,
    Picture,
}

impl Format {
    /// The format that these bytes begin as, if it is known. Extensions play no part.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            b if hdf5_file::is_hdf5(b) => Self::Hdf5,
            b if mat5::is_mat5(b) => Self::Mat5,
            b if picture::is_picture(b) => Self::Picture,
            b if b.starts_with(b"\x93NUMPY") => Self::Npy,
            b if b.starts_with(b"PK") => {
                if torch::is_checkpoint(b) {
                    Self::Torch
                } else {
                    Self::Npz
                }
            }
            b if torch::is_legacy(b) => Self::Torch,
            b if b.len() > 8 && b[8] == b'{' => Self::Safetensors,
            _ => return None,
        })
    }

    /// Parses all of the bytes.
    ///
    /// # Errors
    /// If they are damaged.
    pub fn parse(self, bytes: &[u8]) -> Result<Contents, ParseError> {
        match self {
            Self::Mat5 => mat5::parse_mat5(bytes),
            Self::Hdf5 => hdf5_file::parse_hdf5(bytes),
            Self::Picture => picture::parse_picture(bytes),
            Self::Npy => npy::parse_npy(bytes),
            Self::Npz => npy::parse_npz(bytes),
            Self::Safetensors => tensor_file::parse_safetensors(bytes),
            Self::Torch => torch::parse_torch(bytes),
        }
    }
}

/// Reads and parses a whole file, of whatever known format.
///
/// # Errors
/// If it cannot be read, its format is not known, or it is damaged.
pub fn read_contents(path: &Path) -> Result<Contents, IoError> {
    let bytes = read_bytes(path)?;
    let format = Format::detect(&bytes)
        .ok_or_else(|| IoError::UnknownFormat { path: path.into(), found: first_bytes(&bytes) })?;
    format.parse(&bytes).map_err(|source| IoError::Parse { path: path.into(), source })
}

/// As [`read_contents`] for one variable that was named: of a file of many large arrays the others may be left out.
///
/// # Errors
/// As [`read_contents`].
pub(crate) fn read_contents_for(source: &Source) -> Result<Contents, IoError> {
    let (Some(variable), (Some(item), _)) = (source.variable.as_deref(), source.item()) else {
        return read_contents(&source.path);
    };
    let bytes = read_bytes(&source.path)?;
    let path = || source.path.clone();
    let format = Format::detect(&bytes)
        .ok_or_else(|| IoError::UnknownFormat { path: path(), found: first_bytes(&bytes) })?;
    let contents = match format {
        Format::Hdf5 => hdf5_file::parse_hdf5_only(&bytes, &[variable, item]),
        _ => format.parse(&bytes),
    };
    contents.map_err(|source| IoError::Parse { path: path(), source })
}
