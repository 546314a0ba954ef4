//! BTM: Jiang et al., "Training Binary Neural Network without Batch Normalization for Image Super-Resolution", AAAI 2021.
//!
//! Standardised weights with a learned gain take the place of batch normalisation.

use super::conv::{BinaryConv, Kernel};
use super::layers::{Bias, Chain, Layer, Pool, Prelu, Residual, Scale, Sign, Upsample, chain};
use super::place::Place;
use super::twin::Twin;
use super::unet::Family;

pub(super) struct Btm;

/// Factor on what a binary convolution gives.
const ALPHA: f64 = 0.2;

/// Offset, sign, convolution (of the name given).
fn unit(place: &Place, name: &str, from: i64, to: i64, kernel: Kernel) -> Chain {
    chain![
        Bias::new(&place.at("move11"), from),
        Sign::Clipped,
        BinaryConv::with_gain(&place.at(name), from, to, kernel),
    ]
}

/// Offset, PReLU, offset.
fn activation(place: &Place, channels: i64) -> Chain {
    chain![
        Bias::new(&place.at("move12"), channels),
        Prelu::new(&place.at("prelu1"), channels),
        Bias::new(&place.at("move13"), channels),
    ]
}

/// Another number of channels at the same size.
fn point(place: &Place, from: i64, to: i64) -> Box<dyn Layer> {
    let unit = unit(place, "binary_1x1", from, to, Kernel::POINT);
    Box::new(chain![unit, Scale(ALPHA), activation(place, to)])
}

fn outer(place: &Place, channels: i64) -> Box<dyn Layer> {
    Box::new(chain![Sign::Clipped, BinaryConv::with_gain(place, channels, channels, Kernel::SQUARE)])
}

impl Family for Btm {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        outer(place, channels)
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        outer(place, channels)
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let branches = ["binary_pw_down1", "binary_pw_down2"].map(|name| {
            let conv = BinaryConv::with_gain(&place.at(name), channels, channels, Kernel::SQUARE);
            chain![conv, Scale(ALPHA)]
        });
        Box::new(chain![Pool, Twin::new(place, channels, Sign::Clipped, branches)])
    }

    // As released: neither the factor nor a shortcut here.
    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let unit = unit(place, "binary_3x3", channels, channels / 2, Kernel::SQUARE);
        Box::new(chain![Upsample, unit, activation(place, channels / 2)])
    }

    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        point(place, channels, 2 * channels)
    }

    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        point(place, channels, channels / 2)
    }

    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer> {
        let unit = unit(place, "binary_3x3", channels, channels, Kernel::SQUARE.grouped(groups));
        Box::new(chain![Residual(chain![unit, Scale(ALPHA)]), activation(place, channels)])
    }
}
