//! MST: a U-shaped network of spectral attention blocks, guided by the sheared mask.
//!
//! Cai et al., "Mask-guided Spectral-wise Transformer", CVPR 2022. The variant for the real instrument starts with a
//! 3x3 convolution of the windows of the snapshot and has no mask branch.

use std::cell::RefCell;

use tch::Tensor;
use tch::nn::Path;

use super::attention::{BlockGroup, MaskFeatures, ShiftColumns};
use super::layers::{
    Convolution, Pointwise, Start, Upsample, bands_first, channels_last, pad_to_multiple, shear, unshear,
    unshear_snapshot,
};
use super::{Layout, MaskForm, MaskShift, Network, Options};

/// An encoder level: blocks, then half the resolution and twice the channels, for features and mask.
#[derive(Debug)]
struct Encoder {
    blocks: BlockGroup,
    feature_down: Convolution,
    mask_down: Option<Convolution>,
}

/// A decoder level: double resolution, fuse with what the encoder kept, blocks.
#[derive(Debug)]
struct Decoder {
    up: Upsample,
    fusion: Pointwise,
    blocks: BlockGroup,
}

/// The U of blocks between `embedding` and `mapping`. MST is one of them, MST++ several in a row.
#[derive(Debug)]
pub(crate) struct Transformer {
    embedding: Convolution,
    encoders: Vec<Encoder>,
    bottleneck: BlockGroup,
    decoders: Vec<Decoder>,
    mapping: Convolution,
}

/// What the names of the taps begin with.
type Taps<'a> = &'a dyn Fn(&str, &Tensor);

impl Transformer {
    /// `blocks[..last]` are the block counts of the levels, `blocks[last]` that of the bottleneck.
    pub(crate) fn new(path: &Path<'_>, from: i64, width: i64, blocks: &[usize], guided: bool) -> Self {
        let (bottleneck, levels) = blocks.split_last().expect("at least the bottleneck");
        let embedding = Convolution::dense(&(path / "embedding"), from, width, 3, 1);
        let encoders = levels.iter().enumerate().map(|(level, &count)| {
            let path = path / "encoder_layers" / level;
            let channels = width << level;
            let down = |i: i64| Convolution::dense(&(&path / i), channels, 2 * channels, 4, 2);
            Encoder {
                blocks: BlockGroup::new(&(&path / 0), channels, 1 << level, count, guided),
                feature_down: down(1),
                mask_down: guided.then(|| down(2)),
            }
        });
        let encoders = encoders.collect();
        let deepest = levels.len();
        let bottleneck =
            BlockGroup::new(&(path / "bottleneck"), width << deepest, 1 << deepest, *bottleneck, guided);
        let decoders = levels.iter().enumerate().rev().enumerate().map(|(i, (level, &count))| {
            let path = path / "decoder_layers" / i;
            let channels = width << level;
            Decoder {
                up: Upsample::new(&(&path / 0), 2 * channels, channels),
                fusion: Pointwise::new(&(&path / 1), 2 * channels, channels, false, Start::Convolution),
                blocks: BlockGroup::new(&(&path / 2), channels, 1 << level, count, guided),
            }
        });
        let decoders = decoders.collect();
        Self {
            embedding,
            encoders,
            bottleneck,
            decoders,
            mapping: Convolution::dense(&(path / "mapping"), width, from, 3, 1),
        }
    }

    /// From features `[n, row, column, channel]` to `mapping`'s output of the same shape. `columns_at(level, rows,
    /// columns, sheared)` says how mask features of a level are read.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        columns_at: &dyn Fn(usize, i64, i64, i64) -> Option<ShiftColumns>,
        activate: bool,
        tap: Taps<'_>,
    ) -> Tensor {
        let level_mask = |features: &Option<Tensor>, level: usize, x: &Tensor| {
            features.as_ref().map(|features| {
                let (rows, columns) = (x.size()[1], x.size()[2]);
                let columns = columns_at(level, rows, columns, features.size()[2]);
                MaskFeatures { features: features.shallow_clone(), columns }
            })
        };
        let mut x = self.embedding.forward(x);
        tap("embedding_before_lrelu", &x);
        if activate {
            x = x.maximum(&(&x * 0.1));
        }
        let mut mask = mask.map(Tensor::shallow_clone);
        let mut kept = Vec::new();
        for (level, encoder) in self.encoders.iter().enumerate() {
            let guide = level_mask(&mask, level, &x);
            x = encoder.blocks.forward(&x, guide.as_ref(), &|name, t| tap(&format!("enc{level}_{name}"), t));
            tap(&format!("enc{level}"), &x);
            let down = encoder.feature_down.forward(&x);
            tap(&format!("enc{level}_feature_down"), &down);
            kept.push((x, guide));
            x = down;
            mask = mask
                .map(|mask| encoder.mask_down.as_ref().map_or(mask.shallow_clone(), |m| m.forward(&mask)));
            if let Some(mask) = &mask {
                tap(&format!("enc{level}_mask_down"), mask);
            }
        }
        let guide = level_mask(&mask, self.encoders.len(), &x);
        x = self.bottleneck.forward(&x, guide.as_ref(), &|name, t| tap(&format!("bottleneck_{name}"), t));
        tap("bottleneck", &x);
        for (i, decoder) in self.decoders.iter().enumerate() {
            let (skip, guide) = kept.pop().expect("one a level");
            x = decoder.up.forward(&x);
            tap(&format!("dec{i}_up"), &x);
            x = decoder.fusion.forward(&Tensor::cat(&[x, skip], 3));
            tap(&format!("dec{i}_fusion"), &x);
            x = decoder.blocks.forward(&x, guide.as_ref(), &|name, t| tap(&format!("dec{i}_{name}"), t));
            tap(&format!("dec{i}"), &x);
        }
        let mapped = self.mapping.forward(&x);
        tap("mapping", &mapped);
        mapped
    }
}

/// MST of any depth.
#[derive(Debug)]
pub(crate) struct Mst {
    front: Option<Convolution>,
    mask_embedding: Option<Pointwise>,
    transformer: Transformer,
    options: Options,
    levels: usize,
    taps: RefCell<Option<Vec<(String, Tensor)>>>,
}

impl Mst {
    pub(crate) fn new(path: &Path<'_>, options: &Options, blocks: &[usize]) -> Self {
        let (bands, width) = (options.shape.bands as i64, options.shape.width as i64);
        let real = options.layout == Layout::TsaReal;
        // The published networks are as wide as the cube and feed the mask in as it is.
        let mask_embedding = (!real && width != bands)
            .then(|| Pointwise::new(&(path / "mask_embedding"), bands, width, false, Start::Convolution));
        Self {
            front: real.then(|| Convolution::dense(&(path / "fution"), bands, bands, 3, 1)),
            mask_embedding,
            transformer: Transformer::new(path, bands, width, blocks, !real),
            options: *options,
            levels: blocks.len() - 1,
            taps: RefCell::new(None),
        }
    }

    /// First column of every channel of the mask features of a level.
    fn starts(&self, level: usize, rows: i64, room: i64) -> Vec<i64> {
        let shape = self.options.shape;
        let channels = (shape.width << level) as i64;
        let start = |channel: i64| match self.options.mask_shift {
            MaskShift::Level => {
                let span = channel * (shape.step * shape.bands) as i64;
                (span / (shape.width as i64 * (1 << (2 * level)))).min(room)
            }
            MaskShift::Official => {
                let d = (256 / rows) as f64;
                (channel as f64 * (shape.step as f64 / (d * d))) as i64
            }
        };
        (0..channels).map(start).collect()
    }

    fn run(&self, features: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let shape = self.options.shape;
        let (bands, step) = (shape.bands as i64, shape.step as i64);
        let cube = match self.front {
            Some(_) => unshear_snapshot(features, bands, step),
            None => features.shallow_clone(),
        };
        let (rows, columns) = (cube.size()[2], cube.size()[3]);
        let multiple = 1 << self.levels;
        if self.options.mask_shift == MaskShift::Official && self.front.is_none() {
            assert!(
                rows == columns && rows <= 256 && rows % multiple == 0,
                "mask_shift = \"official\" works on square frames of at most 256 rows, a multiple of {multiple}; \
                 this one has {rows} x {columns}"
            );
        }
        let padded = pad_to_multiple(&cube, multiple);
        let mask = match self.front {
            Some(_) => None,
            None => Some(mask.expect("MST is guided by a sheared mask")),
        };
        let mask = mask.map(|mask| {
            let mask = match padded.size() == cube.size() {
                true => mask.shallow_clone(),
                false => shear(&pad_to_multiple(&unshear(mask, step), multiple), step),
            };
            let mask = channels_last(&mask.to_kind(cube.kind()));
            self.mask_embedding.as_ref().map_or_else(|| mask.shallow_clone(), |embed| embed.forward(&mask))
        });
        let mut x = channels_last(&padded);
        if let Some(front) = &self.front {
            x = front.forward(&x);
            self.tap("fution", &x);
        }
        let columns_at = |level: usize, rows: i64, columns: i64, sheared: i64| {
            let starts = self.starts(level, rows, sheared - columns);
            let moved = sheared != columns || starts.iter().any(|&start| start != 0);
            moved.then(|| ShiftColumns::new(&starts, columns, x.device()))
        };
        let tap = |name: &str, value: &Tensor| self.tap(name, value);
        let out = self.transformer.forward(&x, mask.as_ref(), &columns_at, true, &tap) + x;
        bands_first(&out.narrow(1, 0, rows).narrow(2, 0, columns))
    }

    fn tap(&self, name: &str, value: &Tensor) {
        if let Some(taps) = self.taps.borrow_mut().as_mut() {
            taps.push((name.to_string(), value.shallow_clone()));
        }
    }
}

impl Network for Mst {
    fn forward(&self, features: &Tensor, mask: Option<&Tensor>, _train: bool) -> Tensor {
        self.run(features, mask)
    }

    fn mask_form(&self) -> MaskForm {
        match self.front {
            Some(_) => MaskForm::None,
            None => MaskForm::Sheared,
        }
    }

    fn start_training(&self, refines: bool) {
        if refines {
            self.transformer.mapping.start_at_zero();
        }
    }

    fn record_taps(&self) {
        *self.taps.borrow_mut() = Some(Vec::new());
    }

    fn take_taps(&self) -> Vec<(String, Tensor)> {
        self.taps.borrow_mut().take().unwrap_or_default()
    }
}
