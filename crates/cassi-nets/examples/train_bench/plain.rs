//! MST as published: every layer one libtorch call, features in the published axes, nothing merged or precomputed.
//!
//! It stands in for the official PyTorch module in comparisons of speed. Parameters have the official names, so its
//! output can be checked against the network that is trained.

use tch::nn::{self, Module, Path};
use tch::{Kind, Tensor};

fn conv(path: Path<'_>, from: i64, to: i64, side: i64, stride: i64, groups: i64, bias: bool) -> nn::Conv2D {
    let padding = if side == 1 { 0 } else { (side - 1) / 2 };
    nn::conv2d(path, from, to, side, nn::ConvConfig { stride, padding, groups, bias, ..Default::default() })
}

fn linear(path: Path<'_>, channels: i64, bias: bool) -> nn::Linear {
    nn::linear(path, channels, channels, nn::LinearConfig { bias, ..Default::default() })
}

#[derive(Debug)]
struct Attention {
    queries: nn::Linear,
    keys: nn::Linear,
    values: nn::Linear,
    projection: nn::Linear,
    rescale: Tensor,
    position: (nn::Conv2D, nn::Conv2D),
    mask: (nn::Conv2D, nn::Conv2D, nn::Conv2D),
    heads: i64,
}

impl Attention {
    fn new(path: &Path<'_>, channels: i64, heads: i64) -> Self {
        let (position, mask) = (path / "pos_emb", path / "mm");
        Self {
            queries: linear(path / "to_q", channels, false),
            keys: linear(path / "to_k", channels, false),
            values: linear(path / "to_v", channels, false),
            projection: linear(path / "proj", channels, true),
            rescale: path.ones("rescale", &[heads, 1, 1]),
            position: (
                conv(&position / 0, channels, channels, 3, 1, channels, false),
                conv(&position / 2, channels, channels, 3, 1, channels, false),
            ),
            mask: (
                conv(&mask / "conv1", channels, channels, 1, 1, 1, true),
                conv(&mask / "conv2", channels, channels, 1, 1, 1, true),
                conv(&mask / "depth_conv", channels, channels, 5, 1, channels, true),
            ),
            heads,
        }
    }

    /// `x [n, row, column, channel]`, `mask [1, channel, row, sheared column]`.
    fn forward(&self, x: &Tensor, mask: &Tensor) -> Tensor {
        let (n, rows, columns, channels) = x.size4().expect("[n, row, column, channel]");
        let (conv1, conv2, depth) = &self.mask;
        let features = conv1.forward(mask);
        let gate = depth.forward(&conv2.forward(&features)).sigmoid();
        let weights = shift_back(&(&features * gate + &features), rows).permute([0, 2, 3, 1]);
        let pixels = x.reshape([n, rows * columns, channels]);
        let [q, k, v] = [&self.queries, &self.keys, &self.values].map(|layer| layer.forward(&pixels));
        let per_head = channels / self.heads;
        let split = |t: &Tensor| t.view([n, rows * columns, self.heads, per_head]).permute([0, 2, 3, 1]);
        let masked = &v * weights.expand([n, rows, columns, channels], false).reshape(v.size());
        let unit = |t: &Tensor| t / t.norm_scalaropt_dim(2.0, [-1i64], true).clamp_min(1e-12);
        let (q, k) = (unit(&split(&q)), unit(&split(&k)));
        let attention = (k.matmul(&q.transpose(-2, -1)) * &self.rescale).softmax(-1, None::<Kind>);
        let mixed = attention.matmul(&split(&masked)).permute([0, 3, 1, 2]).reshape(v.size());
        let out = self.projection.forward(&mixed).view([n, rows, columns, channels]);
        let values = v.view([n, rows, columns, channels]).permute([0, 3, 1, 2]);
        let position = self.position.1.forward(&self.position.0.forward(&values).gelu("none"));
        out + position.permute([0, 2, 3, 1])
    }
}

/// The published loop over channels.
fn shift_back(features: &Tensor, rows: i64) -> Tensor {
    let d = (256 / rows) as f64;
    let channels = features.size()[1];
    let moved: Vec<Tensor> = (0..channels)
        .map(|i| features.select(1, i).narrow(2, (i as f64 * 2.0 / (d * d)) as i64, rows))
        .collect();
    Tensor::stack(&moved, 1)
}

#[derive(Debug)]
struct Block {
    attention: Attention,
    norm: nn::LayerNorm,
    widen: nn::Conv2D,
    depthwise: nn::Conv2D,
    narrow: nn::Conv2D,
}

impl Block {
    fn new(path: &Path<'_>, channels: i64, heads: i64) -> Self {
        let feed_forward = path / 1;
        let net = &feed_forward / "fn" / "net";
        let wide = 4 * channels;
        Self {
            attention: Attention::new(&(path / 0), channels, heads),
            norm: nn::layer_norm(&feed_forward / "norm", vec![channels], Default::default()),
            widen: conv(&net / 0, channels, wide, 1, 1, 1, false),
            depthwise: conv(&net / 2, wide, wide, 3, 1, wide, false),
            narrow: conv(&net / 4, wide, channels, 1, 1, 1, false),
        }
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Tensor {
        let x = self.attention.forward(x, mask) + x;
        let normal = self.norm.forward(&x).permute([0, 3, 1, 2]);
        let wide = self.depthwise.forward(&self.widen.forward(&normal).gelu("none")).gelu("none");
        self.narrow.forward(&wide).permute([0, 2, 3, 1]) + x
    }
}

#[derive(Debug)]
struct Blocks(Vec<Block>);

impl Blocks {
    fn new(path: &Path<'_>, channels: i64, heads: i64, count: usize) -> Self {
        let blocks = path / "blocks";
        Self((0..count).map(|i| Block::new(&(&blocks / i), channels, heads)).collect())
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Tensor {
        let x = x.permute([0, 2, 3, 1]);
        self.0.iter().fold(x, |x, block| block.forward(&x, mask)).permute([0, 3, 1, 2])
    }
}

/// MST-S: two levels and two blocks everywhere, square frames.
#[derive(Debug)]
pub(crate) struct PlainMst {
    embedding: nn::Conv2D,
    encoders: Vec<(Blocks, nn::Conv2D, nn::Conv2D)>,
    bottleneck: Blocks,
    decoders: Vec<(nn::ConvTranspose2D, nn::Conv2D, Blocks)>,
    mapping: nn::Conv2D,
}

impl PlainMst {
    /// Of `width` bands and channels.
    pub(crate) fn new(path: &Path<'_>, width: i64) -> Self {
        let encoder = |level: i64| {
            let (path, channels) = (path / "encoder_layers" / level, width << level);
            (
                Blocks::new(&(&path / 0), channels, 1 << level, 2),
                conv(&path / 1, channels, 2 * channels, 4, 2, 1, false),
                conv(&path / 2, channels, 2 * channels, 4, 2, 1, false),
            )
        };
        let decoder = |i: i64| {
            let (path, channels) = (path / "decoder_layers" / i, width << (1 - i));
            let up = nn::ConvTransposeConfig { stride: 2, ..Default::default() };
            (
                nn::conv_transpose2d(&path / 0, 2 * channels, channels, 2, up),
                conv(&path / 1, 2 * channels, channels, 1, 1, 1, false),
                Blocks::new(&(&path / 2), channels, 1 << (1 - i), 2),
            )
        };
        Self {
            embedding: conv(path / "embedding", width, width, 3, 1, 1, false),
            encoders: vec![encoder(0), encoder(1)],
            bottleneck: Blocks::new(&(path / "bottleneck"), width << 2, 4, 2),
            decoders: vec![decoder(0), decoder(1)],
            mapping: conv(path / "mapping", width, width, 3, 1, 1, false),
        }
    }

    /// `features [n, band, row, column]`, `mask [1, band, row, sheared column]`.
    pub(crate) fn forward(&self, features: &Tensor, mask: &Tensor) -> Tensor {
        let embedded = self.embedding.forward(features);
        let mut x = embedded.maximum(&(&embedded * 0.1));
        let mut mask = mask.shallow_clone();
        let mut kept = Vec::new();
        for (blocks, down, mask_down) in &self.encoders {
            x = blocks.forward(&x, &mask);
            let smaller = down.forward(&x);
            let smaller_mask = mask_down.forward(&mask);
            kept.push((std::mem::replace(&mut x, smaller), std::mem::replace(&mut mask, smaller_mask)));
        }
        x = self.bottleneck.forward(&x, &mask);
        for (up, fusion, blocks) in &self.decoders {
            let (skip, mask) = kept.pop().expect("as many decoders as encoders");
            x = fusion.forward(&Tensor::cat(&[up.forward(&x), skip], 1));
            x = blocks.forward(&x, &mask);
        }
        self.mapping.forward(&x) + features
    }
}
