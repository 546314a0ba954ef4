//! Weight matrices packed for the matrix-product kernel, in f32 and in bf16.

use super::memory::{Aligned, CHUNK};

/// A matrix `[output][input]`, its inputs split over segments (taps of a convolution, halves of a concatenation), in
/// panels of sixteen outputs: f32 as `[panel][input][output]`, bf16 as `[panel][pair of inputs][output][of the pair]`.
///
/// Outputs are padded with zeros to a multiple of sixteen, the inputs of each segment to a multiple of four.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    segments: Vec<usize>,
    panels: usize,
    single: Aligned,
    half: Aligned,
}

/// Channels rounded up to whole chunks.
pub(crate) fn chunks(channels: usize) -> usize {
    channels.div_ceil(CHUNK)
}

impl Packed {
    /// Packs `weight(output, segment, input)`; `segments` has the inputs of each segment.
    pub(crate) fn new(
        outputs: usize,
        segments: &[usize],
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let mut packed = Self {
            segments: segments.iter().map(|inputs| inputs.next_multiple_of(4)).collect(),
            panels: chunks(outputs),
            single: Aligned::default(),
            half: Aligned::default(),
        };
        let values = packed.panels * packed.inputs() * CHUNK;
        packed.single = Aligned::zeros(values);
        packed.half = Aligned::zeros(values.div_ceil(2).next_multiple_of(CHUNK));
        let mut first = 0;
        for (segment, &inputs) in segments.iter().enumerate() {
            for input in 0..inputs {
                for output in 0..outputs {
                    packed.set(output, first + input, weight(output, segment, input));
                }
            }
            first += packed.segments[segment];
        }
        packed
    }

    /// Replaces one weight; `input` counts over all segments, with their padding.
    pub(crate) fn set(&mut self, output: usize, input: usize, weight: f32) {
        let (panel, lane, inputs) = (output / CHUNK, output % CHUNK, self.inputs());
        self.single.values_mut::<f32>()[(panel * inputs + input) * CHUNK + lane] = weight;
        self.half.values_mut::<u16>()[(panel * inputs + input / 2 * 2) * CHUNK + 2 * lane + input % 2] =
            half::bf16::from_f32(weight).to_bits();
    }

    /// Padded inputs of each segment.
    pub(crate) fn segments(&self) -> &[usize] {
        &self.segments
    }

    /// Padded inputs of all segments.
    pub(crate) fn inputs(&self) -> usize {
        self.segments.iter().sum()
    }

    /// Chunks of sixteen outputs.
    pub(crate) fn panels(&self) -> usize {
        self.panels
    }

    pub(crate) fn single(&self) -> &[f32] {
        self.single.values()
    }

    pub(crate) fn half(&self) -> &[u16] {
        self.half.values()
    }
}

/// A vector padded with zeros to whole chunks.
pub(crate) fn padded_vector(values: &[f32]) -> Aligned {
    let mut out = Aligned::zeros(chunks(values.len()) * CHUNK);
    out.values_mut()[..values.len()].copy_from_slice(values);
    out
}

/// Depthwise taps `[channel][tap]` as `[chunk][tap][channel of the chunk]`.
pub(crate) fn depthwise_taps(weights: &[f32], channels: usize) -> Aligned {
    let taps = weights.len() / channels;
    let mut out = Aligned::zeros(chunks(channels) * taps * CHUNK);
    let values = out.values_mut::<f32>();
    for channel in 0..channels {
        for tap in 0..taps {
            values[(channel / CHUNK * taps + tap) * CHUNK + channel % CHUNK] = weights[channel * taps + tap];
        }
    }
    out
}
