//! BBCU: Xia et al., "Basic Binary Convolution Unit for Binarized Image Restoration Network", ICLR 2023.
//!
//! No batch normalisation: the input is amplified so that the learned offsets can act, and RPReLU follows every
//! convolution.

use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{Bias, Chain, Layer, Pool, Residual, Sign, Upsample, chain, rprelu};
use super::place::Place;
use super::unet::Family;

pub(super) struct Bbcu;

fn conv(place: &Place, from: i64, to: i64, kernel: Kernel) -> BinaryConv {
    BinaryConv::new(place, from, to, kernel, Rule::Scaled)
}

/// Offset, sign, convolution (of the name given), RPReLU.
fn unit(place: &Place, name: &str, from: i64, to: i64, kernel: Kernel) -> Chain {
    chain![
        Bias::new(&place.at("move0"), from),
        Sign::Clipped,
        conv(&place.at(name), from, to, kernel),
        rprelu(&place.at("relu"), to),
    ]
}

fn outer(place: &Place, channels: i64) -> Box<dyn Layer> {
    Box::new(chain![Sign::Clipped, conv(place, channels, channels, Kernel::SQUARE)])
}

impl Family for Bbcu {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        outer(place, channels)
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        outer(place, channels)
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Pool, unit(place, "binary_3x3", channels, 2 * channels, Kernel::SQUARE)])
    }

    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Upsample, unit(place, "binary_3x3", channels, channels / 2, Kernel::SQUARE)])
    }

    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(unit(place, "binary_1x1", channels, 2 * channels, Kernel::POINT))
    }

    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(unit(place, "binary_1x1", channels, channels / 2, Kernel::POINT))
    }

    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer> {
        Box::new(Residual(unit(place, "binary_3x3", channels, channels, Kernel::SQUARE.grouped(groups))))
    }

    fn gain(&self) -> f64 {
        14.0
    }
}
