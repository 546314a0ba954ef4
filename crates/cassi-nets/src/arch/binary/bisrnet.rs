//! BiSRNet: Cai et al., "Binarized Spectral Compressive Imaging", NeurIPS 2023.
//!
//! One unit does everything: redistribute each channel, take the sign through a tanh of learned sharpness, convolve,
//! activate, and add the full-precision input. It cannot change the number of channels, so doubling is two units side by
//! side and halving is the mean of two units on the halves.

use tch::Tensor;
use tch::nn::Init;

use super::super::layers::like;
use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{Chain, Concat, Layer, MeanOfHalves, Pass, Pool, Upsample, chain, rprelu};
use super::place::Place;
use super::sign::sign_scalable;
use super::unet::Family;

pub(super) struct BiSrNet;

/// The binarized spectral-redistribution convolution.
struct Unit {
    name: String,
    offset: Tensor,
    factor: Tensor,
    beta: Tensor,
    conv: BinaryConv,
    activation: Chain,
}

impl Unit {
    fn new(place: &Place, channels: i64, kernel: Kernel) -> Self {
        let move0 = place.at("move0");
        Self {
            name: place.name(),
            offset: move0.parameter("b", &[1, channels, 1, 1], Init::Const(0.0)),
            factor: move0.parameter("k", &[1, channels, 1, 1], Init::Const(1.0)),
            beta: place.at("binary_activation").parameter("beta", &[1], Init::Const(1.0)),
            conv: BinaryConv::new(&place.at("binary_conv"), channels, channels, kernel, Rule::Scaled),
            activation: rprelu(&place.at("relu"), channels),
        }
    }
}

impl Layer for Unit {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let tap = |what: &str, value: &Tensor| pass.tap(&format!("{}/{what}", self.name), value);
        tap("input", x);
        let redistributed = x * like(&self.factor, x) + like(&self.offset, x);
        tap("pre_sign", &redistributed);
        let sign = sign_scalable(&redistributed, &like(&self.beta, x), pass.hardness);
        drop(redistributed);
        tap("activation", &sign);
        let convolved = self.conv.forward(&sign, pass);
        drop(sign);
        tap("conv", &convolved);
        let activated = self.activation.forward(&convolved, pass);
        tap("rprelu", &activated);
        let out = activated + x;
        tap("output", &out);
        out
    }
}

fn pair(place: &Place, channels: i64, kernel: Kernel) -> (Unit, Unit) {
    let unit = |name: &str| Unit::new(&place.at(name), channels, kernel);
    (unit("biconv_1"), unit("biconv_2"))
}

fn doubled(place: &Place, channels: i64, kernel: Kernel) -> Concat<Unit, Unit> {
    let (first, second) = pair(place, channels, kernel);
    Concat(first, second)
}

fn halved(place: &Place, channels: i64, kernel: Kernel) -> MeanOfHalves<Unit, Unit> {
    let (first, second) = pair(place, channels / 2, kernel);
    MeanOfHalves(first, second)
}

impl Family for BiSrNet {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(Unit::new(place, channels, Kernel::SQUARE))
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(Unit::new(place, channels, Kernel::SQUARE))
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Pool, doubled(place, channels, Kernel::SQUARE)])
    }

    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Upsample, halved(place, channels, Kernel::SQUARE)])
    }

    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(doubled(place, channels, Kernel::POINT))
    }

    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(halved(place, channels, Kernel::POINT))
    }

    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer> {
        Box::new(Unit::new(place, channels, Kernel::SQUARE.grouped(groups)))
    }

    fn activation(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(rprelu(place, channels))
    }
}
