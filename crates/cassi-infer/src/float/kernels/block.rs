//! A whole attention block in one pass over a strip: attention once its matrix is known, then the feed-forward block.
//!
//! `y = x + M (v ⊙ m) + b + D₂ gelu(D₁ v)` with `v = V x`, then `out = y + W₂ gelu(D gelu(W₁ norm(y)))`, with depthwise
//! 3x3 convolutions D. Rows run through rings in tiles of columns: an output row needs three rows of hidden channels,
//! of position features and of v, and nothing but `x`, `m` and `out` is in memory. A tile and a strip compute again up to
//! three pixels of their neighbours at each side.

#![allow(unsafe_code)] // kernels: pointers into scratch memory; see each SAFETY line

use std::ops::Range;

use super::feed::{Feed, Gelu, Pixels, Plus, Store, Target};
use super::lanes::Lanes;
use super::pointwise::{convert, depthwise, layer_norm, multiply};
use super::product::product;
use crate::float::image::View;
use crate::float::matrix::Packed;
use crate::float::memory::{Aligned, CHUNK, Scratch};

/// What a block takes.
pub(crate) struct BlockJob<'a> {
    pub(crate) x: View<'a>,
    /// Channels without padding.
    pub(crate) channels: usize,
    pub(crate) value: &'a Packed,
    /// Mask features of the size of `x`, if the network has them: the rows of the strip and one more on each side.
    pub(crate) mask: Option<View<'a>>,
    pub(crate) mix: &'a Packed,
    pub(crate) bias: &'a Aligned,
    pub(crate) position: [&'a Aligned; 2],
    pub(crate) gamma: &'a Aligned,
    pub(crate) beta: &'a Aligned,
    pub(crate) expand: &'a Packed,
    pub(crate) depthwise: &'a Aligned,
    pub(crate) project: &'a Packed,
    /// The strip.
    pub(crate) rows: Range<usize>,
}

/// Columns of a tile, near a target and as equal as can be.
pub(super) fn tile_columns(columns: usize, target: usize) -> usize {
    columns.div_ceil(columns.div_ceil(target)).max(1)
}

/// Three rows of a tile in turn, each `columns` pixels of some chunks wide.
#[derive(Clone, Copy)]
struct Ring {
    base: *mut f32,
    columns: usize,
    chunks: usize,
}

impl Ring {
    fn new(memory: &mut [f32], columns: usize, chunks: usize) -> Self {
        debug_assert!(memory.len() >= 3 * columns * chunks * CHUNK);
        Self { base: memory.as_mut_ptr(), columns, chunks }
    }

    /// A row's pixels from `p` on, to write.
    ///
    /// # Safety
    /// `p` is at most the columns of the ring.
    #[inline(always)]
    unsafe fn target(self, row: isize, p: usize) -> Target<f32> {
        let slot = row.rem_euclid(3) as usize * self.columns * self.chunks;
        // SAFETY: a slot of three, and by contract.
        let base = unsafe { self.base.add((slot + p) * CHUNK) };
        Target { base, chunk: self.columns * CHUNK, step: CHUNK }
    }

    /// A row's pixels from `p` on, to read.
    ///
    /// # Safety
    /// As [`Self::target`].
    #[inline(always)]
    unsafe fn pixels(self, row: isize, p: usize) -> Pixels<f32> {
        // SAFETY: by contract.
        let Target { base, chunk, .. } = unsafe { self.target(row, p) };
        Pixels { base, chunk }
    }

    /// The rows above, at and below `row` from pixel `p` on.
    ///
    /// # Safety
    /// As [`Self::target`].
    #[inline(always)]
    unsafe fn around(self, row: isize, p: usize) -> [Pixels<f32>; 3] {
        // SAFETY: by contract.
        unsafe { [self.pixels(row - 1, p), self.pixels(row, p), self.pixels(row + 1, p)] }
    }

    /// Zeroes pixels of a row.
    ///
    /// # Safety
    /// `pixels` are within the columns of the ring.
    #[inline(always)]
    unsafe fn clear(self, row: isize, pixels: Range<usize>) {
        // SAFETY: by contract.
        unsafe {
            let target = self.target(row, pixels.start);
            for chunk in 0..self.chunks {
                target.base.add(chunk * target.chunk).write_bytes(0, pixels.len() * CHUNK);
            }
        }
    }
}

/// The pixels of a tile with `halo` pixels more on each side: which of them are in the image.
#[derive(Clone)]
struct Window {
    /// Local indices inside the image; index 0 is column `left − halo`.
    inside: Range<usize>,
    width: usize,
    halo: usize,
    left: usize,
}

impl Window {
    fn new(left: usize, columns: usize, halo: usize, image: usize) -> Self {
        let width = columns + 2 * halo;
        Self { inside: halo.saturating_sub(left)..width.min(image + halo - left), width, halo, left }
    }

    /// The first column inside.
    fn first(&self) -> usize {
        self.left + self.inside.start - self.halo
    }

    /// Zeroes what lies beyond the image, or a whole row.
    ///
    /// # Safety
    /// The ring is as wide as the window.
    #[inline(always)]
    unsafe fn clear(&self, ring: Ring, row: isize, all: bool) {
        // SAFETY: by contract.
        unsafe {
            if all {
                ring.clear(row, 0..self.width);
            } else {
                ring.clear(row, 0..self.inside.start);
                ring.clear(row, self.inside.end..self.width);
            }
        }
    }
}

/// The pixels of an image's row from `column` on.
///
/// # Safety
/// `column` is within the image, and the view holds the row.
#[inline(always)]
pub(super) unsafe fn image_row(view: View<'_>, row: usize, column: usize) -> Pixels<f32> {
    // SAFETY: by contract.
    Pixels { base: unsafe { view.row(row).as_ptr().add(column * CHUNK) }, chunk: view.columns * CHUNK }
}

/// `x` as products read it: itself, or rounded into `buffer`, of `columns` pixels a chunk.
///
/// # Safety
/// As [`Lanes`]; `x` valid for `pixels` pixels, `buffer` for as many.
#[inline(always)]
pub(super) unsafe fn readable<V: Lanes, F: Feed<V>>(
    x: Pixels<f32>,
    pixels: usize,
    chunks: usize,
    buffer: *mut F,
    columns: usize,
) -> Pixels<F> {
    if F::DIRECT {
        return Pixels { base: x.base.cast(), chunk: x.chunk };
    }
    let chunk = columns * CHUNK;
    // SAFETY: by contract.
    unsafe { convert::<V, F>(x, pixels, chunks, Target { base: buffer, chunk, step: CHUNK }) };
    Pixels { base: buffer, chunk }
}

/// Writes the rows of the strip to `out`.
///
/// # Safety
/// As [`Lanes`] for `V`. Pointers below come from views and from scratch memory, in windows that fit them.
#[inline(always)]
pub(super) unsafe fn block<V: Lanes, F: Feed<V>>(job: &BlockJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
    let x = job.x;
    let (chunks, hidden) = (x.chunks, job.expand.panels());
    assert_eq!(out.len(), job.rows.len() * chunks * x.columns * CHUNK);
    // Four hidden rows of a tile stay in the second-level cache: half a megabyte at most.
    let tile = tile_columns(x.columns, (2048 / hidden).clamp(32, 128));
    let narrow = (tile + 6) * chunks * CHUNK;
    let wide = (tile + 2) * hidden * CHUNK;
    let mut pieces = scratch.open((4 * wide + 12 * narrow) * size_of::<f32>(), 8);
    let values = Ring::new(pieces.take(3 * narrow), tile + 6, chunks);
    let positions = Ring::new(pieces.take(3 * narrow), tile + 4, chunks);
    let middles = Ring::new(pieces.take(3 * narrow), tile + 2, chunks);
    let hiddens = Ring::new(pieces.take(3 * wide), tile + 2, hidden);
    let fed = pieces.take::<F>(narrow).as_mut_ptr();
    let normal = pieces.take::<F>(narrow).as_mut_ptr();
    let filtered = pieces.take::<F>(wide).as_mut_ptr();
    let (start, end) = (job.rows.start as isize, job.rows.end as isize);
    for left in (0..x.columns).step_by(tile) {
        let columns = tile.min(x.columns - left);
        let [w0, w1, w2, w3] = [
            Window::new(left, columns, 0, x.columns),
            Window::new(left, columns, 1, x.columns),
            Window::new(left, columns, 2, x.columns),
            Window::new(left, columns, 3, x.columns),
        ];
        for next in start - 3..end + 3 {
            // SAFETY: each row is written within its window, and read where windows of one halo less reach.
            unsafe {
                let inside = next >= 0 && next < x.rows as isize;
                w3.clear(values, next, !inside);
                if inside {
                    let n = w3.inside.len();
                    let row = image_row(x, next as usize, w3.first());
                    let row = readable::<V, F>(row, n, chunks, fed, tile + 6);
                    let to = Store(values.target(next, w3.inside.start));
                    product::<V, F, _>(&[row], n, job.value, None, to);
                }
                let row = next - 1;
                if row >= start - 2 {
                    let inside = row >= 0 && row < x.rows as isize;
                    w2.clear(positions, row, !inside);
                    if inside {
                        let (at, n) = (w2.inside.start, w2.inside.len());
                        let to = Gelu(positions.target(row, at));
                        depthwise::<V, _, 3>(values.around(row, at), n, chunks, job.position[0], None, to);
                    }
                }
                let row = next - 2;
                if row >= start - 1 {
                    let inside = row >= 0 && row < x.rows as isize;
                    w1.clear(hiddens, row, !inside);
                    if inside {
                        let (at, n, column) = (w1.inside.start, w1.inside.len(), w1.first());
                        // The same pixel is two further on in the wider window of v.
                        let value = values.pixels(row, at + 2);
                        let value = match job.mask {
                            Some(mask) => {
                                let m = image_row(mask, row as usize, column);
                                let to = Target { base: fed, chunk: (tile + 2) * CHUNK, step: CHUNK };
                                multiply::<V, F>(value, m, n, chunks, to);
                                Pixels { base: fed, chunk: (tile + 2) * CHUNK }
                            }
                            None => readable::<V, F>(value, n, chunks, fed, tile + 2),
                        };
                        let y = middles.target(row, at);
                        let to = Plus(y, image_row(x, row as usize, column));
                        product::<V, F, _>(&[value], n, job.mix, Some(job.bias), to);
                        let from = middles.pixels(row, at);
                        let around = positions.around(row, at);
                        depthwise::<V, _, 3>(around, n, chunks, job.position[1], None, Plus(y, from));
                        let to = Target { base: normal, chunk: (tile + 2) * CHUNK, step: CHUNK };
                        layer_norm::<V, F>(from, n, chunks, job.channels, job.gamma, job.beta, to);
                        let row_of = Pixels { base: normal, chunk: to.chunk };
                        let to = Gelu(hiddens.target(row, at));
                        product::<V, F, _>(&[row_of], n, job.expand, None, to);
                    }
                }
                let row = next - 3;
                if row >= start {
                    let n = w0.inside.len();
                    let to = Target { base: filtered, chunk: tile * CHUNK, step: CHUNK };
                    depthwise::<V, _, 3>(hiddens.around(row, 0), n, hidden, job.depthwise, None, Gelu(to));
                    let at = (row - start) as usize * chunks * x.columns + left;
                    let y = Target {
                        base: out.as_mut_ptr().add(at * CHUNK),
                        chunk: x.columns * CHUNK,
                        step: CHUNK,
                    };
                    let row_of = Pixels { base: filtered, chunk: to.chunk };
                    let to = Plus(y, middles.pixels(row, 1));
                    product::<V, F, _>(&[row_of], n, job.project, None, to);
                }
            }
        }
    }
}
