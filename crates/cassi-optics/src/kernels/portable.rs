//! The specification of the kernels, in plain Rust; other instruction sets compile the same loops again.

use ndarray::ArrayViewMut3;

use super::{GROUP, Kernel, Window};

/// Floats of a cache line.
const LINE: usize = 16;

pub(crate) const KERNEL: Kernel = Kernel {
    name: "portable",
    available: || true,
    accumulate: |window, y, mask, x| accumulate(window, y, mask, x),
    accumulate_group: |window, step, ahead, y, mask, x| accumulate_group(window, step, ahead, y, mask, x),
    spread: |step, x, mask, y| spread_all(step, x, mask, y),
    spread_streaming: |window, x, mask, y| spread(window, x, mask, y),
};

#[inline(always)]
pub(super) fn accumulate(window: Window, y: &mut [f32], mask: &[f32], x: &[f32]) {
    let Window { columns, width, offset } = window;
    let rows = y.chunks_exact_mut(width).zip(mask.chunks_exact(columns)).zip(x.chunks_exact(columns));
    for ((y, mask), x) in rows {
        add(&mut y[offset..offset + columns], mask, x);
    }
}

#[inline(always)]
pub(super) fn accumulate_group(
    window: Window,
    step: usize,
    ahead: usize,
    y: &mut [f32],
    mask: &[f32],
    x: [&[f32]; GROUP],
) {
    let Window { columns, width, offset } = window;
    let reach = (GROUP - 1) * step;
    if columns <= reach {
        for (k, x) in x.into_iter().enumerate() {
            accumulate(Window { offset: offset + k * step, ..window }, y, mask, x);
        }
        return;
    }
    // All bands of the group meet in the middle of a row; each has an edge of its own on either side of it.
    let common = columns - reach;
    for (row, (y, mask)) in y.chunks_exact_mut(width).zip(mask.chunks_exact(columns)).enumerate() {
        let x = x.map(|x| &x[row * columns..][..columns]);
        let (left, rest) = y[offset..offset + columns + reach].split_at_mut(reach);
        let (middle, right) = rest.split_at_mut(common);
        for k in 0..GROUP {
            let edge = reach - k * step;
            add(&mut left[k * step..], &mask[..edge], &x[k][..edge]);
        }
        let start = |k: usize| reach - k * step;
        let m: [&[f32]; GROUP] = std::array::from_fn(|k| &mask[start(k)..][..common]);
        let x_middle: [&[f32]; GROUP] = std::array::from_fn(|k| &x[k][start(k)..][..common]);
        let (lines, rest) = middle.as_chunks_mut::<LINE>();
        for (i, line) in lines.iter_mut().enumerate() {
            let (at, mut sums) = (i * LINE, *line);
            for k in 0..GROUP {
                fetch_ahead(x_middle[k].as_ptr().wrapping_add(at + ahead));
                let (m, x) = (&m[k][at..at + LINE], &x_middle[k][at..at + LINE]);
                for c in 0..LINE {
                    sums[c] += m[c] * x[c];
                }
            }
            *line = sums;
        }
        let at = common - rest.len();
        for k in 0..GROUP {
            add(rest, &m[k][at..], &x_middle[k][at..]);
        }
        for k in 0..GROUP {
            let edge = columns - k * step;
            add(right, &mask[edge..], &x[k][edge..]);
        }
    }
}

/// Asks for the cache line at an address that may lie anywhere.
#[inline(always)]
fn fetch_ahead(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 CPU has the instruction, and it touches no memory that the program can see.
        #[allow(unsafe_code)] // std::arch
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(at.cast())
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[inline(always)]
fn add(y: &mut [f32], mask: &[f32], x: &[f32]) {
    for ((y, &m), &x) in y.iter_mut().zip(mask).zip(x) {
        *y += m * x;
    }
}

#[inline(always)]
pub(super) fn spread(window: Window, x: &mut [f32], mask: &[f32], y: &[f32]) {
    let Window { columns, width, offset } = window;
    let rows = x.chunks_exact_mut(columns).zip(mask.chunks_exact(columns)).zip(y.chunks_exact(width));
    for ((x, mask), y) in rows {
        for ((x, &m), &y) in x.iter_mut().zip(mask).zip(&y[offset..offset + columns]) {
            *x = m * y;
        }
    }
}

#[inline(always)]
pub(super) fn spread_all(step: usize, mut x: ArrayViewMut3<'_, f32>, mask: &[f32], y: &[f32]) {
    let (bands, _, columns) = x.dim();
    let width = columns + step * (bands - 1);
    for (band, mut plane) in x.outer_iter_mut().enumerate() {
        let x = plane.as_slice_mut().expect("rows of a band are contiguous");
        spread(Window { columns, width, offset: step * band }, x, mask, y);
    }
}
