//! The U-shaped body that MST is, and of which MST++ has three: embedding, encoder, bottleneck, decoder, mapping.

use rayon::prelude::*;

use super::attention::{Block, STRIP};
use super::image::{Image, View};
use super::kernels::{After, ConvJob, Kernel, UpJob};
use super::loader::Loader;
use super::mask::MaskShift;
use super::matrix::{Packed, padded_vector};
use super::network::{Buffers, Scratch};

/// Weights of a body.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    bands: usize,
    width: usize,
    /// MST has a leaky ReLU after the embedding, MST++ has not.
    activate: bool,
    embedding: Packed,
    encoder: Vec<Level>,
    bottleneck: Vec<Block>,
    decoder: Vec<Ascent>,
    mapping: Packed,
}

/// A level of the encoder: blocks, then down-sampling of features and of the mask.
#[derive(Debug, Clone)]
struct Level {
    blocks: Vec<Block>,
    down: Packed,
    mask_down: Option<Packed>,
}

/// A level of the decoder: up-sampling and fusion as four matrices, then blocks.
#[derive(Debug, Clone)]
struct Ascent {
    up: [Packed; 4],
    bias: Vec<f32>,
    blocks: Vec<Block>,
}

/// Images of a body, kept between calls.
#[derive(Debug, Default)]
pub(crate) struct BodyImages {
    /// For every level from fine to coarse: the features, a second image, the skip connection.
    levels: Vec<[Image; 3]>,
}

/// A `side` x `side` convolution `[output][input][dy][dx]`, packed tap by tap.
pub(crate) fn pack_conv(outputs: usize, inputs: usize, side: usize, weights: &[f32]) -> Packed {
    Packed::new(outputs, vec![inputs; side * side], |o, tap, i| weights[(o * inputs + i) * side * side + tap])
}

/// Convolves whole images, strip by strip in parallel.
pub(crate) fn convolve(
    kernel: &Kernel,
    inputs: &[View<'_>],
    weights: &Packed,
    bias: Option<&[f32]>,
    side: usize,
    stride: usize,
    padding: usize,
    after: After,
    out: &mut Image,
    buffers: &Buffers,
) {
    let size = |n: usize| (n + 2 * padding - side) / stride + 1;
    let (rows, columns) = (size(inputs[0].rows), size(inputs[0].columns));
    out.resize(rows, columns, weights.outputs());
    out.data.par_chunks_mut(STRIP * columns * weights.outputs()).enumerate().for_each(|(s, strip)| {
        let rows = s * STRIP..(s * STRIP + STRIP).min(rows);
        let job = ConvJob { inputs, weights, bias, side, stride, padding, after, columns, rows };
        buffers.with(|buffer| (kernel.conv)(&job, strip, buffer));
    });
}

impl Body {
    /// Reads a body at `prefix` ("" or `body.N.`): `blocks` of each level and of the bottleneck, so one more than
    /// there are stages.
    pub(crate) fn load(
        loader: &mut Loader<'_>,
        prefix: &str,
        bands: usize,
        width: usize,
        blocks: &[usize],
        masked: bool,
        activate: bool,
    ) -> Self {
        let stages = blocks.len() - 1;
        let load_blocks = |loader: &mut Loader<'_>, place: String, n: usize, channels: usize| -> Vec<Block> {
            (0..n)
                .map(|b| Block::load(loader, &format!("{place}.blocks.{b}"), channels, width, masked))
                .collect()
        };
        let embedding = loader.take(&format!("{prefix}embedding.weight"), &[width, bands, 3, 3]);
        let mut encoder = Vec::new();
        for (s, &count) in blocks[..stages].iter().enumerate() {
            let c = width << s;
            let place = format!("{prefix}encoder_layers.{s}");
            let level = load_blocks(loader, format!("{place}.0"), count, c);
            let down = loader.take(&format!("{place}.1.weight"), &[2 * c, c, 4, 4]);
            let mask_down = masked.then(|| loader.take(&format!("{place}.2.weight"), &[2 * c, c, 4, 4]));
            encoder.push(Level {
                blocks: level,
                down: pack_conv(2 * c, c, 4, &down),
                mask_down: mask_down.map(|w| pack_conv(2 * c, c, 4, &w)),
            });
        }
        let bottleneck = load_blocks(loader, format!("{prefix}bottleneck"), blocks[stages], width << stages);
        let mut decoder = Vec::new();
        for s in 0..stages {
            let c = width << (stages - 1 - s);
            let place = format!("{prefix}decoder_layers.{s}");
            let up = loader.take(&format!("{place}.0.weight"), &[2 * c, c, 2, 2]);
            let up_bias = loader.take(&format!("{place}.0.bias"), &[c]);
            let fusion = loader.take(&format!("{place}.1.weight"), &[c, 2 * c, 1, 1]);
            let blocks = load_blocks(loader, format!("{place}.2"), blocks[stages - 1 - s], c);
            decoder.push(Ascent::new(c, &up, &up_bias, &fusion, blocks));
        }
        let mapping = loader.take(&format!("{prefix}mapping.weight"), &[bands, width, 3, 3]);
        Self {
            bands,
            width,
            activate,
            embedding: pack_conv(width, bands, 3, &embedding),
            encoder,
            bottleneck,
            decoder,
            mapping: pack_conv(bands, width, 3, &mapping),
        }
    }

    /// Number of times the image is halved.
    pub(crate) fn stages(&self) -> usize {
        self.encoder.len()
    }

    /// Attention blocks in order of execution, with their level.
    fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        let stages = self.stages();
        let down =
            self.encoder.iter().enumerate().flat_map(|(l, level)| level.blocks.iter().map(move |b| (l, b)));
        let middle = self.bottleneck.iter().map(move |b| (stages, b));
        let up = self.decoder.iter().enumerate();
        let up = up.flat_map(move |(s, ascent)| ascent.blocks.iter().map(move |b| (stages - 1 - s, b)));
        down.chain(middle).chain(up)
    }

    /// Mask features of every block in order of execution, from the sheared mask; the feature maps of level l have
    /// `rows >> l` x `columns >> l` pixels.
    ///
    /// # Errors
    /// What is wrong, in words, if a shifted window leaves the sheared mask.
    pub(crate) fn mask_features(
        &self,
        kernel: &Kernel,
        sheared: Image,
        columns: usize,
        step: usize,
        shift: MaskShift,
        buffers: &Buffers,
    ) -> Result<Vec<Image>, String> {
        let mut masks = vec![sheared];
        for level in &self.encoder {
            let Some(down) = &level.mask_down else { return Ok(Vec::new()) };
            let mut next = Image::default();
            let source = masks.last().expect("at least one").view();
            convolve(kernel, &[source], down, None, 4, 2, 1, After::Nothing, &mut next, buffers);
            masks.push(next);
        }
        let rows = masks[0].rows;
        let mut features = Vec::new();
        for (level, block) in self.blocks() {
            let (mask, rows, columns) = (&masks[level], rows >> level, columns >> level);
            let of = |channel| shift.columns(channel, level, rows, step);
            match of((self.width << level) - 1) {
                Some(largest) if columns + largest <= mask.columns => {}
                Some(largest) => {
                    return Err(format!(
                        "the mask of level {level} has {} columns, and features of {columns} columns shifted by up to \
                         {largest} leave it",
                        mask.columns
                    ));
                }
                None => {
                    return Err(
                        "the official mask shift has no answer above 256 rows; use the level rule".into()
                    );
                }
            }
            let branch = block.mask.as_ref().expect("a masked body has a branch in every block");
            features.push(branch.features(kernel, mask, columns, |c| of(c).expect("checked above"), buffers));
        }
        Ok(features)
    }

    /// `out = body(x) + x`.
    pub(crate) fn run(
        &self,
        kernel: &Kernel,
        x: &Image,
        masks: &[Image],
        images: &mut BodyImages,
        scratch: &mut Scratch,
        out: &mut Image,
    ) {
        let stages = self.stages();
        images.levels.resize_with(stages + 1, Default::default);
        let mut masks = masks.iter();
        let after = if self.activate { After::LeakyRelu } else { After::Nothing };
        let input = [x.view()];
        let fine = &mut images.levels[0][0];
        convolve(kernel, &input, &self.embedding, None, 3, 1, 1, after, fine, &scratch.buffers);
        for (l, level) in self.encoder.iter().enumerate() {
            let [features, other, skip] = &mut images.levels[l];
            other.resize(features.rows, features.columns, features.channels);
            for block in &level.blocks {
                block.run(kernel, features, other, masks.next(), scratch);
            }
            std::mem::swap(features, skip);
            let (above, below) = images.levels.split_at_mut(l + 1);
            let skip = above[l][2].view();
            convolve(
                kernel,
                &[skip],
                &level.down,
                None,
                4,
                2,
                1,
                After::Nothing,
                &mut below[0][0],
                &scratch.buffers,
            );
        }
        let [features, other, _] = &mut images.levels[stages];
        other.resize(features.rows, features.columns, features.channels);
        for block in &self.bottleneck {
            block.run(kernel, features, other, masks.next(), scratch);
        }
        for (s, ascent) in self.decoder.iter().enumerate() {
            let l = stages - 1 - s;
            let (above, below) = images.levels.split_at_mut(l + 1);
            let [features, other, skip] = &mut above[l];
            features.resize(skip.rows, skip.columns, skip.channels);
            other.resize(skip.rows, skip.columns, skip.channels);
            ascent.fuse(kernel, below[0][0].view(), skip.view(), features);
            for block in &ascent.blocks {
                block.run(kernel, features, other, masks.next(), scratch);
            }
        }
        out.resize(x.rows, x.columns, self.bands);
        out.data.copy_from_slice(&x.data);
        let features = [images.levels[0][0].view()];
        convolve(kernel, &features, &self.mapping, None, 3, 1, 1, After::Add, out, &scratch.buffers);
    }
}

impl Ascent {
    /// Folds the transposed 2x2 convolution `[2c][c][dy][dx]` with its bias, and the fusion `[c][up c, skip c]`.
    fn new(c: usize, up: &[f32], up_bias: &[f32], fusion: &[f32], blocks: Vec<Block>) -> Self {
        let fold = |tap: usize| {
            Packed::new(c, vec![2 * c, c], |o, segment, i| {
                if segment == 1 {
                    return fusion[o * 2 * c + c + i];
                }
                // The product in f64, rounded once: the folded matrix is as exact as its factors.
                (0..c)
                    .map(|m| f64::from(fusion[o * 2 * c + m]) * f64::from(up[(i * c + m) * 4 + tap]))
                    .sum::<f64>() as f32
            })
        };
        let bias: Vec<f32> = (0..c)
            .map(|o| {
                (0..c).map(|m| f64::from(fusion[o * 2 * c + m]) * f64::from(up_bias[m])).sum::<f64>() as f32
            })
            .collect();
        Self { up: [fold(0), fold(1), fold(2), fold(3)], bias: padded_vector(&bias), blocks }
    }

    fn fuse(&self, kernel: &Kernel, coarse: View<'_>, skip: View<'_>, out: &mut Image) {
        let columns = out.columns;
        out.data.par_chunks_mut(STRIP * columns * out.channels).enumerate().for_each(|(s, strip)| {
            let rows = s * STRIP..(s * STRIP + STRIP).min(skip.rows);
            (kernel.up)(&UpJob { coarse, skip, weights: &self.up, bias: &self.bias, rows }, strip);
        });
    }
}
