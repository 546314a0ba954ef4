//! What a file holds, for `cassi info`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bytes::first_bytes;
use crate::hdf5_file::visit_hdf5;
use crate::{Attribute, Content, Format, IoError, Metadata, Variable, read_bytes};

/// A file's format, variables and metadata.
#[derive(Debug, Clone, Serialize)]
pub struct FileInfo {
    /// The file.
    pub path: PathBuf,
    /// Its format in words.
    pub format: String,
    /// Its variables, in the order of the file.
    pub variables: Vec<VariableInfo>,
    /// Attributes of the file, shortened for reading.
    pub attributes: Vec<(String, String)>,
    /// Instrument, provenance, card.
    pub metadata: Metadata,
}

/// One variable of a file.
#[derive(Debug, Clone, Serialize)]
pub struct VariableInfo {
    /// Its name; empty where the format has none.
    pub name: String,
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// Its type in the words of the format.
    pub class: String,
    /// Smallest and largest finite number.
    pub range: Option<(f64, f64)>,
    /// How many numbers are not finite.
    pub not_finite: usize,
    /// Its attributes, shortened for reading.
    pub attributes: Vec<(String, String)>,
    /// Why it is skipped, or its text.
    pub note: Option<String>,
}

/// A text on one line, at most 120 characters long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(117) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn shown(attributes: &[(String, Attribute)]) -> Vec<(String, String)> {
    let text = |value: &Attribute| match value {
        Attribute::Text(text) => shortened(text),
        Attribute::Numbers(numbers) => {
            shortened(&numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" "))
        }
    };
    attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Lists what a file holds. Of an HDF5 file one variable at a time is in memory.
///
/// # Errors
/// If it cannot be read, its format is not known, or it is damaged.
pub fn inspect(path: &Path) -> Result<FileInfo, IoError> {
    let bytes = read_bytes(path)?;
    let format = Format::detect(&bytes)
        .ok_or_else(|| IoError::UnknownFormat { path: path.into(), found: first_bytes(&bytes) })?;
    let mut variables = Vec::new();
    let mut kept = Vec::new();
    let mut look = |mut variable: Variable| {
        variables.push(describe(&variable));
        // Metadata live in attributes and texts.
        if let Content::Numbers { .. } = variable.content {
            variable.content = Content::Skipped("described".into());
        }
        kept.push(variable);
    };
    let contents = match format {
        Format::Hdf5 => visit_hdf5(&bytes, &mut look),
        _ => format.parse(&bytes).map(|mut contents| {
            std::mem::take(&mut contents.variables).into_iter().for_each(&mut look);
            contents
        }),
    };
    let mut contents = contents.map_err(|source| IoError::Parse { path: path.into(), source })?;
    contents.variables = kept;
    Ok(FileInfo {
        path: path.into(),
        format: contents.format.clone(),
        variables,
        attributes: shown(&contents.attributes),
        metadata: Metadata::of_file(&contents),
    })
}

fn describe(variable: &Variable) -> VariableInfo {
    let values = variable.values();
    VariableInfo {
        name: variable.name.clone(),
        shape: variable.shape.clone(),
        class: variable.class.clone(),
        range: values.and_then(crate::Values::range),
        not_finite: values.map_or(0, crate::Values::not_finite),
        attributes: shown(&variable.attributes),
        note: match &variable.content {
            Content::Numbers { .. } => None,
            Content::Text(text) => Some(shortened(text)),
            Content::Skipped(reason) => Some(reason.clone()),
        },
    }
}
