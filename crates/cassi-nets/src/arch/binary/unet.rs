//! The body that all eight networks share: a U of feed-forward blocks on three scales, whose places each family fills
//! with units of its own.
//!
//! A unit changes the number of channels or the size by a factor of two and is otherwise free. Names are those of the
//! published checkpoints; a tap is named after the module whose output it is.

use tch::Tensor;
use tch::nn::Init;

use super::super::layers::like;
use super::layers::{Activation, Layer, Pass};
use super::place::Place;

/// What a family puts into the places of the body. Channels are those of the unit's input.
pub(super) trait Family {
    /// First layer of the body: channels and size kept.
    fn embedding(&self, place: &Place, channels: i64) -> Box<dyn Layer>;
    /// Last layer of the body, before the residual.
    fn mapping(&self, place: &Place, channels: i64) -> Box<dyn Layer>;
    /// Twice the channels, half the rows and columns.
    fn down(&self, place: &Place, channels: i64) -> Box<dyn Layer>;
    /// Half the channels, twice the rows and columns.
    fn up(&self, place: &Place, channels: i64) -> Box<dyn Layer>;
    /// Twice the channels, by a 1x1 convolution.
    fn increase(&self, place: &Place, channels: i64) -> Box<dyn Layer>;
    /// Half the channels, by a 1x1 convolution.
    fn decrease(&self, place: &Place, channels: i64) -> Box<dyn Layer>;
    /// Channels kept, by a 3x3 convolution in groups.
    fn grouped(&self, place: &Place, channels: i64, groups: i64) -> Box<dyn Layer>;
    /// Before and after the grouped convolution.
    fn activation(&self, _place: &Place, _channels: i64) -> Box<dyn Layer> {
        Box::new(Activation::Gelu)
    }
    /// Factor on the input of `conv_in`, taken off the output again.
    fn gain(&self) -> f64 {
        1.0
    }
}

/// Layer normalisation over channels, channel axis last.
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(place: &Place, channels: i64) -> Self {
        Self {
            weight: place.parameter("weight", &[channels], Init::Const(1.0)),
            bias: place.parameter("bias", &[channels], Init::Const(0.0)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(like(&self.weight, x)), Some(like(&self.bias, x)), 1e-5, true)
    }
}

/// Normalise, widen fourfold, convolve in groups, narrow again, add the input.
struct Block {
    norm: LayerNorm,
    norm_name: String,
    net: [Box<dyn Layer>; 7],
    net_name: String,
    name: String,
}

impl Block {
    fn new(place: &Place, family: &dyn Family, channels: i64) -> Self {
        let (inner, name) = (place.at("blocks").at(0), place.name());
        let (norm, net) = (inner.at("norm"), inner.at("fn"));
        let at = |i: usize| net.at("net").at(i);
        Self {
            norm: LayerNorm::new(&norm, channels),
            norm_name: norm.name(),
            net: [
                family.increase(&at(0), channels),
                family.increase(&at(1), 2 * channels),
                family.activation(&at(2), 4 * channels),
                family.grouped(&at(3), 4 * channels, channels),
                family.activation(&at(4), 4 * channels),
                family.decrease(&at(5), 4 * channels),
                family.decrease(&at(6), 2 * channels),
            ],
            net_name: net.name(),
            name,
        }
    }
}

impl Layer for Block {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let normalised = self.norm.forward(&x.permute([0, 2, 3, 1]));
        pass.tap(&self.norm_name, &normalised);
        let first = normalised.permute([0, 3, 1, 2]);
        let fed = self.net.iter().fold(first, |x, layer| layer.forward(&x, pass));
        pass.tap(&self.net_name, &fed);
        let out = fed + x;
        pass.tap(&self.name, &out);
        out
    }
}

/// A unit that notes its output.
struct Named {
    name: String,
    unit: Box<dyn Layer>,
}

impl Named {
    fn new(place: &Place, unit: Box<dyn Layer>) -> Self {
        Self { name: place.name(), unit }
    }
}

impl Layer for Named {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let out = self.unit.forward(x, pass);
        pass.tap(&self.name, &out);
        out
    }
}

/// The U: two halvings, a bottleneck, two doublings with the features of the way down beside.
pub(super) struct Body {
    name: String,
    embedding: Named,
    encoders: Vec<(Block, Named)>,
    bottleneck: Block,
    decoders: Vec<(Named, Named, Block)>,
    mapping: Named,
}

/// Halvings of the size.
const LEVELS: usize = 2;

impl Body {
    pub(super) fn new(place: &Place, family: &dyn Family, width: i64) -> Self {
        let named = |place: Place, make: &dyn Fn(&Place) -> Box<dyn Layer>| Named::new(&place, make(&place));
        let embedding = named(place.at("embedding"), &|place| family.embedding(place, width));
        let encoders = (0..LEVELS).map(|level| {
            let (place, channels) = (place.at("encoder_layers").at(level), width << level);
            (
                Block::new(&place.at(0), family, channels),
                named(place.at(1), &|place| family.down(place, channels)),
            )
        });
        let encoders = encoders.collect();
        let bottleneck = Block::new(&place.at("bottleneck"), family, width << LEVELS);
        let decoders = (0..LEVELS).map(|i| {
            let (place, channels) = (place.at("decoder_layers").at(i), width << (LEVELS - i));
            (
                named(place.at(0), &|place| family.up(place, channels)),
                named(place.at(1), &|place| family.decrease(place, channels)),
                Block::new(&place.at(2), family, channels / 2),
            )
        });
        let decoders = decoders.collect();
        let mapping = named(place.at("mapping"), &|place| family.mapping(place, width));
        Self { name: place.name(), embedding, encoders, bottleneck, decoders, mapping }
    }
}

impl Layer for Body {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Tensor {
        let mut features = self.embedding.forward(x, pass);
        let mut kept = Vec::with_capacity(LEVELS);
        for (block, down) in &self.encoders {
            features = block.forward(&features, pass);
            let smaller = down.forward(&features, pass);
            kept.push(std::mem::replace(&mut features, smaller));
        }
        features = self.bottleneck.forward(&features, pass);
        for (up, fusion, block) in &self.decoders {
            let skipped = kept.pop().expect("as many decoders as encoders");
            let both = Tensor::cat(&[up.forward(&features, pass), skipped], 1);
            features = block.forward(&fusion.forward(&both, pass), pass);
        }
        let out = self.mapping.forward(&features, pass) + x;
        pass.tap(&self.name, &out);
        out
    }
}
