//! Features of the sheared mask, shifted back: `m + m ⊙ sigmoid(D conv₂(m))` with `m = conv₁(mask)`, D depthwise 5x5.

#![allow(unsafe_code)] // kernels: pointers into scratch memory; see each SAFETY line

use std::ops::Range;

use super::block::tile_columns;
use super::feed::{Pixels, Store, Target};
use super::lanes::Lanes;
use super::pointwise::{depthwise, gated};
use super::product::product;
use super::source::Source;
use crate::float::matrix::Packed;
use crate::float::memory::{Aligned, CHUNK, Scratch};

/// What the mask branch of a block takes.
pub(crate) struct MaskJob<'a> {
    /// The sheared mask of this level.
    pub(crate) source: Source<'a>,
    pub(crate) first: (&'a Packed, &'a Aligned),
    pub(crate) second: (&'a Packed, &'a Aligned),
    pub(crate) depthwise: (&'a Aligned, &'a Aligned),
    /// Columns by which each channel moves to the left; the source is wide enough for the largest.
    pub(crate) shifts: &'a [usize],
    /// Columns of the output.
    pub(crate) columns: usize,
    /// Rows of the output to be made.
    pub(crate) rows: Range<usize>,
}

/// Columns of a tile.
const TILE: usize = 256;

/// # Safety
/// As [`Lanes`] for `V`. Pointers below come from scratch memory, for tiles that fit it.
#[inline(always)]
pub(super) unsafe fn mask_features<V: Lanes>(job: &MaskJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
    let source = &job.source;
    let chunks = job.first.0.panels();
    assert_eq!(out.len(), job.rows.len() * chunks * job.columns * CHUNK);
    let furthest = job.shifts.iter().copied().max().unwrap_or(0);
    assert!(job.columns + furthest <= source.columns());
    let tile = tile_columns(job.columns, TILE);
    // Local index l of a tile is column `left − 2 + l`; the depthwise convolution needs two more on each side.
    let width = tile + furthest + 4;
    let row_floats = width * chunks * CHUNK;
    let staged = width * source.chunks().max(chunks) * CHUNK;
    let floats = 9 * row_floats + (1 + source.staging()) * staged;
    let mut pieces = scratch.open(floats * size_of::<f32>(), 4);
    let bases = pieces.take::<f32>(3 * row_floats);
    let gates = pieces.take::<f32>(5 * row_floats);
    let sums = pieces.take::<f32>(row_floats);
    let stage = pieces.take::<f32>((1 + source.staging()) * staged);
    let chunk = width * CHUNK;
    let (start, end) = (job.rows.start as isize, job.rows.end as isize);
    for left in (0..job.columns).step_by(tile) {
        let columns = tile.min(job.columns - left);
        let reach = columns + furthest;
        let inside = 2usize.saturating_sub(left)..(reach + 4).min(source.columns() + 2 - left);
        for next in start - 2..end + 2 {
            let base = &mut bases[next.rem_euclid(3) as usize * row_floats..][..row_floats];
            let gate = &mut gates[next.rem_euclid(5) as usize * row_floats..][..row_floats];
            let present = next >= 0 && (next as usize) < source.rows();
            if !present || inside.len() < width {
                gate.fill(0.0);
            }
            if present {
                let first = left + inside.start - 2;
                let n = inside.len();
                // SAFETY: `inside` are the pixels of a tile that the source has, and rows hold a tile.
                unsafe {
                    let x = source.load::<V, f32>(next as usize, first..first + n, stage);
                    let target = |row: &mut [f32]| Target {
                        base: row[inside.start * CHUNK..].as_mut_ptr(),
                        chunk,
                        step: CHUNK,
                    };
                    let m = target(base);
                    product::<V, f32, _>(&[x], n, job.first.0, Some(job.first.1), Store(m));
                    let x = Pixels { base: m.base.cast_const(), chunk };
                    product::<V, f32, _>(&[x], n, job.second.0, Some(job.second.1), Store(target(gate)));
                }
            }
            let row = next - 2;
            if row < start {
                continue;
            }
            let base = &bases[row.rem_euclid(3) as usize * row_floats..][..row_floats];
            let mut rows = [Pixels { base: gates.as_ptr(), chunk }; 5];
            // SAFETY: five rows of gates, each `reach + 4` pixels wide; the sums take `reach` pixels a chunk.
            unsafe {
                for (dy, pixels) in rows.iter_mut().enumerate() {
                    let slot = (row + dy as isize - 2).rem_euclid(5) as usize;
                    pixels.base = pixels.base.add(slot * row_floats);
                }
                let to = Target { base: sums.as_mut_ptr(), chunk, step: CHUNK };
                let (taps, bias) = job.depthwise;
                depthwise::<V, _, 5>(rows, reach, chunks, taps, Some(bias), Store(to));
                for c in 0..chunks {
                    let m = base[c * chunk + 2 * CHUNK..].as_ptr();
                    gated::<V>(m, sums[c * chunk..].as_mut_ptr(), reach * CHUNK);
                }
            }
            let line = (row - start) as usize * chunks * job.columns + left;
            for channel in 0..chunks * CHUNK {
                let (c, lane) = (channel / CHUNK, channel % CHUNK);
                let target = out[(line + c * job.columns) * CHUNK + lane..].iter_mut().step_by(CHUNK);
                match job.shifts.get(channel) {
                    Some(shift) => {
                        let values = sums[c * chunk + shift * CHUNK + lane..].iter().step_by(CHUNK);
                        target.zip(values).take(columns).for_each(|(y, value)| *y = *value);
                    }
                    None => target.take(columns).for_each(|y| *y = 0.0),
                }
            }
        }
    }
}
