//! The mask branch of MST: features of the sheared mask, shifted back, one image for every attention block. They
//! depend on the mask and the weights alone, so they are made once and kept, or, where they would fill the memory, made
//! again strip by strip from the mask's own pyramid.

use ndarray::{Array3, ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::attention::{MaskUse, pack};
use super::body::Body;
use super::engine::Engine;
use super::image::{Bands, Image};
use super::kernels::{MaskJob, Source};
use super::loader::Loader;
use super::matrix::{Packed, depthwise_taps, padded_vector};
use super::memory::{Aligned, Scratch, Threads};

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
    first: (Packed, Aligned),
    second: (Packed, Aligned),
    depthwise: (Aligned, Aligned),
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
            first: (pack(c, c, &first), padded_vector(&first_bias)),
            second: (pack(c, c, &second), padded_vector(&second_bias)),
            depthwise: (depthwise_taps(&depthwise, c), padded_vector(&depthwise_bias)),
        }
    }

    /// Some rows of `m + m ⊙ sigmoid(D conv₂(m))` with `m = conv₁(mask)`, shifted back to `columns` columns: channel i
    /// by `shifts[i]` columns to the left.
    pub(crate) fn features<'a>(
        &'a self,
        engine: Engine,
        source: Source<'a>,
        shifts: &'a [usize],
        columns: usize,
        rows: std::ops::Range<usize>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let job = MaskJob {
            source,
            first: (&self.first.0, &self.first.1),
            second: (&self.second.0, &self.second.1),
            depthwise: (&self.depthwise.0, &self.depthwise.1),
            shifts,
            columns,
            rows,
        };
        (engine.kernel.mask_features)(&job, out, scratch);
    }
}

/// A mask sheared to the frame of the snapshot, at every level of a body.
#[derive(Debug, Clone)]
pub(crate) struct MaskPyramid {
    /// `[band, row, column]`, or one plane for all bands.
    planes: Array3<f32>,
    bands: usize,
    /// Columns by which the planes are still to be sheared, band by band.
    shear: usize,
    /// Features have as many columns as this, halved from level to level.
    columns: usize,
    /// The sheared mask of levels 1, 2 and so on.
    levels: Vec<Image>,
    /// For every level, the columns by which each channel moves back.
    shifts: Vec<Vec<usize>>,
}

impl MaskPyramid {
    /// Convolves the mask down the levels of `body`; its planes are not sheared yet if `shear` is not zero.
    ///
    /// # Errors
    /// What is wrong, in words, if a shifted window leaves the sheared mask.
    pub(crate) fn new(
        engine: Engine,
        body: &Body,
        planes: Array3<f32>,
        [bands, columns, step, shear]: [usize; 4],
        shift: MaskShift,
    ) -> Result<Self, String> {
        let mut pyramid = Self { planes, bands, shear, columns, levels: Vec::new(), shifts: Vec::new() };
        let threads = Threads::default();
        for level in 0..=body.stages() {
            if level > 0 {
                let down = body.encoder[level - 1].mask_down.as_ref().expect("a masked body has them");
                let mut next = Image::default();
                down.run(engine, pyramid.source(level - 1), &mut next, &threads);
                pyramid.levels.push(next);
            }
            let source = pyramid.source(level);
            let of = |channel| shift.columns(channel, level, source.rows(), step);
            let shifts: Option<Vec<usize>> = (0..body.channels(level)).map(of).collect();
            let shifts =
                shifts.ok_or("the official mask shift has no answer above 256 rows; use the level rule")?;
            let (columns, largest) = (columns >> level, shifts.iter().copied().max().unwrap_or(0));
            if columns + largest > source.columns() {
                return Err(format!(
                    "the mask of level {level} has {} columns, and features of {columns} columns shifted by up to \
                     {largest} leave it",
                    source.columns()
                ));
            }
            pyramid.shifts.push(shifts);
        }
        Ok(pyramid)
    }

    /// The sheared mask of a level.
    fn source(&self, level: usize) -> Source<'_> {
        if level > 0 {
            return Source::Image(self.levels[level - 1].view());
        }
        let (_, rows, columns) = self.planes.dim();
        Source::Bands(Bands {
            view: self.planes.broadcast((self.bands, rows, columns)).expect("one plane, or one a band"),
            rows,
            columns: columns + self.shear * (self.bands - 1),
            shear: self.shear,
        })
    }

    /// Floats that the features of all blocks of `body` take.
    pub(crate) fn feature_floats(&self, body: &Body) -> usize {
        let size = |level: usize| (self.planes.dim().1 * self.columns) >> (2 * level);
        body.blocks().map(|(level, _)| size(level) * body.channels(level).next_multiple_of(16)).sum()
    }

    /// The features of every block, in order of execution.
    pub(crate) fn features(&self, engine: Engine, body: &Body) -> Vec<Image> {
        let threads = Threads::default();
        let of_block = |(level, block): (usize, &super::attention::Block)| {
            let (source, columns) = (self.source(level), self.columns >> level);
            let rows = source.rows();
            let mut image = Image::default();
            image.resize(rows, columns, body.channels(level));
            let (strip, width) = (engine.strip(rows), image.row_floats());
            let branch = block.mask.as_ref().expect("a masked body has a branch in every block");
            image.floats_mut().par_chunks_mut(strip * width).enumerate().for_each(|(s, out)| {
                let rows = s * strip..(s * strip + strip).min(rows);
                threads.with(|scratch| {
                    branch.features(engine, source, &self.shifts[level], columns, rows, out, scratch);
                });
            });
            image
        };
        body.blocks().map(of_block).collect()
    }
}

/// Mask features of a body, kept or to be made.
#[derive(Clone, Copy)]
pub(crate) enum Masks<'a> {
    Nothing,
    Kept(&'a [Image]),
    Made(&'a MaskPyramid),
}

impl<'a> Masks<'a> {
    /// Those of a block, in order of execution, at its level.
    pub(crate) fn of(self, block: usize, level: usize) -> MaskUse<'a> {
        match self {
            Self::Nothing => MaskUse::Nothing,
            Self::Kept(images) => MaskUse::Kept(images[block].view()),
            Self::Made(pyramid) => MaskUse::Made(pyramid.source(level), &pyramid.shifts[level]),
        }
    }
}
