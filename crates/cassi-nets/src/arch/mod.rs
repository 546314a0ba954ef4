//! The networks: what they take, how they are named, and the one function that builds them.
//!
//! Every network keeps its parameters in a [`nn::VarStore`] under the names of the official checkpoints, misspellings
//! included, so that those load unchanged. Inputs are batches in `[n, band, row, column]`; nothing is wired to 256
//! columns, 28 bands or a step of 2.

mod attention;
pub mod binary;
pub(crate) mod layers;
mod mst;
mod mst_pp;

use cassi_core::{InstrumentDescription, takes_snapshots};
use tch::{Tensor, nn};

use crate::NetsError;

/// A reconstruction network.
pub trait Network {
    /// From the network's input to the cube `[n, band, row, column]`.
    ///
    /// `features` is the un-sheared snapshot `[n, band, row, column]`, or for [`Layout::TsaReal`] the snapshot itself
    /// `[n, row, sheared column]`. `mask` has the form that [`Network::mask_form`] asks for, with `n` or 1 items.
    /// `train` switches what behaves differently in training (batch normalisation, surrogate gradients).
    ///
    /// # Panics
    /// Where libtorch does: inputs whose shapes do not fit, or no memory left on the device.
    fn forward(&self, features: &Tensor, mask: Option<&Tensor>, train: bool) -> Tensor;

    /// What the network wants to see of the mask.
    fn mask_form(&self) -> MaskForm;

    /// Changes freshly drawn parameters to those that a training starts from, where these differ; a network that `refines`
    /// features starts by handing them on.
    fn start_training(&self, _refines: bool) {}

    /// Tells the network where in its training it is. Only binarized networks care.
    fn set_phase(&self, _phase: Phase) {}

    /// Keeps what is computed inside from now on, for conformance tests.
    fn record_taps(&self) {}

    /// What was kept since [`Network::record_taps`], by name and in order, features with the axes that the network
    /// computes in.
    fn take_taps(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }
}

/// Where in its training a binarized network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// Fraction that is done, from 0 to 1: IR-Net's surrogate gradient sharpens with it.
    pub done: f64,
    /// How hard signs are, of activations and of weights: 1 is the sign itself, as published, 0 the smooth function that
    /// its gradient is taken from, and between them is their mixture.
    pub hardness: f64,
}

impl Default for Phase {
    fn default() -> Self {
        Self { done: 0.0, hardness: 1.0 }
    }
}

/// How a network takes the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskForm {
    /// Not at all.
    None,
    /// Repeated over bands: `[n or 1, band, row, column]`.
    Plain,
    /// Repeated over bands and sheared: `[n or 1, band, row, sheared column]`.
    Sheared,
}

/// Which of the two published front ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The simulated benchmark: un-sheared features and a mask.
    Standard,
    /// The real instrument: the snapshot and no mask.
    TsaReal,
}

impl Layout {
    /// The front end of a method's network for snapshots of an instrument.
    pub fn of(method: &str, instrument: &InstrumentDescription) -> Self {
        if takes_snapshots(method, instrument) { Self::TsaReal } else { Self::Standard }
    }
}

/// The sizes of a network that its method's name leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bands of the cube.
    pub bands: usize,
    /// Channels at full resolution; equal to `bands` in every published network.
    pub width: usize,
    /// Columns of dispersion per band.
    pub step: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { bands: 28, width: 28, step: 2 }
    }
}

/// How far MST moves the channels of its mask features back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskShift {
    /// By the dispersion at the level's resolution, whatever the size: `step`, `step/4`, `step/16` columns a channel.
    #[default]
    Level,
    /// As the published code: `int(channel · step / d²)` with `d = 256 / rows` in whole numbers. The same at 256
    /// rows; square frames of at most 256 rows only.
    Official,
}

/// Everything but the method that decides a network's structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Front end.
    pub layout: Layout,
    /// Sizes.
    pub shape: Shape,
    /// MST only.
    pub mask_shift: MaskShift,
}

impl Options {
    /// Published sizes for a front end.
    pub fn new(layout: Layout) -> Self {
        Self { layout, shape: Shape::default(), mask_shift: MaskShift::default() }
    }
}

/// The methods [`build`] knows.
pub const METHODS: &[&str] = &[
    "mst-s",
    "mst-m",
    "mst-l",
    "mst-pp",
    "bisrnet",
    "bnn",
    "bireal",
    "irnet",
    "reactnet",
    "bbcu",
    "btm",
    "biconnect",
];

/// Builds the network of a method with freshly drawn parameters below `path`.
///
/// # Errors
/// If no network has that name, or its sizes are impossible.
pub fn build(method: &str, options: &Options, path: &nn::Path<'_>) -> Result<Box<dyn Network>, NetsError> {
    let Shape { bands, width, step: _ } = options.shape;
    if bands == 0 || width == 0 {
        return Err(NetsError::Sizes { method: method.into(), bands, width });
    }
    match method {
        "mst-s" => Ok(Box::new(mst::Mst::new(path, options, &[2, 2, 2]))),
        "mst-m" => Ok(Box::new(mst::Mst::new(path, options, &[2, 4, 4]))),
        "mst-l" => Ok(Box::new(mst::Mst::new(path, options, &[4, 7, 5]))),
        "mst-pp" => Ok(Box::new(mst_pp::MstPlusPlus::new(path, options, 3))),
        _ if binary::METHODS.contains(&method) => {
            Ok(Box::new(binary::BinaryNet::new(method, options, path)?))
        }
        _ => Err(NetsError::Method { found: method.into(), expected: METHODS.join(", ") }),
    }
}
