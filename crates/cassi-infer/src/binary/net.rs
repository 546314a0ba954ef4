//! A network as data: layers made of branches, blocks made of layers, and the one skeleton that all eight share
//! (a U of two levels, widths 28, 56, 112).

use std::ops::Range;

use super::signs::SignRule;
use super::source::Binary;
use super::winograd::Filter;
use super::{Engine, Layout, Method};
use crate::kernels::{Epilogue, Finish, Kernel, weight_code};

/// Channels of the network's input, output and first level.
pub(super) const BANDS: usize = 28;

/// What a convolution reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `sign(k·x + b)`.
    Signs(SignRule),
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

/// Weights as the kernels take them, and with them the form of the operands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Packed {
    /// Codes of four weights, `[output / 4][tap][input / 4][output % 4]`, for activations packed by fours.
    Codes(Vec<u8>),
    /// Signs of 32 weights, `[output / 4][tap][word][output % 4]`, for activations packed in words.
    Words(Vec<u32>),
    /// `[output / 4][tap][input][output % 4]`.
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
    /// The epilogue as the kernels take it.
    pub(super) finish: Finish,
}

impl Branch {
    /// A layer in groups of four as one branch for each of these ranges of channels; not packed yet.
    pub(super) fn split(&self, ranges: impl Iterator<Item = Range<usize>>) -> Vec<Self> {
        assert!(self.grouped && self.from == self.to && self.inputs == self.outputs);
        let part = |channels: Range<usize>| {
            let weights = match &self.weights {
                Weights::Binary(w) => {
                    let each = w.signs.len() / w.outputs;
                    let signs = w.signs[channels.start * each..channels.end * each].to_vec();
                    let scale = w.scale[channels.clone()].to_vec();
                    Weights::Binary(Binary { outputs: channels.len(), signs, scale, ..*w })
                }
                Weights::Dense(w) => {
                    let each = w.len() / self.outputs;
                    Weights::Dense(w[channels.start * each..channels.end * each].to_vec())
                }
            };
            let operand = match &self.operand {
                Operand::Signs(rule) => Operand::Signs(rule.part(channels.clone())),
                Operand::Real => Operand::Real,
            };
            let (from, size) = (self.from + channels.start, channels.len());
            let epilogue = self.epilogue.part(channels);
            Self { from, to: from, inputs: size, outputs: size, weights, operand, epilogue, ..self.clone() }
        };
        ranges.map(part).collect()
    }

    /// Brings the weights into the order of the engine and its kernels.
    pub(super) fn pack(&mut self, engine: Engine, kernel: &Kernel) {
        let terms = self.side * self.side * self.inputs;
        self.finish = Finish::new(self.epilogue.clone()).tabulate(terms);
        self.packed = match &self.weights {
            Weights::Binary(w) if self.on_bits(engine) => {
                if kernel.words && !self.grouped && !w.signs.contains(&0) {
                    Packed::Words(self.in_order(32, |at| {
                        at.iter()
                            .rev()
                            .fold(0, |word, &(i, place)| word << 1 | u32::from(self.sign(w, i, place) > 0))
                    }))
                } else {
                    Packed::Codes(self.in_order(4, |at| {
                        weight_code(std::array::from_fn(|i| self.sign(w, at[i].0, at[i].1)))
                    }))
                }
            }
            Weights::Binary(w) => {
                Packed::Floats(self.in_order(1, |at| f32::from(self.sign(w, at[0].0, at[0].1))))
            }
            Weights::Dense(w) => Packed::Floats(self.in_order(1, |at| w[at[0].1])),
        };
    }

    /// A binary weight; the opposite where the channel's activations have the opposite sign.
    fn sign(&self, weights: &Binary, input: usize, place: usize) -> i8 {
        match &self.operand {
            Operand::Signs(rule) if rule.flipped[input] => -weights.signs[place],
            _ => weights.signs[place],
        }
    }

    /// Goes through the weights in the order of the kernels, `together` inputs at a time: `[output / 4][tap][input /
    /// together][output % 4]`. `pack` gets channel and place of each.
    fn in_order<T>(&self, together: usize, pack: impl Fn(&[(usize, usize)]) -> T) -> Vec<T> {
        let taps = self.side * self.side;
        let seen = if self.grouped { 4 } else { self.inputs };
        let mut packed = vec![];
        for block in (0..self.outputs).step_by(4) {
            for tap in 0..taps {
                for first in (0..seen).step_by(together) {
                    for output in block..block + 4 {
                        let channel = |i: usize| if self.grouped { block + i } else { i };
                        let places: Vec<_> = (first..(first + together).min(seen))
                            .map(|input| (channel(input), (output * seen + input) * taps + tap))
                            .collect();
                        packed.push(pack(&places));
                    }
                }
            }
        }
        packed
    }

    /// Whether this convolution runs on bits: signs times binary weights.
    pub(super) fn on_bits(&self, engine: Engine) -> bool {
        engine == Engine::Bits
            && matches!(self.operand, Operand::Signs(_))
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
    /// A branch for each one of the first narrowing layer, on the channels that it reads.
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
