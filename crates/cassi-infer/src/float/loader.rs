//! Strict reading of named tensors into layers: every expected name with its shape, and nothing else.

use std::collections::HashSet;

use cassi_core::NamedTensors;

/// Weights that are not those of the network asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("these weights do not fit {network}{}", summary(.missing, .unexpected, .misshaped))]
pub struct WeightsError {
    /// The network that was to take them.
    pub network: String,
    /// Names it needs that are not there.
    pub missing: Vec<String>,
    /// Names that are there and have no place in it.
    pub unexpected: Vec<String>,
    /// Names whose tensor has another shape: name, found, expected.
    pub misshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
}

fn summary(
    missing: &[String],
    unexpected: &[String],
    misshaped: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    // A wrong file has hundreds of wrong names; the first few tell which it is.
    let some = |names: Vec<String>| -> String {
        let more = names.len().saturating_sub(4);
        let shown = names.into_iter().take(4).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let mut out = String::new();
    if !missing.is_empty() {
        out += &format!("; missing: {}", some(missing.to_vec()));
    }
    if !unexpected.is_empty() {
        out += &format!("; unexpected: {}", some(unexpected.to_vec()));
    }
    if !misshaped.is_empty() {
        let texts = misshaped
            .iter()
            .map(|(name, found, expected)| format!("{name} is {found:?}, expected {expected:?}"));
        out += &format!("; of another shape: {}", some(texts.collect()));
    }
    out
}

/// Hands out tensors by name and remembers what was asked for.
pub(crate) struct Loader<'a> {
    tensors: &'a NamedTensors,
    asked: Vec<(String, Vec<usize>)>,
    missing: Vec<String>,
    misshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(tensors: &'a NamedTensors) -> Self {
        Self { tensors, asked: Vec::new(), missing: Vec::new(), misshaped: Vec::new() }
    }

    /// The values of a tensor of this shape; zeros, and a fault noted, if there is none.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        self.asked.push((name.to_string(), shape.to_vec()));
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape == shape => return tensor.data.clone(),
            Some(tensor) => self.misshaped.push((name.to_string(), tensor.shape.clone(), shape.to_vec())),
            None => self.missing.push(name.to_string()),
        }
        vec![0.0; shape.iter().product()]
    }

    /// Every name asked for, with the shape it has to have, in order.
    pub(crate) fn expected(self) -> Vec<(String, Vec<usize>)> {
        self.asked
    }

    /// All faults, if there is one.
    pub(crate) fn finish(self, network: &str) -> Result<(), WeightsError> {
        let asked: HashSet<&str> = self.asked.iter().map(|(name, _)| name.as_str()).collect();
        let unexpected: Vec<String> = (self.tensors.iter())
            .filter(|(name, _)| !asked.contains(name))
            .map(|(name, _)| name.to_string())
            .collect();
        if self.missing.is_empty() && self.misshaped.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        Err(WeightsError {
            network: network.into(),
            missing: self.missing,
            unexpected,
            misshaped: self.misshaped,
        })
    }
}
