//! What a network runs on: a kernel, strips of rows in parallel, and the memory kept between calls.

use ndarray::{ArrayViewMut3, Axis};
use rayon::prelude::*;

use super::image::Image;
use super::kernels::{ConvJob, FoldMemory, Kernel, Sink, Source};
use super::matrix::Packed;
use super::memory::Threads;

/// A kernel and the partition of images into strips.
#[derive(Clone, Copy)]
pub(crate) struct Engine {
    pub(crate) kernel: &'static Kernel,
    /// Rows of every strip, if not the usual.
    pub(crate) strip: Option<usize>,
}

impl Engine {
    /// Rows of a strip: a function of the image alone, so results do not depend on the number of threads. A strip
    /// computes again three rows of each neighbour, so strips of large images are higher.
    pub(crate) fn strip(self, rows: usize) -> usize {
        self.strip.unwrap_or(match rows {
            ..256 => 16,
            256..2048 => 32,
            _ => 64,
        })
    }
}

/// Memory that blocks share.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) threads: Threads,
    /// Mask features of a strip, where they are not kept.
    pub(crate) masks: Threads,
    /// Gram matrices of strips.
    pub(crate) partial: Vec<f64>,
    pub(crate) gram: Vec<f64>,
    pub(crate) fold: FoldMemory,
    /// The matrix that attention is, for each number of channels.
    mixes: Vec<(usize, Packed)>,
}

impl Memory {
    /// Puts the folded attention of this many channels into the form that products read.
    pub(crate) fn pack_mix(&mut self, channels: usize) {
        let at = self.mixes.iter().position(|(c, _)| *c == channels).unwrap_or_else(|| {
            self.mixes.push((channels, Packed::new(channels, &[channels], |_, _, _| 0.0)));
            self.mixes.len() - 1
        });
        let mix = &mut self.mixes[at].1;
        for (output, row) in self.fold.mix.chunks_exact(channels).enumerate() {
            for (input, &weight) in row.iter().enumerate() {
                mix.set(output, input, weight as f32);
            }
        }
    }

    /// What [`Self::pack_mix`] packed.
    pub(crate) fn mix(&self, channels: usize) -> &Packed {
        &self.mixes.iter().find(|(c, _)| *c == channels).expect("packed before").1
    }
}

/// A dense convolution without bias.
#[derive(Debug, Clone)]
pub(crate) struct Convolution {
    weights: Packed,
    outputs: usize,
    side: usize,
    stride: usize,
    padding: usize,
    /// Whether a leaky ReLU follows.
    pub(crate) leaky: bool,
}

impl Convolution {
    /// Packs `weights [output][input][dy][dx]` of a `side` x `side` convolution, tap by tap.
    pub(crate) fn new(outputs: usize, inputs: usize, side: usize, stride: usize, weights: &[f32]) -> Self {
        let taps = side * side;
        let weights =
            Packed::new(outputs, &vec![inputs; taps], |o, tap, i| weights[(o * inputs + i) * taps + tap]);
        Self { weights, outputs, side, stride, padding: (side - 1) / 2, leaky: false }
    }

    fn size(&self, n: usize) -> usize {
        (n + 2 * self.padding - self.side) / self.stride + 1
    }

    fn job<'a>(&'a self, source: Source<'a>, rows: std::ops::Range<usize>) -> ConvJob<'a> {
        ConvJob {
            source,
            weights: &self.weights,
            side: self.side,
            stride: self.stride,
            padding: self.padding,
            leaky: self.leaky,
            columns: self.size(source.columns()),
            rows,
        }
    }

    /// Convolves a whole image into another.
    pub(crate) fn run<'a>(&'a self, engine: Engine, source: Source<'a>, out: &mut Image, threads: &Threads) {
        out.resize(self.size(source.rows()), self.size(source.columns()), self.outputs);
        self.strips(engine, source, out, threads, |strip| Sink::Store(strip));
    }

    /// Adds the convolution of a whole image to another.
    pub(crate) fn add<'a>(&'a self, engine: Engine, source: Source<'a>, out: &mut Image, threads: &Threads) {
        debug_assert_eq!([out.rows, out.columns], [self.size(source.rows()), self.size(source.columns())]);
        self.strips(engine, source, out, threads, |strip| Sink::Add(strip));
    }

    fn strips<'a>(
        &'a self,
        engine: Engine,
        source: Source<'a>,
        out: &mut Image,
        threads: &Threads,
        sink: impl Fn(&mut [f32]) -> Sink<'_, '_> + Sync,
    ) {
        let (height, width, strip) = (out.rows, out.row_floats(), engine.strip(out.rows));
        out.floats_mut().par_chunks_mut(strip * width).enumerate().for_each(|(s, out)| {
            let job = self.job(source, s * strip..(s * strip + strip).min(height));
            threads.with(|scratch| (engine.kernel.convolve)(&job, sink(out), scratch));
        });
    }

    /// `plus` and the convolution of a whole image as a cube `[band, row, column]`, cropped to its size.
    pub(crate) fn to_cube<'a>(
        &'a self,
        engine: Engine,
        source: Source<'a>,
        plus: &'a Source<'a>,
        mut out: ArrayViewMut3<'_, f32>,
        threads: &Threads,
    ) {
        let (_, height, _) = out.dim();
        let strip = engine.strip(source.rows());
        out.axis_chunks_iter_mut(Axis(1), strip).into_par_iter().enumerate().for_each(|(s, out)| {
            let job = self.job(source, s * strip..(s * strip + strip).min(height));
            threads.with(|scratch| (engine.kernel.convolve)(&job, Sink::Bands { out, plus }, scratch));
        });
    }
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;
    use ndarray::Array3;

    use super::super::Precision;
    use super::super::image::Bands;
    use super::super::kernels::{KERNELS, PORTABLE_BF16};
    use super::*;

    #[test]
    fn bf16_products_equal_portable() {
        let mut stream = Stream::new(3, "test/products", 0);
        // Tails of tiles of 128 columns and of blocks of pixels; outputs of two, four and seven chunks.
        for (rows, columns, side, stride, outputs) in
            [(5, 131, 3, 1, 28), (8, 18, 4, 2, 56), (4, 6, 3, 1, 112)]
        {
            let x = Array3::from_shape_fn((28, rows, columns), |_| stream.uniform() as f32);
            let count = outputs * 28 * side * side;
            let weights: Vec<f32> = (0..count).map(|_| stream.normal() as f32).collect();
            let convolution = Convolution::new(outputs, 28, side, stride, &weights);
            let on = |kernel| {
                let mut out = Image::default();
                let source = Source::Bands(Bands { view: x.view(), rows, columns, shear: 0 });
                convolution.run(Engine { kernel, strip: None }, source, &mut out, &Threads::default());
                out.view().data.to_vec()
            };
            let expected = on(PORTABLE_BF16);
            let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            let fast = KERNELS.iter().filter(|kernel| kernel.precision == Precision::Bf16);
            for kernel in fast.filter(|kernel| (kernel.available)()) {
                // The same bf16 factors; sums of at most 448 products in f32, in another order.
                for (a, b) in on(kernel).iter().zip(&expected) {
                    assert!((a - b).abs() <= 1e-5 * largest, "{}: {a} against {b}", kernel.name);
                }
            }
        }
    }
}
