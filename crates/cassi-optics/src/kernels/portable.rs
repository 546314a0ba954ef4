//! The specification of the kernels, in plain Rust; other instruction sets compile the same loops again.

use super::{Kernel, Window};

pub(crate) const KERNEL: Kernel = Kernel {
    name: "portable",
    available: || true,
    accumulate: |window, y, mask, x| accumulate(window, y, mask, x),
    spread: |window, x, mask, y| spread(window, x, mask, y),
    spread_streaming: |window, x, mask, y| spread(window, x, mask, y),
};

#[inline(always)]
pub(super) fn accumulate(window: Window, y: &mut [f32], mask: &[f32], x: &[f32]) {
    let Window { columns, width, offset } = window;
    let rows = y.chunks_exact_mut(width).zip(mask.chunks_exact(columns)).zip(x.chunks_exact(columns));
    for ((y, mask), x) in rows {
        for ((y, &m), &x) in y[offset..offset + columns].iter_mut().zip(mask).zip(x) {
            *y += m * x;
        }
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
