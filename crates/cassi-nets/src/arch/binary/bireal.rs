//! Bi-Real net: Liu et al., "Bi-Real Net: Enhancing the Performance of 1-bit CNNs", ECCV 2018.
//!
//! Scaled signs, a quadratic in place of the sign's gradient, real-valued shortcuts. As released, `mapping` and the
//! shortcut of the down-sampling convolve real-valued features with binary weights.

use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{BatchNorm, Chain, Layer, Pool, Residual, Sign, Sum, Upsample, chain};
use super::place::Place;
use super::unet::Family;

pub(super) struct BiReal;

fn conv(place: &Place, from: i64, to: i64, kernel: Kernel) -> BinaryConv {
    BinaryConv::column(place, from, to, kernel, Rule::Scaled)
}

/// Sign, convolution (of the name given), normalisation.
fn unit(place: &Place, name: &str, from: i64, to: i64, kernel: Kernel) -> Chain {
    chain![Sign::Quadratic, conv(&place.at(name), from, to, kernel), BatchNorm::new(&place.at("bn1"), to),]
}

impl Family for BiReal {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Sign::Quadratic, conv(place, channels, channels, Kernel::SQUARE)])
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(conv(place, channels, channels, Kernel::SQUARE))
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let (to, shortcut) = (2 * channels, place.at("downsample"));
        Box::new(Sum(
            unit(place, "binary_3x3", channels, to, Kernel::SQUARE.strided(2)),
            chain![
                Pool,
                conv(&shortcut.at(1), channels, to, Kernel::POINT),
                BatchNorm::new(&shortcut.at(2), to),
            ],
        ))
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
}
