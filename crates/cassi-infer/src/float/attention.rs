//! One attention block: spectral-wise self-attention and feed-forward, each with its residual.

use rayon::prelude::*;

use super::image::{Image, View};
use super::kernels::{FeedForwardJob, GramJob, Kernel, MixJob};
use super::loader::Loader;
use super::mask::MaskBranch;
use super::matrix::{Packed, depthwise_taps, padded_vector};
use super::network::Scratch;

/// Rows of a strip. The partition is fixed, so sums over strips do not depend on the number of threads.
pub(crate) const STRIP: usize = 16;

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
    bias: Vec<f32>,
    position: [Vec<f32>; 2],
    pub(crate) mask: Option<MaskBranch>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    expand: Packed,
    depthwise: Vec<f32>,
    project: Packed,
}

/// A matrix `[output][input]` packed as one segment.
pub(crate) fn pack(outputs: usize, inputs: usize, weights: &[f32]) -> Packed {
    Packed::new(outputs, vec![inputs], |o, _, i| weights[o * inputs + i])
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

    /// `x ← x + attention(x)`, then `x ← x + feed_forward(x)`; `other` is a second image of the same size.
    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        x: &mut Image,
        other: &mut Image,
        mask: Option<&Image>,
        scratch: &mut Scratch,
    ) {
        let gram = self.gram(kernel, x.view(), &mut scratch.grams);
        let mix = scratch.mix_for(self.channels);
        self.fold_attention(&gram, mix);
        let (strip, buffers) = (STRIP * x.columns * x.channels, &scratch.buffers);
        let source = x.view();
        let mix = scratch.mix.as_ref().expect("made above");
        other.data.par_chunks_mut(strip).enumerate().for_each(|(s, out)| {
            let rows = s * STRIP..(s * STRIP + STRIP).min(source.rows);
            let job = MixJob {
                x: source,
                value: &self.value,
                mask: mask.map(Image::view),
                mix,
                bias: &self.bias,
                position: [&self.position[0], &self.position[1]],
                rows,
            };
            buffers.with(|buffer| (kernel.mix)(&job, out, buffer));
        });
        let source = other.view();
        x.data.par_chunks_mut(strip).enumerate().for_each(|(s, out)| {
            let rows = s * STRIP..(s * STRIP + STRIP).min(source.rows);
            let job = FeedForwardJob {
                x: source,
                gamma: &self.gamma,
                beta: &self.beta,
                expand: &self.expand,
                depthwise: &self.depthwise,
                project: &self.project,
                rows,
            };
            buffers.with(|buffer| (kernel.feed_forward)(&job, out, buffer));
        });
    }

    /// `S = Σ x xᵀ`, full and symmetric `[channel][channel]`, in f64.
    fn gram(&self, kernel: &Kernel, x: View<'_>, partial: &mut Vec<f64>) -> Vec<f64> {
        let (c, width) = (self.channels, x.channels);
        let strips = x.rows.div_ceil(STRIP);
        partial.clear();
        partial.resize(strips * c * width, 0.0);
        partial.par_chunks_mut(c * width).enumerate().for_each(|(s, sums)| {
            let rows = s * STRIP..(s * STRIP + STRIP).min(x.rows);
            (kernel.gram)(&GramJob { x, rows }, sums);
        });
        let mut gram = vec![0.0; c * c];
        for i in 0..c {
            for j in i..c {
                let sum: f64 = partial.chunks_exact(c * width).map(|sums| sums[i * width + j]).sum();
                gram[i * c + j] = sum;
                gram[j * c + i] = sum;
            }
        }
        gram
    }

    /// Softmax of the scaled cosine scores, times the projection: `M = P blockdiag(A)`.
    ///
    /// `A[i][j] = softmax_j(rescale · kᵢᵀ qⱼ / (‖kᵢ‖ ‖qⱼ‖))` head by head, over the query channel j.
    fn fold_attention(&self, gram: &[f64], mix: &mut Packed) {
        let (c, head) = (self.channels, self.head);
        let apply = |weights: &[f32]| -> Vec<f64> {
            let mut out = vec![0.0; c * c];
            for i in 0..c {
                for l in 0..c {
                    let w = f64::from(weights[i * c + l]);
                    for j in 0..c {
                        out[i * c + j] += w * gram[l * c + j];
                    }
                }
            }
            out
        };
        let dot = |left: &[f64], weights: &[f32], i: usize, j: usize| -> f64 {
            (0..c).map(|l| left[i * c + l] * f64::from(weights[j * c + l])).sum()
        };
        let (key_gram, query_gram) = (apply(&self.key), apply(&self.query));
        // The published code bounds each norm from below by 1e-12 (torch's `normalize`).
        let key_norm: Vec<f64> =
            (0..c).map(|i| dot(&key_gram, &self.key, i, i).max(0.0).sqrt().max(1e-12)).collect();
        let query_norm: Vec<f64> =
            (0..c).map(|j| dot(&query_gram, &self.query, j, j).max(0.0).sqrt().max(1e-12)).collect();
        let mut attention = vec![0.0; c * head];
        for i in 0..c {
            let first = i / head * head;
            let rescale = f64::from(self.rescale[i / head]);
            let row = &mut attention[i * head..(i + 1) * head];
            for (j, value) in row.iter_mut().enumerate() {
                let j = first + j;
                *value = rescale * dot(&key_gram, &self.query, i, j) / (key_norm[i] * query_norm[j]);
            }
            let largest = row.iter().copied().fold(f64::MIN, f64::max);
            let mut sum = 0.0;
            for value in row.iter_mut() {
                *value = (*value - largest).exp();
                sum += *value;
            }
            row.iter_mut().for_each(|value| *value /= sum);
        }
        mix.refill(c, |o, _, j| {
            let first = j / head * head;
            (first..first + head)
                .map(|i| f64::from(self.projection[o * c + i]) * attention[i * head + j - first])
                .sum::<f64>() as f32
        });
    }
}
