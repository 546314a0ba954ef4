//! Layers on channels-last features `[n, row, column, channel]`, the form in which pointwise layers are one matrix
//! product and depthwise convolutions vectorise.
//!
//! Parameters are cast to the kind of the features where the two differ: that is how bfloat16 training works, whose
//! master weights stay in single precision.

use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

/// A parameter as the features want it.
pub(crate) fn like(parameter: &Tensor, features: &Tensor) -> Tensor {
    match parameter.kind() == features.kind() {
        true => parameter.shallow_clone(),
        false => parameter.to_kind(features.kind()),
    }
}

/// Uniform in ±1/√fan_in: how PyTorch starts convolutions and their biases.
fn uniform(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// How a weight starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// As PyTorch starts a convolution.
    Convolution,
    /// Normal with deviation 0.02, as the published transformers start their linear layers; biases at 0.
    Transformer,
}

/// A linear map over channels: a matrix or a 1x1 convolution in the checkpoint.
#[derive(Debug)]
pub(crate) struct Pointwise {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Pointwise {
    /// `[output, input]`, or `[output, input, 1, 1]` where the checkpoint holds a convolution.
    pub(crate) fn new(path: &Path<'_>, from: i64, to: i64, bias: bool, start: Start) -> Self {
        let (shape, weight, bias_start) = match start {
            Start::Convolution => (vec![to, from, 1, 1], uniform(from), uniform(from)),
            Start::Transformer => (vec![to, from], Init::Randn { mean: 0.0, stdev: 0.02 }, Init::Const(0.0)),
        };
        let weight = path.var("weight", &shape, weight);
        Self { weight, bias: bias.then(|| path.var("bias", &[to], bias_start)) }
    }

    /// At first each channel's own value, as far as there are channels.
    pub(crate) fn start_as_identity(&self) {
        let zero = |tensor: &Tensor| {
            let _ = tch::no_grad(|| tensor.shallow_clone().zero_());
        };
        zero(&self.weight);
        self.bias.iter().for_each(zero);
        start_diagonal(&self.matrix());
    }

    /// The matrix `[output, input]`.
    pub(crate) fn matrix(&self) -> Tensor {
        let size = self.weight.size();
        self.weight.view([size[0], size[1]])
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        pointwise(x, &like(&self.matrix(), x), self.bias.as_ref().map(|bias| like(bias, x)))
    }

    /// `residual + forward(x)`.
    pub(crate) fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> Tensor {
        if suits_onednn(x) {
            return self.forward(x) + residual;
        }
        // In one pass over memory.
        let matrix = like(&self.matrix(), x);
        let size = matrix.size();
        let onto = residual.reshape([-1, size[0]]).addmm(&x.reshape([-1, size[1]]), &matrix.tr());
        let onto = onto.view_as(residual);
        match &self.bias {
            Some(bias) => onto + like(bias, x),
            None => onto,
        }
    }
}

/// Whether oneDNN computes with features like these.
fn suits_onednn(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::BFloat16)
}

/// A matrix `[output, input]` on every pixel of `x [n, row, column, input]`.
///
/// On the CPU as a convolution of oneDNN's, which is twice as fast as the matrix product, forward and back: 2.2
/// against 6.0 ms from 28 to 112 channels and 1.4 against 2.9 ms from 112 to 448, for 16384 and 1024 pixels on one
/// thread with AVX-512. libtorch, however, hands a 1x1 convolution on one thread to a plain matrix product unless the
/// batch has at least 16 items: so the pixels are dealt out to so many.
pub(crate) fn pointwise(x: &Tensor, matrix: &Tensor, bias: Option<Tensor>) -> Tensor {
    const ITEMS: i64 = 16;
    let (to, from) = matrix.size2().expect("a matrix");
    let (n, rows, columns, _) = x.size4().expect("features of rank 4");
    let pixels = n * rows * columns;
    if !suits_onednn(x) || pixels % ITEMS != 0 {
        return x.linear(matrix, bias);
    }
    x.reshape([ITEMS, 1, pixels / ITEMS, from])
        .permute([0, 3, 1, 2])
        .conv2d(&matrix.view([to, from, 1, 1]), bias, [1, 1], [0, 0], [1, 1], 1)
        .permute([0, 2, 3, 1])
        .reshape([n, rows, columns, to])
}

/// A convolution over rows and columns.
#[derive(Debug)]
pub(crate) struct Convolution {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
    groups: i64,
}

impl Convolution {
    /// A dense convolution without bias, e.g. 3x3 at stride 1 or 4x4 at stride 2, both with padding 1.
    pub(crate) fn dense(path: &Path<'_>, from: i64, to: i64, side: i64, stride: i64) -> Self {
        let weight = path.var("weight", &[to, from, side, side], uniform(from * side * side));
        Self { weight, bias: None, stride, padding: 1, groups: 1 }
    }

    /// A depthwise convolution that keeps the size.
    pub(crate) fn depthwise(path: &Path<'_>, channels: i64, side: i64, bias: bool) -> Self {
        let fan_in = side * side;
        let weight = path.var("weight", &[channels, 1, side, side], uniform(fan_in));
        let bias = bias.then(|| path.var("bias", &[channels], uniform(fan_in)));
        Self { weight, bias, stride: 1, padding: side / 2, groups: channels }
    }

    /// At first zero everywhere.
    pub(crate) fn start_at_zero(&self) {
        let _ = tch::no_grad(|| self.weight.shallow_clone().zero_());
    }

    /// At first each channel's own value, as far as there are channels.
    pub(crate) fn start_as_identity(&self) {
        self.start_at_zero();
        let side = self.weight.size()[3];
        start_diagonal(&self.weight.select(3, side / 2).select(2, side / 2));
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with_bias(x, self.bias.as_ref())
    }

    /// With a bias of the caller's, which costs no pass of its own.
    pub(crate) fn forward_with_bias(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (stride, padding) = (self.stride, self.padding);
        x.permute([0, 3, 1, 2])
            .conv2d(
                &like(&self.weight, x),
                bias.map(|bias| like(bias, x)),
                [stride, stride],
                [padding, padding],
                [1, 1],
                self.groups,
            )
            .permute([0, 2, 3, 1])
    }
}

/// Ones on the diagonal of `matrix [output, input]`.
fn start_diagonal(matrix: &Tensor) {
    let _ = tch::no_grad(|| matrix.diagonal(0, 0, 1).fill_(1.0));
}

/// A 2x2 transposed convolution at stride 2, with bias: every pixel becomes four, so it is a matrix product and a
/// rearrangement.
#[derive(Debug)]
pub(crate) struct Upsample {
    weight: Tensor,
    bias: Tensor,
}

impl Upsample {
    pub(crate) fn new(path: &Path<'_>, from: i64, to: i64) -> Self {
        // PyTorch counts the fan-in of a transposed convolution on the output side.
        let start = uniform(to * 4);
        Self { weight: path.var("weight", &[from, to, 2, 2], start), bias: path.var("bias", &[to], start) }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let (n, rows, columns, _) = x.size4().expect("features of rank 4");
        let to = self.weight.size()[1];
        let matrix = like(&self.weight, x).permute([2, 3, 1, 0]).reshape([4 * to, -1]);
        let bias = like(&self.bias, x).repeat([4]);
        pointwise(x, &matrix, Some(bias))
            .view([n, rows, columns, 2, 2, to])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([n, 2 * rows, 2 * columns, to])
    }
}

/// Layer normalisation over channels.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(crate) fn new(path: &Path<'_>, channels: i64) -> Self {
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let channels = self.weight.size()[0];
        x.layer_norm([channels], Some(like(&self.weight, x)), Some(like(&self.bias, x)), 1e-5, true)
    }
}

/// The exact (erf) GELU.
pub(crate) fn gelu(x: &Tensor) -> Tensor {
    x.gelu("none")
}

/// `[n, band, row, column]` to channels-last, in memory too.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous()
}

/// Back to `[n, band, row, column]`, contiguous.
pub(crate) fn bands_first(x: &Tensor) -> Tensor {
    x.permute([0, 3, 1, 2]).contiguous()
}

/// Repeats borders by reflection until rows and columns of `x [n, band, row, column]` are multiples of `multiple`.
///
/// # Panics
/// If an axis is shorter than the padding plus one: there is nothing to reflect.
pub(crate) fn pad_to_multiple(x: &Tensor, multiple: i64) -> Tensor {
    let (_, _, rows, columns) = x.size4().expect("[n, band, row, column]");
    let (bottom, right) =
        ((multiple - rows % multiple) % multiple, (multiple - columns % multiple) % multiple);
    if bottom == 0 && right == 0 {
        return x.shallow_clone();
    }
    assert!(
        bottom < rows && right < columns,
        "a frame of {rows} x {columns} cannot be padded by reflection to multiples of {multiple}"
    );
    x.reflection_pad2d([0, right, 0, bottom])
}

/// Cuts `bands` windows of a snapshot `[n, row, sheared column]`, window `b` starting at column `step · b`:
/// `[n, band, row, column]`.
pub(crate) fn unshear_snapshot(snapshot: &Tensor, bands: i64, step: i64) -> Tensor {
    let (_, _, sheared) = snapshot.size3().expect("a snapshot [n, row, column]");
    let columns = sheared - step * (bands - 1);
    assert!(columns > 0, "a snapshot of {sheared} columns is too narrow for {bands} bands at step {step}");
    let windows: Vec<Tensor> = (0..bands).map(|b| snapshot.narrow(2, step * b, columns)).collect();
    Tensor::stack(&windows, 1)
}

/// Cuts the window of each band of a sheared frame `[n, band, row, sheared column]`.
pub(crate) fn unshear(frame: &Tensor, step: i64) -> Tensor {
    let (_, bands, _, sheared) = frame.size4().expect("[n, band, row, column]");
    let columns = sheared - step * (bands - 1);
    assert!(columns > 0, "a frame of {sheared} columns is too narrow for {bands} bands at step {step}");
    let windows: Vec<Tensor> = (0..bands).map(|b| frame.select(1, b).narrow(2, step * b, columns)).collect();
    Tensor::stack(&windows, 1)
}

/// Moves band `b` of `[n, band, row, column]` right by `step · b`, zero elsewhere.
pub(crate) fn shear(cube: &Tensor, step: i64) -> Tensor {
    let (n, bands, rows, columns) = cube.size4().expect("[n, band, row, column]");
    let frame = Tensor::zeros([n, bands, rows, columns + step * (bands - 1)], (cube.kind(), cube.device()));
    for b in 0..bands {
        frame.select(1, b).narrow(2, step * b, columns).copy_(&cube.select(1, b));
    }
    frame
}

/// Single precision for the small matrices of the attention, whatever the features are (double stays double).
pub(crate) fn at_least_single(x: &Tensor) -> Tensor {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.to_kind(Kind::Float),
        _ => x.shallow_clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointwise_layer_is_a_matrix_product_forward_and_back() {
        tch::manual_seed(1);
        // As many pixels as can be dealt out, and one row too few.
        for shape in [[2i64, 8, 12, 20], [1, 3, 7, 20]] {
            let leaf =
                |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let (x, matrix, bias) = (leaf(&shape), leaf(&[28, 20]), leaf(&[28]));
            let found = pointwise(&x, &matrix, Some(bias.shallow_clone()));
            let expected = x.linear(&matrix, Some(&bias));
            assert_eq!(found.size(), expected.size());
            let slope = Tensor::randn_like(&expected);
            let gradients = |y: &Tensor| {
                Tensor::run_backward(&[(y * &slope).sum(Kind::Float)], &[&x, &matrix, &bias], false, false)
            };
            let pairs = gradients(&found).into_iter().zip(gradients(&expected));
            for (found, expected) in pairs.chain([(found.detach(), expected.detach())]) {
                // Sums of at most 192 products of size one in single precision, in another order.
                assert!((&found - &expected).abs().max().double_value(&[]) < 1e-4, "{shape:?}");
            }
        }
    }
}
