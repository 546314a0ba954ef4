//! BinaryConnect: Courbariaux et al., "BinaryConnect: Training Deep Neural Networks with binary weights during
//! propagations", NeurIPS 2015.
//!
//! Binary weights on real-valued features, batch normalisation, ReLU. As released, only `embedding`, `mapping` and the
//! grouped convolutions take the sign of their features.

use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{Activation, BatchNorm, Chain, Layer, Pool, Sign, Upsample, chain};
use super::place::Place;
use super::unet::Family;

pub(super) struct BiConnect;

fn conv(place: &Place, from: i64, to: i64, kernel: Kernel) -> BinaryConv {
    BinaryConv::new(place, from, to, kernel, Rule::SignOfZeroIsOne)
}

/// Convolution, normalisation, ReLU.
fn unit(place: &Place, from: i64, to: i64, kernel: Kernel) -> Chain {
    chain![conv(&place.at("conv1"), from, to, kernel), BatchNorm::new(&place.at("bn1"), to), Activation::Relu,]
}

fn outer(place: &Place, channels: i64) -> Box<dyn Layer> {
    Box::new(chain![Sign::Clipped, conv(place, channels, channels, Kernel::SQUARE)])
}

impl Family for BiConnect {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        outer(place, channels)
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        outer(place, channels)
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Pool, unit(place, channels, 2 * channels, Kernel::SQUARE)])
    }

    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![Upsample, unit(place, channels, channels / 2, Kernel::SQUARE)])
    }

    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(unit(place, channels, 2 * channels, Kernel::POINT))
    }

    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(unit(place, channels, channels / 2, Kernel::POINT))
    }

    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer> {
        Box::new(chain![Sign::Clipped, unit(place, channels, channels, Kernel::SQUARE.grouped(groups))])
    }
}
