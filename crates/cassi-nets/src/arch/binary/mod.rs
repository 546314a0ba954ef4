//! The binarized family: BiSRNet and the seven baselines of its toolbox, for training and as a float reference.
//!
//! All eight share a frame (mask fusion, one full-precision convolution in front and one behind, a residual around the
//! body) and a body (`unet`); they differ in how they make weights and features binary (`conv`, `sign`) and in what they
//! put around a binary convolution (one module each). Parameters carry the names of the published checkpoints. Where
//! the released code cannot train its binary weights, ours does; `docs/binarized.md` lists every difference.

mod bbcu;
mod biconnect;
mod bireal;
mod bisrnet;
mod bnn;
mod btm;
mod conv;
mod irnet;
mod layers;
mod place;
mod reactnet;
mod sign;
mod twin;
mod unet;

use std::cell::{Cell, RefCell};

use tch::Tensor;
use tch::nn::Path;

use super::layers::{pad_to_multiple, unshear_snapshot};
use super::{Layout, MaskForm, Network, Options, Phase, Shape};
use crate::NetsError;
use layers::{FloatConv, Layer, Pass};
use place::Place;
use sign::Estimator;
use unet::{Body, Family};

/// The methods of this family.
pub const METHODS: &[&str] = &["bisrnet", "bnn", "bireal", "irnet", "reactnet", "bbcu", "btm", "biconnect"];

fn family(method: &str) -> Option<&'static dyn Family> {
    Some(match method {
        "bisrnet" => &bisrnet::BiSrNet,
        "bnn" => &bnn::Bnn,
        "bireal" => &bireal::BiReal,
        "irnet" => &irnet::IrNet,
        "reactnet" => &reactnet::ReActNet,
        "bbcu" => &bbcu::Bbcu,
        "btm" => &btm::Btm,
        "biconnect" => &biconnect::BiConnect,
        _ => return None,
    })
}

/// A network of the binarized family.
pub struct BinaryNet {
    fution: FloatConv,
    conv_in: FloatConv,
    body: Body,
    conv_out: FloatConv,
    gain: f64,
    options: Options,
    binary_weights: Vec<String>,
    phase: Cell<Phase>,
    taps: RefCell<Option<Vec<(String, Tensor)>>>,
}

impl BinaryNet {
    /// Builds one of [`METHODS`] below `path` with freshly drawn parameters.
    ///
    /// # Errors
    /// If the method is none of them, or the width differs from the number of bands: the residual around the body
    /// needs them equal.
    pub fn new(method: &str, options: &Options, path: &Path<'_>) -> Result<Self, NetsError> {
        let Some(family) = family(method) else {
            return Err(NetsError::Method { found: method.into(), expected: METHODS.join(", ") });
        };
        let Shape { bands, width, .. } = options.shape;
        if bands != width || bands == 0 {
            return Err(NetsError::Sizes { method: method.into(), bands, width });
        }
        let (bands, width) = (bands as i64, width as i64);
        let binary = RefCell::new(Vec::new());
        let place = Place::new(path.clone(), &binary);
        let conv_in = FloatConv::new(&place.at("conv_in"), bands, width, 3, 1);
        let fution = FloatConv::point_with_bias(&place.at("fution"), 2 * bands, bands);
        let body = Body::new(&place.at("body").at(0), family, width);
        let conv_out = FloatConv::new(&place.at("conv_out"), width, bands, 3, 1);
        Ok(Self {
            fution,
            conv_in,
            body,
            conv_out,
            gain: family.gain(),
            options: *options,
            binary_weights: binary.into_inner(),
            phase: Cell::new(Phase::default()),
            taps: RefCell::new(None),
        })
    }

    /// Names of the parameters of which the forward pass sees no more than the sign and a scale a channel.
    pub fn binary_weights(&self) -> &[String] {
        &self.binary_weights
    }

    /// The network's input on one grid, `[n, band, row, column]`.
    fn fused(&self, features: &Tensor, mask: Option<&Tensor>, pass: &Pass) -> Tensor {
        let shape = self.options.shape;
        match self.options.layout {
            Layout::TsaReal => unshear_snapshot(features, shape.bands as i64, shape.step as i64),
            Layout::Standard => {
                let mask = mask.expect("a binarized network is guided by a mask").to_kind(features.kind());
                let both = Tensor::cat(&[features.shallow_clone(), mask.expand_as(features)], 1);
                let fused = self.fution.forward(&both, pass);
                pass.tap("fution", &fused);
                fused
            }
        }
    }
}

impl Network for BinaryNet {
    fn forward(&self, features: &Tensor, mask: Option<&Tensor>, train: bool) -> Tensor {
        let Phase { done, hardness } = self.phase.get();
        let pass = Pass { train, estimator: Estimator::at(done), hardness, taps: &self.taps };
        let x = self.fused(features, mask, &pass);
        let (rows, columns) = (x.size()[2], x.size()[3]);
        let padded = pad_to_multiple(&x, 8);
        drop(x);
        let amplified = if self.gain == 1.0 { padded } else { padded * self.gain };
        let first = self.conv_in.forward(&amplified, &pass);
        drop(amplified);
        pass.tap("conv_in", &first);
        let out = self.conv_out.forward(&self.body.forward(&first, &pass), &pass);
        pass.tap("conv_out", &out);
        let sum = out + first;
        let out = if self.gain == 1.0 { sum } else { sum / self.gain };
        out.narrow(2, 0, rows).narrow(3, 0, columns)
    }

    fn mask_form(&self) -> MaskForm {
        match self.options.layout {
            Layout::Standard => MaskForm::Plain,
            Layout::TsaReal => MaskForm::None,
        }
    }

    /// The estimate starts near the un-sheared snapshot, as in MST, and the body adds to it what it learns. From a
    /// random start the body's sums of hundreds of signs bury the scene, and training spends itself on quieting them.
    ///
    /// The mask, which is the same in all bands, is added to one band and subtracted from the next, and the last
    /// convolution takes it off again. Where it shows in the estimate instead, the first steps unlearn it before the
    /// body can use it: the residual around the body hands on whatever enters.
    fn start_training(&self, _: bool) {
        const SHARE: f64 = 0.2;
        // Near the mean of masks in use.
        const MIDDLE: f64 = 0.5;
        let bands = self.options.shape.bands as i64;
        let identity = Tensor::eye(bands, (tch::Kind::Float, tch::Device::Cpu));
        let turns: Vec<f32> = (0..bands).map(|band| if band % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let turns = Tensor::from_slice(&turns);
        let column = turns.view([bands, 1]);
        let mask = (&column * (SHARE / bands as f64)).expand([bands, bands], false);
        if self.options.layout == Layout::Standard {
            self.fution.start_as(&Tensor::cat(&[&identity, &mask], 1));
            self.fution.start_bias_at(&(&turns * (-SHARE * MIDDLE)));
            self.conv_out.start_as(&(&column * turns.view([1, bands]) / -(bands as f64)));
        } else {
            self.conv_out.start_as(&identity.zeros_like());
        }
        self.conv_in.start_as(&identity);
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    fn record_taps(&self) {
        *self.taps.borrow_mut() = Some(Vec::new());
    }

    fn take_taps(&self) -> Vec<(String, Tensor)> {
        self.taps.borrow_mut().take().unwrap_or_default()
    }
}
