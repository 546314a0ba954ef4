//! The full-precision 3x3 convolutions by Winograd's F(2, 3) along columns of pixels: two output rows from four
//! input rows with 12 products an input channel instead of 18. Pixels of a row stay in their lanes, so the
//! transforms are additions of whole rows. Pairs of rows are aligned to even rows, so that strips do not change a
//! bit. With ±1, ½ as the only factors it rounds about as much as the direct sum.

use super::buffer::Buffer;
use super::net::BANDS;
use super::operands::{chunks, padded, row_stride};
use crate::kernels::{CHUNK, Epilogue, Finish, FloatConv, Kernel, Target};

/// Transformed weights, in the order of the kernels, for each of the four phases.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Filter {
    phases: [Vec<f32>; 4],
    finish: Finish,
}

impl Filter {
    /// Of weights `[28, 28, 3, 3]`.
    pub(super) fn new(weights: &[f32]) -> Self {
        let mut phases: [Vec<f32>; 4] = Default::default();
        for block in (0..BANDS).step_by(4) {
            for dx in 0..3 {
                for input in 0..BANDS {
                    for output in block..block + 4 {
                        let g = |dy: usize| weights[(output * BANDS + input) * 9 + 3 * dy + dx];
                        let outer = 0.5 * (g(0) + g(2));
                        let values = [g(0), outer + 0.5 * g(1), outer - 0.5 * g(1), g(2)];
                        phases.iter_mut().zip(values).for_each(|(p, v)| p.push(v));
                    }
                }
            }
        }
        let epilogue = Epilogue { scale: vec![1.0; BANDS], shift: vec![0.0; BANDS], ..Epilogue::default() };
        Self { phases, finish: Finish::new(epilogue) }
    }
}

/// Four input rows, their four transforms, and one chunk of products.
#[derive(Debug)]
pub(super) struct Pairs {
    rows: Buffer<f32>,
    /// Stands for a row outside the frame.
    zeros: Buffer<f32>,
    stride: usize,
    transformed: Buffer<f32>,
    products: Buffer<f32>,
}

const MARGIN: usize = 16;

impl Pairs {
    pub(super) fn new(width: usize) -> Self {
        let stride = row_stride(width);
        Self {
            rows: Buffer::new(0.0, 4 * BANDS * stride),
            zeros: Buffer::new(0.0, BANDS * stride),
            stride,
            transformed: Buffer::new(0.0, 4 * BANDS * stride + MARGIN),
            products: Buffer::new(0.0, 4 * BANDS * CHUNK),
        }
    }

    /// Where input row `row` goes, `[28][stride]` of [`row_stride`].
    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let len = BANDS * self.stride;
        &mut self.rows[row % 4 * len..][..len]
    }

    /// Output rows `row` (even) and `row + 1` of `rows`; input rows `row − 1 ..= row + 2` have been filled. `shortcut`
    /// rows are added.
    pub(super) fn run(
        &mut self,
        kernel: &Kernel,
        filter: &Filter,
        row: usize,
        (rows, width): (usize, usize),
        shortcut: Option<[&[f32]; 2]>,
        output: &mut [f32],
    ) {
        let (stride, len) = (self.stride, BANDS * self.stride);
        let slot =
            |inside: bool, r: usize| if inside { &self.rows[r % 4 * len..][..len] } else { &self.zeros[..] };
        let inputs =
            [slot(row > 0, row + 3), slot(true, row), slot(true, row + 1), slot(row + 2 < rows, row + 2)];
        let mut phases = self.transformed.chunks_exact_mut(len);
        let mut phases: [&mut [f32]; 4] = std::array::from_fn(|_| phases.next().expect("four phases"));
        for channel in 0..BANDS {
            let from = channel * stride..channel * stride + width;
            let to = from.start + MARGIN..from.end + MARGIN;
            let inputs = inputs.map(|r| &r[from.clone()]);
            (kernel.rows.transform)(inputs, phases.each_mut().map(|p| &mut p[to.clone()]));
        }
        let (first, second) = output.split_at_mut(len);
        for (start, pixels) in chunks(width) {
            for (phase, products) in self.products.chunks_exact_mut(BANDS * CHUNK).enumerate() {
                let place = phase * len + MARGIN + start;
                let conv = FloatConv {
                    input: &self.transformed,
                    taps: &[place - 1, place, place + 1],
                    channel_stride: stride,
                    channels: BANDS,
                    grouped: false,
                    weights: &filter.phases[phase],
                    outputs: BANDS,
                    pixels,
                };
                let target = Target { shortcut: None, output: products, stride: CHUNK };
                (kernel.conv_float)(&conv, &filter.finish, target);
            }
            for channel in 0..BANDS {
                let m = |phase: usize| &self.products[(phase * BANDS + channel) * CHUNK..][..pixels];
                let place = channel * stride + start..channel * stride + start + pixels;
                let rows = [&mut first[place.clone()], &mut second[place.clone()]];
                (kernel.rows.combine)([m(0), m(1), m(2), m(3)], rows);
                if let Some([x, y]) = shortcut {
                    (kernel.rows.add)(&mut first[place.clone()], &x[place.clone()]);
                    (kernel.rows.add)(&mut second[place.clone()], &y[place]);
                }
            }
        }
        debug_assert!(padded(width) <= stride);
    }
}
