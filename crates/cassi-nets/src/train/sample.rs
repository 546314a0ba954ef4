//! Draws batches on the training device: crops, augmentation, masks, the forward model, noise.
//!
//! Which crop and which mask a sample gets follows from (seed, step, place in the batch) alone, and so does the state
//! that libtorch's generator starts the batch's noise from: a resumed training sees the batches it would have seen.

use cassi_core::{InputConvention, InstrumentDescription, NoiseLevel, random::Stream, takes_snapshots};
use tch::{Kind, Tensor};

use super::config::{Augmentation, BinomialNoise, MaskUse, Noise, Stage, TrainConfig};
use super::data::Pool;
use super::first::First;
use crate::arch::MaskForm;
use crate::arch::layers::{shear, unshear_snapshot};

/// What one optimiser step learns from.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What the network takes: `[n, band, row, column]`, or the snapshot `[n, row, sheared column]`.
    pub(crate) features: Tensor,
    /// The mask in the network's form, for one sample or all.
    pub(crate) mask: Option<Tensor>,
    /// What it should return, `[n, band, row, column]`.
    pub(crate) truth: Tensor,
}

impl Batch {
    /// Samples `from..from + count` of the batch.
    pub(crate) fn part(&self, from: i64, count: i64) -> Self {
        let mask = self.mask.as_ref().map(|mask| match mask.size()[0] {
            1 => mask.shallow_clone(),
            _ => mask.narrow(0, from, count),
        });
        Self {
            features: self.features.narrow(0, from, count),
            mask,
            truth: self.truth.narrow(0, from, count),
        }
    }
}

/// Scenes, masks and the rules for drawing from them.
pub(crate) struct Sampler<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) instrument: InstrumentDescription,
    pub(crate) scenes: Pool,
    pub(crate) masks: Pool,
    pub(crate) mask_form: MaskForm,
    /// Whose estimate the network refines.
    pub(crate) first: Option<First>,
}

impl Sampler<'_> {
    /// The batch of a step.
    pub(crate) fn draw(&self, step: u64, stage: &Stage) -> Batch {
        let size = stage.crop.size().map(|length| length as i64);
        let truth: Vec<Tensor> = (0..stage.batch as u64)
            .map(|i| {
                let mut stream = Stream::new(self.config.seed, "train/sample", step << 16 | i);
                sample(&self.scenes, &self.config.augmentation, size, &mut stream)
            })
            .collect();
        let truth = Tensor::stack(&truth, 0);
        let count = if self.config.mask_use.shared { 1 } else { stage.batch as u64 };
        let (told, light): (Vec<_>, Vec<_>) = (0..count)
            .map(|i| {
                let mut stream = Stream::new(self.config.seed, "train/mask", step << 16 | i);
                window(&self.masks, &self.config.mask_use, size, &mut stream)
            })
            .unzip();
        let (told, light) = (Tensor::stack(&told, 0).unsqueeze(1), Tensor::stack(&light, 0).unsqueeze(1));
        let (snapshot, levels) = self.expose(&truth, &light, step);
        let bands = self.instrument.bands() as i64;
        let columns = self.instrument.step() as i64;
        let features = match (&self.first, self.instrument.network_input) {
            (Some(first), _) => first.estimates(&snapshot, &told, &levels),
            (None, InputConvention::Unsheared { gain }) => {
                unshear_snapshot(&(snapshot / bands as f64 * f64::from(gain)), bands, columns)
            }
            (None, InputConvention::Normalised { .. }) => snapshot,
        };
        let repeated = || told.expand([told.size()[0], bands, size[0], size[1]], false);
        let mask = match self.mask_form {
            MaskForm::None => None,
            MaskForm::Plain => Some(repeated().contiguous()),
            MaskForm::Sheared => Some(shear(&repeated(), columns)),
        };
        Batch { features, mask, truth }
    }

    /// Snapshots `[n, row, sheared column]` of cubes `[n, band, row, column]` through masks `[n or 1, 1, row, column]`,
    /// with noise, and what a solver is told of the noise. Networks that take snapshots of the real instrument get them on
    /// the scale of its published training, `1.2 · 2 / bands`.
    fn expose(&self, truth: &Tensor, light: &Tensor, step: u64) -> (Tensor, Vec<NoiseLevel>) {
        let (n, bands, rows, columns) = truth.size4().expect("[n, band, row, column]");
        let shift = self.instrument.step() as i64;
        let coded = truth * light;
        let snapshot = Tensor::zeros([n, rows, columns + shift * (bands - 1)], (Kind::Float, truth.device()));
        for b in 0..bands {
            let _ = snapshot.narrow(2, shift * b, columns).g_add_(&coded.select(1, b));
        }
        let mut levels = vec![NoiseLevel::Known(0.0); n as usize];
        let mut stream = Stream::new(self.config.seed, "train/noise", step);
        let scale = 2.0 / bands as f64;
        let normalised = takes_snapshots(&self.config.method, &self.instrument);
        let Noise { gaussian, binomial } = &self.config.noise;
        if gaussian[1] == 0.0 && binomial.is_none() && !normalised {
            return (snapshot, levels);
        }
        tch::manual_seed(stream.below(i64::MAX as usize) as i64);
        let per_sample = |values: Vec<f64>| {
            Tensor::from_slice(&values).to_kind(Kind::Float).to_device(truth.device()).view([n, 1, 1])
        };
        let draws = |stream: &mut Stream, [low, high]: [f64; 2]| -> Vec<f64> {
            (0..n).map(|_| stream.uniform_in(low, high)).collect()
        };
        let mut seen = snapshot * scale;
        if gaussian[1] > 0.0 {
            let sigmas = draws(&mut stream, *gaussian);
            levels
                .iter_mut()
                .zip(&sigmas)
                .for_each(|(level, sigma)| *level = NoiseLevel::Known(sigma / scale));
            let sigma = per_sample(sigmas);
            seen += seen.randn_like() * sigma;
        }
        if let Some(BinomialNoise { efficiency, levels: brightest, gain, probability }) = binomial {
            let brightest = per_sample(draws(&mut stream, *brightest));
            let chosen: Vec<bool> = (0..n).map(|_| stream.chance(*probability)).collect();
            // Noise that follows the brightness is for the solver to find out.
            let shot = levels.iter_mut().zip(&chosen).filter(|(_, chosen)| **chosen);
            shot.for_each(|(level, _)| *level = NoiseLevel::Unknown);
            let chosen = per_sample(chosen.into_iter().map(|chosen| f64::from(u8::from(chosen))).collect());
            let trials = (&seen * (*gain / *efficiency) * &brightest).floor().clamp_min(0.0);
            let counts = Tensor::binomial(&trials, &trials.full_like(*efficiency));
            let shot = counts / brightest / *gain;
            seen = &chosen * shot + (1.0 - &chosen) * seen;
        }
        if normalised {
            // The published training for the real instrument shows the network brighter snapshots than v.
            return (seen * 1.2, levels);
        }
        (seen / scale, levels)
    }
}

/// One cube `[band, row, column]` of the size asked for, in single precision.
fn sample(scenes: &Pool, augmentation: &Augmentation, size: [i64; 2], stream: &mut Stream) -> Tensor {
    if size.iter().all(|length| length % 2 == 0) && stream.chance(augmentation.stitch) {
        let half = size.map(|length| length / 2);
        let quarters: Vec<Tensor> = (0..4).map(|_| crop(scenes, augmentation, half, stream)).collect();
        let row = |i: usize| Tensor::cat(&quarters[2 * i..2 * i + 2], 2);
        return Tensor::cat(&[row(0), row(1)], 1);
    }
    crop(scenes, augmentation, size, stream)
}

fn crop(scenes: &Pool, augmentation: &Augmentation, size: [i64; 2], stream: &mut Stream) -> Tensor {
    let scene = scenes.draw(stream);
    let (bands, rows, columns) = scene.size3().expect("[band, row, column]");
    let [low, high] = augmentation.scale;
    let factor = if low == high { low } else { stream.uniform_in(low.ln(), high.ln()).exp() };
    let place = Place::draw(size, [rows, columns], factor, augmentation.flip, stream);
    let mut x = place.cut(scene).to_kind(Kind::Float);
    let upright = if place.transposed { [size[1], size[0]] } else { size };
    if place.window != upright {
        // Antialiased, so that a shrunken scene looks like one seen from farther away.
        x = x.unsqueeze(0).internal_upsample_bilinear2d_aa(upright, false, None, None).squeeze_dim(0);
    }
    x = place.turn(&x);
    let [low, high] = augmentation.gain;
    let gain = if low == high { low } else { stream.uniform_in(low, high) };
    if augmentation.spectral > 0.0 {
        let curve = Tensor::from_slice(&spectral_curve(bands as usize, augmentation.spectral, gain, stream));
        return x * curve.to_device(scene.device()).view([bands, 1, 1]);
    }
    if gain == 1.0 { x } else { x * gain }
}

/// A smooth positive curve over the bands around `gain`: slope and one wave of random phase, in the exponent.
fn spectral_curve(bands: usize, strength: f64, gain: f64, stream: &mut Stream) -> Vec<f32> {
    let (slope, wave) = (strength * stream.normal(), strength * stream.normal());
    let (cycles, phase) = (stream.uniform_in(0.5, 1.5), stream.uniform());
    let at = |b: usize| {
        let t = b as f64 / bands.max(2) as f64 - 0.5;
        let exponent = slope * t + 0.7 * wave * (std::f64::consts::TAU * (cycles * t + phase)).sin();
        (gain * exponent.clamp(-1.5, 0.7).exp()) as f32
    };
    (0..bands).map(at).collect()
}

/// A window and one of the eight symmetries of the square.
struct Place {
    /// Rows and columns in the source, before turning.
    window: [i64; 2],
    corner: [i64; 2],
    transposed: bool,
    mirrored: [bool; 2],
}

impl Place {
    /// A place in a plane of size `within` whose window becomes `size` when it is turned and shrunk by `factor` (as
    /// far as the plane allows).
    fn draw(size: [i64; 2], within: [i64; 2], factor: f64, flip: bool, stream: &mut Stream) -> Self {
        let turned = [size[1], size[0]];
        let fits = (0..2).all(|axis| turned[axis] <= within[axis]);
        let choice = if flip { stream.below(8) } else { 0 };
        let transposed = choice & 4 != 0 && fits;
        let upright = if transposed { turned } else { size };
        let most =
            (0..2).map(|axis| within[axis] as f64 / upright[axis] as f64).fold(f64::INFINITY, f64::min);
        let factor = factor.min(most);
        let scaled = |axis: usize| ((upright[axis] as f64 * factor).round() as i64).clamp(1, within[axis]);
        let window = [scaled(0), scaled(1)];
        let mut start = |axis: usize| stream.below((within[axis] - window[axis] + 1) as usize) as i64;
        let corner = [start(0), start(1)];
        Self { window, corner, transposed, mirrored: [choice & 1 != 0, choice & 2 != 0] }
    }

    /// The window of a plane or a stack of planes.
    fn cut(&self, from: &Tensor) -> Tensor {
        let rank = from.dim() as i64;
        from.narrow(rank - 2, self.corner[0], self.window[0]).narrow(rank - 1, self.corner[1], self.window[1])
    }

    /// Mirrored and turned.
    fn turn(&self, x: &Tensor) -> Tensor {
        let rank = x.dim() as i64;
        let x = if self.transposed { x.transpose(rank - 2, rank - 1) } else { x.shallow_clone() };
        let axes: Vec<i64> =
            (0..2).filter(|&axis| self.mirrored[axis]).map(|axis| rank - 2 + axis as i64).collect();
        if axes.is_empty() { x } else { x.flip(axes) }
    }
}

/// A window `[row, column]` of a mask as the network is told it, and as it lies in the light path.
fn window(masks: &Pool, how: &MaskUse, size: [i64; 2], stream: &mut Stream) -> (Tensor, Tensor) {
    let mask = masks.draw(stream);
    let (rows, columns) = mask.size2().expect("[row, column]");
    let place = Place::draw(size, [rows, columns], 1.0, how.flip, stream);
    let told = place.turn(&place.cut(mask));
    if !how.perturbs() {
        return (told.shallow_clone(), told);
    }
    let mut within = |bound: f64| stream.uniform_in(-bound, bound);
    let angle = within(how.rotation_deg).to_radians();
    let scale = 1.0 + within(how.scale);
    // Grid coordinates run from -1 to 1 over each axis, so turning mixes them by the ratio of the sides.
    let [height, width] = size.map(|length| length as f64);
    let (right, down) = (within(how.shift) * 2.0 / width, within(how.shift) * 2.0 / height);
    let (sin, cos) = (angle.sin() * scale, angle.cos() * scale);
    let theta = [cos, -sin * height / width, right, sin * width / height, cos, down].map(|v| v as f32);
    let theta = Tensor::from_slice(&theta).to_device(mask.device()).view([1, 2, 3]);
    let grid = Tensor::affine_grid_generator(&theta, [1, 1, size[0], size[1]], false);
    const BILINEAR: i64 = 0;
    const REFLECT: i64 = 2;
    let light = told.unsqueeze(0).unsqueeze(0).grid_sampler(&grid, BILINEAR, REFLECT, false);
    (told, light.view(size))
}
