//! BNN: Hubara et al., "Binarized Neural Networks", NeurIPS 2016.
//!
//! Signs without scales, batch normalisation, hard tanh. `embedding` and `mapping` are full-precision convolutions.

use super::conv::{BinaryConv, Kernel, Rule};
use super::layers::{Activation, BatchNorm, FloatConv, Layer, Residual, Sign, Sum, Upsample, chain};
use super::place::Place;
use super::unet::Family;

pub(super) struct Bnn;

fn conv(place: &Place, from: i64, to: i64, kernel: Kernel) -> BinaryConv {
    BinaryConv::normal(place, from, to, kernel, Rule::Sign)
}

/// Sign, convolution, normalisation, hard tanh.
fn unit(place: &Place, from: i64, to: i64, kernel: Kernel) -> impl Layer + 'static {
    chain![
        Sign::Identity,
        conv(&place.at("conv1"), from, to, kernel),
        BatchNorm::new(&place.at("bn1"), to),
        Activation::HardTanh,
    ]
}

impl Family for Bnn {
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
                    Sign::Identity,
                    conv(&shortcut.at(0), channels, to, Kernel::POINT.strided(2)),
                    BatchNorm::new(&shortcut.at(1), to),
                ],
            ),
            BatchNorm::new(&place.at("bn2"), to),
            Activation::HardTanh,
        ])
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
        Box::new(Residual(unit(place, channels, channels, Kernel::SQUARE.grouped(groups))))
    }
}
