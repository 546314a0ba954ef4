//! A network as data: layers made of branches, blocks made of layers, and the one skeleton that all eight share
//! (a U of two levels, widths 28, 56, 112).

use super::source::Binary;
use super::winograd::Filter;
use super::{Engine, Layout, Method};
use crate::kernels::{Epilogue, weight_code};

/// Channels of the network's input, output and first level.
pub(super) const BANDS: usize = 28;

/// What a convolution reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `sign(factor·x + summand)`, a pair a channel.
    Signs { factor: Vec<f32>, summand: Vec<f32> },
    /// `x` itself.
    Real,
}

/// Weights as they were read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Weights {
    Binary(Binary),
    /// `[output][input][tap]`.
    Dense(Vec<f32>),
}

/// Weights as the kernels take them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Packed {
    Bits {
        /// Codes of four weights.
        codes: Vec<u8>,
        /// Signs of 32 weights, where the kernels can use them.
        signs: Vec<u32>,
    },
    Floats(Vec<f32>),
}

/// One convolution and what surrounds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    /// First input channel.
    pub(super) from: usize,
    /// Input channels.
    pub(super) inputs: usize,
    /// First output channel.
    pub(super) to: usize,
    /// Output channels.
    pub(super) outputs: usize,
    /// 1 or 3.
    pub(super) side: usize,
    /// Whether each output sees its own four inputs only.
    pub(super) grouped: bool,
    pub(super) operand: Operand,
    pub(super) weights: Weights,
    pub(super) packed: Packed,
    pub(super) epilogue: Epilogue,
}

impl Branch {
    /// Brings the weights into the order of the engine's kernels.
    pub(super) fn pack(&mut self, engine: Engine) {
        let taps = self.side * self.side;
        let seen = if self.grouped { 4 } else { self.inputs };
        let at = |output: usize, tap: usize, input: usize| (output * seen + input) * taps + tap;
        let mut floats = Vec::new();
        let mut codes = Vec::new();
        let on_bits = self.on_bits(engine);
        for block in (0..self.outputs).step_by(4) {
            for tap in 0..taps {
                match &self.weights {
                    Weights::Binary(w) if on_bits => {
                        for input in (0..seen).step_by(4) {
                            let code =
                                |o| weight_code(std::array::from_fn(|i| w.signs[at(o, tap, input + i)]));
                            codes.extend((block..block + 4).map(code));
                        }
                    }
                    weights => {
                        let weight = |place: usize| match weights {
                            Weights::Binary(w) => f32::from(w.signs[place]),
                            Weights::Dense(w) => w[place],
                        };
                        for input in 0..seen {
                            floats.extend((block..block + 4).map(|o| weight(at(o, tap, input))));
                        }
                    }
                }
            }
        }
        self.packed =
            if on_bits { Packed::Bits { codes, signs: self.sign_words() } } else { Packed::Floats(floats) };
    }

    /// Signs of the weights in words of 32 inputs, for dense 1x1 layers without zeros.
    fn sign_words(&self) -> Vec<u32> {
        match &self.weights {
            Weights::Binary(w) if self.side == 1 && !self.grouped && !w.signs.contains(&0) => {
                let word = |signs: &[i8]| signs.iter().rev().fold(0, |word, &s| word << 1 | u32::from(s > 0));
                w.signs.chunks_exact(self.inputs).flat_map(|row| row.chunks(32).map(word)).collect()
            }
            _ => vec![],
        }
    }

    /// Whether this convolution runs on bits: signs times binary weights.
    pub(super) fn on_bits(&self, engine: Engine) -> bool {
        engine == Engine::Bits
            && matches!(self.operand, Operand::Signs { .. })
            && matches!(self.weights, Weights::Binary(_))
    }
}

/// Branches that read one input and write one output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) branches: Vec<Branch>,
}

/// `x + decrease(middle(increase(norm(x))))`, width C → 2C → 4C → 2C → C.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    pub(super) width: usize,
    pub(super) gain: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) increase: [Layer; 2],
    pub(super) middle: Layer,
    pub(super) decrease: [Layer; 2],
}

/// How a level is entered from above.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Down {
    /// The 3x3 layer: after 2x2 averaging, or with stride 2.
    pub(super) layer: Layer,
    /// Whether the layer has stride 2.
    pub(super) strided: bool,
    /// The 1x1 shortcut of strided layers, and whether it reads averages (else every second pixel).
    pub(super) shortcut: Option<(Layer, bool)>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BuildParts {
    pub(super) method: Method,
    pub(super) layout: Layout,
    /// Input factor and output divisor.
    pub(super) gain: f32,
    /// The 1x1 fusion with the mask: 32 inputs, which are 28 features, the mask, three of zeros.
    pub(super) fusion: Option<Layer>,
    pub(super) conv_in: Filter,
    pub(super) embedding: Layer,
    pub(super) encoder: [Block; 2],
    pub(super) down: [Down; 2],
    pub(super) bottleneck: Block,
    pub(super) up: [Layer; 2],
    pub(super) fuse: [Layer; 2],
    pub(super) decoder: [Block; 2],
    pub(super) mapping: Layer,
    pub(super) conv_out: Filter,
}

impl BuildParts {
    /// Every branch, to be packed or counted.
    pub(super) fn branches_mut(&mut self) -> Vec<&mut Branch> {
        let mut layers = vec![&mut self.embedding, &mut self.mapping];
        layers.extend(self.fusion.as_mut());
        for down in &mut self.down {
            layers.push(&mut down.layer);
            layers.extend(down.shortcut.as_mut().map(|(layer, _)| layer));
        }
        layers.extend(self.up.iter_mut().chain(&mut self.fuse));
        let blocks = self.encoder.iter_mut().chain(&mut self.decoder).chain([&mut self.bottleneck]);
        for block in blocks {
            layers.extend(block.increase.iter_mut().chain(&mut block.decrease).chain([&mut block.middle]));
        }
        layers.into_iter().flat_map(|l| &mut l.branches).collect()
    }
}
