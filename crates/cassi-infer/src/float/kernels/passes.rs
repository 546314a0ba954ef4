//! Strip passes over the primitives, and the table of their compiled forms.

#![allow(unsafe_code)] // kernels: pointers into checked slices, and calls into code compiled for one instruction set

use std::ops::Range;

use super::Kernel;
use super::lanes::{Lanes, Portable};
use super::primitives::{
    Add, Gelu, LeakyRelu, Segment, Store, depthwise_row, gram, layer_norm, matmul, multiply,
};
use crate::float::image::View;
use crate::float::matrix::Packed;

#[cfg(target_arch = "x86_64")]
use super::lanes::Avx2;

/// Columns of a tile: three hidden rows of a tile stay in the second-level cache at every width of the networks.
const TILE: usize = 64;

/// A dense convolution; segments of `weights` are its taps, row by row.
pub(crate) struct ConvJob<'a> {
    /// One or two inputs, concatenated along channels (two only for 1x1).
    pub(crate) inputs: &'a [View<'a>],
    pub(crate) weights: &'a Packed,
    pub(crate) bias: Option<&'a [f32]>,
    /// Kernel side, stride and zero padding.
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) after: After,
    /// Columns of the output.
    pub(crate) columns: usize,
    /// Rows of the output to be made.
    pub(crate) rows: Range<usize>,
}

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum After {
    Nothing,
    /// Adds to what the output holds.
    Add,
    LeakyRelu,
}

/// `out = x + W₂ gelu(D gelu(W₁ norm(x)))`, D depthwise 3x3.
pub(crate) struct FeedForwardJob<'a> {
    pub(crate) x: View<'a>,
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) expand: &'a Packed,
    pub(crate) depthwise: &'a [f32],
    pub(crate) project: &'a Packed,
    pub(crate) rows: Range<usize>,
}

/// `out = x + M (v ⊙ m) + b + D₂ gelu(D₁ v)`, `v = V x`: attention once its matrix M is known.
pub(crate) struct MixJob<'a> {
    pub(crate) x: View<'a>,
    pub(crate) value: &'a Packed,
    /// Mask features of the size of `x`, if the network has them.
    pub(crate) mask: Option<View<'a>>,
    pub(crate) mix: &'a Packed,
    pub(crate) bias: &'a [f32],
    pub(crate) position: [&'a [f32]; 2],
    pub(crate) rows: Range<usize>,
}

/// `sums += Σ x xᵀ` over a strip.
pub(crate) struct GramJob<'a> {
    pub(crate) x: View<'a>,
    pub(crate) rows: Range<usize>,
}

/// `out[2r + dy, 2c + dx] = W[dy][dx] (coarse[r, c], skip[2r + dy, 2c + dx]) + b`.
pub(crate) struct UpJob<'a> {
    pub(crate) coarse: View<'a>,
    pub(crate) skip: View<'a>,
    /// Four matrices, `[2 dy + dx]`, with segments coarse and skip.
    pub(crate) weights: &'a [Packed; 4],
    pub(crate) bias: &'a [f32],
    /// Rows of the output to be made.
    pub(crate) rows: Range<usize>,
}

/// The first `n` floats of a scratch buffer, grown if need be.
fn scratch(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
    &mut buffer[..n]
}

/// # Safety
/// As [`Lanes`] for `V`. All pointers below come from slices whose lengths the views guarantee.
#[inline(always)]
unsafe fn conv<V: Lanes>(job: &ConvJob<'_>, out: &mut [f32], buffer: &mut Vec<f32>) {
    let outputs = job.weights.outputs();
    assert_eq!(out.len(), job.rows.len() * job.columns * outputs);
    let first = job.inputs[0];
    let run = |segments: &[Segment], y: *mut f32| {
        // SAFETY: segments are valid for `columns` pixels, y for a row of the output.
        unsafe {
            match job.after {
                After::Nothing => {
                    matmul::<V, Store>(segments, job.columns, job.weights, job.bias, y, outputs)
                }
                After::Add => matmul::<V, Add>(segments, job.columns, job.weights, job.bias, y, outputs),
                After::LeakyRelu => {
                    matmul::<V, LeakyRelu>(segments, job.columns, job.weights, job.bias, y, outputs);
                }
            }
        }
    };
    if job.side == 1 {
        for (row, y) in job.rows.clone().zip(out.chunks_exact_mut(job.columns * outputs)) {
            let mut segments = [Segment { base: std::ptr::null(), stride: 0 }; 2];
            for (segment, input) in segments.iter_mut().zip(job.inputs) {
                *segment = Segment { base: input.row(row).as_ptr(), stride: input.channels };
            }
            run(&segments[..job.inputs.len()], y.as_mut_ptr());
        }
        return;
    }
    // Rows with their zero border, as many as the kernel is high; a row of the input is copied once per output row
    // that needs it, which costs little beside the product.
    let width = (first.columns + 2 * job.padding) * first.channels;
    let rows = scratch(buffer, job.side * width);
    let mut segments = vec_of_segments(job.side * job.side);
    for (row, y) in job.rows.clone().zip(out.chunks_exact_mut(job.columns * outputs)) {
        for (dy, padded) in rows.chunks_exact_mut(width).enumerate() {
            padded.fill(0.0);
            let source = (row * job.stride + dy).wrapping_sub(job.padding);
            if source < first.rows {
                let start = job.padding * first.channels;
                padded[start..start + first.columns * first.channels].copy_from_slice(first.row(source));
            }
        }
        for dy in 0..job.side {
            for dx in 0..job.side {
                segments[dy * job.side + dx] = Segment {
                    base: rows[dy * width + dx * first.channels..].as_ptr(),
                    stride: job.stride * first.channels,
                };
            }
        }
        run(&segments[..job.side * job.side], y.as_mut_ptr());
    }
}

/// Room for the taps of the largest kernel in use, 5x5, without allocating.
fn vec_of_segments(n: usize) -> [Segment; 25] {
    assert!(n <= 25, "kernels up to 5x5");
    [Segment { base: std::ptr::null(), stride: 0 }; 25]
}

/// # Safety
/// As [`Lanes`] for `V`.
#[inline(always)]
unsafe fn feed_forward<V: Lanes>(job: &FeedForwardJob<'_>, out: &mut [f32], buffer: &mut Vec<f32>) {
    let x = job.x;
    let (channels, hidden) = (x.channels, job.expand.outputs());
    assert_eq!(out.len(), job.rows.len() * x.columns * channels);
    let real = job.expand.segment_channels()[0];
    let span = (TILE.min(x.columns) + 2) * hidden;
    let memory = scratch(buffer, 4 * span + (TILE + 2) * channels);
    let (ring, rest) = memory.split_at_mut(3 * span);
    let (filtered, normal) = rest.split_at_mut(span);
    for left in (0..x.columns).step_by(TILE) {
        let columns = TILE.min(x.columns - left);
        // The hidden tile has a column more on each side; beyond the image it is zero.
        let (from, to) = (left.saturating_sub(1), (left + columns + 1).min(x.columns));
        let offset = from + 1 - left;
        for next in job.rows.start as isize - 1..=job.rows.end as isize {
            let slot = &mut ring[next.rem_euclid(3) as usize * span..][..(columns + 2) * hidden];
            if next < 0 || next as usize >= x.rows {
                slot.fill(0.0);
            } else {
                slot[..hidden].fill(0.0);
                slot[(columns + 1) * hidden..].fill(0.0);
                let row = &x.row(next as usize)[from * channels..to * channels];
                // SAFETY: `row` and `normal` hold to − from pixels, `slot` as many after `offset`.
                unsafe {
                    layer_norm::<V>(row.as_ptr(), to - from, real, job.gamma, job.beta, normal.as_mut_ptr());
                    let input = [Segment { base: normal.as_ptr(), stride: channels }];
                    let target = slot[offset * hidden..].as_mut_ptr();
                    matmul::<V, Gelu>(&input, to - from, job.expand, None, target, hidden);
                }
            }
            if next <= job.rows.start as isize {
                continue;
            }
            let row = next as usize - 1;
            let hidden_rows = [row + 2, row, row + 1].map(|r| ring[r % 3 * span..].as_ptr());
            let at = ((row - job.rows.start) * x.columns + left) * channels;
            let y = &mut out[at..at + columns * channels];
            y.copy_from_slice(&x.row(row)[left * channels..(left + columns) * channels]);
            // SAFETY: ring rows hold columns + 2 pixels; rows row − 1, row, row + 1 are in slots (row + 2) % 3, row % 3
            // and (row + 1) % 3.
            unsafe {
                depthwise_row::<V, Gelu>(
                    hidden_rows,
                    columns,
                    hidden,
                    job.depthwise,
                    filtered.as_mut_ptr(),
                    hidden,
                );
                let input = [Segment { base: filtered.as_ptr(), stride: hidden }];
                matmul::<V, Add>(&input, columns, job.project, None, y.as_mut_ptr(), channels);
            }
        }
    }
}

/// # Safety
/// As [`Lanes`] for `V`.
#[inline(always)]
unsafe fn mix<V: Lanes>(job: &MixJob<'_>, out: &mut [f32], buffer: &mut Vec<f32>) {
    let x = job.x;
    let channels = x.channels;
    assert_eq!(out.len(), job.rows.len() * x.columns * channels);
    let tile = TILE.min(x.columns);
    let (wide, narrow) = ((tile + 4) * channels, (tile + 2) * channels);
    let memory = scratch(buffer, 3 * wide + 3 * narrow + tile * channels);
    let (values, rest) = memory.split_at_mut(3 * wide);
    let (positions, masked) = rest.split_at_mut(3 * narrow);
    for left in (0..x.columns).step_by(TILE) {
        let columns = TILE.min(x.columns - left);
        let (from, to) = (left.saturating_sub(2), (left + columns + 2).min(x.columns));
        let offset = from + 2 - left;
        let inside = |row: isize| row >= 0 && (row as usize) < x.rows;
        for next in job.rows.start as isize - 2..=job.rows.end as isize + 1 {
            let slot = &mut values[next.rem_euclid(3) as usize * wide..][..(columns + 4) * channels];
            slot.fill(0.0);
            if inside(next) {
                let row = &x.row(next as usize)[from * channels..to * channels];
                let input = [Segment { base: row.as_ptr(), stride: channels }];
                // SAFETY: `slot` holds to − from pixels after `offset`.
                unsafe {
                    let target = slot[offset * channels..].as_mut_ptr();
                    matmul::<V, Store>(&input, to - from, job.value, None, target, channels);
                }
            }
            if next < job.rows.start as isize {
                continue;
            }
            // One row back, the inner position features, a column more on each side.
            let middle = next - 1;
            let target = &mut positions[middle.rem_euclid(3) as usize * narrow..][..(columns + 2) * channels];
            if inside(middle) {
                let rows =
                    [next - 2, next - 1, next].map(|r| values[r.rem_euclid(3) as usize * wide..].as_ptr());
                // SAFETY: rows hold columns + 4 pixels, `target` columns + 2.
                unsafe {
                    let y = target.as_mut_ptr();
                    depthwise_row::<V, Gelu>(rows, columns + 2, channels, job.position[0], y, channels);
                }
                // The second convolution sees zeros beyond the image.
                if left == 0 {
                    target[..channels].fill(0.0);
                }
                if left + columns == x.columns {
                    target[(columns + 1) * channels..].fill(0.0);
                }
            } else {
                target.fill(0.0);
            }
            if next < job.rows.start as isize + 2 {
                continue;
            }
            let row = (next - 2) as usize;
            let at = ((row - job.rows.start) * x.columns + left) * channels;
            let y = &mut out[at..at + columns * channels];
            y.copy_from_slice(&x.row(row)[left * channels..(left + columns) * channels]);
            let rows = [next - 3, next - 2, next - 1]
                .map(|r| positions[r.rem_euclid(3) as usize * narrow..].as_ptr());
            let value = values[row % 3 * wide + 2 * channels..].as_ptr();
            // SAFETY: all rows hold at least `columns` pixels from their pointers on.
            unsafe {
                depthwise_row::<V, Add>(rows, columns, channels, job.position[1], y.as_mut_ptr(), channels);
                let base = match job.mask {
                    Some(mask) => {
                        let m = mask.row(row)[left * channels..].as_ptr();
                        multiply::<V>(value, m, columns * channels, masked.as_mut_ptr());
                        masked.as_ptr()
                    }
                    None => value,
                };
                let input = [Segment { base, stride: channels }];
                matmul::<V, Add>(&input, columns, job.mix, Some(job.bias), y.as_mut_ptr(), channels);
            }
        }
    }
}

/// # Safety
/// As [`Lanes`] for `V`.
#[inline(always)]
unsafe fn gram_strip<V: Lanes>(job: &GramJob<'_>, sums: &mut [f64]) {
    let x = job.x;
    let pixels = job.rows.len() * x.columns;
    let strip = &x.data[job.rows.start * x.columns * x.channels..][..pixels * x.channels];
    // SAFETY: the strip holds that many pixels.
    unsafe { gram::<V>(strip.as_ptr(), pixels, sums.len() / x.channels, x.channels, sums) }
}

/// # Safety
/// As [`Lanes`] for `V`.
#[inline(always)]
unsafe fn up<V: Lanes>(job: &UpJob<'_>, out: &mut [f32]) {
    let outputs = job.weights[0].outputs();
    let columns = job.skip.columns;
    assert!(columns == 2 * job.coarse.columns && out.len() == job.rows.len() * columns * outputs);
    for (row, y) in job.rows.clone().zip(out.chunks_exact_mut(columns * outputs)) {
        for dx in 0..2 {
            let input = [
                Segment { base: job.coarse.row(row / 2).as_ptr(), stride: job.coarse.channels },
                Segment {
                    base: job.skip.row(row)[dx * job.skip.channels..].as_ptr(),
                    stride: 2 * job.skip.channels,
                },
            ];
            let weights = &job.weights[2 * (row % 2) + dx];
            let y = y[dx * outputs..].as_mut_ptr();
            // SAFETY: every second pixel of a row of the output and of the skip, all of the coarse row.
            unsafe { matmul::<V, Store>(&input, columns / 2, weights, Some(job.bias), y, 2 * outputs) }
        }
    }
}

/// The safe functions of one instruction set, compiled with its features, and its table.
macro_rules! compiled {
    ($module:ident, $lanes:ty, $name:literal, $available:expr $(, $feature:literal)?) => {
        mod $module {
            use super::*;
            $(#[target_feature(enable = $feature)])?
            unsafe fn conv_on(job: &ConvJob<'_>, out: &mut [f32], buffer: &mut Vec<f32>) {
                // SAFETY: the features are enabled here.
                unsafe { super::conv::<$lanes>(job, out, buffer) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn feed_forward_on(job: &FeedForwardJob<'_>, out: &mut [f32], buffer: &mut Vec<f32>) {
                // SAFETY: the features are enabled here.
                unsafe { super::feed_forward::<$lanes>(job, out, buffer) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn mix_on(job: &MixJob<'_>, out: &mut [f32], buffer: &mut Vec<f32>) {
                // SAFETY: the features are enabled here.
                unsafe { super::mix::<$lanes>(job, out, buffer) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn gram_on(job: &GramJob<'_>, sums: &mut [f64]) {
                // SAFETY: the features are enabled here.
                unsafe { super::gram_strip::<$lanes>(job, sums) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn up_on(job: &UpJob<'_>, out: &mut [f32]) {
                // SAFETY: the features are enabled here.
                unsafe { super::up::<$lanes>(job, out) }
            }
            // SAFETY of the five calls: a kernel is used only where `available` has said yes.
            pub(super) const KERNEL: Kernel = Kernel {
                name: $name,
                precision: crate::float::Precision::F32,
                available: $available,
                conv: |job, out, buffer| unsafe { conv_on(job, out, buffer) },
                feed_forward: |job, out, buffer| unsafe { feed_forward_on(job, out, buffer) },
                mix: |job, out, buffer| unsafe { mix_on(job, out, buffer) },
                gram: |job, sums| unsafe { gram_on(job, sums) },
                up: |job, out| unsafe { up_on(job, out) },
            };
        }
    };
}

compiled!(portable, Portable, "portable", || true);
pub(super) const PORTABLE: Kernel = portable::KERNEL;

#[cfg(target_arch = "x86_64")]
compiled!(
    avx2,
    Avx2,
    "avx2",
    || std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
    "avx2,fma"
);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel = avx2::KERNEL;
