//! Convolutions with binary weights, and how each network makes such weights from real-valued ones.
//!
//! The real-valued ("latent") weight is the parameter that the checkpoint holds and the optimiser moves; the forward pass
//! sees its sign, scaled or not, and the gradient reaches it through the stand-in of the sign.

use tch::nn::Init;
use tch::{Kind, Tensor};

use super::super::layers::{like, pointwise};
use super::layers::{Layer, Pass};
use super::place::{Place, uniform};
use super::sign::{sign_estimated, sign_identity, through};

/// From latent weights `[output, input, row, column]` to those that are convolved with.
#[derive(Debug)]
pub(super) enum Rule {
    /// `±1`, zero for zero; the gradient passes unchanged and the latent weight stays within ±1 (BNN).
    Sign,
    /// As `Sign`, but `+1` for zero (BiConnect).
    SignOfZeroIsOne,
    /// `mean|w| · sign(w)` per output channel; the gradient is that of `clamp(w, −1, 1)` (XNOR-Net's scale as used in
    /// Bi-Real, ReActNet, BBCU and BiSRNet).
    Scaled,
    /// Centred and divided by the deviation, then the sign times a power of two; the gradient is the estimator's
    /// (IR-Net).
    Balanced,
    /// Centred, divided by the deviation and by √fan_in, then as `Scaled`, then times a learned gain (BTM).
    Standardised {
        /// `[output, 1, 1, 1]`.
        gain: Tensor,
    },
}

/// A convolution without bias whose weights are binary.
#[derive(Debug)]
pub(super) struct BinaryConv {
    latent: Tensor,
    shape: [i64; 4],
    rule: Rule,
    stride: i64,
    groups: i64,
}

/// Sizes of a binary convolution; the padding keeps the size at stride 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    pub(super) side: i64,
    pub(super) stride: i64,
    pub(super) groups: i64,
}

impl Kernel {
    pub(super) const POINT: Self = Self { side: 1, stride: 1, groups: 1 };
    pub(super) const SQUARE: Self = Self { side: 3, stride: 1, groups: 1 };

    pub(super) fn strided(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    pub(super) fn grouped(self, groups: i64) -> Self {
        Self { groups, ..self }
    }

    fn weight_shape(self, from: i64, to: i64) -> [i64; 4] {
        [to, from / self.groups, self.side, self.side]
    }
}

impl BinaryConv {
    fn build(
        place: &Place,
        shape: [i64; 4],
        stored: &[i64],
        kernel: Kernel,
        rule: Rule,
        start: Init,
    ) -> Self {
        let latent = place.latent("weight", stored, start);
        Self { latent, shape, rule, stride: kernel.stride, groups: kernel.groups }
    }

    /// `weight [to, from / groups, side, side]`, started as PyTorch starts a convolution: of either sign, also for the
    /// networks whose released code starts with positive weights only.
    pub(super) fn new(place: &Place, from: i64, to: i64, kernel: Kernel, rule: Rule) -> Self {
        let shape = kernel.weight_shape(from, to);
        let start = uniform(shape[1..].iter().product());
        Self::build(place, shape, &shape, kernel, rule, start)
    }

    /// As [`BinaryConv::new`], stored as a column `[to · from / groups · side², 1]` (Bi-Real).
    pub(super) fn column(place: &Place, from: i64, to: i64, kernel: Kernel, rule: Rule) -> Self {
        let shape = kernel.weight_shape(from, to);
        let start = uniform(shape[1..].iter().product());
        Self::build(place, shape, &[shape.iter().product(), 1], kernel, rule, start)
    }

    /// As [`BinaryConv::new`], started normal with variance 2 / (side² · to) (BNN).
    pub(super) fn normal(place: &Place, from: i64, to: i64, kernel: Kernel, rule: Rule) -> Self {
        let shape = kernel.weight_shape(from, to);
        let stdev = (2.0 / (kernel.side * kernel.side * to) as f64).sqrt();
        Self::build(place, shape, &shape, kernel, rule, Init::Randn { mean: 0.0, stdev })
    }

    /// With a learned gain beside the weight (BTM).
    pub(super) fn with_gain(place: &Place, from: i64, to: i64, kernel: Kernel) -> Self {
        let gain = place.parameter("gain", &[to, 1, 1, 1], Init::Const(1.0));
        Self::new(place, from, to, kernel, Rule::Standardised { gain })
    }

    /// The weights to convolve with, `[output, input / groups, row, column]`.
    fn weight(&self, pass: &Pass) -> Tensor {
        let latent = self.latent.view(self.shape);
        match &self.rule {
            Rule::Sign => {
                self.keep_latent_within_one(pass);
                sign_identity(&latent, pass.hardness)
            }
            Rule::SignOfZeroIsOne => {
                self.keep_latent_within_one(pass);
                let positive = latent.detach().ge(0.0).to_kind(latent.kind()) * 2.0 - 1.0;
                through(&latent, &positive, pass.hardness)
            }
            Rule::Scaled => scaled_sign(&latent, pass.hardness),
            Rule::Balanced => {
                let (deviation, mean) = latent.std_mean_dim([1i64, 2, 3].as_slice(), true, true);
                let balanced = (&latent - mean) / deviation;
                let scale = power_of_two_near(&mean_absolute(&balanced));
                sign_estimated(&balanced, pass.estimator, pass.hardness) * scale
            }
            Rule::Standardised { gain } => {
                let (deviation, mean) = latent.std_mean_dim([1i64, 2, 3].as_slice(), false, true);
                let fan_in: i64 = self.shape[1..].iter().product();
                let standardised = (&latent - mean) * (fan_in as f64).powf(-0.5) / (deviation + 1e-5);
                gain * scaled_sign(&standardised, pass.hardness)
            }
        }
    }

    /// The published rule clips latent weights to ±1 after each step, lest they wander off where no gradient can turn
    /// their sign. Done here, before the next use, any optimiser will do.
    fn keep_latent_within_one(&self, pass: &Pass) {
        if pass.train {
            let _ = tch::no_grad(|| self.latent.shallow_clone().clamp_(-1.0, 1.0));
        }
    }
}

impl Layer for BinaryConv {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let [to, from, _, side] = self.shape;
        let weight = like(&self.weight(pass), x);
        if pass.train && side == 1 && self.stride == 1 && self.groups == 1 {
            // Workers of a training have one thread, on which libtorch's own way is the slower one.
            return pointwise(&x.permute([0, 2, 3, 1]), &weight.view([to, from]), None).permute([0, 3, 1, 2]);
        }
        let (stride, padding) = ([self.stride; 2], [side / 2; 2]);
        x.conv2d(&weight, None::<Tensor>, stride, padding, [1, 1], self.groups)
    }
}

/// Mean of `|w|` over all but the first axis, one axis after the other as in the published code, without gradient.
fn mean_absolute(weight: &Tensor) -> Tensor {
    let axis = |t: Tensor, axis: i64| t.mean_dim([axis].as_slice(), true, None::<Kind>);
    axis(axis(axis(weight.detach().abs(), 3), 2), 1)
}

/// `mean|w| · sign(w)` with the gradient of `clamp(w, −1, 1)`.
///
/// The three terms are added left to right as in the published code. In single precision that leaves residues of up to
/// 6e-8 beside `±mean|w|` (where `|w|` is large against the mean); official weights were trained with them.
fn scaled_sign(weight: &Tensor, hardness: f64) -> Tensor {
    let clipped = weight.clamp(-1.0, 1.0);
    let scaled = mean_absolute(weight) * weight.detach().sign();
    if hardness == 1.0 { scaled - clipped.detach() + clipped } else { through(&clipped, &scaled, hardness) }
}

/// `2^round(log₂ x)`, halves to even.
fn power_of_two_near(x: &Tensor) -> Tensor {
    (x.log() / std::f64::consts::LN_2).round().exp2()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tch::{Device, nn};

    use super::super::sign::Estimator;
    use super::*;

    fn weight() -> Tensor {
        tch::manual_seed(7);
        (Tensor::randn([3, 2, 3, 3], (Kind::Double, Device::Cpu)) * 0.8).set_requires_grad(true)
    }

    #[test]
    fn a_scaled_sign_has_two_values_a_channel_and_a_clipped_gradient() {
        let w = weight();
        let binary = scaled_sign(&w, 1.0);
        binary.sum(Kind::Double).backward();
        for channel in 0..3 {
            let latent = w.detach().get(channel).flatten(0, -1);
            let scale = latent.abs().mean(Kind::Double).double_value(&[]);
            let (latent, binary) =
                (Vec::<f64>::try_from(latent).unwrap(), binary.get(channel).flatten(0, -1));
            let gradient = Vec::<f64>::try_from(w.grad().get(channel).flatten(0, -1)).unwrap();
            for ((w, b), g) in latent.iter().zip(Vec::<f64>::try_from(binary).unwrap()).zip(gradient) {
                // Two additions of numbers of size one in double precision.
                assert!((b - scale * w.signum()).abs() < 1e-15);
                assert_eq!(g, if w.abs() <= 1.0 { 1.0 } else { 0.0 });
            }
        }
    }

    #[test]
    fn signs_without_a_scale_pass_the_gradient_and_differ_at_zero() {
        for (rule, of_zero) in [(Rule::Sign, 0.0f32), (Rule::SignOfZeroIsOne, 1.0)] {
            let (store, noted) = (nn::VarStore::new(Device::Cpu), RefCell::new(Vec::new()));
            let place = Place::new(store.root(), &noted);
            let conv = BinaryConv::new(&place, 4, 1, Kernel::POINT, rule);
            let latent = [-3.0f32, 0.0, 0.25, 1.5];
            tch::no_grad(|| {
                conv.latent.shallow_clone().copy_(&Tensor::from_slice(&latent).view([1, 4, 1, 1]))
            });
            let pass = Pass {
                train: false,
                estimator: Estimator::at(0.0),
                hardness: 1.0,
                taps: &RefCell::new(None),
            };
            let weight = conv.weight(&pass);
            (&weight * Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([1, 4, 1, 1]))
                .sum(Kind::Float)
                .backward();
            assert_eq!(Vec::<f32>::try_from(weight.flatten(0, -1)).unwrap(), [-1.0, of_zero, 1.0, 1.0]);
            assert_eq!(
                Vec::<f32>::try_from(conv.latent.grad().flatten(0, -1)).unwrap(),
                [1.0, 2.0, 3.0, 4.0]
            );
            assert_eq!(noted.into_inner(), [".weight"], "a binary weight is noted");
        }
    }

    #[test]
    fn powers_of_two() {
        let x = Tensor::from_slice(&[0.3f32, 0.8, 1.3, 1.5, 2.0, 5.0]);
        assert_eq!(power_of_two_near(&x), Tensor::from_slice(&[0.25f32, 1.0, 1.0, 2.0, 2.0, 4.0]));
    }
}
