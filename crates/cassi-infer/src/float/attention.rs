//! One attention block: spectral-wise self-attention and feed-forward, each with its residual.

use std::ops::Range;

use rayon::prelude::*;

use super::engine::{Engine, Memory};
use super::image::{Image, View};
use super::kernels::{BlockJob, FoldJob, Source};
use super::loader::Loader;
use super::mask::MaskBranch;
use super::matrix::{Packed, depthwise_taps, padded_vector};
use super::memory::{Aligned, CHUNK};

/// Weights of one block at one width.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    channels: usize,
    /// Channels of a head.
    head: usize,
    rescale: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    projection: Vec<f32>,
    value: Packed,
    bias: Aligned,
    position: [Aligned; 2],
    pub(crate) mask: Option<MaskBranch>,
    gamma: Aligned,
    beta: Aligned,
    expand: Packed,
    depthwise: Aligned,
    project: Packed,
}

/// Mask features of one block.
#[derive(Clone, Copy)]
pub(crate) enum MaskUse<'a> {
    /// The network has none.
    Nothing,
    /// They are kept.
    Kept(View<'a>),
    /// They are made strip by strip from the sheared mask of the level; columns by which each channel moves.
    Made(Source<'a>, &'a [usize]),
}

/// A matrix `[output][input]` packed as one segment.
pub(crate) fn pack(outputs: usize, inputs: usize, weights: &[f32]) -> Packed {
    Packed::new(outputs, &[inputs], |o, _, i| weights[o * inputs + i])
}

impl Block {
    /// Reads the block at `prefix` (`...blocks.N`), of `channels` channels in heads of `head`.
    pub(crate) fn load(
        loader: &mut Loader<'_>,
        prefix: &str,
        channels: usize,
        head: usize,
        masked: bool,
    ) -> Self {
        let c = channels;
        let attention = format!("{prefix}.0");
        let forward = format!("{prefix}.1");
        let mut take = |name: String, shape: &[usize]| loader.take(&name, shape);
        let rescale = take(format!("{attention}.rescale"), &[c / head, 1, 1]);
        let query = take(format!("{attention}.to_q.weight"), &[c, c]);
        let key = take(format!("{attention}.to_k.weight"), &[c, c]);
        let value = take(format!("{attention}.to_v.weight"), &[c, c]);
        let projection = take(format!("{attention}.proj.weight"), &[c, c]);
        let bias = take(format!("{attention}.proj.bias"), &[c]);
        let position = [0, 2].map(|layer| {
            depthwise_taps(&take(format!("{attention}.pos_emb.{layer}.weight"), &[c, 1, 3, 3]), c)
        });
        let expand = take(format!("{forward}.fn.net.0.weight"), &[4 * c, c, 1, 1]);
        let depthwise = take(format!("{forward}.fn.net.2.weight"), &[4 * c, 1, 3, 3]);
        let project = take(format!("{forward}.fn.net.4.weight"), &[c, 4 * c, 1, 1]);
        let gamma = take(format!("{forward}.norm.weight"), &[c]);
        let beta = take(format!("{forward}.norm.bias"), &[c]);
        let mask = masked.then(|| MaskBranch::load(loader, &format!("{attention}.mm"), c));
        Self {
            channels,
            head,
            rescale,
            query,
            key,
            projection,
            value: pack(c, c, &value),
            bias: padded_vector(&bias),
            position,
            mask,
            gamma: padded_vector(&gamma),
            beta: padded_vector(&beta),
            expand: pack(4 * c, c, &expand),
            depthwise: depthwise_taps(&depthwise, 4 * c),
            project: pack(c, 4 * c, &project),
        }
    }

    /// `out = y + feed_forward(y)` with `y = x + attention(x)`.
    pub(crate) fn run<'a>(
        &'a self,
        engine: Engine,
        x: View<'_>,
        mask: MaskUse<'a>,
        out: &mut Image,
        memory: &mut Memory,
    ) {
        self.gram(engine, x, memory);
        let fold = FoldJob {
            gram: &memory.gram,
            channels: self.channels,
            head: self.head,
            query: &self.query,
            key: &self.key,
            projection: &self.projection,
            rescale: &self.rescale,
        };
        (engine.kernel.fold)(&fold, &mut memory.fold);
        memory.pack_mix(self.channels);
        let memory = &*memory;
        out.resize(x.rows, x.columns, self.channels);
        let (strip, width) = (engine.strip(x.rows), out.row_floats());
        out.floats_mut().par_chunks_mut(strip * width).enumerate().for_each(|(s, out)| {
            let rows = s * strip..(s * strip + strip).min(x.rows);
            let run = |mask: Option<View<'_>>, rows: Range<usize>, out: &mut [f32]| {
                let job = BlockJob {
                    x,
                    channels: self.channels,
                    value: &self.value,
                    mask,
                    mix: memory.mix(self.channels),
                    bias: &self.bias,
                    position: [&self.position[0], &self.position[1]],
                    gamma: &self.gamma,
                    beta: &self.beta,
                    expand: &self.expand,
                    depthwise: &self.depthwise,
                    project: &self.project,
                    rows,
                };
                memory.threads.with(|scratch| (engine.kernel.block)(&job, out, scratch));
            };
            match mask {
                MaskUse::Nothing => run(None, rows, out),
                MaskUse::Kept(view) => run(Some(view), rows, out),
                MaskUse::Made(source, shifts) => memory.masks.with(|kept| {
                    let needed = rows.start.saturating_sub(1)..(rows.end + 1).min(x.rows);
                    let (first, floats) = (needed.start, needed.len() * width);
                    let data = kept.open(floats * size_of::<f32>(), 1).take::<f32>(floats);
                    let branch = self.mask.as_ref().expect("mask features are made for masked blocks");
                    memory.threads.with(|scratch| {
                        branch.features(engine, source, shifts, x.columns, needed, data, scratch);
                    });
                    run(Some(View { first, data: &*data, ..x }), rows, out);
                }),
            }
        });
    }

    /// `S = Σ x xᵀ`, full and symmetric `[channel][channel]`, in f64.
    fn gram(&self, engine: Engine, x: View<'_>, memory: &mut Memory) {
        let (c, width, strip) = (self.channels, x.chunks * CHUNK, engine.strip(x.rows));
        let Memory { partial, gram, .. } = memory;
        let strips = x.rows.div_ceil(strip);
        partial.clear();
        partial.resize(strips * width * width, 0.0);
        partial.par_chunks_mut(width * width).enumerate().for_each(|(s, sums)| {
            (engine.kernel.gram)(x, s * strip..(s * strip + strip).min(x.rows), sums);
        });
        let (first, others) = partial.split_at_mut(width * width);
        for sums in others.chunks_exact(width * width) {
            for (sum, value) in first.iter_mut().zip(sums) {
                *sum += value;
            }
        }
        gram.clear();
        gram.extend((0..c * c).map(|at| {
            let (i, j) = (at / c, at % c);
            first[i.min(j) * width + i.max(j)]
        }));
    }
}
