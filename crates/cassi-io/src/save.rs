//! Writing cubes, snapshots, masks and arrays; the format follows the extension, and files appear whole or not at all.

use std::path::Path;

use cassi_core::{Cube, Mask, NamedTensors, Snapshot};
use ndarray::{ArrayView2, ArrayViewD, IxDyn};

use crate::hdf5_file::{Hdf5Dataset, write_hdf5};
use crate::mat5::{MatVariable, mat5_bytes};
use crate::npy::{npy_bytes, npy_f64, npy_text, npz_bytes};
use crate::{Axes, IoError, Metadata, ParseError, picture, write_bytes};

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Hdf5,
    Mat,
    Npy,
    Npz,
    Png,
}

fn output(path: &Path, what: &'static str) -> Result<Output, IoError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    Ok(match extension.as_str() {
        "h5" | "hdf5" => Output::Hdf5,
        "mat" => Output::Mat,
        "npy" => Output::Npy,
        "npz" => Output::Npz,
        "png" => Output::Png,
        _ => {
            let extension = if extension.is_empty() {
                "a file without extension".into()
            } else {
                format!(".{extension}")
            };
            let hint = "end the name in .h5, .mat, .npy or .npz";
            return Err(IoError::Output { path: path.into(), what, extension, hint });
        }
    })
}

/// Everything a writer needs to know of one array.
struct Item<'a> {
    what: &'static str,
    name: &'a str,
    array: ArrayViewD<'a, f32>,
    axes: Option<&'a str>,
    wavelengths_nm: Option<&'a [f64]>,
}

fn write_item(path: &Path, item: &Item<'_>, metadata: &Metadata) -> Result<(), IoError> {
    let array = item.array.as_standard_layout();
    let data = array.as_slice().expect("C order");
    let unfit = |source: ParseError| IoError::Parse { path: path.into(), source };
    let texts = metadata.texts();
    match output(path, item.what)? {
        Output::Hdf5 => {
            let dataset = Hdf5Dataset {
                name: item.name,
                array: item.array.view(),
                axes: item.axes,
                wavelengths_nm: item.wavelengths_nm,
            };
            write_hdf5(path, &[dataset], metadata)
        }
        Output::Mat => {
            // A cube in a MAT file is [row, column, band], as the field's are.
            let view = if item.wavelengths_nm.is_some() {
                item.array.view().permuted_axes(IxDyn(&[1, 2, 0]))
            } else {
                item.array.view()
            };
            let mut variables = vec![(item.name, MatVariable::Single(view))];
            if let Some(nm) = item.wavelengths_nm {
                variables.push(("wavelengths_nm", MatVariable::DoubleRow(nm)));
            }
            variables.extend(texts.iter().map(|(key, text)| (*key, MatVariable::Text(text))));
            write_bytes(path, &mat5_bytes(&variables).map_err(unfit)?)
        }
        Output::Npy => write_bytes(path, &npy_bytes(array.shape(), data)),
        Output::Npz => {
            let mut entries = vec![(item.name.to_string(), npy_bytes(array.shape(), data))];
            if let Some(nm) = item.wavelengths_nm {
                entries.push(("wavelengths_nm".into(), npy_f64(nm)));
            }
            entries.extend(texts.iter().map(|(key, text)| (key.to_string(), npy_text(text))));
            let bytes = npz_bytes(&entries).map_err(|source| IoError::Write { path: path.into(), source })?;
            write_bytes(path, &bytes)
        }
        Output::Png => {
            let plane: ArrayView2<'_, f32> =
                item.array.view().into_dimensionality().map_err(|_| IoError::Output {
                    path: path.into(),
                    what: item.what,
                    extension: ".png".into(),
                    hint: "draw it with `cassi render`, or write .h5, .mat, .npy or .npz",
                })?;
            write_bytes(path, &picture::png_bytes(plane).map_err(unfit)?)
        }
    }
}

/// Writes a cube: `.h5` (our schema), `.mat` (`cube` as `[row, column, band]`), `.npz`, or `.npy` (without its
/// wavelengths).
///
/// # Errors
/// If the extension does not serve, or the operating system refuses.
pub fn write_cube(path: &Path, cube: &Cube, metadata: &Metadata) -> Result<(), IoError> {
    let axes = Axes::BAND_FIRST.to_string();
    let item = Item {
        what: "cube",
        name: "cube",
        array: cube.view().into_dyn(),
        axes: Some(&axes),
        wavelengths_nm: Some(cube.wavelengths().nm()),
    };
    write_item(path, &item, metadata)
}

/// Writes a snapshot: as a cube, or as 16-bit grey `.png` (quantised; scale and offset stand in the file).
///
/// # Errors
/// As [`write_cube`].
pub fn write_snapshot(path: &Path, snapshot: &Snapshot, metadata: &Metadata) -> Result<(), IoError> {
    write_plane(path, "snapshot", snapshot.view(), metadata)
}

/// Writes a mask, as a snapshot.
///
/// # Errors
/// As [`write_cube`].
pub fn write_mask(path: &Path, mask: &Mask, metadata: &Metadata) -> Result<(), IoError> {
    write_plane(path, "mask", mask.view(), metadata)
}

fn write_plane(
    path: &Path,
    name: &'static str,
    plane: ArrayView2<'_, f32>,
    metadata: &Metadata,
) -> Result<(), IoError> {
    let array = plane.into_dyn();
    write_item(
        path,
        &Item { what: name, name, array, axes: Some("row,column"), wavelengths_nm: None },
        metadata,
    )
}

/// Writes one array of any rank in its own axes under a name.
///
/// # Errors
/// As [`write_cube`]; `.png` takes two axes.
pub fn write_array(
    path: &Path,
    name: &str,
    array: ArrayViewD<'_, f32>,
    metadata: &Metadata,
) -> Result<(), IoError> {
    write_item(path, &Item { what: "array", name, array, axes: None, wavelengths_nm: None }, metadata)
}

/// Writes several named arrays into one `.npz`, `.mat` or `.h5`.
///
/// # Errors
/// As [`write_cube`].
pub fn write_arrays(path: &Path, arrays: &NamedTensors, metadata: &Metadata) -> Result<(), IoError> {
    match output(path, "set of arrays")? {
        Output::Npz => {
            let entries: Vec<_> =
                arrays.iter().map(|(name, t)| (name.to_string(), npy_bytes(&t.shape, &t.data))).collect();
            let bytes = npz_bytes(&entries).map_err(|source| IoError::Write { path: path.into(), source })?;
            write_bytes(path, &bytes)
        }
        Output::Mat => {
            let variables: Vec<_> =
                arrays.iter().map(|(name, t)| (name, MatVariable::Single(view_of(t)))).collect();
            let bytes =
                mat5_bytes(&variables).map_err(|source| IoError::Parse { path: path.into(), source })?;
            write_bytes(path, &bytes)
        }
        Output::Hdf5 => {
            let datasets: Vec<_> = (arrays.iter())
                .map(|(name, t)| Hdf5Dataset { name, array: view_of(t), axes: None, wavelengths_nm: None })
                .collect();
            write_hdf5(path, &datasets, metadata)
        }
        Output::Npy | Output::Png => Err(IoError::Output {
            path: path.into(),
            what: "set of arrays",
            extension: path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default(),
            hint: "end the name in .npz, .mat or .h5",
        }),
    }
}

fn view_of(tensor: &cassi_core::Tensor) -> ArrayViewD<'_, f32> {
    ArrayViewD::from_shape(IxDyn(&tensor.shape), &tensor.data)
        .expect("as many values as its shape, by construction")
}
