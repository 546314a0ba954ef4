//! Named arrays of any rank: what a checkpoint or a bundle of goldens holds once it is read.

use crate::ShapeError;

/// A dense array of any rank in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of every axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values in C order, `shape.product()` of them.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Joins a shape and its values.
    ///
    /// # Errors
    /// If the number of values is not the product of the shape.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, ShapeError> {
        if shape.iter().product::<usize>() != data.len() {
            let expected = format!("{} values in all", data.len());
            return Err(ShapeError { what: "tensor", found: shape, expected, axes: "" });
        }
        Ok(Self { shape, data })
    }
}

/// Tensors by name, in the order of their file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedTensors {
    entries: Vec<(String, Tensor)>,
    index: std::collections::HashMap<String, usize>,
}

impl NamedTensors {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, or replaces the one of that name in its place.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        let name = name.into();
        match self.index.get(&name) {
            Some(&at) => self.entries[at].1 = tensor,
            None => {
                self.index.insert(name.clone(), self.entries.len());
                self.entries.push((name, tensor));
            }
        }
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.index.get(name).map(|&at| &self.entries[at].1)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The same tensors with `prefix` taken off every name, if every name has it (`module.` of data-parallel
    /// training); otherwise unchanged.
    pub fn without_common_prefix(self, prefix: &str) -> Self {
        if self.is_empty() || !self.entries.iter().all(|(name, _)| name.starts_with(prefix)) {
            return self;
        }
        self.entries.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor)).collect()
    }
}

impl FromIterator<(String, Tensor)> for NamedTensors {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(iter: I) -> Self {
        let mut tensors = Self::new();
        for (name, tensor) in iter {
            tensors.insert(name, tensor);
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_prefix() {
        let scalar = |v: f32| Tensor::new(vec![], vec![v]).unwrap();
        let tensors: NamedTensors =
            [("module.b".to_string(), scalar(1.0)), ("module.a".to_string(), scalar(2.0))]
                .into_iter()
                .collect();
        let tensors = tensors.without_common_prefix("module.");
        assert_eq!(tensors.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(tensors.get("a").unwrap().data, [2.0]);
        assert!(Tensor::new(vec![2, 2], vec![0.0; 3]).is_err());
    }
}
