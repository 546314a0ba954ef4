//! What travels with an array: the instrument it is for, and where it came from.

use serde::Serialize;

use crate::values::find;
use crate::{Attribute, Contents, Variable};

/// Instrument, provenance and schema of a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Metadata {
    /// The instrument as TOML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instrument: Option<String>,
    /// Command, inputs with SHA-256, seed and version, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<serde_json::Value>,
    /// The card of a mask or of weights, as the file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Version of our HDF5 schema, if the file follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
}

impl Metadata {
    /// The texts to be written with an array, by key.
    pub(crate) fn texts(&self) -> Vec<(&'static str, String)> {
        let provenance = self.provenance.as_ref().map(ToString::to_string);
        let texts = [
            ("instrument", self.instrument.clone()),
            ("provenance", provenance),
            ("card", self.card.clone()),
        ];
        texts.into_iter().filter_map(|(key, text)| Some((key, text?))).collect()
    }

    /// Gathers them from attributes of the variable, attributes of the file, or texts beside the variable.
    pub(crate) fn of(contents: &Contents, variable: &Variable) -> Self {
        Self::gather(contents, Some(variable))
    }

    /// Those of the whole file: of its first variable that has any.
    pub(crate) fn of_file(contents: &Contents) -> Self {
        let stated =
            |v: &&Variable| ["instrument", "provenance", "card"].iter().any(|key| v.attribute(key).is_some());
        Self::gather(contents, contents.variables.iter().find(stated))
    }

    fn gather(contents: &Contents, variable: Option<&Variable>) -> Self {
        let text = |key: &str| {
            let attribute =
                variable.and_then(|v| v.attribute(key)).or_else(|| find(&contents.attributes, key));
            match attribute {
                Some(Attribute::Text(text)) => Some(text.clone()),
                _ => contents.get(key).and_then(Variable::as_text).map(str::to_string),
            }
        };
        let schema = match find(&contents.attributes, "cassi_schema") {
            Some(Attribute::Numbers(version)) => version.first().map(|&v| v as u32),
            _ => None,
        };
        Self {
            instrument: text("instrument"),
            // Foreign texts under this name need not be JSON: they are kept as they are.
            provenance: text("provenance")
                .map(|t| serde_json::from_str(&t).unwrap_or(serde_json::Value::String(t))),
            card: text("card"),
            schema,
        }
    }
}
