//! Many cubes in one file, written one at a time: what lifted photographs are kept in for training.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cassi_core::Cube;

use super::SCHEMA_VERSION;
use super::write::{chunk, write_text};
use crate::{Axes, IoError, Metadata, files};

/// What one step of the stored integers stands for: 16 bits over [0, 1], finer than any camera.
const SCALE: f64 = 1.0 / 65535.0;

/// A file of many cubes that is being written. It takes its name when it is finished; dropped before, it leaves
/// nothing.
///
/// Every cube is a dataset `[band, row, column]` of uint16 with the attribute `scale`; cubes may differ in size and in
/// wavelengths.
pub struct CubePack {
    path: PathBuf,
    temporary: files::Temporary,
    file: hdf5::File,
    names: HashSet<String>,
}

impl CubePack {
    /// Starts a file `.h5`; `metadata` becomes attributes of the file.
    ///
    /// # Errors
    /// Another extension, or what the operating system refuses.
    pub fn create(path: &Path, metadata: &Metadata) -> Result<Self, IoError> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if !["h5", "hdf5"].contains(&extension.as_str()) {
            return Err(IoError::Output {
                path: path.into(),
                what: "pack of cubes",
                extension: format!(".{extension}"),
                hint: "end the name in .h5",
            });
        }
        let temporary = files::beside(path).map_err(|source| IoError::Write { path: path.into(), source })?;
        let start = || {
            let file = hdf5::File::create(temporary.path())?;
            file.new_attr::<u32>().create("cassi_schema")?.write_scalar(&SCHEMA_VERSION)?;
            for (key, value) in metadata.texts() {
                write_text(&file, key, &value)?;
            }
            Ok(file)
        };
        let file = start().map_err(|e: hdf5::Error| failed(path, &e))?;
        Ok(Self { path: path.into(), temporary, file, names: HashSet::new() })
    }

    /// Adds a cube whose values lie in [0, 1] (others are limited to it) and returns the name that it got: the one
    /// asked for without signs that mean something in names of variables, numbered if it is taken. `provenance` is
    /// stored with it.
    ///
    /// # Errors
    /// What HDF5 or the operating system refuses.
    pub fn add(
        &mut self,
        name: &str,
        cube: &Cube,
        provenance: &serde_json::Value,
    ) -> Result<String, IoError> {
        let name = self.free_name(name);
        let values: Vec<u16> =
            cube.as_slice().iter().map(|v| (f64::from(v.clamp(0.0, 1.0)) / SCALE).round() as u16).collect();
        let write = || {
            let shape = cube.shape();
            let builder = self.file.new_dataset::<u16>().obj_track_times(false);
            // Fast rather than tight: packing must keep up with lifting.
            let written =
                builder.shape(&shape[..]).chunk(chunk(&shape)).shuffle().deflate(1).create(name.as_str())?;
            written.write_raw(&values)?;
            written.new_attr::<f64>().create("scale")?.write_scalar(&SCALE)?;
            write_text(&written, "axes", &Axes::BAND_FIRST.to_string())?;
            let nm = cube.wavelengths().nm();
            written.new_attr::<f64>().shape(nm.len()).create("wavelengths_nm")?.write_raw(nm)?;
            write_text(&written, "provenance", &provenance.to_string())
        };
        write().map_err(|e: hdf5::Error| failed(&self.path, &e))?;
        self.names.insert(name.clone());
        Ok(name)
    }

    fn free_name(&self, wanted: &str) -> String {
        let plain: String = wanted.chars().map(|c| if "/:[]\0".contains(c) { '_' } else { c }).collect();
        let plain = if plain.is_empty() { "cube".to_string() } else { plain };
        let numbered = (2..).map(|n| format!("{plain}_{n}"));
        std::iter::once(plain.clone())
            .chain(numbered)
            .find(|name| !self.names.contains(name))
            .expect("numbers do not end")
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What HDF5 or the operating system refuses.
    pub fn finish(self) -> Result<(), IoError> {
        let Self { path, temporary, file, .. } = self;
        file.close().map_err(|e| failed(&path, &e))?;
        files::keep(temporary, &path).map_err(|source| IoError::Write { path, source })
    }
}

fn failed(path: &Path, error: &hdf5::Error) -> IoError {
    IoError::Hdf5 { path: path.into(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use cassi_core::Wavelengths;
    use ndarray::Array3;

    use super::*;
    use crate::{ReadOptions, Source, inspect, read_contents, read_cube};

    #[test]
    fn cubes_of_several_sizes_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.h5");
        let mut pack = CubePack::create(&path, &Metadata::default()).unwrap();
        let cube = |rows: usize| {
            let data = Array3::from_shape_fn((28, rows, 5), |(b, r, c)| ((b + r * c) % 29) as f32 / 28.0);
            Cube::new(data, Wavelengths::benchmark()).unwrap()
        };
        let note = serde_json::json!({ "photo": "a.png" });
        let names: Vec<String> = [("a", 4), ("b:1", 6), ("a", 9)]
            .map(|(name, rows)| pack.add(name, &cube(rows), &note).unwrap())
            .into();
        assert_eq!(names, ["a", "b_1", "a_2"]);
        assert!(!path.exists(), "not before it is finished");
        pack.finish().unwrap();
        for (name, rows) in [("a", 4), ("b_1", 6), ("a_2", 9)] {
            let source = Source::parse(&format!("{}:{name}", path.display()));
            let loaded = read_cube(&source, &ReadOptions::default()).unwrap();
            assert_eq!(loaded.notes, Vec::<String>::new());
            let (found, expected) = (loaded.value, cube(rows));
            assert_eq!(found.shape(), expected.shape());
            assert_eq!(found.wavelengths(), expected.wavelengths());
            // Half a step.
            for (a, b) in found.as_slice().iter().zip(expected.as_slice()) {
                assert!((a - b).abs() <= 0.5 / 65535.0 + f32::EPSILON, "{a} {b}");
            }
            assert_eq!(loaded.metadata.provenance, Some(note.clone()));
        }
        // Which one is meant has to be said, and everything is listed.
        assert!(read_cube(&Source::from(path.clone()), &ReadOptions::default()).is_err());
        assert_eq!(read_contents(&path).unwrap().variables.len(), 3);
        let info = inspect(&path).unwrap();
        assert!(info.variables.iter().all(|v| v.class == "u16" && v.range == Some((0.0, 65535.0))));
    }

    #[test]
    fn nothing_is_left_of_a_pack_that_was_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.h5");
        drop(CubePack::create(&path, &Metadata::default()).unwrap());
        assert_eq!(crate::list_folder(folder.path()).unwrap().len(), 0);
        assert!(CubePack::create(&folder.path().join("pack.mat"), &Metadata::default()).is_err());
    }
}
