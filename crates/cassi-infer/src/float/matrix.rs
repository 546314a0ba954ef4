//! Weight matrices packed for the matrix-product kernel.

use super::kernels::LANES;

/// A matrix `[output][input]`, its inputs split over segments (taps of a convolution, halves of a concatenation), in
/// panels of 16 or 8 outputs: `panel [segment][input][output of the panel]`. Outputs are padded with zeros to a
/// multiple of eight.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    segment_channels: Vec<usize>,
    outputs: usize,
    data: Vec<f32>,
}

/// Up to 16 outputs of a packed matrix.
pub(crate) struct Panel<'a> {
    /// Its first output.
    pub(crate) first: usize,
    /// One or two vectors of eight outputs.
    pub(crate) vectors: usize,
    /// Its weights `[input over all segments][vectors · 8]`.
    pub(crate) weights: &'a [f32],
}

/// The next multiple of eight.
pub(crate) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

impl Packed {
    /// Packs `weight(output, segment, input)`.
    pub(crate) fn new(
        outputs: usize,
        segment_channels: Vec<usize>,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let mut packed = Self { segment_channels, outputs: padded(outputs), data: Vec::new() };
        packed.fill(outputs, weight);
        packed
    }

    /// Packs other weights of the same shape, without allocating.
    pub(crate) fn refill(&mut self, outputs: usize, weight: impl Fn(usize, usize, usize) -> f32) {
        debug_assert_eq!(self.outputs, padded(outputs));
        self.data.clear();
        self.fill(outputs, weight);
    }

    fn fill(&mut self, outputs: usize, weight: impl Fn(usize, usize, usize) -> f32) {
        let mut first = 0;
        while first < self.outputs {
            let width = (self.outputs - first).min(2 * LANES);
            for (segment, &channels) in self.segment_channels.iter().enumerate() {
                for input in 0..channels {
                    for output in first..first + width {
                        self.data.push(if output < outputs { weight(output, segment, input) } else { 0.0 });
                    }
                }
            }
            first += width;
        }
    }

    /// Inputs of each segment.
    pub(crate) fn segment_channels(&self) -> &[usize] {
        &self.segment_channels
    }

    /// Outputs, padded to a multiple of eight.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The panels, in order of outputs.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Panel<'_>> {
        let inputs: usize = self.segment_channels.iter().sum();
        (0..self.outputs).step_by(2 * LANES).map(move |first| {
            let width = (self.outputs - first).min(2 * LANES);
            let weights = &self.data[first * inputs..(first + width) * inputs];
            Panel { first, vectors: width / LANES, weights }
        })
    }
}

/// A vector padded with zeros to a multiple of eight.
pub(crate) fn padded_vector(values: &[f32]) -> Vec<f32> {
    let mut out = values.to_vec();
    out.resize(padded(values.len()), 0.0);
    out
}

/// Depthwise taps `[channel][tap]` as `[tap][padded channel]`.
pub(crate) fn depthwise_taps(weights: &[f32], channels: usize) -> Vec<f32> {
    let (taps, width) = (weights.len() / channels, padded(channels));
    let mut out = vec![0.0; taps * width];
    for channel in 0..channels {
        for tap in 0..taps {
            out[tap * width + channel] = weights[channel * taps + tap];
        }
    }
    out
}
