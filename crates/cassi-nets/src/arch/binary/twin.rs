//! The down-sampling unit of ReActNet and BTM: two branches from one sign, each with a shortcut, side by side.

use tch::Tensor;

use super::layers::{Bias, Chain, Layer, Pass, Prelu, Sign, chain};
use super::place::Place;

/// Twice the channels at the same size: `[f(sign(x + b)) + x, g(sign(x + b)) + x]`, then offset, PReLU, offset.
pub(super) struct Twin {
    binarized: Chain,
    branches: [Chain; 2],
    activation: Chain,
}

impl Twin {
    pub(super) fn new(place: &Place, channels: i64, sign: Sign, branches: [Chain; 2]) -> Self {
        let activation = chain![
            Bias::new(&place.at("move22"), 2 * channels),
            Prelu::new(&place.at("prelu2"), 2 * channels),
            Bias::new(&place.at("move23"), 2 * channels),
        ];
        Self { binarized: chain![Bias::new(&place.at("move21"), channels), sign], branches, activation }
    }
}

impl Layer for Twin {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let sign = self.binarized.forward(x, pass);
        let branches = self.branches.each_ref().map(|branch| branch.forward(&sign, pass) + x);
        self.activation.forward(&Tensor::cat(&branches, 1), pass)
    }
}
