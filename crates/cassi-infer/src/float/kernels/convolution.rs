//! Dense convolutions of a strip, and up-sampling with its fusion.

#![allow(unsafe_code)] // kernels: pointers into scratch memory and arrays; see each SAFETY line

use std::ops::Range;

use ndarray::ArrayViewMut3;

use super::block::{image_row, readable, tile_columns};
use super::feed::{Feed, LeakyRelu, Pixels, Store, Target};
use super::lanes::Lanes;
use super::pointwise::convert;
use super::product::product;
use super::source::Source;
use crate::float::image::View;
use crate::float::matrix::Packed;
use crate::float::memory::{Aligned, CHUNK, Scratch};

/// A dense convolution without bias; segments of `weights` are its taps, row by row.
pub(crate) struct ConvJob<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) weights: &'a Packed,
    /// Kernel side, at most four; stride, one or two; and zero padding.
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Whether a leaky ReLU follows.
    pub(crate) leaky: bool,
    /// Columns of the output.
    pub(crate) columns: usize,
    /// Rows of the output to be made.
    pub(crate) rows: Range<usize>,
}

/// Where the rows of a convolution go.
pub(crate) enum Sink<'a, 'b> {
    /// To the strip of an image.
    Store(&'a mut [f32]),
    /// They are added to the strip of an image.
    Add(&'a mut [f32]),
    /// To rows of a cube `[band, row, column]`, cropped to its size, with what `plus` has there added.
    Bands { out: ArrayViewMut3<'a, f32>, plus: &'b Source<'b> },
}

/// `out[2r + dy, 2c + dx] = W[dy][dx] (coarse[r, c], skip[2r + dy, 2c + dx]) + b`.
pub(crate) struct UpJob<'a> {
    pub(crate) coarse: View<'a>,
    /// The skip connection; None if it is what the output holds.
    pub(crate) skip: Option<View<'a>>,
    /// Four matrices, `[2 dy + dx]`, with segments coarse and skip.
    pub(crate) weights: &'a [Packed; 4],
    pub(crate) bias: &'a Aligned,
    /// Columns of the output.
    pub(crate) columns: usize,
    /// Rows of the output to be made.
    pub(crate) rows: Range<usize>,
}

/// Columns of a tile: as many rows as the kernel is high stay in the second-level cache.
const TILE: usize = 128;

/// # Safety
/// As [`Lanes`] for `V`. Pointers below come from scratch memory and the sink, for tiles that fit them.
#[inline(always)]
pub(super) unsafe fn convolve<V: Lanes, F: Feed<V>>(
    job: &ConvJob<'_>,
    mut sink: Sink<'_, '_>,
    scratch: &mut Scratch,
) {
    let (source, outputs) = (&job.source, job.weights.panels());
    let (chunks, image) = (source.chunks(), source.columns());
    let tile = tile_columns(job.columns, TILE);
    // A row of the tile with its border, every `stride`-th pixel side by side.
    let phase = tile + (job.side - 1) / job.stride;
    let width = phase * job.stride;
    let slot = width * chunks * CHUNK;
    let result = tile * outputs * CHUNK;
    let staged = width.max(tile) * chunks.max(outputs) * CHUNK;
    let floats = job.side * slot + result + (2 + source.staging()) * staged;
    let mut pieces = scratch.open(floats * size_of::<f32>(), 5);
    let ring = pieces.take::<F>(job.side * slot);
    let stage = pieces.take::<f32>((1 + source.staging()) * staged);
    let tile_memory = pieces.take::<f32>(result).as_mut_ptr();
    match &sink {
        Sink::Store(out) | Sink::Add(out) => {
            assert_eq!(out.len(), job.rows.len() * outputs * job.columns * CHUNK);
        }
        Sink::Bands { out, plus } => {
            assert!(out.dim().0 <= plus.chunks() * CHUNK && out.dim().1 <= job.rows.len());
        }
    }
    for left in (0..job.columns).step_by(tile) {
        let columns = tile.min(job.columns - left);
        // Local index q of the border tile is column `left · stride + q − padding`.
        let origin = (left * job.stride) as isize - job.padding as isize;
        let inside = (-origin).max(0) as usize..width.min((image as isize - origin).max(0) as usize);
        let mut loaded = isize::MIN;
        for row in job.rows.clone() {
            let top = (row * job.stride) as isize - job.padding as isize;
            // SAFETY: ring slots hold a border tile; `inside` are the pixels of it that the source has.
            unsafe {
                for y in top.max(loaded)..top + job.side as isize {
                    let slot = &mut ring[y.rem_euclid(job.side as isize) as usize * slot..][..slot];
                    let present = y >= 0 && (y as usize) < source.rows() && !inside.is_empty();
                    if !present || inside.len() < width {
                        slot.fill(bytemuck::Zeroable::zeroed());
                    }
                    if present {
                        let first = (origin + inside.start as isize) as usize;
                        let x = source.load::<V, F>(y as usize, first..first + inside.len(), stage);
                        let slot = slot.as_mut_ptr();
                        spread::<V, F>(x, inside.clone(), chunks, slot, phase, job.stride);
                    }
                }
                loaded = top + job.side as isize;
                let mut taps = [Pixels { base: std::ptr::null(), chunk: width * CHUNK }; 16];
                for dy in 0..job.side {
                    let y = (top + dy as isize).rem_euclid(job.side as isize) as usize;
                    for dx in 0..job.side {
                        let at = dx % job.stride * phase + dx / job.stride;
                        taps[dy * job.side + dx].base = ring.as_ptr().add(y * slot + at * CHUNK);
                    }
                }
                let taps = &taps[..job.side * job.side];
                let line = (row - job.rows.start) * outputs * job.columns + left;
                let local = Target { base: tile_memory, chunk: tile * CHUNK, step: CHUNK };
                let to = match &mut sink {
                    Sink::Store(out) => Target {
                        base: out.as_mut_ptr().add(line * CHUNK),
                        chunk: job.columns * CHUNK,
                        step: CHUNK,
                    },
                    _ => local,
                };
                if job.leaky {
                    product::<V, F, _>(taps, columns, job.weights, None, LeakyRelu(to));
                } else {
                    product::<V, F, _>(taps, columns, job.weights, None, Store(to));
                }
                match &mut sink {
                    Sink::Store(_) => {}
                    Sink::Add(out) => {
                        let out = out.as_mut_ptr().add(line * CHUNK);
                        for chunk in 0..outputs {
                            for at in (0..columns * CHUNK).step_by(V::N) {
                                let y = out.add(chunk * job.columns * CHUNK + at);
                                V::load(y).add(V::load(local.base.add(chunk * local.chunk + at))).store(y);
                            }
                        }
                    }
                    Sink::Bands { out, plus } => {
                        let (bands, rows, width) = out.dim();
                        let at = row - job.rows.start;
                        if at < rows && left < width {
                            let n = columns.min(width - left);
                            let x = plus.load::<V, f32>(row, left..left + n, stage);
                            for band in 0..bands {
                                let (chunk, lane) = (band / CHUNK, band % CHUNK);
                                let mut y = out.as_mut_ptr().offset(
                                    band as isize * out.strides()[0]
                                        + at as isize * out.strides()[1]
                                        + left as isize * out.strides()[2],
                                );
                                let x = x.base.add(chunk * x.chunk + lane);
                                let sum = local.base.add(chunk * local.chunk + lane);
                                for p in 0..n {
                                    *y = *sum.add(p * CHUNK) + *x.add(p * CHUNK);
                                    y = y.offset(out.strides()[2]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Puts pixels into a border tile from local index `at.start` on, every `stride`-th side by side in phases of `phase`.
///
/// # Safety
/// As [`Lanes`]; `x` valid for the pixels, `slot` for the tile.
#[inline(always)]
unsafe fn spread<V: Lanes, F: Feed<V>>(
    x: Pixels<f32>,
    at: Range<usize>,
    chunks: usize,
    slot: *mut F,
    phase: usize,
    stride: usize,
) {
    let chunk = phase * stride * CHUNK;
    // SAFETY: by contract.
    unsafe {
        if stride == 1 {
            let to = Target { base: slot.add(at.start * CHUNK), chunk, step: CHUNK };
            convert::<V, F>(x, at.len(), chunks, to);
            return;
        }
        for c in 0..chunks {
            for q in at.clone() {
                let from = x.base.add(c * x.chunk + (q - at.start) * CHUNK);
                let to = slot.add(c * chunk + (q % stride * phase + q / stride) * CHUNK);
                for lane in (0..CHUNK).step_by(V::N) {
                    F::put(V::load(from.add(lane)), to.add(lane));
                }
            }
        }
    }
}

/// # Safety
/// As [`Lanes`] for `V`. Pointers below come from views and scratch memory, for tiles that fit them.
#[inline(always)]
pub(super) unsafe fn up<V: Lanes, F: Feed<V>>(job: &UpJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
    let coarse = job.coarse;
    let chunks = job.weights[0].panels();
    assert!(job.columns == 2 * coarse.columns && out.len() == job.rows.len() * job.columns * chunks * CHUNK);
    let tile = tile_columns(coarse.columns, TILE / 2);
    let floats = tile * (2 * chunks + coarse.chunks) * CHUNK;
    let mut pieces = scratch.open(floats * size_of::<f32>(), 2);
    let skips = pieces.take::<F>(2 * tile * chunks * CHUNK).as_mut_ptr();
    let fed = pieces.take::<F>(tile * coarse.chunks * CHUNK).as_mut_ptr();
    for left in (0..coarse.columns).step_by(tile) {
        let n = tile.min(coarse.columns - left);
        for row in job.rows.clone() {
            let line = (row - job.rows.start) * chunks * job.columns + 2 * left;
            // SAFETY: 2 n pixels of the output and the skip, n of the coarse row, from `left` on.
            unsafe {
                let y = out.as_mut_ptr().add(line * CHUNK);
                let skip = match job.skip {
                    Some(skip) => image_row(skip, row, 2 * left),
                    None => Pixels { base: y.cast_const(), chunk: job.columns * CHUNK },
                };
                spread::<V, F>(skip, 0..2 * n, chunks, skips, tile, 2);
                let x = image_row(coarse, row / 2, left);
                let x = readable::<V, F>(x, n, coarse.chunks, fed, tile);
                for dx in 0..2 {
                    let skip =
                        Pixels { base: skips.add(dx * tile * CHUNK).cast_const(), chunk: 2 * tile * CHUNK };
                    let to = Target { base: y.add(dx * CHUNK), chunk: job.columns * CHUNK, step: 2 * CHUNK };
                    let weights = &job.weights[2 * (row % 2) + dx];
                    product::<V, F, _>(&[x, skip], n, weights, Some(job.bias), Store(to));
                }
            }
        }
    }
}
