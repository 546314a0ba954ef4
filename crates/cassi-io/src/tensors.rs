//! Weights: named tensors from any file that holds some, and back to safetensors.

use std::collections::BTreeMap;
use std::path::Path;

use cassi_core::{NamedTensors, Tensor};

use crate::{
    Attribute, Content, IoError, TensorPrecision, Variable, format::read_contents, safetensors_bytes,
    write_bytes,
};

/// A variable as a tensor of singles in C order.
fn tensor(path: &Path, variable: &Variable) -> Result<Option<Tensor>, IoError> {
    let Some(array) = variable.to_array() else { return Ok(None) };
    let shape = array.shape().to_vec();
    let data = array.into_raw_vec_and_offset().0;
    Tensor::new(shape, data).map(Some).map_err(|source| IoError::Meaning { path: path.into(), source })
}

/// Every array of numbers in a file, by name and in the order of the file: a checkpoint (`.safetensors`, `.pth`,
/// `.pt`) or a bundle of arrays (`.npz`, `.mat`, `.h5`). Text and skipped variables are left out.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn read_tensors(path: &Path) -> Result<NamedTensors, IoError> {
    Ok(read_tensors_with_metadata(path)?.0)
}

/// As [`read_tensors`], with the texts that the file carries beside them (`__metadata__` of safetensors).
///
/// # Errors
/// As [`read_tensors`].
pub fn read_tensors_with_metadata(path: &Path) -> Result<(NamedTensors, BTreeMap<String, String>), IoError> {
    let contents = read_contents(path)?;
    let mut tensors = NamedTensors::new();
    let mut metadata = BTreeMap::new();
    for variable in &contents.variables {
        if let Some(tensor) = tensor(path, variable)? {
            tensors.insert(&variable.name, tensor);
        } else if let Content::Text(text) = &variable.content {
            metadata.insert(variable.name.clone(), text.clone());
        }
    }
    for (key, value) in contents.attributes {
        if let Attribute::Text(text) = value {
            metadata.insert(key, text);
        }
    }
    Ok((tensors, metadata))
}

/// Writes a safetensors file, whole or not at all: same tensors and metadata, same bytes.
///
/// # Errors
/// If a finite number is beyond half precision, where that was asked for, or the operating system refuses.
pub fn write_tensors(
    path: &Path,
    tensors: &NamedTensors,
    precision: TensorPrecision,
    metadata: &BTreeMap<String, String>,
) -> Result<(), IoError> {
    let bytes = safetensors_bytes(tensors, precision, metadata)
        .map_err(|source| IoError::Parse { path: path.into(), source })?;
    write_bytes(path, &bytes)
}
