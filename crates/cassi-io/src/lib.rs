//! Reading and writing the files of snapshot spectral imaging: MAT, HDF5, NumPy, PyTorch, images.
//!
//! Every parser takes bytes ([`parse_mat5`], [`parse_hdf5`], [`parse_npy`], [`parse_npz`], [`parse_safetensors`],
//! [`parse_torch`], [`parse_picture`]) and gives [`Contents`]: named [`Variable`]s in their own types and axes. On
//! top of them [`read_cube`], [`read_snapshot`] and [`read_mask`] find the variable that is meant, bring its axes into
//! the order band, row, column and say in notes what they assumed. Formats are told by their first bytes when reading
//! and by the extension when writing; files are written whole or not at all. One thin layer (this crate's and nobody
//! else's) touches the file system.
//!
//! ```
//! use cassi_core::{Cube, Wavelengths};
//! use cassi_io::{Metadata, ReadOptions, Source, read_cube, write_cube};
//! # fn main() -> Result<(), cassi_io::IoError> {
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("scene.mat");
//! let cube = Cube::zeros([28, 16, 20], Wavelengths::benchmark());
//! write_cube(&path, &cube, &Metadata::default())?;
//! let loaded = read_cube(&Source::from(path), &ReadOptions::default())?;
//! assert_eq!(loaded.value.shape(), [28, 16, 20]);
//! assert_eq!(loaded.variable, "cube");
//! # Ok(())
//! # }
//! ```

#![allow(clippy::disallowed_methods)] // this crate is where files are opened

mod axes;
mod bytes;
mod error;
mod files;
mod format;
mod hdf5_file;
mod inspect;
mod load;
mod mat5;
mod metadata;
mod npy;
mod pick;
mod picture;
mod save;
mod source;
mod tensor_file;
mod tensors;
mod torch;
mod unfinished;
mod values;
mod zip_file;

pub use axes::{Axes, AxesError};
pub use bytes::Endian;
pub use error::{IoError, ParseError};
pub use files::{
    create_new_folder, ensure_folder, list_folder, read_bytes, read_text, sha256_file, sha256_hex,
    write_atomically, write_bytes,
};
pub use format::{Format, read_contents};
pub use hdf5_file::{CubePack, SCHEMA_VERSION, parse_hdf5};
pub use inspect::{FileInfo, VariableInfo, inspect};
pub use load::{
    Loaded, MaskFile, ReadOptions, read_array, read_cube, read_mask, read_plain_mask, read_snapshot,
};
pub use mat5::{MatVariable, mat5_bytes, parse_mat5};
pub use metadata::Metadata;
pub use npy::{npy_bytes, parse_npy, parse_npz, read_npy};
pub use picture::{parse_picture, png_bytes, read_rgb_image};
pub use save::{write_array, write_arrays, write_cube, write_mask, write_snapshot};
pub use source::Source;
pub use tensor_file::{TensorPrecision, parse_safetensors, safetensors_bytes};
pub use tensors::{read_tensors, read_tensors_with_metadata, write_tensors};
pub use torch::{parse_torch, torch_tensor_names};
pub use values::{Attribute, Content, Contents, Kind, Order, Values, Variable};
