//! The plain layers of the binarized networks, and the ways to put layers together.
//!
//! Features are `[n, channel, row, column]`. One layer is one libtorch call (weights that have to be binarized apart),
//! so this is also the reference that faster engines are measured against.

use std::cell::RefCell;

use tch::Tensor;
use tch::nn::Init;

use super::super::layers::{gelu, like};
use super::place::{Place, uniform};
use super::sign::{Estimator, sign_clipped, sign_estimated, sign_identity, sign_quadratic};

/// What one forward pass carries through all layers.
pub(super) struct Pass<'a> {
    /// Whether batch normalisation uses the batch's statistics and latent weights are clipped.
    pub(super) train: bool,
    /// IR-Net's surrogate gradient.
    pub(super) estimator: Estimator,
    /// How hard signs are, see [`crate::arch::Phase`].
    pub(super) hardness: f64,
    /// Where to note intermediate results, if wanted.
    pub(super) taps: &'a RefCell<Option<Vec<(String, Tensor)>>>,
}

impl Pass<'_> {
    /// Notes an intermediate result.
    pub(super) fn tap(&self, name: &str, value: &Tensor) {
        if let Some(taps) = self.taps.borrow_mut().as_mut() {
            taps.push((name.to_string(), value.shallow_clone()));
        }
    }
}

/// Anything from features to features.
pub(super) trait Layer: Send {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor;
}

/// Layers one after the other.
pub(super) struct Chain(Vec<Box<dyn Layer>>);

/// A [`Chain`] of the layers given.
macro_rules! chain {
    ($($layer:expr),+ $(,)?) => {
        $crate::arch::binary::layers::Chain::new(vec![$(Box::new($layer)),+])
    };
}
pub(super) use chain;

impl Chain {
    pub(super) fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        Self(layers)
    }
}

impl Layer for Chain {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        self.0.iter().fold(x.shallow_clone(), |x, layer| layer.forward(&x, pass))
    }
}

/// `f(x) + x`.
pub(super) struct Residual<F>(pub(super) F);

impl<F: Layer> Layer for Residual<F> {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        self.0.forward(x, pass) + x
    }
}

/// `f(x) + g(x)`.
pub(super) struct Sum<F, G>(pub(super) F, pub(super) G);

impl<F: Layer, G: Layer> Layer for Sum<F, G> {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        self.0.forward(x, pass) + self.1.forward(x, pass)
    }
}

/// Twice the channels: `f(x)` followed by `g(x)`.
pub(super) struct Concat<F, G>(pub(super) F, pub(super) G);

impl<F: Layer, G: Layer> Layer for Concat<F, G> {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        Tensor::cat(&[self.0.forward(x, pass), self.1.forward(x, pass)], 1)
    }
}

/// Half the channels: the mean of `f` of the first and `g` of the second half.
pub(super) struct MeanOfHalves<F, G>(pub(super) F, pub(super) G);

impl<F: Layer, G: Layer> Layer for MeanOfHalves<F, G> {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let half = x.size()[1] / 2;
        let (first, second) = (x.narrow(1, 0, half), x.narrow(1, half, half));
        (self.0.forward(&first, pass) + self.1.forward(&second, pass)) / 2.0
    }
}

/// The sign, by its surrogate gradient.
pub(super) enum Sign {
    Identity,
    Clipped,
    Quadratic,
    Estimated,
}

impl Layer for Sign {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        match self {
            Self::Identity => sign_identity(x, pass.hardness),
            Self::Clipped => sign_clipped(x, pass.hardness),
            Self::Quadratic => sign_quadratic(x, pass.hardness),
            Self::Estimated => sign_estimated(x, pass.estimator, pass.hardness),
        }
    }
}

/// The activations without parameters.
pub(super) enum Activation {
    Gelu,
    HardTanh,
    Relu,
}

impl Layer for Activation {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        match self {
            Self::Gelu => gelu(x),
            Self::HardTanh => x.hardtanh(),
            Self::Relu => x.relu(),
        }
    }
}

/// Multiplication by a constant.
pub(super) struct Scale(pub(super) f64);

impl Layer for Scale {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        x * self.0
    }
}

/// Mean over 2x2 pixels: half the rows and columns.
pub(super) struct Pool;

impl Layer for Pool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
    }
}

/// Bilinear interpolation to twice the rows and columns; samples sit at pixel centres.
pub(super) struct Upsample;

impl Layer for Upsample {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        let (_, _, rows, columns) = x.size4().expect("[n, channel, row, column]");
        x.upsample_bilinear2d([2 * rows, 2 * columns], false, None, None)
    }
}

/// A learned offset a channel.
pub(super) struct Bias(Tensor);

impl Bias {
    pub(super) fn new(place: &Place, channels: i64) -> Self {
        Self(place.parameter("bias", &[1, channels, 1, 1], Init::Const(0.0)))
    }
}

impl Layer for Bias {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        x + like(&self.0, x)
    }
}

/// A learned slope a channel for negative values.
pub(super) struct Prelu(Tensor);

impl Prelu {
    pub(super) fn new(place: &Place, channels: i64) -> Self {
        Self(place.parameter("weight", &[channels], Init::Const(0.25)))
    }
}

impl Layer for Prelu {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        x.prelu(&like(&self.0, x))
    }
}

/// A [`Prelu`] between two offsets, under the names of BBCU and BiSRNet.
pub(super) fn rprelu(place: &Place, channels: i64) -> Chain {
    chain![
        Bias::new(&place.at("pr_bias0"), channels),
        Prelu::new(&place.at("pr_prelu"), channels),
        Bias::new(&place.at("pr_bias1"), channels),
    ]
}

/// Batch normalisation: by the batch in training, by the running statistics in evaluation.
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    batches: Tensor,
}

impl BatchNorm {
    pub(super) fn new(place: &Place, channels: i64) -> Self {
        Self {
            weight: place.parameter("weight", &[channels], Init::Const(1.0)),
            bias: place.parameter("bias", &[channels], Init::Const(0.0)),
            mean: place.buffer("running_mean", &[channels], 0.0),
            variance: place.buffer("running_var", &[channels], 1.0),
            batches: place.buffer("num_batches_tracked", &[], 0.0),
        }
    }
}

impl Layer for BatchNorm {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        if pass.train {
            let _ = self.batches.shallow_clone().g_add_scalar_(1.0);
        }
        let (mean, variance) = (Some(&self.mean), Some(&self.variance));
        x.batch_norm(Some(&self.weight), Some(&self.bias), mean, variance, pass.train, 0.1, 1e-5, true)
    }
}

/// A full-precision convolution that keeps the size, or halves it at stride 2.
pub(super) struct FloatConv {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
}

impl FloatConv {
    /// `weight [to, from, side, side]`, without bias.
    pub(super) fn new(place: &Place, from: i64, to: i64, side: i64, stride: i64) -> Self {
        let weight = place.parameter("weight", &[to, from, side, side], uniform(from * side * side));
        Self { weight, bias: None, stride }
    }

    /// At first nothing but this `matrix [to, from]` at the centre.
    pub(super) fn start_as(&self, matrix: &Tensor) {
        let side = self.weight.size()[3];
        tch::no_grad(|| {
            let _ = self.weight.shallow_clone().zero_();
            self.weight.select(3, side / 2).select(2, side / 2).copy_(matrix);
        });
    }

    /// Gives this bias at first.
    pub(super) fn start_bias_at(&self, values: &Tensor) {
        if let Some(bias) = &self.bias {
            tch::no_grad(|| bias.shallow_clone().copy_(values));
        }
    }

    /// A 1x1 convolution with bias.
    pub(super) fn point_with_bias(place: &Place, from: i64, to: i64) -> Self {
        let bias = Some(place.parameter("bias", &[to], uniform(from)));
        Self { bias, ..Self::new(place, from, to, 1, 1) }
    }
}

impl Layer for FloatConv {
    fn forward(&self, x: &Tensor, _: &Pass) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.weight.size()[3] / 2; 2]);
        let bias = self.bias.as_ref().map(|bias| like(bias, x));
        x.conv2d(&like(&self.weight, x), bias, stride, padding, [1, 1], 1)
    }
}
