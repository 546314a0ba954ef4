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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two samples of two bands and one pixel.
    fn pair() -> (Tensor, Tensor) {
        let truth = Tensor::from_slice(&[0.6f32, 0.8, 1.0, 0.0]).view([2, 2, 1, 1]);
        let estimate = Tensor::from_slice(&[0.8f32, 0.6, 1.0, 0.4]).view([2, 2, 1, 1]);
        (estimate, truth)
    }

    fn value(kind: LossKind, spectral_angle: f64) -> f64 {
        let (estimate, truth) = pair();
        loss(&Loss { kind, spectral_angle }, &estimate, &truth).double_value(&[])
    }

    #[test]
    fn every_loss_by_hand() {
        // Errors 0.2, -0.2 | 0, 0.4. Single precision: some units of 6e-8.
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
        near(value(LossKind::Rmse, 0.0), (0.24f64 / 4.0).sqrt());
        near(value(LossKind::SampleRmse, 0.0), (0.2 + 0.08f64.sqrt()) / 2.0);
        let charbonnier = |e: f64| (e * e + 1e-6).sqrt();
        near(value(LossKind::Charbonnier, 0.0), (2.0 * charbonnier(0.2) + 1e-3 + charbonnier(0.4)) / 4.0);
        // The angles: between (3, 4) and (4, 3), and the slope 0.4.
        let angles = (0.96f64.acos() + 0.4f64.atan()) / 2.0;
        // The softened norms and the softened root move an angle by some 1e-8 of it.
        near(value(LossKind::Rmse, 0.5) - value(LossKind::Rmse, 0.0), 0.5 * angles);
    }

    #[test]
    fn a_perfect_estimate_has_a_finite_slope() {
        for kind in [LossKind::Rmse, LossKind::SampleRmse, LossKind::Charbonnier] {
            let (_, truth) = pair();
            let estimate = truth.copy().set_requires_grad(true);
            loss(&Loss { kind, spectral_angle: 1.0 }, &estimate, &truth).backward();
            assert_eq!(estimate.grad().isfinite().all().int64_value(&[]), 1, "{kind:?}");
        }
    }
}
