//! Looking into a run: rows of features as they are made, and one unit of convolution by itself, step by step. Both
//! go through the code of an ordinary run.

use super::net::{Branch, Layer, Operand};
use super::operands::{chunks, row_stride};
use super::run::Input;
use super::stage::{rings, set_all, taps};
use super::{BinaryNetwork, Method, Workspace};
use crate::RunError;
use crate::kernels::{Activation, Epilogue, Finish, Shortcut, Tail, Target};

/// A row of features, by the stage that made it.
#[derive(Debug, Clone, Copy)]
pub struct StageRow<'a> {
    /// The stage, as the published code's modules are called: `fution`, `conv_in`, `embedding`, `enc0`, `enc0_down`,
    /// `enc1`, `enc1_down`, `bottleneck`, `dec0_up`, `dec0_fusion`, `dec0`, `dec1_up`, `dec1_fusion`, `dec1`,
    /// `mapping` (before the body's input is added), `body`.
    pub stage: &'static str,
    /// Row of the padded image at the stage's level.
    pub row: usize,
    /// Pixels.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    data: &'a [f32],
    stride: usize,
}

impl<'a> StageRow<'a> {
    pub(super) fn new(
        stage: &'static str,
        row: usize,
        width: usize,
        channels: usize,
        (data, stride): (&'a [f32], usize),
    ) -> Self {
        Self { stage, row, width, channels, data, stride }
    }

    /// The pixels of one channel.
    pub fn channel(&self, channel: usize) -> &'a [f32] {
        &self.data[channel * self.stride..][..self.width]
    }
}

/// Is shown every row of every stage, from several threads at once; halo rows come more than once, and are the same.
pub trait StageObserver: Sync {
    /// Shows a row.
    fn row(&self, row: &StageRow<'_>);
}

/// What an ordinary run is watched by.
impl StageObserver for () {
    fn row(&self, _: &StageRow<'_>) {}
}

/// A unit of BiSRNet, `rprelu(conv(sign(k·x + b))) + x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The 3x3 convolution before the U.
    Embedding,
    /// The first 1x1 convolution of the first block.
    Increase,
    /// The 3x3 convolution in groups of four channels in the first block.
    Grouped,
}

/// The steps of a [`Unit`], each `[channel, row, column]`.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitSteps {
    /// `sign(k·x + b)`.
    pub activation: Vec<f32>,
    /// Scaled sums.
    pub conv: Vec<f32>,
    /// After the activation.
    pub rprelu: Vec<f32>,
    /// After the shortcut.
    pub output: Vec<f32>,
}

impl BinaryNetwork {
    /// [`BinaryNetwork::run`], with somebody watching.
    ///
    /// # Errors
    /// As for `run`.
    pub fn run_observed(
        &self,
        input: Input<'_>,
        workspace: &mut Workspace,
        cube: &mut [f32],
        observer: &dyn StageObserver,
    ) -> Result<(), RunError> {
        self.run_watched(input, workspace, cube, observer)
    }

    /// Runs one unit of BiSRNet on an input `[channel, row, column]` and shows its steps: the epilogue is cut short,
    /// everything else is as in a run.
    ///
    /// # Panics
    /// If the network is another one or the input has another shape.
    pub fn unit_steps(&self, unit: Unit, input: &[f32], rows: usize, columns: usize) -> UnitSteps {
        assert_eq!(self.method(), Method::BiSrNet, "units of this kind");
        let block = &self.parts.encoder[0];
        let branches = match unit {
            Unit::Embedding => &self.parts.embedding.branches[..],
            Unit::Increase => &block.increase[0].branches[..1],
            Unit::Grouped => &block.middle.branches[..],
        };
        let run = |cut: &dyn Fn(Epilogue) -> Epilogue| {
            let cut = |branch: &Branch| {
                let epilogue = Epilogue { tail: Tail::None, ..branch.epilogue.clone() };
                Branch { finish: Finish::new(cut(epilogue)), ..branch.clone() }
            };
            self.run_branches(branches.iter().map(cut).collect(), input, rows, columns)
        };
        let rprelu = |epilogue| Epilogue { shortcut: Shortcut::None, ..epilogue };
        let conv = |epilogue: Epilogue| {
            let shift = vec![0.0; epilogue.shift.len()];
            Epilogue { shift, activation: Activation::Identity, ..rprelu(epilogue) }
        };
        let sign = |(at, &x): (usize, &f32)| {
            let channel = at / (rows * columns);
            let reads = |branch: &&Branch| (branch.from..branch.from + branch.inputs).contains(&channel);
            let branch = branches.iter().find(reads).expect("a branch for every channel");
            let Operand::Signs(rule) = &branch.operand else { unreachable!("units of BiSRNet take signs") };
            let channel = channel - branch.from;
            let sign = f32::from(i8::from(x > rule.above[channel]) - i8::from(x <= rule.below[channel]));
            if rule.flipped[channel] { -sign } else { sign }
        };
        UnitSteps {
            activation: input.iter().enumerate().map(sign).collect(),
            conv: run(&conv),
            rprelu: run(&rprelu),
            output: run(&|epilogue| epilogue),
        }
    }

    /// Convolutions side by side over a whole image.
    fn run_branches(&self, branches: Vec<Branch>, image: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        let stride = row_stride(columns);
        let inputs = branches.iter().map(|b| b.from + b.inputs).max().unwrap_or(0);
        let outputs = branches.iter().map(|b| b.to + b.outputs).max().unwrap_or(0);
        let row = |r: usize| {
            let mut row = vec![0.0; inputs * stride];
            for (channel, out) in row.chunks_exact_mut(stride).enumerate() {
                out[..columns].copy_from_slice(&image[(channel * rows + r) * columns..][..columns]);
            }
            row
        };
        let layer = Layer { inputs, outputs, branches };
        let mut rings = rings(&layer, columns, 3);
        let mut result = vec![0.0; outputs * rows * columns];
        let mut out = vec![0.0; outputs * stride];
        for r in 0..rows {
            for source in r.saturating_sub(1)..(r + 2).min(rows) {
                set_all(&mut rings, self.kernel, &layer, source % 3, &row(source), stride);
            }
            let shortcut = row(r);
            for (ring, branch) in rings.iter_mut().zip(&layer.branches) {
                let around = taps(r, rows, ring.outside());
                let around = if branch.side == 3 { &around[..] } else { &around[4..5] };
                for (start, pixels) in chunks(columns) {
                    let shortcut = Some((&shortcut[branch.from * stride + start..], stride));
                    let output = &mut out[branch.to * stride + start..];
                    let mut target = Target { shortcut, addend: None, output, stride };
                    ring.convolve(self.kernel, branch, around, (start, pixels), &mut target);
                }
            }
            for (channel, out) in out.chunks_exact(stride).enumerate() {
                result[(channel * rows + r) * columns..][..columns].copy_from_slice(&out[..columns]);
            }
        }
        result
    }
}
