//! The file that describes a training: data, masks, noise, schedule, loss. Unknown keys are refused.
//!
//! Every value that shapes the result is in here, so that the same file and seed give the same weights on the same
//! machine, whether or not the run was interrupted.

mod masks;

use cassi_core::refinement;
use serde::{Deserialize, Serialize};

use crate::arch::{MaskShift, Phase, Shape, binary};
use crate::train::TrainError;
use crate::train::schedule::Schedule;
pub use masks::{MaskSource, MaskUse};

/// A training, as `cassi train` reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// What the weights will be called.
    pub name: String,
    /// The network, e.g. `mst-s`, or with the solver whose estimate it refines, `gap-tv+mst-s`.
    pub method: String,
    /// The instrument it is for: `standard`, `tsa-real` or a TOML file.
    #[serde(default = "standard")]
    pub instrument: String,
    /// Everything random follows from it.
    #[serde(default)]
    pub seed: u64,
    /// Optimiser steps from start to end; the schedules stretch over them.
    pub steps: u64,
    /// Stop after so many minutes of training, validation included, if the steps are not done by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Sizes, where they are not the published ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// MST: how mask features move back.
    #[serde(default)]
    pub mask_shift: MaskShift,
    /// Where the scenes come from; more than one source mixes by weight.
    pub data: Vec<DataSource>,
    /// How scenes are changed before use.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Which masks code them; more than one source mixes by weight.
    pub masks: Vec<MaskSource>,
    /// How masks are used.
    #[serde(default)]
    pub mask_use: MaskUse,
    /// What the detector adds.
    #[serde(default)]
    pub noise: Noise,
    /// What is minimised.
    #[serde(default)]
    pub loss: Loss,
    /// Adam and what surrounds it.
    #[serde(default)]
    pub optimiser: Optimiser,
    /// Learning rate over the steps.
    #[serde(default)]
    pub schedule: Schedule,
    /// Binarized networks: when signs become signs; from the start if this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binarise: Option<Binarise>,
    /// Crop and batch sizes over the steps.
    pub stages: Vec<Stage>,
    /// What the weights are judged on while they are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// A checkpoint every so many steps.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: u64,
    /// Numbers in which features are computed.
    #[serde(default)]
    pub precision: Precision,
    /// Numbers in which scenes lie in the device's memory.
    #[serde(default)]
    pub storage: Storage,
    /// Scenes take at most so many megabytes (10⁶ bytes) of memory: sources that do not fit are streamed. None: all
    /// scenes are kept in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_mb: Option<f64>,
}

fn standard() -> String {
    "standard".into()
}

fn checkpoint_every() -> u64 {
    500
}

/// Scenes of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// A folder of cubes, or one file (every cube in it, or `FILE:VARIABLE`). `${NAME}` and `${NAME:-fallback}` stand
    /// for environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Scenes drawn by recipe, in place of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedural: Option<Procedural>,
    /// How often a sample comes from here, relative to the other sources.
    #[serde(default = "one")]
    pub weight: f64,
    /// Bring the largest value of every scene to 1.
    #[serde(default)]
    pub normalise: bool,
}

fn one() -> f64 {
    1.0
}

/// Scenes drawn by recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Procedural {
    /// Kinds of scenes, in turn; none given means all.
    #[serde(default = "all_kinds")]
    pub kinds: Vec<cassi_scene::Kind>,
    /// How many are drawn, before the training starts.
    pub count: usize,
    /// Rows and columns.
    #[serde(default = "scene_size")]
    pub size: [usize; 2],
}

fn all_kinds() -> Vec<cassi_scene::Kind> {
    cassi_scene::Kind::ALL.to_vec()
}

fn scene_size() -> [usize; 2] {
    [256, 256]
}

impl DataSource {
    /// What it is called in messages and on cards.
    pub fn name(&self) -> String {
        match (&self.path, &self.procedural) {
            (Some(path), _) => path.clone(),
            (None, Some(p)) => {
                let kinds: Vec<&str> = p.kinds.iter().map(|kind| kind.name()).collect();
                format!("{} procedural scenes ({})", p.count, kinds.join(", "))
            }
            (None, None) => "nothing".into(),
        }
    }
}

/// How scenes are changed before use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Mirror and turn by quarters.
    pub flip: bool,
    /// Probability that a sample is stitched from four crops of half its size.
    pub stitch: f64,
    /// Side of the source crop relative to the sample, drawn from this range; [1, 1] never resizes.
    pub scale: [f64; 2],
    /// Brightness factor, drawn from this range.
    pub gain: [f64; 2],
    /// Strength of a smooth random curve over the bands: 0.2 lets each band change by some 20 %.
    pub spectral: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { flip: true, stitch: 0.5, scale: [1.0, 1.0], gain: [1.0, 1.0], spectral: 0.0 }
    }
}

/// What the detector adds, in the unit of the network's scale `v = y · 2 / bands`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// Standard deviation of white noise, drawn for every sample from this range.
    pub gaussian: [f64; 2],
    /// Shot noise, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binomial: Option<BinomialNoise>,
}

/// Shot noise `Binomial(⌊gain · v · levels / efficiency⌋, efficiency) / levels`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinomialNoise {
    /// Quantum efficiency.
    pub efficiency: f64,
    /// Counts at 1, drawn for every sample from this range.
    pub levels: [f64; 2],
    /// Brightness against the network's scale; 1.2 in the published training for the real instrument.
    pub gain: f64,
    /// Probability that a sample has it.
    pub probability: f64,
}

impl Default for BinomialNoise {
    fn default() -> Self {
        Self { efficiency: 0.4, levels: [2048.0, 2048.0], gain: 1.2, probability: 1.0 }
    }
}

/// What is minimised: one of the errors, and optionally the spectral angle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// The error.
    pub kind: LossKind,
    /// Weight of the mean spectral angle in radians, added to it.
    pub spectral_angle: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { kind: LossKind::Rmse, spectral_angle: 0.0 }
    }
}

/// Errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Root of the mean square over the batch, as published.
    Rmse,
    /// Root of the mean square of each sample, averaged over the batch.
    SampleRmse,
    /// `√(e² + 10⁻⁶)`, averaged.
    Charbonnier,
}

/// Adam with decoupled weight decay, and what surrounds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimiser {
    /// Learning rate at the top of the schedule.
    pub rate: f64,
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// Decoupled weight decay; 0 is plain Adam.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 leaves it as it is.
    pub clip: f64,
    /// Decay of the averaged weights, which are the ones that are judged and kept; 0 keeps the last ones.
    pub average: f64,
}

impl Default for Optimiser {
    fn default() -> Self {
        Self { rate: 4e-4, betas: [0.9, 0.999], weight_decay: 0.0, clip: 0.0, average: 0.999 }
    }
}

/// A network that begins smooth: signs of activations and weights are the functions that their gradients are taken
/// from up to `from`, turn into signs linearly, and are signs from `until` on (fractions of the steps).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binarise {
    /// Smooth before.
    pub from: f64,
    /// Binary after.
    pub until: f64,
}

/// Crop and batch size of a part of the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Up to this fraction of the steps.
    pub until: f64,
    /// Size of the samples: a side, or rows and columns. Wide ones see the dispersion as a whole frame does: in a
    /// narrow sample few columns of the snapshot hold all bands.
    pub crop: Crop,
    /// Samples a step.
    pub batch: usize,
    /// Samples that pass the network at once; the gradient is summed over the parts. 0: all.
    #[serde(default)]
    pub part: usize,
}

/// Size of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Crop {
    /// As many rows as columns.
    Square(usize),
    /// Rows and columns.
    Rectangle([usize; 2]),
}

impl Crop {
    /// Rows and columns.
    pub fn size(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Rectangle(size) => size,
        }
    }
}

/// What the weights are judged on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// A folder of cubes, or one file.
    pub path: String,
    /// The mask, as a file or a shipped mask's name; none for networks that take none.
    pub mask: String,
    /// Every so many steps, and at the end.
    pub every: u64,
    /// Stop when so many validations in a row brought nothing better; 0 never stops.
    #[serde(default)]
    pub patience: u64,
}

/// Numbers in which features are computed. Weights, moments and losses are always single.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Single.
    #[default]
    F32,
    /// bfloat16; for CUDA and CPUs with AVX512-BF16.
    Bf16,
}

/// Numbers in which scenes lie in the device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// Single.
    #[default]
    F32,
    /// Half: exact to 2⁻¹² of full scale, at half the memory.
    F16,
}

impl TrainConfig {
    /// Reads and checks a configuration; `origin` is named in messages.
    ///
    /// # Errors
    /// Bad TOML, unknown keys, values out of range.
    pub fn parse(text: &str, origin: &str) -> Result<Self, TrainError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| TrainError::Config { origin: origin.into(), reason: source.to_string() })?;
        match config.problem() {
            Some(reason) => Err(TrainError::Config { origin: origin.into(), reason }),
            None => Ok(config),
        }
    }

    /// The first thing that cannot be, in words.
    fn problem(&self) -> Option<String> {
        let range = |[low, high]: [f64; 2]| low <= high && low >= 0.0 && high.is_finite();
        let fraction = |v: f64| (0.0..=1.0).contains(&v);
        let positive_weights = |mut weights: Box<dyn Iterator<Item = f64> + '_>| {
            let mut sum = 0.0;
            weights.all(|w| {
                sum += w;
                w >= 0.0 && w.is_finite()
            }) && sum > 0.0
        };
        let augmentation = &self.augmentation;
        let optimiser = &self.optimiser;
        let binomial = self.noise.binomial.clone().unwrap_or_default();
        let checks = [
            (self.steps > 0, "steps: at least 1"),
            (self.checkpoint_every > 0, "checkpoint_every: at least 1"),
            (self.cache_mb.is_none_or(|mb| mb > 0.0 && mb.is_finite()), "cache_mb: above 0"),
            (
                positive_weights(Box::new(self.data.iter().map(|d| d.weight))),
                "data: sources with a weight above 0",
            ),
            (
                positive_weights(Box::new(self.masks.iter().map(MaskSource::weight))),
                "masks: sources with a weight above 0",
            ),
            (
                self.data.iter().all(|d| match (&d.path, &d.procedural) {
                    (Some(_), None) => true,
                    (None, Some(p)) => p.count > 0 && !p.kinds.is_empty() && !p.size.contains(&0),
                    _ => false,
                }),
                "data: either `path`, or `procedural` with at least one kind and scene",
            ),
            (fraction(augmentation.stitch), "augmentation.stitch: a probability"),
            (
                range(augmentation.scale) && augmentation.scale[0] > 0.0,
                "augmentation.scale: [low, high], both above 0",
            ),
            (
                range(augmentation.gain) && augmentation.gain[0] > 0.0,
                "augmentation.gain: [low, high], both above 0",
            ),
            (range(self.noise.gaussian), "noise.gaussian: [low, high], at least 0"),
            (
                range(binomial.levels) && binomial.levels[0] > 0.0 && fraction(binomial.efficiency),
                "noise.binomial: levels above 0 and an efficiency in (0, 1]",
            ),
            (optimiser.rate > 0.0, "optimiser.rate: above 0"),
            (optimiser.betas.iter().all(|&b| (0.0..1.0).contains(&b)), "optimiser.betas: in [0, 1)"),
            ((0.0..1.0).contains(&optimiser.average), "optimiser.average: in [0, 1)"),
            (
                self.stages.windows(2).all(|pair| pair[0].until < pair[1].until)
                    && self.stages.last().is_some_and(|last| last.until == 1.0),
                "stages: growing `until`, the last one 1",
            ),
            (
                self.stages
                    .iter()
                    .all(|s| s.batch > 0 && s.crop.size().iter().all(|&n| n >= 16 && n.is_multiple_of(8))),
                "stages: crops of at least 16, in multiples of 8, and a batch of at least 1",
            ),
            (self.validation.as_ref().is_none_or(|v| v.every > 0), "validation.every: at least 1"),
            (
                self.binarise.as_ref().is_none_or(|b| 0.0 <= b.from && b.from <= b.until && b.until <= 1.0),
                "binarise: fractions of the steps, `from` no later than `until`",
            ),
            (
                self.binarise.is_none() || binary::METHODS.contains(&refinement(&self.method).1),
                "binarise: for binarized networks alone",
            ),
        ];
        checks.iter().find(|(fine, _)| !fine).map(|(_, what)| format!("expected {what}"))
    }

    /// The stage that `step` belongs to.
    pub fn stage(&self, step: u64) -> &Stage {
        let done = step as f64 / self.steps as f64;
        self.stages
            .iter()
            .find(|stage| done < stage.until)
            .or(self.stages.last())
            .expect("a stage, as checked")
    }

    /// Where in its training the network is at `step`.
    pub(crate) fn phase(&self, step: u64) -> Phase {
        let done = step as f64 / self.steps as f64;
        let hardness = match &self.binarise {
            None => 1.0,
            Some(b) if done >= b.until => 1.0,
            Some(b) => ((done - b.from) / (b.until - b.from)).max(0.0),
        };
        Phase { done, hardness }
    }

    /// The sizes of the network for an instrument.
    pub(crate) fn shape(&self, bands: usize, step: usize) -> Shape {
        Shape { bands, width: self.width.unwrap_or(bands), step }
    }
}

/// Replaces `${NAME}` and `${NAME:-fallback}` by environment variables.
///
/// # Errors
/// If a variable without fallback is not set, or a brace is not closed.
pub fn expand(path: &str) -> Result<String, TrainError> {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("${") {
        let bad = |reason: String| TrainError::Config { origin: format!("path `{path}`"), reason };
        let (inner, tail) = after.split_once('}').ok_or_else(|| bad("`${` without `}`".into()))?;
        let (name, fallback) = match inner.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (inner, None),
        };
        let value = std::env::var(name).ok().or(fallback.map(str::to_string));
        out.push_str(before);
        out.push_str(&value.ok_or_else(|| bad(format!("the environment variable {name} is not set")))?);
        rest = tail;
    }
    Ok(out + rest)
}
