//! Sequences of snapshots: files, folders and patterns, or frames on standard input.
//!
//! On standard input frames follow one another without anything between them, either as NPY files (each one snapshot
//! `[row, column]`, or a stack `[n, row, column]`) or as bare little-endian singles in C order, whose shape is then the
//! one that instrument and mask call for. The first bytes tell which.

use std::io::{BufReader, Cursor, Read, Stdin};
use std::path::Path;

use anyhow::{Context as _, bail};
use cassi_core::Snapshot;
use cassi_io::{Metadata, Source};
use ndarray::{Array2, Axis, Ix2, Ix3};

use crate::inputs::has_extension;

/// A snapshot of a sequence.
pub(crate) struct Frame {
    /// What to call it in messages.
    pub(crate) name: String,
    pub(crate) snapshot: Snapshot,
    pub(crate) metadata: Metadata,
    /// What was assumed when it was read.
    pub(crate) notes: Vec<String>,
}

/// A frame that could not be read.
pub(crate) struct Unreadable {
    pub(crate) name: String,
    pub(crate) error: anyhow::Error,
    /// Whether nothing can follow: the stream is broken.
    pub(crate) last: bool,
}

type Bytes = BufReader<std::io::Chain<Cursor<Vec<u8>>, Stdin>>;

/// Where frames come from.
pub(crate) enum Frames {
    /// Files, in order.
    Files(std::vec::IntoIter<String>),
    /// NPY files one after another; a stack that was read waits with its next item.
    Npy { input: Bytes, read: usize, stack: std::vec::IntoIter<Array2<f32>> },
    /// Bare singles of one shape, known once the instrument is.
    Raw { input: Bytes, read: usize, shape: Option<[usize; 2]> },
}

impl Frames {
    /// Opens what `--snapshot` names.
    ///
    /// # Errors
    /// If a folder or pattern holds no snapshots, or standard input is empty.
    pub(crate) fn open(names: &[String]) -> anyhow::Result<Self> {
        if names == ["-"] {
            let mut input = std::io::stdin();
            let mut head = Vec::new();
            Read::by_ref(&mut input).take(6).read_to_end(&mut head).context("standard input")?;
            if head.is_empty() {
                bail!("standard input is empty; expected frames");
            }
            let npy = head == *b"\x93NUMPY";
            let input = BufReader::new(Cursor::new(head).chain(input));
            return Ok(if npy {
                Self::Npy { input, read: 0, stack: Vec::new().into_iter() }
            } else {
                Self::Raw { input, read: 0, shape: None }
            });
        }
        let mut files = Vec::new();
        for name in names {
            if name == "-" {
                bail!("--snapshot -: standard input cannot be mixed with files");
            }
            expand(name, &mut files)?;
        }
        Ok(Self::Files(files.into_iter()))
    }

    /// How many frames will come, where that is known.
    pub(crate) fn expected(&self) -> Option<usize> {
        match self {
            Self::Files(files) => Some(files.len()),
            _ => None,
        }
    }

    /// Whether the shape of a frame is known only from the instrument.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self, Self::Raw { .. })
    }

    /// Says which shape raw frames have.
    pub(crate) fn set_shape(&mut self, frame: [usize; 2]) {
        if let Self::Raw { shape, .. } = self {
            *shape = Some(frame);
        }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Files(files) => {
                let name = files.next()?;
                Some(match cassi_io::read_snapshot(&Source::parse(&name)) {
                    Ok(loaded) => Ok(Frame {
                        name,
                        snapshot: loaded.value,
                        metadata: loaded.metadata,
                        notes: loaded.notes,
                    }),
                    Err(error) => Err(Unreadable { name, error: error.into(), last: false }),
                })
            }
            Self::Npy { input, read, stack } => {
                let name = format!("standard input, NPY file {read}");
                if let Some(plane) = stack.next() {
                    return Some(frame(name, plane));
                }
                *read += 1;
                let name = format!("standard input, NPY file {read}");
                let error = |error| Some(Err(Unreadable { name: name.clone(), error, last: true }));
                let variable = match cassi_io::read_npy(input) {
                    Ok(None) => return None,
                    Ok(Some(variable)) => variable,
                    Err(found) => return error(found.into()),
                };
                match planes(&variable) {
                    Ok(planes) => {
                        *stack = planes.into_iter();
                        self.next()
                    }
                    Err(found) => error(found),
                }
            }
            Self::Raw { input, read, shape } => {
                let [rows, columns] = shape.expect("set before frames are asked for");
                let bytes = 4 * rows * columns;
                let name = format!("standard input from byte {}", *read);
                let mut data = Vec::new();
                if let Err(found) = Read::by_ref(input).take(bytes as u64).read_to_end(&mut data) {
                    return Some(Err(Unreadable { name, error: found.into(), last: true }));
                }
                *read += data.len();
                if data.is_empty() {
                    return None;
                }
                if data.len() < bytes {
                    let error = anyhow::anyhow!(
                        "truncated: {} bytes are left, a frame of {rows} x {columns} singles has {bytes}",
                        data.len()
                    );
                    return Some(Err(Unreadable { name, error, last: true }));
                }
                let values = data
                    .chunks_exact(4)
                    .map(|c| f32::from_le_bytes(c.try_into().expect("four bytes")))
                    .collect();
                Some(frame(name, Array2::from_shape_vec((rows, columns), values).expect("so many values")))
            }
        }
    }
}

fn frame(name: String, plane: Array2<f32>) -> Result<Frame, Unreadable> {
    match Snapshot::new(plane) {
        Ok(snapshot) => Ok(Frame { name, snapshot, metadata: Metadata::default(), notes: Vec::new() }),
        Err(error) => Err(Unreadable { name, error: error.into(), last: false }),
    }
}

/// The frames of one NPY file.
fn planes(variable: &cassi_io::Variable) -> anyhow::Result<Vec<Array2<f32>>> {
    if variable.values().is_none_or(cassi_io::Values::is_integer) {
        bail!("frames of type {}, expected floats", variable.class);
    }
    let array = variable.to_array().context("an array of numbers")?;
    let shape = array.shape().to_vec();
    match array.ndim() {
        2 => Ok(vec![array.into_dimensionality::<Ix2>()?]),
        3 => Ok(array.into_dimensionality::<Ix3>()?.axis_iter(Axis(0)).map(|p| p.to_owned()).collect()),
        _ => bail!("shape {shape:?}, expected [row, column] or [n, row, column]"),
    }
}

/// A file, the snapshots of a folder, or those that a pattern with `*` and `?` in its last part fits; each in the order
/// of names.
fn expand(name: &str, files: &mut Vec<String>) -> anyhow::Result<()> {
    let path = Path::new(name);
    let extensions = ["h5", "hdf5", "mat", "npy", "npz", "png", "tif", "tiff", "jpg", "jpeg"];
    let before = files.len();
    let text = |path: &Path| path.to_str().map(str::to_string).context("a file name that is not UTF-8");
    if path.is_dir() {
        for file in cassi_io::list_folder(path)?.iter().filter(|file| has_extension(file, &extensions)) {
            files.push(text(file)?);
        }
    } else if !path.exists() && name.contains(['*', '?']) {
        let pattern = path.file_name().and_then(|p| p.to_str()).context("a pattern in the last part")?;
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for file in cassi_io::list_folder(folder)? {
            let fits = file.file_name().and_then(|n| n.to_str()).is_some_and(|n| matches(pattern, n));
            if fits && file.is_file() {
                files.push(text(&file)?);
            }
        }
    } else {
        files.push(name.into());
    }
    if files.len() == before {
        bail!("--snapshot {name}: no snapshots there (.h5, .mat, .npy, .npz, .png, .tif, .jpg)");
    }
    Ok(())
}

/// Whether a name fits a pattern in which `*` stands for any characters and `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = characters.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..]))
        }
        Some(wanted) => {
            let mut left = name.chars();
            left.next().is_some_and(|found| wanted == '?' || wanted == found)
                && matches(characters.as_str(), left.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name) in
            [("*.npy", "a.npy"), ("f?.*", "f1.h5"), ("*", ""), ("a*b*c", "aXbYbc"), ("ü?", "üß")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.npy", "a.npz"), ("f?.h5", "f.h5"), ("a", "ab"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
