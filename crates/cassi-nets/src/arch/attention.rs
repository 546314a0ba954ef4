//! The spectral attention block of MST and MST++: attention among channels, then a gated-free feed-forward.
//!
//! Attention among channels needs of queries and keys only their inner products over pixels, and these follow from
//! the Gram matrix of the input: `KᵀQ = W_k (XᵀX) W_qᵀ`, as do the norms. So neither is ever computed: one Gram, small
//! matrices, and then projection times attention as one matrix per sample, applied to the masked values. This is
//! the published arithmetic up to rounding, at half its cost.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

use super::layers::{Convolution, LayerNorm, Pointwise, Start, at_least_single, gelu, like};

/// What the attention of one block looks like inside: the mask, and where to move it.
#[derive(Debug)]
struct MaskGuide {
    conv1: Pointwise,
    conv2: Pointwise,
    depth_conv: Convolution,
}

impl MaskGuide {
    fn new(path: &Path<'_>, channels: i64) -> Self {
        Self {
            conv1: Pointwise::new(&(path / "conv1"), channels, channels, true, Start::Convolution),
            conv2: Pointwise::new(&(path / "conv2"), channels, channels, true, Start::Convolution),
            depth_conv: Convolution::depthwise(&(path / "depth_conv"), channels, 5, true),
        }
    }

    /// Weights of the values `[n or 1, row, column, channel]` from mask features of the level.
    fn forward(&self, mask: &MaskFeatures) -> Tensor {
        let features = self.conv1.forward(&mask.features);
        let gate = self.depth_conv.forward(&self.conv2.forward(&features)).sigmoid();
        // features · (1 + gate), moved back by the dispersion
        let weighted = Tensor::addcmul(&features, &features, &gate);
        match &mask.columns {
            Some(columns) => weighted.gather(2, &columns.expand_as_rows(&weighted), false),
            None => weighted,
        }
    }
}

/// Mask features of one level, sheared, and the columns to read them at.
#[derive(Debug)]
pub(crate) struct MaskFeatures {
    /// `[n or 1, row, sheared column, channel]`.
    pub(crate) features: Tensor,
    /// Where each output column of each channel lies; none if nothing moves and the width fits.
    pub(crate) columns: Option<ShiftColumns>,
}

/// For every output column and channel the column of the sheared frame: `[column, channel]`.
#[derive(Debug)]
pub(crate) struct ShiftColumns(Tensor);

impl ShiftColumns {
    /// Channel `i` starts at column `starts[i]`.
    pub(crate) fn new(starts: &[i64], columns: i64, device: tch::Device) -> Self {
        let starts = Tensor::from_slice(starts).to_device(device).view([1, -1]);
        let columns = Tensor::arange(columns, (Kind::Int64, device)).view([-1, 1]);
        Self(columns + starts)
    }

    fn expand_as_rows(&self, frame: &Tensor) -> Tensor {
        let (n, rows, _, _) = frame.size4().expect("mask features of rank 4");
        let (columns, channels) = self.0.size2().expect("[column, channel]");
        self.0.view([1, 1, columns, channels]).expand([n, rows, columns, channels], false)
    }
}

/// Attention among channels, guided by the mask where there is one, with its position branch.
#[derive(Debug)]
struct SpectralAttention {
    rescale: Tensor,
    to_q: Pointwise,
    to_k: Pointwise,
    to_v: Pointwise,
    proj: Pointwise,
    position: (Convolution, Convolution),
    guide: Option<MaskGuide>,
    heads: i64,
}

impl SpectralAttention {
    fn new(path: &Path<'_>, channels: i64, heads: i64, guided: bool) -> Self {
        let linear =
            |name: &str, bias| Pointwise::new(&(path / name), channels, channels, bias, Start::Transformer);
        let position = path / "pos_emb";
        Self {
            rescale: path.var("rescale", &[heads, 1, 1], Init::Const(1.0)),
            to_q: linear("to_q", false),
            to_k: linear("to_k", false),
            to_v: linear("to_v", false),
            proj: linear("proj", true),
            position: (
                Convolution::depthwise(&(&position / 0), channels, 3, false),
                Convolution::depthwise(&(&position / 2), channels, 3, false),
            ),
            guide: guided.then(|| MaskGuide::new(&(path / "mm"), channels)),
            heads,
        }
    }

    /// Projection times attention, one matrix `[n, channel, channel]` a sample, from the pixels `[n, pixel, channel]`.
    fn mixing(&self, pixels: &Tensor) -> Tensor {
        let gram = at_least_single(&pixels.transpose(1, 2).bmm(pixels));
        let (n, channels, _) = gram.size3().expect("[n, channel, channel]");
        let per_head = channels / self.heads;
        let (q, k) = (like(&self.to_q.matrix(), &gram), like(&self.to_k.matrix(), &gram));
        let (q_gram, k_gram) = (q.matmul(&gram), k.matmul(&gram));
        // ‖q_i‖ and ‖k_i‖ over pixels; the bound is the square of the 1e-12 of the published normalisation.
        let norm = |w: &Tensor, w_gram: &Tensor| {
            let squares = (w_gram * w).sum_dim_intlist(-1, false, None::<Kind>).clamp_min(1e-24);
            squares.rsqrt().view([n, self.heads, per_head])
        };
        let (q_norm, k_norm) = (norm(&q, &q_gram).unsqueeze(-2), norm(&k, &k_gram).unsqueeze(-1));
        let products = k_gram
            .view([n, self.heads, per_head, channels])
            .matmul(&q.view([self.heads, per_head, channels]).transpose(1, 2));
        let attention = (products * k_norm * q_norm * like(&self.rescale, &gram)).softmax(-1, None::<Kind>);
        let proj = like(&self.proj.matrix(), &gram).view([channels, self.heads, per_head]).permute([1, 0, 2]);
        proj.matmul(&attention).permute([0, 2, 1, 3]).reshape([n, channels, channels])
    }

    /// `residual + attention(x)`; without `residual`, the attention alone.
    fn forward(
        &self,
        x: &Tensor,
        mask: Option<&MaskFeatures>,
        residual: Option<&Tensor>,
        tap: Tap<'_>,
    ) -> Tensor {
        let (n, rows, columns, channels) = x.size4().expect("features of rank 4");
        let pixels = [n, rows * columns, channels];
        let mixing = like(&self.mixing(&x.reshape(pixels)), x);
        let values = self.to_v.forward(x);
        let position = gelu(&self.position.0.forward(&values));
        let position = self.position.1.forward_with_bias(&position, self.proj.bias());
        let values = match (&self.guide, mask) {
            (Some(guide), Some(mask)) => {
                let weights = guide.forward(mask);
                tap("mask_attention", &weights);
                values * weights
            }
            _ => values,
        };
        let onto = match residual {
            Some(residual) => position + residual,
            None => position,
        };
        onto.reshape(pixels).baddbmm(&values.reshape(pixels), &mixing.transpose(1, 2), 1.0, 1.0).view_as(x)
    }
}

/// Called with a name and the tensor of that place; for conformance tests.
pub(crate) type Tap<'a> = &'a dyn Fn(&str, &Tensor);

/// The feed-forward: normalise, widen fourfold, 3x3 depthwise, narrow.
#[derive(Debug)]
struct FeedForward {
    norm: LayerNorm,
    widen: Pointwise,
    depthwise: Convolution,
    narrow: Pointwise,
}

impl FeedForward {
    fn new(path: &Path<'_>, channels: i64) -> Self {
        let net = path / "fn" / "net";
        let wide = 4 * channels;
        Self {
            widen: Pointwise::new(&(&net / 0), channels, wide, false, Start::Convolution),
            depthwise: Convolution::depthwise(&(&net / 2), wide, 3, false),
            narrow: Pointwise::new(&(&net / 4), wide, channels, false, Start::Convolution),
            norm: LayerNorm::new(&(path / "norm"), channels),
        }
    }

    fn wide(&self, x: &Tensor) -> Tensor {
        let wide = gelu(&self.widen.forward(&self.norm.forward(x)));
        gelu(&self.depthwise.forward(&wide))
    }
}

/// One pair of attention and feed-forward, both with a residual.
#[derive(Debug)]
struct Block {
    attention: SpectralAttention,
    feed_forward: FeedForward,
}

/// The blocks of one level on one side of the network.
#[derive(Debug)]
pub(crate) struct BlockGroup(Vec<Block>);

impl BlockGroup {
    pub(crate) fn new(path: &Path<'_>, channels: i64, heads: i64, count: usize, guided: bool) -> Self {
        let blocks = path / "blocks";
        let block = |i: usize| Block {
            attention: SpectralAttention::new(&(&blocks / i / 0), channels, heads, guided),
            feed_forward: FeedForward::new(&(&blocks / i / 1), channels),
        };
        Self((0..count).map(block).collect())
    }

    pub(crate) fn forward(&self, x: &Tensor, mask: Option<&MaskFeatures>, tap: Tap<'_>) -> Tensor {
        let mut x = x.shallow_clone();
        for (i, block) in self.0.iter().enumerate() {
            let tap = |name: &str, value: &Tensor| tap(&format!("block{i}_{name}"), value);
            let attended = block.attention.forward(&x, mask, Some(&x), &tap);
            tap("attended", &attended);
            x = block.feed_forward.narrow.forward_onto(&attended, &block.feed_forward.wide(&attended));
            tap("out", &x);
        }
        x
    }
}
