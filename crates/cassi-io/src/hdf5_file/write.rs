//! Writing our HDF5 schema.

use std::path::Path;

use hdf5::types::VarLenUnicode;
use ndarray::ArrayViewD;

use super::SCHEMA_VERSION;
use crate::{IoError, Metadata, files};

/// A dataset to be written: singles, with what their axes and bands mean.
pub(crate) struct Hdf5Dataset<'a> {
    pub(crate) name: &'a str,
    pub(crate) array: ArrayViewD<'a, f32>,
    /// e.g. `band,row,column`.
    pub(crate) axes: Option<&'a str>,
    pub(crate) wavelengths_nm: Option<&'a [f64]>,
}

/// Elements of a chunk: 1 MiB of singles, the size of HDF5's own chunk cache.
const CHUNK: usize = 1 << 18;

/// One chunk a plane (the last two axes), or as much of a plane as fits a chunk.
pub(super) fn chunk(shape: &[usize]) -> Vec<usize> {
    let mut chunk = vec![1; shape.len()];
    let mut left = CHUNK;
    for (c, &axis) in chunk.iter_mut().zip(shape).rev().take(2) {
        *c = axis.min(left).max(1);
        left /= *c;
    }
    chunk
}

/// A text as an attribute.
pub(super) fn write_text(location: &hdf5::Location, name: &str, text: &str) -> hdf5::Result<()> {
    // A zero would end the string early: no TOML or JSON has one.
    let text: VarLenUnicode = text.replace('\0', " ").parse().map_err(|_| hdf5::Error::from("no text"))?;
    location.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text)
}

/// Writes the datasets and what belongs to all of them, whole or not at all. The same values give the same bytes.
pub(crate) fn write_hdf5(
    path: &Path,
    datasets: &[Hdf5Dataset<'_>],
    metadata: &Metadata,
) -> Result<(), IoError> {
    let temporary = files::beside(path).map_err(|source| IoError::Write { path: path.into(), source })?;
    write(temporary.path(), datasets, metadata)
        .map_err(|e| IoError::Hdf5 { path: path.into(), message: reason(&e.to_string()) })?;
    files::keep(temporary, path).map_err(|source| IoError::Write { path: path.into(), source })
}

/// What the library says, without the time, the temporary name and the addresses that follow.
fn reason(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.split(": time =").next().unwrap_or_default().trim().to_string()
}

fn write(path: &Path, datasets: &[Hdf5Dataset<'_>], metadata: &Metadata) -> hdf5::Result<()> {
    let file = hdf5::File::create(path)?;
    file.new_attr::<u32>().create("cassi_schema")?.write_scalar(&SCHEMA_VERSION)?;
    for dataset in datasets {
        let shape = dataset.array.shape();
        let array = dataset.array.as_standard_layout();
        let builder = file.new_dataset::<f32>().obj_track_times(false);
        let written = if array.is_empty() || shape.is_empty() {
            builder.shape(shape).create(dataset.name)?
        } else {
            // Shuffle goes before deflate, or the library refuses.
            builder.shape(shape).chunk(chunk(shape)).shuffle().deflate(4).create(dataset.name)?
        };
        written.write_raw(array.as_slice().expect("C order"))?;
        if let Some(axes) = dataset.axes {
            write_text(&written, "axes", axes)?;
        }
        if let Some(nm) = dataset.wavelengths_nm {
            written.new_attr::<f64>().shape(nm.len()).create("wavelengths_nm")?.write_raw(nm)?;
        }
        for (key, value) in metadata.texts() {
            write_text(&written, key, &value)?;
        }
    }
    file.close()
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_library_is_quoted_in_one_clause() {
        let said = "H5FD__sec2_write(): file write failed: time = Tue Nov 24 22:12:21 2026\n, filename = '.x', errno = 28";
        assert_eq!(reason(said), "H5FD__sec2_write(): file write failed");
        assert_eq!(reason("no text"), "no text");
    }
}
