//! The sign function with the surrogate gradients of the eight networks.
//!
//! The sign has no useful derivative, so each network trains through that of a smooth or clipped stand-in `s`. libtorch
//! differentiates `s − detach(s) + detach(sign x)`: its value is exactly the sign (`s − s` is zero in any precision), and
//! its derivative exactly that of `s`. The sign of zero is zero, as in the published code.
//!
//! A training may begin with the stand-in itself and turn to the sign by degrees (`hardness`, not in the published code).
//!
//! | stand-in | s(x) | s'(x) | used by |
//! |---|---|---|---|
//! | identity | x | 1 | BNN (its hard tanh clips) |
//! | clipped | clamp(x, −1, 1) | 1 for abs(x) ≤ 1, else 0 | BBCU, BTM, BiConnect |
//! | quadratic | 2x − x·abs(x) for abs(x) ≤ 1, else ±1 | 2 − 2 abs(x), else 0 | Bi-Real, ReActNet |
//! | tanh | k tanh(t x) | k t (1 − tanh²(t x)) | IR-Net |
//! | scalable tanh | tanh(β x), β learned | β (1 − tanh²(β x)); x (1 − tanh²(β x)) for β | BiSRNet |
//!
//! Sources: Hubara et al. 2016 (identity, clipped), Liu et al. 2018 (quadratic), Qin et al. 2020 (tanh), Cai et al. 2023
//! (scalable tanh).

use tch::Tensor;

/// `hard` with the derivative of `soft`, or, below a hardness of 1, that share of `hard` and the rest of `soft`.
pub(super) fn through(soft: &Tensor, hard: &Tensor, hardness: f64) -> Tensor {
    match hardness {
        // Exactly `hard`, whatever the rounding of the other form.
        1.0 => soft - soft.detach() + hard.detach(),
        0.0 => soft.shallow_clone(),
        _ => soft + (hard.detach() - soft.detach()) * hardness,
    }
}

/// The gradient passes unchanged.
pub(super) fn sign_identity(x: &Tensor, hardness: f64) -> Tensor {
    through(x, &x.detach().sign(), hardness)
}

/// The gradient passes where `|x| ≤ 1`.
pub(super) fn sign_clipped(x: &Tensor, hardness: f64) -> Tensor {
    through(&x.clamp(-1.0, 1.0), &x.detach().sign(), hardness)
}

/// The gradient of a piecewise quadratic that touches ±1 at ±1.
pub(super) fn sign_quadratic(x: &Tensor, hardness: f64) -> Tensor {
    let clipped = x.clamp(-1.0, 1.0);
    let stand_in = &clipped * (2.0 - clipped.abs());
    through(&stand_in, &x.detach().sign(), hardness)
}

/// The gradient of `k tanh(t x)`.
pub(super) fn sign_estimated(x: &Tensor, estimator: Estimator, hardness: f64) -> Tensor {
    let stand_in = (x * estimator.t).tanh() * estimator.k;
    through(&stand_in, &x.detach().sign(), hardness)
}

/// The gradient of `tanh(beta x)`, for `x` and for `beta [1]`.
pub(super) fn sign_scalable(x: &Tensor, beta: &Tensor, hardness: f64) -> Tensor {
    // Named, so that the product is freed before the next buffers are taken.
    let stand_in = (x * beta).tanh();
    through(&stand_in, &x.detach().sign(), hardness)
}

/// IR-Net's "error decay estimator": the slope `t` and height `k` of its tanh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimator {
    pub(super) k: f64,
    pub(super) t: f64,
}

impl Estimator {
    const T_FIRST: f64 = 0.1;
    const T_LAST: f64 = 10.0;

    /// At a fraction of the training done, from 0 (`k = 10`, `t = 0.1`: nearly the identity near zero) to 1
    /// (`k = 1`, `t = 10`: nearly the sign): `t` grows geometrically and `k = max(1/t, 1)`.
    pub(super) fn at(progress: f64) -> Self {
        let t = Self::T_FIRST * (Self::T_LAST / Self::T_FIRST).powf(progress.clamp(0.0, 1.0));
        Self { k: (1.0 / t).max(1.0), t }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    const X: [f64; 9] = [-7.0, -1.5, -0.8, -0.25, 0.0, 0.3, 0.75, 1.25, 30.0];

    /// Value and gradient of `f` at every `X`, in double precision.
    fn check(f: impl Fn(&Tensor) -> Tensor, slope: impl Fn(f64) -> f64) {
        let x = Tensor::from_slice(&X).set_requires_grad(true);
        let y = f(&x);
        y.sum(Kind::Double).backward();
        let (value, gradient) = (Vec::<f64>::try_from(&y).unwrap(), Vec::<f64>::try_from(x.grad()).unwrap());
        for ((&x, value), gradient) in X.iter().zip(value).zip(gradient) {
            assert_eq!(value, if x == 0.0 { 0.0 } else { x.signum() }, "sign({x})");
            // tanh of libtorch and of Rust agree to a few units in the last place of a double.
            assert!((gradient - slope(x)).abs() < 1e-12, "slope at {x}: {gradient}, expected {}", slope(x));
        }
    }

    fn sech2(x: f64) -> f64 {
        1.0 - x.tanh().powi(2)
    }

    #[test]
    fn surrogates_have_the_sign_and_their_closed_form_gradient() {
        let inside = |x: f64| f64::from(u8::from(x.abs() <= 1.0));
        check(|x| sign_identity(x, 1.0), |_| 1.0);
        check(|x| sign_clipped(x, 1.0), inside);
        check(|x| sign_quadratic(x, 1.0), |x| inside(x) * (2.0 - 2.0 * x.abs()));
        for progress in [0.0, 0.4, 1.0] {
            let Estimator { k, t } = Estimator::at(progress);
            check(|x| sign_estimated(x, Estimator { k, t }, 1.0), |x| k * t * sech2(t * x));
        }
        let beta = 1.7;
        check(|x| sign_scalable(x, &Tensor::from_slice(&[beta]), 1.0), |x| beta * sech2(beta * x));
    }

    #[test]
    fn the_sharpness_of_the_tanh_is_learned() {
        let beta = Tensor::from_slice(&[1.7]).set_requires_grad(true);
        sign_scalable(&Tensor::from_slice(&X), &beta, 1.0).sum(Kind::Double).backward();
        let expected: f64 = X.iter().map(|&x| x * sech2(1.7 * x)).sum();
        assert!((beta.grad().double_value(&[0]) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_value_is_exact_in_single_precision() {
        // 10 tanh(0.1 x) is far from ±1, where `sign − s + s` would round to something else.
        let x = Tensor::linspace(-3.0, 3.0, 1001, (Kind::Float, tch::Device::Cpu));
        assert_eq!(sign_estimated(&x, Estimator::at(0.0), 1.0), x.sign());
    }

    #[test]
    fn a_sign_hardens_by_degrees_under_one_gradient() {
        for hardness in [0.0, 0.25, 1.0] {
            let x = Tensor::from_slice(&X).set_requires_grad(true);
            let y = sign_clipped(&x, hardness);
            y.sum(Kind::Double).backward();
            let (value, gradient) =
                (Vec::<f64>::try_from(&y).unwrap(), Vec::<f64>::try_from(x.grad()).unwrap());
            for ((x, value), gradient) in X.into_iter().zip(value).zip(gradient) {
                let sign = if x == 0.0 { 0.0 } else { x.signum() };
                // Three roundings of numbers of size one in double precision.
                assert!((value - (hardness * sign + (1.0 - hardness) * x.clamp(-1.0, 1.0))).abs() < 1e-15);
                assert_eq!(gradient, f64::from(u8::from(x.abs() <= 1.0)));
            }
        }
    }

    #[test]
    fn the_estimator_sharpens() {
        assert_eq!(Estimator::at(0.0), Estimator { k: 10.0, t: 0.1 });
        let middle = Estimator::at(0.5);
        assert!((middle.t - 1.0).abs() < 1e-12 && (middle.k - 1.0).abs() < 1e-12);
        let last = Estimator::at(1.0);
        assert!((last.t - 10.0).abs() < 1e-12 && last.k == 1.0);
    }
}
