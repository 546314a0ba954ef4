//! ReActNet: Liu et al., "ReActNet: Towards Precise Binary Neural Network with Generalized Activation Functions",
//! ECCV 2020.
//!
//! Bi-Real's signs with learned offsets before the sign and around a PReLU. As released, `mapping` convolves real-valued
//! features with binary weights.

use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{BatchNorm, Bias, Chain, Layer, Pool, Prelu, Residual, Sign, Upsample, chain};
use super::place::Place;
use super::twin::Twin;
use super::unet::Family;

pub(super) struct ReActNet;

fn conv(place: &Place, from: i64, to: i64, kernel: Kernel) -> BinaryConv {
    BinaryConv::new(place, from, to, kernel, Rule::Scaled)
}

/// Offset, sign, convolution (of the name given), normalisation.
fn unit(place: &Place, name: &str, from: i64, to: i64, kernel: Kernel) -> Chain {
    chain![
        Bias::new(&place.at("move11"), from),
        Sign::Quadratic,
        conv(&place.at(name), from, to, kernel),
        BatchNorm::new(&place.at("bn1"), to),
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

impl Family for ReActNet {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Sign::Quadratic, conv(place, channels, channels, Kernel::SQUARE)])
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(conv(place, channels, channels, Kernel::SQUARE))
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let branch = |name: &str, norm: &str| {
            chain![
                conv(&place.at(name), channels, channels, Kernel::SQUARE),
                BatchNorm::new(&place.at(norm), channels),
            ]
        };
        let branches = [branch("binary_pw_down1", "bn2_1"), branch("binary_pw_down2", "bn2_2")];
        Box::new(chain![Pool, Twin::new(place, channels, Sign::Quadratic, branches)])
    }

    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let unit = unit(place, "binary_3x3", channels, channels / 2, Kernel::SQUARE);
        Box::new(chain![Upsample, unit, activation(place, channels / 2)])
    }

    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let unit = unit(place, "binary_1x1", channels, 2 * channels, Kernel::POINT);
        Box::new(chain![unit, activation(place, 2 * channels)])
    }

    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let unit = unit(place, "binary_1x1", channels, channels / 2, Kernel::POINT);
        Box::new(chain![unit, activation(place, channels / 2)])
    }

    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer> {
        let unit = unit(place, "binary_3x3", channels, channels, Kernel::SQUARE.grouped(groups));
        Box::new(chain![Residual(unit), activation(place, channels)])
    }
}
