//! MAT files of version 5 (MATLAB 5 to 7, SciPy): reader and writer of our own.
//!
//! A file is a header of 128 bytes and a list of tagged elements, each an array or an array deflated whole. Numbers
//! may be stored in a smaller type than their class. Format: "MAT-File Format" (MathWorks), "Level 5 MAT-File
//! Format". What holds no real numbers (struct, cell, object, sparse, function handle, complex) is listed and
//! skipped; a string is read as text.

mod read;
mod write;

pub use read::parse_mat5;
pub use write::{MatVariable, mat5_bytes};

/// Types of elements.
mod element {
    pub(super) const INT8: u32 = 1;
    pub(super) const UINT8: u32 = 2;
    pub(super) const UINT16: u32 = 4;
    pub(super) const INT32: u32 = 5;
    pub(super) const UINT32: u32 = 6;
    pub(super) const SINGLE: u32 = 7;
    pub(super) const DOUBLE: u32 = 9;
    pub(super) const MATRIX: u32 = 14;
    pub(super) const COMPRESSED: u32 = 15;
    pub(super) const UTF8: u32 = 16;
    pub(super) const UTF16: u32 = 17;
    pub(super) const UTF32: u32 = 18;
}

/// Classes of arrays.
mod class {
    pub(super) const CHAR: u8 = 4;
    pub(super) const DOUBLE: u8 = 6;
    pub(super) const SINGLE: u8 = 7;
    pub(super) const OPAQUE: u8 = 17;
}

/// Length of the header.
const HEADER: usize = 128;

/// Whether these bytes begin as a MAT file of version 5, in either byte order.
pub(crate) fn is_mat5(bytes: &[u8]) -> bool {
    match bytes.get(124..128) {
        Some(mark) => mark == [0, 1, b'I', b'M'] || mark == [1, 0, b'M', b'I'],
        None => bytes.starts_with(b"MATLAB 5.0"),
    }
}
