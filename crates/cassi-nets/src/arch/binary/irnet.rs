//! IR-Net: Qin et al., "Forward and Backward Information Retention for Accurate Binary Neural Networks", CVPR 2020.
//!
//! Weights balanced before the sign and scaled by powers of two; a tanh that sharpens during training stands in for the
//! sign. `embedding`, `mapping` and the shortcut of the down-sampling are full-precision convolutions.

use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{Activation, BatchNorm, Chain, FloatConv, Layer, Residual, Sign, Sum, Upsample, chain};
use super::place::Place;
use super::unet::Family;

pub(super) struct IrNet;

/// Sign, convolution, normalisation.
fn unit(place: &Place, from: i64, to: i64, kernel: Kernel) -> Chain {
    chain![
        Sign::Estimated,
        BinaryConv::new(&place.at("conv1"), from, to, kernel, Rule::Balanced),
        BatchNorm::new(&place.at("bn1"), to),
    ]
}

impl Family for IrNet {
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(FloatConv::new(place, channels, channels, 3, 1))
    }

    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(FloatConv::new(place, channels, channels, 3, 1))
    }

    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let (to, shortcut) = (2 * channels, place.at("downsample"));
        Box::new(chain![
            Sum(
                unit(place, channels, to, Kernel::SQUARE.strided(2)),
                chain![
                    FloatConv::new(&shortcut.at(0), channels, to, 1, 2),
                    BatchNorm::new(&shortcut.at(1), to),
                ],
            ),
            Activation::HardTanh,
        ])
    }

    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        let unit = unit(place, channels, channels / 2, Kernel::SQUARE);
        Box::new(chain![Upsample, unit, Activation::HardTanh])
    }

    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![unit(place, channels, 2 * channels, Kernel::POINT), Activation::HardTanh])
    }

    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer> {
        Box::new(chain![unit(place, channels, channels / 2, Kernel::POINT), Activation::HardTanh])
    }

    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer> {
        let unit = unit(place, channels, channels, Kernel::SQUARE.grouped(groups));
        Box::new(chain![Residual(unit), Activation::HardTanh])
    }
}
