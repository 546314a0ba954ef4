//! The U-shaped body that MST is, and of which MST++ has three: embedding, encoder, bottleneck, decoder, mapping.

use rayon::prelude::*;

use super::attention::Block;
use super::engine::{Convolution, Engine, Memory};
use super::image::{Image, View};
use super::kernels::{Source, UpJob};
use super::loader::Loader;
use super::mask::Masks;
use super::matrix::{Packed, padded_vector};
use super::memory::{Aligned, Threads};

/// Weights of a body.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    width: usize,
    /// With a leaky ReLU in MST, without in MST++.
    embedding: Convolution,
    pub(crate) encoder: Vec<Level>,
    bottleneck: Vec<Block>,
    decoder: Vec<Ascent>,
    /// The last layer; the result of a body is that of this layer and the body's input.
    pub(crate) mapping: Convolution,
}

/// A level of the encoder: blocks, then down-sampling of features and of the mask.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    blocks: Vec<Block>,
    down: Convolution,
    pub(crate) mask_down: Option<Convolution>,
}

/// A level of the decoder: up-sampling and fusion as four matrices, then blocks.
#[derive(Debug, Clone)]
struct Ascent {
    up: [Packed; 4],
    bias: Aligned,
    blocks: Vec<Block>,
}

/// Images of a body, kept between calls.
#[derive(Debug, Default)]
pub(crate) struct BodyImages {
    /// The features of every level from fine to coarse; those of the encoder are the skip connections.
    levels: Vec<Image>,
    /// A second image, of whichever level is at work.
    other: Image,
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
                down: Convolution::new(2 * c, c, 4, 2, &down),
                mask_down: mask_down.map(|w| Convolution::new(2 * c, c, 4, 2, &w)),
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
        let mut embedding = Convolution::new(width, bands, 3, 1, &embedding);
        embedding.leaky = activate;
        let mapping = Convolution::new(bands, width, 3, 1, &mapping);
        Self { width, embedding, encoder, bottleneck, decoder, mapping }
    }

    /// Number of times the image is halved.
    pub(crate) fn stages(&self) -> usize {
        self.encoder.len()
    }

    /// Channels of level `level`.
    pub(crate) fn channels(&self, level: usize) -> usize {
        self.width << level
    }

    /// Attention blocks in order of execution, with their level.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        let stages = self.stages();
        let down =
            self.encoder.iter().enumerate().flat_map(|(l, level)| level.blocks.iter().map(move |b| (l, b)));
        let middle = self.bottleneck.iter().map(move |b| (stages, b));
        let up = self.decoder.iter().enumerate();
        let up = up.flat_map(move |(s, ascent)| ascent.blocks.iter().map(move |b| (stages - 1 - s, b)));
        down.chain(middle).chain(up)
    }

    /// Features of `x` at full size, which [`Self::mapping`] makes bands of: everything but the last layer.
    pub(crate) fn features<'a, 'x>(
        &'x self,
        engine: Engine,
        x: Source<'x>,
        masks: Masks<'x>,
        images: &'a mut BodyImages,
        memory: &mut Memory,
    ) -> Source<'a> {
        let stages = self.stages();
        let BodyImages { levels, other } = images;
        levels.resize_with(stages + 1, Default::default);
        // Blocks go back and forth between the level's image and the other one. What comes before them writes to the
        // one from which their number leads to the level's image.
        let mut index = 0;
        let mut run_blocks =
            |blocks: &'x [Block], level: usize, image: &mut Image, other: &mut Image, memory: &mut Memory| {
                for (n, block) in blocks.iter().enumerate() {
                    let mask = masks.of(index, level);
                    index += 1;
                    if (blocks.len() - n).is_multiple_of(2) {
                        block.run(engine, image.view(), mask, other, memory);
                    } else {
                        block.run(engine, other.view(), mask, image, memory);
                    }
                }
            };
        let even = |blocks: &[Block]| blocks.len().is_multiple_of(2);
        let blocks_of =
            |level: usize| self.encoder.get(level).map_or(&self.bottleneck, |level| &level.blocks);
        for level in 0..=stages {
            let (above, below) = levels.split_at_mut(level);
            let (image, blocks) = (&mut below[0], blocks_of(level));
            let first = if even(blocks) { &mut *image } else { &mut *other };
            match level.checked_sub(1) {
                None => self.embedding.run(engine, x, first, &memory.threads),
                Some(finer) => {
                    let source = Source::Image(above[finer].view());
                    self.encoder[finer].down.run(engine, source, first, &memory.threads);
                }
            }
            run_blocks(blocks, level, image, other, memory);
        }
        for (s, ascent) in self.decoder.iter().enumerate() {
            let level = stages - 1 - s;
            let (above, below) = levels.split_at_mut(level + 1);
            let image = &mut above[level];
            let coarse = below[0].view();
            if even(&ascent.blocks) {
                ascent.fuse(engine, coarse, None, image, &memory.threads);
            } else {
                other.resize(image.rows, image.columns, self.channels(level));
                ascent.fuse(engine, coarse, Some(image.view()), other, &memory.threads);
            }
            run_blocks(&ascent.blocks, level, image, other, memory);
        }
        Source::Image(levels[0].view())
    }
}

impl Ascent {
    /// Folds the transposed 2x2 convolution `[2c][c][dy][dx]` with its bias, and the fusion `[c][up c, skip c]`.
    fn new(c: usize, up: &[f32], up_bias: &[f32], fusion: &[f32], blocks: Vec<Block>) -> Self {
        let fold = |tap: usize| {
            Packed::new(c, &[2 * c, c], |o, segment, i| {
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

    /// `out = W (up(coarse), skip) + b`; without a skip connection, it is what `out` holds.
    fn fuse(
        &self,
        engine: Engine,
        coarse: View<'_>,
        skip: Option<View<'_>>,
        out: &mut Image,
        threads: &Threads,
    ) {
        let (height, columns, strip) = (out.rows, out.columns, engine.strip(out.rows));
        let width = out.row_floats();
        out.floats_mut().par_chunks_mut(strip * width).enumerate().for_each(|(s, out)| {
            let rows = s * strip..(s * strip + strip).min(height);
            let job = UpJob { coarse, skip, weights: &self.up, bias: &self.bias, columns, rows };
            threads.with(|scratch| (engine.kernel.up)(&job, out, scratch));
        });
    }
}
