//! Reading and writing the files of snapshot spectral imaging: MAT, HDF5, NumPy, PyTorch, images.

mod bytes;
mod error;
mod files;
mod format;
mod npy;
mod source;
mod tensor_file;
mod tensors;
mod torch;
mod values;
mod zip_file;

pub use bytes::Endian;
pub use error::{IoError, ParseError};
pub use files::{
    create_new_folder, ensure_folder, list_folder, read_bytes, read_text, sha256_file, sha256_hex,
    write_atomically, write_bytes,
};
pub use format::{Format, read_contents};
pub use npy::{npy_bytes, parse_npy, parse_npz};
pub use source::Source;
pub use tensor_file::{TensorPrecision, parse_safetensors, safetensors_bytes};
pub use tensors::{read_tensors, read_tensors_with_metadata, write_tensors};
pub use torch::parse_torch;
pub use values::{Attribute, Content, Contents, Kind, Order, Values, Variable};
