//! The mask branch of MST: features of the sheared mask, shifted back, one image for every attention block. They
//! depend on the mask and the weights alone, so they are made once and kept.

use ndarray::{ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::attention::pack;
use super::body::convolve;
use super::image::Image;
use super::kernels::{After, Kernel};
use super::loader::Loader;
use super::matrix::{Packed, depthwise_taps, padded, padded_vector};
use super::network::Buffers;

/// A mask in the form that a network takes it.
#[derive(Debug, Clone, Copy)]
pub enum MaskInput<'a> {
    /// Transmittance `[row, column]`: what instruments have.
    Plain(ArrayView2<'a, f32>),
    /// Transmittance for every band, `[band, row, column]`.
    Bands(ArrayView3<'a, f32>),
    /// The mask sheared to the frame of the snapshot, `[band, row, column + step · (bands − 1)]` (MST only).
    Sheared(ArrayView3<'a, f32>),
}

/// By how much mask features are shifted back at each level of MST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaskShift {
    /// `⌊i · step / 4^level⌋` columns for channel i: the optical shift at every image size.
    #[default]
    Level,
    /// `⌊i · step / d²⌋` with `d = ⌊256 / rows⌋`: what the published code computes; the same at 256 rows only.
    Official,
}

impl MaskShift {
    /// Columns that channel `channel` of a feature map of `rows` rows moves to the left.
    ///
    /// # Errors
    /// `None` if the rule has no answer: the published one divides by zero above 256 rows.
    pub(crate) fn columns(self, channel: usize, level: usize, rows: usize, step: usize) -> Option<usize> {
        let divisor = match self {
            Self::Level => 4f64.powi(level as i32),
            Self::Official => {
                let d = (256 / rows) as f64;
                d * d
            }
        };
        (divisor > 0.0).then(|| (step as f64 / divisor * channel as f64) as usize)
    }
}

/// `mm` of one attention block.
#[derive(Debug, Clone)]
pub(crate) struct MaskBranch {
    channels: usize,
    first: Packed,
    first_bias: Vec<f32>,
    second: Packed,
    second_bias: Vec<f32>,
    depthwise: Vec<f32>,
    depthwise_bias: Vec<f32>,
}

impl MaskBranch {
    pub(crate) fn load(loader: &mut Loader<'_>, prefix: &str, c: usize) -> Self {
        let mut take = |name: &str, shape: &[usize]| loader.take(&format!("{prefix}.{name}"), shape);
        let first = take("conv1.weight", &[c, c, 1, 1]);
        let first_bias = take("conv1.bias", &[c]);
        let second = take("conv2.weight", &[c, c, 1, 1]);
        let second_bias = take("conv2.bias", &[c]);
        let depthwise = take("depth_conv.weight", &[c, 1, 5, 5]);
        let depthwise_bias = take("depth_conv.bias", &[c]);
        Self {
            channels: c,
            first: pack(c, c, &first),
            first_bias: padded_vector(&first_bias),
            second: pack(c, c, &second),
            second_bias: padded_vector(&second_bias),
            depthwise: depthwise_taps(&depthwise, c),
            depthwise_bias: padded_vector(&depthwise_bias),
        }
    }

    /// `m + m ⊙ sigmoid(D conv₂(m))` with `m = conv₁(mask)`, shifted back to `columns` columns.
    ///
    /// `shift(channel)` columns to the left; the sheared image must be wide enough.
    pub(crate) fn features(
        &self,
        kernel: &Kernel,
        sheared: &Image,
        columns: usize,
        shift: impl Fn(usize) -> usize,
        buffers: &Buffers,
    ) -> Image {
        let (rows, width, c) = (sheared.rows, sheared.columns, padded(self.channels));
        let mut base = Image::default();
        convolve(
            kernel,
            &[sheared.view()],
            &self.first,
            Some(&self.first_bias),
            1,
            1,
            0,
            After::Nothing,
            &mut base,
            buffers,
        );
        let mut gate = Image::default();
        convolve(
            kernel,
            &[base.view()],
            &self.second,
            Some(&self.second_bias),
            1,
            1,
            0,
            After::Nothing,
            &mut gate,
            buffers,
        );
        let mut out = Image::default();
        out.resize(rows, columns, self.channels);
        let shifts: Vec<usize> = (0..self.channels).map(shift).collect();
        out.data.par_chunks_mut(columns * c).enumerate().for_each(|(row, target)| {
            target.fill(0.0);
            let mut sums = vec![0f32; width * c];
            for pixel in sums.chunks_exact_mut(c) {
                pixel.copy_from_slice(&self.depthwise_bias);
            }
            for dy in 0..5 {
                let source = (row + dy).wrapping_sub(2);
                if source >= rows {
                    continue;
                }
                for dx in 0..5 {
                    let taps = &self.depthwise[(5 * dy + dx) * c..][..c];
                    for column in 2usize.saturating_sub(dx)..width.min(width + 2 - dx) {
                        let at = (source * width + column + dx - 2) * c;
                        let values = &gate.data[at..at + c];
                        let sum = &mut sums[column * c..(column + 1) * c];
                        for ((sum, tap), value) in sum.iter_mut().zip(taps).zip(values) {
                            *sum += tap * value;
                        }
                    }
                }
            }
            for (channel, &shift) in shifts.iter().enumerate() {
                for column in 0..columns {
                    let m = base.data[(row * width + column + shift) * c + channel];
                    let gate = sums[(column + shift) * c + channel];
                    target[column * c + channel] = m + m / (1.0 + (-gate).exp());
                }
            }
        });
        out
    }
}
