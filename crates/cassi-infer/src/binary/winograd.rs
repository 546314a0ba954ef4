//! The full-precision 3x3 convolutions by Winograd's F(2, 3) along columns of pixels: two output rows from four
//! input rows with 12 products an input channel instead of 18. Pixels of a row stay in their lanes, so the
//! transforms are additions of whole rows. Pairs of rows are aligned to even rows, so that strips do not change a
//! bit. With ±1, ½ as the only factors it rounds about as much as the direct sum.

use super::net::BANDS;
use super::operands::{chunks, padded, row_stride};
use crate::kernels::{CHUNK, Epilogue, FloatConv, Kernel, Target};

/// Transformed weights, in the order of the kernels, for each of the four phases.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Filter {
    phases: [Vec<f32>; 4],
    epilogue: Epilogue,
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
        Self { phases, epilogue }
    }
}

/// Four input rows, their four transforms, and one chunk of products.
#[derive(Debug)]
pub(super) struct Pairs {
    rows: Vec<f32>,
    stride: usize,
    transformed: Vec<f32>,
    products: Vec<f32>,
}

const MARGIN: usize = 8;

impl Pairs {
    pub(super) fn new(width: usize) -> Self {
        let stride = row_stride(width);
        Self {
            rows: vec![0.0; 4 * BANDS * stride],
            stride,
            transformed: vec![0.0; 4 * BANDS * stride],
            products: vec![0.0; 4 * BANDS * CHUNK],
        }
    }

    /// Stores input row `row` (`[28][stride]` of [`row_stride`]).
    pub(super) fn set(&mut self, row: usize, data: &[f32]) {
        let len = BANDS * self.stride;
        self.rows[row % 4 * len..][..len].copy_from_slice(data);
    }

    /// Output rows `row` (even) and `row + 1` of `rows`; input rows `row − 1 ..= row + 2` have been set. `shortcut`
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
        let slot = |r: usize| &self.rows[r % 4 * len..][..len];
        let (above, below) = (row.checked_sub(1).map(slot), (row + 2 < rows).then(|| slot(row + 2)));
        let (upper, lower) = (slot(row), slot(row + 1));
        for channel in 0..BANDS {
            let from = channel * stride..channel * stride + width;
            let mut phases = self.transformed.chunks_exact_mut(len);
            let mut phase = || &mut phases.next().expect("four phases")[channel * stride + MARGIN..][..width];
            let (u, l) = (&upper[from.clone()], &lower[from.clone()]);
            match above {
                Some(a) => subtract(phase(), &a[from.clone()], l),
                None => phase().iter_mut().zip(l).for_each(|(o, &l)| *o = -l),
            }
            phase().iter_mut().zip(u.iter().zip(l)).for_each(|(o, (&u, &l))| *o = u + l);
            subtract(phase(), l, u);
            match below {
                Some(b) => subtract(phase(), u, &b[from]),
                None => phase().copy_from_slice(u),
            }
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
                (kernel.conv_float)(&conv, &filter.epilogue, target);
            }
            for channel in 0..BANDS {
                let m = |phase: usize| &self.products[(phase * BANDS + channel) * CHUNK..][..pixels];
                let place = channel * stride + start..channel * stride + start + pixels;
                let (m0, m1, m2, m3) = (m(0), m(1), m(2), m(3));
                let (a, b) = (&mut first[place.clone()], &mut second[place.clone()]);
                match shortcut {
                    None => {
                        for i in 0..pixels {
                            a[i] = m0[i] + m1[i] + m2[i];
                            b[i] = m1[i] - m2[i] - m3[i];
                        }
                    }
                    Some([x, y]) => {
                        let (x, y) = (&x[place.clone()], &y[place]);
                        for i in 0..pixels {
                            a[i] = m0[i] + m1[i] + m2[i] + x[i];
                            b[i] = m1[i] - m2[i] - m3[i] + y[i];
                        }
                    }
                }
            }
        }
        debug_assert!(padded(width) <= stride);
    }
}

fn subtract(out: &mut [f32], a: &[f32], b: &[f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(o, (&a, &b))| *o = a - b);
}
