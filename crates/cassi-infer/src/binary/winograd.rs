//! The full-precision 3x3 convolutions by Winograd's F(2, 3) along columns and along rows of pixels: two rows and two
//! columns of results from 16 products an input channel instead of 36. Lanes are pairs of neighbouring pixels. Groups of
//! two rows are aligned to even rows, so that strips do not change a bit. With ±1, ½ as the only factors it rounds about as
//! much as the direct sum; F(4, 3) would need fewer products, but its rounding flips signs.

use super::buffer::Buffer;
use super::net::BANDS;
use super::operands::{chunks, padded};
use crate::kernels::{CHUNK, Epilogue, Finish, FloatConv, Kernel, PHASES, Target};

/// Rows of results that are made together.
pub(super) const GROUP: usize = 2;
/// Input rows that they depend on.
const DEPTH: usize = GROUP + 2;

/// Transformed weights, in the order of the kernels, for each of the phases `4·vertical + horizontal`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Filter {
    phases: Vec<Vec<f32>>,
    finish: Finish,
}

/// F(2, 3), points 0, ±1, ∞.
fn transform([a, b, c]: [f64; 3]) -> [f64; 4] {
    let outer = 0.5 * (a + c);
    [a, outer + 0.5 * b, outer - 0.5 * b, c]
}

impl Filter {
    /// Of weights `[28, 28, 3, 3]`.
    pub(super) fn new(weights: &[f32]) -> Self {
        let mut phases = vec![vec![]; PHASES];
        for block in (0..BANDS).step_by(4) {
            for input in 0..BANDS {
                for output in block..block + 4 {
                    let g =
                        |dy: usize, dx: usize| f64::from(weights[(output * BANDS + input) * 9 + 3 * dy + dx]);
                    let rows = [0, 1, 2].map(|dy| transform([g(dy, 0), g(dy, 1), g(dy, 2)]));
                    for k in 0..4 {
                        let column = transform([rows[0][k], rows[1][k], rows[2][k]]);
                        for (v, value) in column.into_iter().enumerate() {
                            phases[4 * v + k].push(value as f32);
                        }
                    }
                }
            }
        }
        let epilogue = Epilogue { scale: vec![1.0; BANDS], shift: vec![0.0; BANDS], ..Epilogue::default() };
        Self { phases, finish: Finish::new(epilogue) }
    }
}

/// The rows of a group, of each channel.
pub(super) type Results<'a> = [[&'a mut [f32]; GROUP]; BANDS];

/// The input rows of a group, and one chunk of transformed pixels and of products.
#[derive(Debug)]
pub(super) struct Groups {
    rows: Buffer<f32>,
    /// Stands for a row outside the frame.
    zeros: Buffer<f32>,
    /// Pairs of pixels, and floats from one channel to the next.
    pairs: usize,
    stride: usize,
    width: usize,
    transformed: Buffer<f32>,
    products: Buffer<f32>,
}

/// Zeros left of a row.
const MARGIN: usize = 16;

impl Groups {
    pub(super) fn new(width: usize) -> Self {
        let pairs = padded(width.div_ceil(2));
        let stride = 2 * pairs + MARGIN;
        Self {
            rows: Buffer::new(0.0, DEPTH * BANDS * stride + MARGIN),
            zeros: Buffer::new(0.0, BANDS * stride + MARGIN),
            pairs,
            stride,
            width,
            transformed: Buffer::new(0.0, PHASES * BANDS * CHUNK),
            products: Buffer::new(0.0, PHASES * BANDS * CHUNK),
        }
    }

    /// Floats from one channel to the next in the rows.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Where input row `row` goes, `[28][stride]`.
    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let len = BANDS * self.stride;
        &mut self.rows[MARGIN + row % DEPTH * len..][..len]
    }

    /// Result rows `row` (even) and `row + 1` of `rows`; input rows `row − 1 ..= row + 2` have been
    /// filled. `shortcut` rows, `[28][shortcut_stride]`, are added. Of a row of a channel of `output` as many pixels are
    /// written as it is long.
    pub(super) fn run(
        &mut self,
        kernel: &Kernel,
        filter: &Filter,
        row: usize,
        rows: usize,
        shortcut: Option<([&[f32]; GROUP], usize)>,
        output: &mut Results<'_>,
    ) {
        let (stride, len) = (self.stride, BANDS * self.stride);
        // What lies right of the frame is zero as far as it is looked at.
        let width = self.width;
        for channel in self.rows[MARGIN..].chunks_exact_mut(stride) {
            channel[width] = 0.0;
        }
        let inputs: [&[f32]; DEPTH] = std::array::from_fn(|i| match row + i {
            r if (1..=rows).contains(&r) => &self.rows[(r - 1) % DEPTH * len..][..len + MARGIN],
            _ => &self.zeros[..],
        });
        for (start, pairs) in chunks(self.pairs) {
            for channel in 0..BANDS {
                let first = MARGIN + channel * stride + 2 * start - 1;
                let inputs = inputs.map(|row| &row[first..first + 2 * pairs + 2]);
                let phases = &mut self.transformed[channel * CHUNK..];
                (kernel.rows.transform)(&inputs, phases, BANDS * CHUNK);
            }
            for (phase, products) in self.products.chunks_exact_mut(BANDS * CHUNK).enumerate() {
                let conv = FloatConv {
                    input: &self.transformed,
                    taps: &[phase * BANDS * CHUNK],
                    channel_stride: CHUNK,
                    channels: BANDS,
                    grouped: false,
                    weights: &filter.phases[phase],
                    outputs: BANDS,
                    pixels: pairs,
                };
                let mut target = Target { shortcut: None, addend: None, output: products, stride: CHUNK };
                (kernel.conv_float)(&conv, &filter.finish, &mut target);
            }
            for channel in 0..BANDS {
                let part = |row: &'_ mut &mut [f32]| {
                    let len = row.len();
                    (2 * start).min(len)..(2 * (start + pairs)).min(len)
                };
                let mut rows = output[channel].each_mut().map(|row| {
                    let part = part(row);
                    &mut row[part]
                });
                let first = channel * shortcut.map_or(0, |s| s.1) + 2 * start;
                let shortcut = shortcut.map(|(rows, _)| rows.map(|row| &row[first.min(row.len())..]));
                (kernel.rows.combine)(
                    &self.products[channel * CHUNK..],
                    BANDS * CHUNK,
                    shortcut.as_ref(),
                    &mut rows,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::KERNELS;

    /// Against the convolution as it is defined, in f64: odd widths, few rows, the border.
    #[test]
    fn groups_of_rows_equal_the_definition() {
        let value = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) / 504.0;
        let weights: Vec<f32> = (0..BANDS * BANDS * 9).map(|i| 0.1 * value(i + 3)).collect();
        let filter = Filter::new(&weights);
        for (rows, width) in [(4, 2), (8, 40), (8, 136)] {
            let pixel =
                |row: usize, channel: usize, column: usize| value((row * BANDS + channel) * 211 + column);
            for kernel in KERNELS.iter().filter(|k| (k.available)()) {
                let mut groups = Groups::new(width);
                let stride = groups.stride();
                let mut result = vec![f32::NAN; rows * BANDS * width];
                for group in (0..rows).step_by(GROUP) {
                    for row in group.saturating_sub(1)..(group + GROUP + 1).min(rows) {
                        for (channel, out) in groups.row_mut(row).chunks_exact_mut(stride).enumerate() {
                            (0..width).for_each(|column| out[column] = pixel(row, channel, column));
                        }
                    }
                    let mut out = result[group * BANDS * width..].chunks_exact_mut(width);
                    let mut results: Results<'_> = std::array::from_fn(|_| Default::default());
                    for r in 0..GROUP {
                        results.iter_mut().for_each(|rows| rows[r] = out.next().unwrap());
                    }
                    groups.run(kernel, &filter, group, rows, None, &mut results);
                }
                for row in 0..rows {
                    for output in 0..BANDS {
                        for column in 0..width {
                            let mut sum = 0.0;
                            for (tap, input) in (0..9).flat_map(|t| (0..BANDS).map(move |i| (t, i))) {
                                let (r, c) = (row + tap / 3, column + tap % 3);
                                if (1..=rows).contains(&r) && (1..=width).contains(&c) {
                                    let weight = weights[(output * BANDS + input) * 9 + tap];
                                    sum += f64::from(weight) * f64::from(pixel(r - 1, input, c - 1));
                                }
                            }
                            let found = f64::from(result[(row * BANDS + output) * width + column]);
                            // 252 products of at most 0.1 in transforms that reach four times that.
                            assert!((found - sum).abs() < 2e-5, "{}: {found} {sum}", kernel.name);
                        }
                    }
                }
            }
        }
    }
}
