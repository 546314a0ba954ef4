//! Scenes packed in one file of a run's folder, where any of them can be read by itself at once.
//!
//! Sets that do not fit in memory are decoded once and stored as the training wants them: on the instrument's
//! wavelengths, as singles or halves. The file is the scenes in their order, then an index in JSON, then the index's
//! length in eight bytes; everything is little-endian.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cassi_io::IoError;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::train::TrainError;

/// What a spool holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Index {
    /// What it was made from: another key means another spool.
    key: String,
    half: bool,
    /// Band, row, column and first byte of every scene.
    scenes: Vec<([usize; 3], u64)>,
}

/// An open spool, read at any place by any thread.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    path: PathBuf,
    file: Arc<File>,
    index: Arc<Index>,
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> IoError + '_ {
    |source| IoError::Read { path: path.into(), source }
}

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> IoError + '_ {
    |source| IoError::Write { path: path.into(), source }
}

impl Spool {
    /// Opens the spool of that key, or fills a new one: `fill` hands every scene `[band, row, column]`, in the kind
    /// wanted, to what it is given.
    pub(super) fn open_or_make(
        path: &Path,
        key: &str,
        kind: Kind,
        fill: impl FnOnce(&mut dyn FnMut(&Tensor) -> Result<(), TrainError>) -> Result<(), TrainError>,
    ) -> Result<Self, TrainError> {
        if let Some(found) = Self::open(path).filter(|spool| spool.index.key == key) {
            return Ok(found);
        }
        let mut index = Index { key: key.into(), half: kind == Kind::Half, scenes: Vec::new() };
        cassi_io::write_atomically(path, |file| {
            let failed = unwritable(path);
            let mut at = 0;
            fill(&mut |scene| {
                let (bands, rows, columns) = scene.size3().expect("[band, row, column]");
                let mut bytes = vec![0u8; scene.numel() * kind.elt_size_in_bytes()];
                scene.to_kind(kind).contiguous().copy_data_u8(&mut bytes, scene.numel());
                file.write_all(&bytes).map_err(&failed)?;
                index.scenes.push(([bands as usize, rows as usize, columns as usize], at));
                at += bytes.len() as u64;
                Ok(())
            })?;
            let text = serde_json::to_vec(&index).expect("plain data");
            file.write_all(&text).map_err(&failed)?;
            file.write_all(&(text.len() as u64).to_le_bytes()).map_err(&failed)?;
            Ok::<(), TrainError>(())
        })?;
        let file = File::open(path).map_err(unreadable(path))?;
        Ok(Self { path: path.into(), file: Arc::new(file), index: Arc::new(index) })
    }

    /// A spool that is there and whole; none otherwise, as it can be made again.
    fn open(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let end = file.seek(SeekFrom::End(-8)).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let start = end.checked_sub(u64::from_le_bytes(length))?;
        let mut text = vec![0; usize::try_from(end - start).ok()?];
        file.seek(SeekFrom::Start(start)).ok()?;
        file.read_exact(&mut text).ok()?;
        let index = serde_json::from_slice(&text).ok()?;
        Some(Self { path: path.into(), file: Arc::new(file), index: Arc::new(index) })
    }

    pub(super) fn len(&self) -> usize {
        self.index.scenes.len()
    }

    fn kind(&self) -> Kind {
        if self.index.half { Kind::Half } else { Kind::Float }
    }

    fn bytes_of(&self, i: usize) -> usize {
        self.index.scenes[i].0.iter().product::<usize>() * self.kind().elt_size_in_bytes()
    }

    /// Bytes of all scenes, and of the largest.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let all = (0..self.len()).map(|i| self.bytes_of(i));
        (all.clone().sum(), all.max().unwrap_or(0))
    }

    /// One scene on the CPU.
    pub(super) fn read(&self, i: usize) -> Result<Tensor, IoError> {
        let (shape, start) = self.index.scenes[i];
        let mut bytes = vec![0; self.bytes_of(i)];
        self.file.read_exact_at(&mut bytes, start).map_err(unreadable(&self.path))?;
        let shape = shape.map(|length| length as i64);
        Ok(Tensor::from_data_size(&bytes, &shape, self.kind()))
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn scenes_come_back_and_only_another_key_makes_them_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenes.spool");
        let scene = |i: i64| {
            let size = [2, 3 + i, 4];
            Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)).view(size) / 64.0
        };
        for kind in [Kind::Float, Kind::Half] {
            let key = format!("{kind:?}");
            let fill = |give: &mut dyn FnMut(&Tensor) -> Result<(), TrainError>| {
                (0..3).try_for_each(|i| give(&scene(i)))
            };
            let made = Spool::open_or_make(&path, &key, kind, fill).expect("made");
            let again = Spool::open_or_make(&path, &key, kind, |_| panic!("it is there")).expect("opened");
            for spool in [made, again] {
                let largest = 2 * 5 * 4 * kind.elt_size_in_bytes();
                assert_eq!(
                    (spool.len(), spool.bytes()),
                    (3, (2 * 12 * 4 * kind.elt_size_in_bytes(), largest))
                );
                for i in [2, 0, 1] {
                    // Multiples of 1/64 below 1 are exact in half precision.
                    assert_eq!(spool.read(i).expect("read").to_kind(Kind::Float), scene(i as i64));
                }
            }
        }
        // Cut short, it is made again.
        let bytes = cassi_io::read_bytes(&path).expect("bytes");
        cassi_io::write_bytes(&path, &bytes[..bytes.len() - 3]).expect("written");
        let mut made = false;
        let fill = |give: &mut dyn FnMut(&Tensor) -> Result<(), TrainError>| {
            made = true;
            give(&scene(0))
        };
        assert_eq!(Spool::open_or_make(&path, "Half", Kind::Half, fill).expect("made").len(), 1);
        assert!(made);
    }
}
