//! HDF5: foreign files, MAT v7.3 and our own schema are read by a pure-Rust reader; ours is written by the HDF5
//! library.
//!
//! The C library can bring the process down on a damaged file, so it never reads. Schema: `docs/formats.md`.

mod pack;
mod read;
mod write;

pub use pack::CubePack;
pub use read::parse_hdf5;
pub(crate) use read::{parse_hdf5_only, visit_hdf5};
pub(crate) use write::{Hdf5Dataset, write_hdf5};

/// Version of our schema, stored in the attribute `cassi_schema` of the file.
pub const SCHEMA_VERSION: u32 = 1;

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Whether these bytes are an HDF5 file: the signature at the start, or after a user block (512 bytes in MAT v7.3).
pub(crate) fn is_hdf5(bytes: &[u8]) -> bool {
    [0, 512, 1024, 2048, 4096].iter().any(|&at| bytes.get(at..).is_some_and(|b| b.starts_with(SIGNATURE)))
}
