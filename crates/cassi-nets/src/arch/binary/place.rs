//! Where in the checkpoint a layer keeps its parameters, and the list of those that are binary.

use std::cell::RefCell;
use std::fmt::Display;

use tch::Tensor;
use tch::nn::{Init, Path};

/// A place in the tree of names. Every binary weight made below it is noted in one list.
pub(super) struct Place<'a> {
    path: Path<'a>,
    binary: &'a RefCell<Vec<String>>,
}

impl<'a> Place<'a> {
    pub(super) fn new(path: Path<'a>, binary: &'a RefCell<Vec<String>>) -> Self {
        Self { path, binary }
    }

    /// The place one name further down.
    pub(super) fn at(&self, name: impl Display) -> Place<'a> {
        Place { path: self.path.sub(name), binary: self.binary }
    }

    /// The name in the checkpoint, e.g. `body.0.embedding`.
    pub(super) fn name(&self) -> String {
        self.path.components().collect::<Vec<_>>().join(".")
    }

    /// A parameter that training changes.
    pub(super) fn parameter(&self, name: &str, shape: &[i64], start: Init) -> Tensor {
        self.path.var(name, shape, start)
    }

    /// A tensor of the checkpoint that no gradient reaches.
    pub(super) fn buffer(&self, name: &str, shape: &[i64], value: f64) -> Tensor {
        let buffer = self.path.zeros_no_train(name, shape);
        tch::no_grad(|| buffer.shallow_clone().fill_(value))
    }

    /// The real-valued parameter behind a binary weight.
    pub(super) fn latent(&self, name: &str, shape: &[i64], start: Init) -> Tensor {
        self.binary.borrow_mut().push(format!("{}.{name}", self.name()));
        self.path.var(name, shape, start)
    }
}

/// Uniform in ±1/√fan_in, as PyTorch starts a convolution.
pub(super) fn uniform(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}
