//! Assembles the eight networks from a [`Source`], by the layer names of their published checkpoints.

use super::net::{BANDS, Block, Branch, BuildParts, Down, Layer, Operand, Packed, Weights};
use super::signs::SignRule;
use super::source::{Rule, Source};
use super::winograd::Filter;
use super::{Layout, Method};
use crate::kernels::{Activation, Epilogue, Finish, Shortcut, Tail};

/// Reads a whole network.
pub(super) fn build(source: &mut dyn Source, method: Method, layout: Layout) -> BuildParts {
    let mut b = Builder { source, method };
    let outer = [BANDS, BANDS, 3, 3];
    let conv_in = Filter::new(&b.floats("conv_in.weight".into(), &outer));
    let fusion = b.fusion(layout);
    let embedding = b.outer("body.0.embedding", method != Method::Bnn && method != Method::IrNet);
    let encoder = [0, 1].map(|i| b.block(&format!("body.0.encoder_layers.{i}.0"), BANDS << i));
    let down = [0, 1].map(|i| b.down(&format!("body.0.encoder_layers.{i}.1"), BANDS << i));
    let bottleneck = b.block("body.0.bottleneck", 4 * BANDS);
    let width = |i: usize| (2 * BANDS) >> i;
    let up = [0, 1].map(|i| b.narrow(&format!("body.0.decoder_layers.{i}.0"), width(i), 3));
    let fuse = [0, 1].map(|i| b.narrow(&format!("body.0.decoder_layers.{i}.1"), width(i), 1));
    let decoder = [0, 1].map(|i| b.block(&format!("body.0.decoder_layers.{i}.2"), width(i)));
    let real_mapping = [Method::Bnn, Method::IrNet, Method::BiReal, Method::ReActNet].contains(&method);
    let mapping = b.outer("body.0.mapping", !real_mapping);
    let conv_out = Filter::new(&b.floats("conv_out.weight".into(), &outer));
    let gain = if method == Method::Bbcu { 14.0 } else { 1.0 };
    BuildParts {
        method,
        layout,
        gain,
        fusion,
        conv_in,
        embedding,
        encoder,
        down,
        bottleneck,
        up,
        fuse,
        decoder,
        mapping,
        conv_out,
    }
}

struct Builder<'s> {
    source: &'s mut dyn Source,
    method: Method,
}

/// Where a baseline's unit stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// 1x1 in a block or a fusion, or 3x3 after averaging.
    Plain,
    /// 3x3 in groups with a shortcut.
    Middle,
    /// 3x3 after up-sampling.
    Up,
}

fn plain_signs(channels: usize) -> Operand {
    Operand::Signs(SignRule::new(&vec![1.0; channels], &vec![0.0; channels]))
}

fn layer(inputs: usize, outputs: usize, branches: Vec<Branch>) -> Layer {
    Layer { inputs, outputs, branches }
}

impl Builder<'_> {
    fn floats(&mut self, name: String, shape: &[usize]) -> Vec<f32> {
        self.source.floats(&name, shape)
    }

    /// A tensor of shape `[1, channels, 1, 1]`.
    fn per_channel(&mut self, name: String, channels: usize) -> Vec<f32> {
        self.floats(name, &[1, channels, 1, 1])
    }

    fn rule(&self) -> Rule {
        match self.method {
            Method::BiSrNet | Method::ReActNet | Method::Bbcu => Rule::Scaled,
            Method::BiReal => Rule::ScaledColumn,
            Method::Bnn => Rule::Sign,
            Method::BiConnect => Rule::SignUp,
            Method::IrNet => Rule::Standardised,
            Method::Btm => Rule::Gained,
        }
    }

    /// A branch on binary weights whose epilogue scales sums by the weights' own scale and nothing else.
    fn binary(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
        side: usize,
        grouped: bool,
        operand: Operand,
    ) -> Branch {
        let seen = if grouped { 4 } else { inputs };
        let weights = self.source.binary(name, [outputs, seen, side, side], self.rule());
        let epilogue =
            Epilogue { scale: weights.scale.clone(), shift: vec![0.0; outputs], ..Epilogue::default() };
        let (weights, packed) = (Weights::Binary(weights), Packed::Floats(vec![]));
        let finish = Finish::default();
        Branch { from: 0, inputs, to: 0, outputs, side, grouped, operand, weights, packed, epilogue, finish }
    }

    /// A full-precision convolution without bias.
    fn dense(&mut self, name: &str, inputs: usize, outputs: usize, side: usize) -> Layer {
        let weights = Weights::Dense(self.floats(format!("{name}.weight"), &[outputs, inputs, side, side]));
        let epilogue =
            Epilogue { scale: vec![1.0; outputs], shift: vec![0.0; outputs], ..Epilogue::default() };
        let (operand, packed) = (Operand::Real, Packed::Floats(vec![]));
        let branch = Branch {
            from: 0,
            inputs,
            to: 0,
            outputs,
            side,
            grouped: false,
            operand,
            weights,
            packed,
            epilogue,
            finish: Finish::default(),
        };
        layer(inputs, outputs, vec![branch])
    }

    /// The fusion with the mask. All 28 mask channels are one, so their weights are summed. The `tsa-real` layout
    /// carries the tensors and does not use them.
    fn fusion(&mut self, layout: Layout) -> Option<Layer> {
        let shape = [BANDS, 2 * BANDS, 1, 1];
        if layout == Layout::TsaReal {
            self.source.unused("fution.weight", &shape);
            self.source.unused("fution.bias", &[BANDS]);
            return None;
        }
        let weights = self.floats("fution.weight".into(), &shape);
        let shift = self.floats("fution.bias".into(), &[BANDS]);
        let inputs = BANDS + 4;
        let row = |w: &[f32]| {
            let mask = w[BANDS..].iter().map(|&v| f64::from(v)).sum::<f64>() as f32;
            w[..BANDS].iter().copied().chain([mask, 0.0, 0.0, 0.0]).collect::<Vec<_>>()
        };
        let weights = Weights::Dense(weights.chunks_exact(2 * BANDS).flat_map(row).collect());
        let epilogue = Epilogue { scale: vec![1.0; BANDS], shift, ..Epilogue::default() };
        let (operand, packed) = (Operand::Real, Packed::Floats(vec![]));
        let branch = Branch {
            from: 0,
            inputs,
            to: 0,
            outputs: BANDS,
            side: 1,
            grouped: false,
            operand,
            weights,
            packed,
            epilogue,
            finish: Finish::default(),
        };
        Some(layer(inputs, BANDS, vec![branch]))
    }

    /// `prelu(v + bias0) + bias1` under a prefix: summand before, slope, summand after.
    fn rprelu(&mut self, prefix: &str, channels: usize) -> [Vec<f32>; 3] {
        [
            self.per_channel(format!("{prefix}.pr_bias0.bias"), channels),
            self.floats(format!("{prefix}.pr_prelu.weight"), &[channels]),
            self.per_channel(format!("{prefix}.pr_bias1.bias"), channels),
        ]
    }

    /// The unit of BiSRNet: `rprelu(conv(sign(k·x + b))) + x`.
    fn spectral(&mut self, prefix: &str, channels: usize, side: usize, grouped: bool) -> Branch {
        let summand = self.per_channel(format!("{prefix}.move0.b"), channels);
        let factor = self.per_channel(format!("{prefix}.move0.k"), channels);
        self.source.unused(&format!("{prefix}.binary_activation.beta"), &[1]);
        let operand = Operand::Signs(SignRule::new(&factor, &summand));
        let mut branch =
            self.binary(&format!("{prefix}.binary_conv"), channels, channels, side, grouped, operand);
        let [before, slope, after] = self.rprelu(&format!("{prefix}.relu"), channels);
        branch.epilogue.shift = before;
        branch.epilogue.activation = Activation::PRelu { slope, after };
        branch.epilogue.shortcut = Shortcut::After;
        branch
    }

    /// Two units of BiSRNet side by side: width doubled.
    fn spectral_wide(&mut self, prefix: &str, width: usize, side: usize) -> Layer {
        let branches = [1, 2].map(|i| {
            let branch = self.spectral(&format!("{prefix}.biconv_{i}"), width, side, false);
            Branch { to: (i - 1) * width, ..branch }
        });
        layer(width, 2 * width, branches.into())
    }

    /// Two units of BiSRNet on the halves of the channels, averaged.
    fn spectral_narrow(&mut self, prefix: &str, width: usize, side: usize) -> Layer {
        let branches = [1, 2].map(|i| {
            let branch = self.spectral(&format!("{prefix}.biconv_{i}"), width, side, false);
            let epilogue = Epilogue { average: i == 2, ..branch.epilogue };
            Branch { from: (i - 1) * width, epilogue, ..branch }
        });
        layer(2 * width, width, branches.into())
    }

    /// The layer before and after the U. `on_signs` says whether the published code binarizes its input.
    fn outer(&mut self, name: &str, on_signs: bool) -> Layer {
        let branch = match self.method {
            Method::BiSrNet => self.spectral(name, BANDS, 3, false),
            Method::Bnn | Method::IrNet => return self.dense(name, BANDS, BANDS, 3),
            _ => {
                let operand = if on_signs { plain_signs(BANDS) } else { Operand::Real };
                self.binary(name, BANDS, BANDS, 3, false, operand)
            }
        };
        layer(BANDS, BANDS, vec![branch])
    }

    /// Width doubled by a 1x1 layer.
    fn wide(&mut self, prefix: &str, width: usize) -> Layer {
        match self.method {
            Method::BiSrNet => self.spectral_wide(prefix, width, 1),
            _ => self.baseline(prefix, width, 2 * width, 1, Role::Plain),
        }
    }

    /// Width `2·width` halved by a 1x1 layer, or by the 3x3 one after up-sampling.
    fn narrow(&mut self, prefix: &str, width: usize, side: usize) -> Layer {
        match self.method {
            Method::BiSrNet => self.spectral_narrow(prefix, width, side),
            _ => {
                self.baseline(prefix, 2 * width, width, side, if side == 3 { Role::Up } else { Role::Plain })
            }
        }
    }

    /// The unit of a baseline.
    fn baseline(&mut self, prefix: &str, inputs: usize, outputs: usize, side: usize, role: Role) -> Layer {
        let middle = role == Role::Middle;
        let conv = match self.method {
            Method::Bnn | Method::IrNet | Method::BiConnect => format!("{prefix}.conv1"),
            _ => format!("{prefix}.binary_{side}x{side}"),
        };
        let moved = match self.method {
            Method::ReActNet | Method::Btm => Some("move11"),
            Method::Bbcu => Some("move0"),
            _ => None,
        };
        let operand = match moved {
            Some(name) => self.shifted_signs(&format!("{prefix}.{name}"), inputs),
            None if self.method == Method::BiConnect && !middle => Operand::Real,
            None => plain_signs(inputs),
        };
        let mut branch = self.binary(&conv, inputs, outputs, side, middle, operand);
        if self.has_batch_norm() {
            self.normalise(&mut branch.epilogue, &format!("{prefix}.bn1"));
        }
        if self.method == Method::Btm && role != Role::Up {
            branch.epilogue.scale.iter_mut().for_each(|s| *s *= 0.2);
        }
        let (activation, shortcut) = match self.method {
            Method::Bnn => (Activation::HardTanh, Shortcut::After),
            Method::IrNet => (Activation::HardTanh, Shortcut::Before),
            Method::BiReal => (Activation::Identity, Shortcut::After),
            Method::BiConnect => (Activation::Relu, Shortcut::None),
            Method::Bbcu => {
                let [before, slope, after] = self.rprelu(&format!("{prefix}.relu"), outputs);
                add(&mut branch.epilogue.shift, &before);
                (Activation::PRelu { slope, after }, Shortcut::After)
            }
            _ => {
                let activation = self.shifted_prelu(prefix, 1, &mut branch.epilogue.shift);
                (activation, Shortcut::Before)
            }
        };
        branch.epilogue.activation = activation;
        branch.epilogue.shortcut = if middle { shortcut } else { Shortcut::None };
        layer(inputs, outputs, vec![branch])
    }

    fn has_batch_norm(&self) -> bool {
        !matches!(self.method, Method::BiSrNet | Method::Bbcu | Method::Btm)
    }

    fn shifted_signs(&mut self, prefix: &str, channels: usize) -> Operand {
        let summand = self.per_channel(format!("{prefix}.bias"), channels);
        Operand::Signs(SignRule::new(&vec![1.0; channels], &summand))
    }

    /// `prelu(v + move_2) + move_3` of ReActNet and BTM, unit number `n`; the first summand joins the shift.
    fn shifted_prelu(&mut self, prefix: &str, n: usize, shift: &mut [f32]) -> Activation {
        let channels = shift.len();
        let before = self.per_channel(format!("{prefix}.move{n}2.bias"), channels);
        add(shift, &before);
        let slope = self.floats(format!("{prefix}.prelu{n}.weight"), &[channels]);
        let after = self.per_channel(format!("{prefix}.move{n}3.bias"), channels);
        Activation::PRelu { slope, after }
    }

    /// Folds batch normalisation into an epilogue that so far only scales.
    fn normalise(&mut self, epilogue: &mut Epilogue, prefix: &str) {
        let (scale, shift) = self.source.batch_norm(prefix, epilogue.scale.len());
        epilogue.scale.iter_mut().zip(scale).for_each(|(s, n)| *s *= n);
        epilogue.shift = shift;
    }

    fn block(&mut self, prefix: &str, width: usize) -> Block {
        let net = format!("{prefix}.blocks.0.fn.net");
        let first = self.wide(&format!("{net}.0"), width);
        let mut second = self.wide(&format!("{net}.1"), 2 * width);
        self.tail(&mut second, &format!("{net}.2"));
        let middle = format!("{net}.3");
        let mut middle = match self.method {
            Method::BiSrNet => {
                let branch = self.spectral(&middle, 4 * width, 3, true);
                layer(4 * width, 4 * width, vec![branch])
            }
            _ => self.baseline(&middle, 4 * width, 4 * width, 3, Role::Middle),
        };
        self.tail(&mut middle, &format!("{net}.4"));
        let decrease =
            [self.narrow(&format!("{net}.5"), 2 * width, 1), self.narrow(&format!("{net}.6"), width, 1)];
        let readers = decrease[0].branches.iter().map(|branch| branch.from..branch.from + branch.inputs);
        middle.branches = middle.branches[0].split(readers);
        let gain = self.floats(format!("{prefix}.blocks.0.norm.weight"), &[width]);
        let bias = self.floats(format!("{prefix}.blocks.0.norm.bias"), &[width]);
        Block { width, gain, bias, increase: [first, second], middle, decrease }
    }

    /// What stands between the layers of a block: a shifted PReLU in BiSRNet, GELU elsewhere.
    fn tail(&mut self, layer: &mut Layer, prefix: &str) {
        if self.method != Method::BiSrNet {
            layer.branches.iter_mut().for_each(|b| b.epilogue.tail = Tail::Gelu);
            return;
        }
        let [before, slope, after] = self.rprelu(prefix, layer.outputs);
        for branch in &mut layer.branches {
            let part = |v: &[f32]| v[branch.to..branch.to + branch.outputs].to_vec();
            branch.epilogue.tail =
                Tail::RPRelu { before: part(&before), slope: part(&slope), after: part(&after) };
        }
    }

    fn down(&mut self, prefix: &str, width: usize) -> Down {
        let pooled = |layer| Down { layer, strided: false, shortcut: None };
        match self.method {
            Method::BiSrNet => pooled(self.spectral_wide(prefix, width, 3)),
            Method::Bbcu | Method::BiConnect => {
                pooled(self.baseline(prefix, width, 2 * width, 3, Role::Plain))
            }
            Method::ReActNet | Method::Btm => pooled(self.paired_down(prefix, width)),
            Method::Bnn | Method::IrNet | Method::BiReal => self.strided_down(prefix, width),
        }
    }

    /// Two 3x3 convolutions of one sign, each with the average as shortcut, then one shifted PReLU.
    fn paired_down(&mut self, prefix: &str, width: usize) -> Layer {
        let operand = self.shifted_signs(&format!("{prefix}.move21"), width);
        let mut branches = [1, 2].map(|i| {
            let name = format!("{prefix}.binary_pw_down{i}");
            let mut branch = self.binary(&name, width, width, 3, false, operand.clone());
            if self.method == Method::ReActNet {
                self.normalise(&mut branch.epilogue, &format!("{prefix}.bn2_{i}"));
            } else {
                branch.epilogue.scale.iter_mut().for_each(|s| *s *= 0.2);
            }
            branch.epilogue.shortcut = Shortcut::Before;
            Branch { to: (i - 1) * width, ..branch }
        });
        let mut shift: Vec<f32> = branches.iter().flat_map(|b| b.epilogue.shift.clone()).collect();
        let Activation::PRelu { slope, after } = self.shifted_prelu(prefix, 2, &mut shift) else {
            unreachable!("shifted_prelu gives a PReLU")
        };
        for branch in &mut branches {
            let part = |v: &[f32]| v[branch.to..branch.to + width].to_vec();
            branch.epilogue.shift = part(&shift);
            branch.epilogue.activation = Activation::PRelu { slope: part(&slope), after: part(&after) };
        }
        layer(width, 2 * width, branches.into())
    }

    /// A 3x3 convolution of stride 2 beside a 1x1 shortcut.
    fn strided_down(&mut self, prefix: &str, width: usize) -> Down {
        let averaged = self.method == Method::BiReal;
        let conv = if averaged { "binary_3x3" } else { "conv1" };
        let mut branch =
            self.binary(&format!("{prefix}.{conv}"), width, 2 * width, 3, false, plain_signs(width));
        self.normalise(&mut branch.epilogue, &format!("{prefix}.bn1"));
        branch.epilogue.shortcut = Shortcut::After;
        let mut shortcut = match self.method {
            Method::IrNet => self.dense(&format!("{prefix}.downsample.0"), width, 2 * width, 1),
            _ => {
                let (name, operand) = if averaged { ("1", Operand::Real) } else { ("0", plain_signs(width)) };
                let name = format!("{prefix}.downsample.{name}");
                let shortcut = self.binary(&name, width, 2 * width, 1, false, operand);
                layer(width, 2 * width, vec![shortcut])
            }
        };
        let norm = if averaged { 2 } else { 1 };
        self.normalise(&mut shortcut.branches[0].epilogue, &format!("{prefix}.downsample.{norm}"));
        match self.method {
            Method::Bnn => {
                branch.epilogue.activation = Activation::HardTanh;
                let (scale, shift) = self.source.batch_norm(&format!("{prefix}.bn2"), 2 * width);
                branch.epilogue.tail = Tail::AffineHardTanh { scale, shift };
            }
            Method::IrNet => {
                branch.epilogue.shortcut = Shortcut::Before;
                branch.epilogue.activation = Activation::HardTanh;
            }
            _ => {}
        }
        Down {
            layer: layer(width, 2 * width, vec![branch]),
            strided: true,
            shortcut: Some((shortcut, averaged)),
        }
    }
}

fn add(to: &mut [f32], what: &[f32]) {
    to.iter_mut().zip(what).for_each(|(t, w)| *t += w);
}
