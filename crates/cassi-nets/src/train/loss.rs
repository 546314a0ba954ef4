//! Losses over batches `[n, band, row, column]`, always in single precision.

use tch::{Kind, Tensor};

use super::config::{Loss, LossKind};

/// The loss of a batch, one number.
pub(crate) fn loss(settings: &Loss, estimate: &Tensor, truth: &Tensor) -> Tensor {
    let estimate = estimate.to_kind(Kind::Float);
    let error = &estimate - truth;
    let main = match settings.kind {
        // The bound keeps the root's slope finite on a perfect estimate.
        LossKind::Rmse => error.square().mean(Kind::Float).clamp_min(1e-12).sqrt(),
        LossKind::SampleRmse => error
            .square()
            .mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)
            .clamp_min(1e-12)
            .sqrt()
            .mean(Kind::Float),
        LossKind::Charbonnier => (error.square() + 1e-6).sqrt().mean(Kind::Float),
    };
    match settings.spectral_angle > 0.0 {
        true => main + spectral_angle(&estimate, truth) * settings.spectral_angle,
        false => main,
    }
}

/// Mean angle between spectra in radians, through the chord of the unit vectors, whose slope is finite where the angle
/// vanishes.
fn spectral_angle(estimate: &Tensor, truth: &Tensor) -> Tensor {
    let unit = |x: &Tensor| {
        let norm = (x.square().sum_dim_intlist(1, true, Kind::Float) + 1e-8).sqrt();
        x / norm
    };
    let chord = (unit(estimate) - unit(truth)).square().sum_dim_intlist(1, false, Kind::Float);
    ((chord + 1e-8).sqrt() * 0.5).clamp_max(1.0 - 1e-6).asin().mean(Kind::Float) * 2.0
}
