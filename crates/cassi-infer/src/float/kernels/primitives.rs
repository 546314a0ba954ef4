//! The building blocks of every pass, written once over [`Lanes`]: matrix products of pixel blocks, depthwise rows,
//! layer norm, activations and the channel Gram matrix.
//!
//! Pixels are channels-last with channels padded to a multiple of eight; padding lanes hold zeros and stay zero,
//! because weights and biases are padded with zeros too.

#![allow(unsafe_code)] // kernels: unchecked pointers; every function's contract is in its SAFETY section

use super::lanes::{LANES, Lanes};
use crate::float::matrix::Packed;

/// What happens to eight results before they are stored.
pub(super) trait Epilogue<V: Lanes> {
    /// # Safety
    /// As [`Lanes`]; `y` is valid for eight floats.
    unsafe fn finish(value: V, y: *mut f32);
}

/// Stores.
pub(super) struct Store;
/// Adds to what is there.
pub(super) struct Add;
/// GELU, then stores.
pub(super) struct Gelu;
/// Leaky ReLU of slope 0.1, then stores.
pub(super) struct LeakyRelu;

impl<V: Lanes> Epilogue<V> for Store {
    #[inline(always)]
    unsafe fn finish(value: V, y: *mut f32) {
        // SAFETY: by contract.
        unsafe { value.store(y) }
    }
}
impl<V: Lanes> Epilogue<V> for Add {
    #[inline(always)]
    unsafe fn finish(value: V, y: *mut f32) {
        // SAFETY: by contract.
        unsafe { value.add(V::load(y)).store(y) }
    }
}
impl<V: Lanes> Epilogue<V> for Gelu {
    #[inline(always)]
    unsafe fn finish(value: V, y: *mut f32) {
        // SAFETY: by contract.
        unsafe { gelu(value).store(y) }
    }
}
impl<V: Lanes> Epilogue<V> for LeakyRelu {
    #[inline(always)]
    unsafe fn finish(value: V, y: *mut f32) {
        // SAFETY: by contract.
        unsafe { value.max(value.mul(V::splat(0.1))).store(y) }
    }
}

/// `x Φ(x)`, the exact (erf) form of GELU.
///
/// erf is the rational approximation of odd degree 13 over even degree 8 that Eigen and XLA use, on |x| < 4, beyond
/// which it is ±1 to f32; absolute error of the result below 1e-6 for |x| < 8 (tested against the series).
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(super) unsafe fn gelu<V: Lanes>(x: V) -> V {
    // SAFETY: by contract.
    unsafe {
        let c = |v: f32| V::splat(v);
        let z = x.mul(c(std::f32::consts::FRAC_1_SQRT_2)).min(c(4.0)).max(c(-4.0));
        let s = z.mul(z);
        let mut p = c(-2.726_142e-10);
        for a in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2]
        {
            p = p.mul_add(s, c(a));
        }
        let mut q = c(-1.456_607_2e-5);
        for b in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
            q = q.mul_add(s, c(b));
        }
        let erf = z.mul(p).div(q);
        let half = x.mul(c(0.5));
        half.mul_add(erf, half)
    }
}

/// One input of a matrix product: pixel `p` starts at `base + p · stride`, and its first `channels` floats count.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) base: *const f32,
    pub(super) stride: usize,
}

/// `y[p] = bias + Σ_s W_s x_s[p]` for `pixels` pixels, then the epilogue.
///
/// # Safety
/// As [`Lanes`]; one segment per segment of `w`, each valid for `pixels` pixels; `y` valid for `pixels` pixels of
/// `w.outputs()` floats at `y_stride`; `bias`, if any, for `w.outputs()` floats.
#[inline(always)]
pub(super) unsafe fn matmul<V: Lanes, E: Epilogue<V>>(
    x: &[Segment],
    pixels: usize,
    w: &Packed,
    bias: Option<&[f32]>,
    y: *mut f32,
    y_stride: usize,
) {
    debug_assert_eq!(x.len(), w.segment_channels().len());
    debug_assert!(bias.is_none_or(|b| b.len() == w.outputs()));
    // SAFETY: panels cover the outputs, blocks the pixels; the rest by contract.
    unsafe {
        for panel in w.panels() {
            let bias = bias.map_or(std::ptr::null(), |b| b.as_ptr().add(panel.first));
            let y = y.add(panel.first);
            macro_rules! block {
                ($rows:literal, $vectors:literal, $p:expr) => {
                    block::<V, E, $rows, $vectors>(
                        x,
                        $p,
                        w.segment_channels(),
                        panel.weights.as_ptr(),
                        bias,
                        y.add($p * y_stride),
                        y_stride,
                    )
                };
            }
            let mut p = 0;
            if panel.vectors == 2 {
                while p + 6 <= pixels {
                    block!(6, 2, p);
                    p += 6;
                }
                match pixels - p {
                    1 => block!(1, 2, p),
                    2 => block!(2, 2, p),
                    3 => block!(3, 2, p),
                    4 => block!(4, 2, p),
                    5 => block!(5, 2, p),
                    _ => {}
                }
            } else {
                while p + 8 <= pixels {
                    block!(8, 1, p);
                    p += 8;
                }
                while p < pixels {
                    block!(1, 1, p);
                    p += 1;
                }
            }
        }
    }
}

/// `ROWS` pixels by `VECTORS · 8` outputs, accumulated in registers.
///
/// # Safety
/// As [`matmul`].
#[inline(always)]
unsafe fn block<V: Lanes, E: Epilogue<V>, const ROWS: usize, const VECTORS: usize>(
    x: &[Segment],
    first: usize,
    channels: &[usize],
    mut w: *const f32,
    bias: *const f32,
    y: *mut f32,
    y_stride: usize,
) {
    // SAFETY: by contract.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        if !bias.is_null() {
            for v in 0..VECTORS {
                let b = V::load(bias.add(v * LANES));
                for row in &mut sums {
                    row[v] = b;
                }
            }
        }
        for (segment, &k) in x.iter().zip(channels) {
            let base = segment.base.add(first * segment.stride);
            for c in 0..k {
                let weights: [V; VECTORS] = std::array::from_fn(|v| V::load(w.add(v * LANES)));
                w = w.add(VECTORS * LANES);
                for (r, row) in sums.iter_mut().enumerate() {
                    let value = V::splat(*base.add(r * segment.stride + c));
                    for v in 0..VECTORS {
                        row[v] = value.mul_add(weights[v], row[v]);
                    }
                }
            }
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                E::finish(sum, y.add(r * y_stride + v * LANES));
            }
        }
    }
}

/// One row of a depthwise 3x3 convolution: `y[c] = Σ w[dy][dx] ⊙ rows[dy][c + dx]`, with `rows[dy]` starting one
/// pixel to the left of the first output; weights `[tap][channel]`.
///
/// # Safety
/// As [`Lanes`]; rows valid for `columns + 2` pixels of `channels` floats, `y` for `columns`.
#[inline(always)]
pub(super) unsafe fn depthwise_row<V: Lanes, E: Epilogue<V>>(
    rows: [*const f32; 3],
    columns: usize,
    channels: usize,
    weights: &[f32],
    y: *mut f32,
    y_stride: usize,
) {
    debug_assert_eq!(weights.len(), 9 * channels);
    // SAFETY: by contract.
    unsafe {
        for ch in (0..channels).step_by(LANES) {
            let w: [V; 9] = std::array::from_fn(|t| V::load(weights.as_ptr().add(t * channels + ch)));
            for c in 0..columns {
                let at = c * channels + ch;
                // Three chains of three, so that the latency of one does not hold the others up.
                let mut sums = [V::splat(0.0); 3];
                for (dy, sum) in sums.iter_mut().enumerate() {
                    for dx in 0..3 {
                        *sum = V::load(rows[dy].add(at + dx * channels)).mul_add(w[3 * dy + dx], *sum);
                    }
                }
                E::finish(sums[0].add(sums[1]).add(sums[2]), y.add(c * y_stride + ch));
            }
        }
    }
}

/// Layer norm over the first `channels` of `padded` floats of every pixel, eps 1e-5.
///
/// # Safety
/// As [`Lanes`]; `x` and `y` valid for `pixels` pixels of `padded` floats; padding lanes of `x` are zero.
#[inline(always)]
pub(super) unsafe fn layer_norm<V: Lanes>(
    x: *const f32,
    pixels: usize,
    channels: usize,
    gamma: &[f32],
    beta: &[f32],
    y: *mut f32,
) {
    let padded = gamma.len();
    let horizontal = |v: V| -> f32 {
        let mut out = [0f32; LANES];
        // SAFETY: `out` holds eight floats.
        unsafe { v.store(out.as_mut_ptr()) };
        ((out[0] + out[4]) + (out[1] + out[5])) + ((out[2] + out[6]) + (out[3] + out[7]))
    };
    // SAFETY: by contract.
    unsafe {
        for p in 0..pixels {
            let (x, y) = (x.add(p * padded), y.add(p * padded));
            let mut sum = V::splat(0.0);
            for c in (0..padded).step_by(LANES) {
                sum = sum.add(V::load(x.add(c)));
            }
            let mean = horizontal(sum) / channels as f32;
            let centre = V::splat(mean);
            let mut squares = V::splat(0.0);
            for c in (0..padded).step_by(LANES) {
                let d = V::load(x.add(c)).sub(centre);
                squares = d.mul_add(d, squares);
            }
            // Each padding lane contributed mean².
            let total = horizontal(squares) - (padded - channels) as f32 * mean * mean;
            let scale = V::splat(1.0 / (total.max(0.0) / channels as f32 + 1e-5).sqrt());
            for c in (0..padded).step_by(LANES) {
                let normal = V::load(x.add(c)).sub(centre).mul(scale);
                let (g, b) = (V::load(gamma.as_ptr().add(c)), V::load(beta.as_ptr().add(c)));
                normal.mul_add(g, b).store(y.add(c));
            }
        }
    }
}

/// Adds `Σ_p x[p] x[p]ᵀ` to `sums [channel][padded]`, in f32 over at most 64 pixels at a time, then in f64.
///
/// # Safety
/// As [`Lanes`]; `x` valid for `pixels` pixels of `padded` floats.
#[inline(always)]
pub(super) unsafe fn gram<V: Lanes>(
    x: *const f32,
    pixels: usize,
    channels: usize,
    padded: usize,
    sums: &mut [f64],
) {
    debug_assert_eq!(sums.len(), channels * padded);
    // SAFETY: by contract.
    unsafe {
        for first in (0..pixels).step_by(64) {
            let block = x.add(first * padded);
            let n = (pixels - first).min(64);
            for i in (0..channels).step_by(4) {
                // Symmetric: only vectors that reach the diagonal or lie right of it.
                let mut j = i / LANES * LANES;
                while j < padded {
                    if j + 2 * LANES <= padded {
                        gram_block::<V, 2>(block, n, i, j, padded, sums);
                        j += 2 * LANES;
                    } else {
                        gram_block::<V, 1>(block, n, i, j, padded, sums);
                        j += LANES;
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`gram`]; channels are a multiple of four.
#[inline(always)]
unsafe fn gram_block<V: Lanes, const VECTORS: usize>(
    x: *const f32,
    pixels: usize,
    i: usize,
    j: usize,
    padded: usize,
    sums: &mut [f64],
) {
    // SAFETY: by contract.
    unsafe {
        let mut acc = [[V::splat(0.0); VECTORS]; 4];
        for p in 0..pixels {
            let x = x.add(p * padded);
            let right: [V; VECTORS] = std::array::from_fn(|v| V::load(x.add(j + v * LANES)));
            for (r, row) in acc.iter_mut().enumerate() {
                let left = V::splat(*x.add(i + r));
                for v in 0..VECTORS {
                    row[v] = left.mul_add(right[v], row[v]);
                }
            }
        }
        for (r, row) in acc.iter().enumerate() {
            for (v, &value) in row.iter().enumerate() {
                let mut out = [0f32; LANES];
                value.store(out.as_mut_ptr());
                let at = (i + r) * padded + j + v * LANES;
                for (sum, value) in sums[at..at + LANES].iter_mut().zip(out) {
                    *sum += f64::from(value);
                }
            }
        }
    }
}

/// `y = a ⊙ b` over `n` floats, a multiple of eight.
///
/// # Safety
/// As [`Lanes`]; all pointers valid for `n` floats.
#[inline(always)]
pub(super) unsafe fn multiply<V: Lanes>(a: *const f32, b: *const f32, n: usize, y: *mut f32) {
    // SAFETY: by contract.
    unsafe {
        for i in (0..n).step_by(LANES) {
            V::load(a.add(i)).mul(V::load(b.add(i))).store(y.add(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Portable;
    use super::*;

    /// erf by its Maclaurin series, which converges for every argument and is exact to f64 rounding below 3.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn gelu_is_x_phi_of_x() {
        for i in -420..=420 {
            let x = i as f32 / 100.0;
            let expected = 0.5 * f64::from(x) * (1.0 + erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2));
            let mut out = [0f32; LANES];
            // SAFETY: portable lanes need nothing, and `out` holds eight floats.
            unsafe { gelu(Portable::splat(x)).store(out.as_mut_ptr()) };
            assert!(
                (f64::from(out[0]) - expected).abs() < 1e-6,
                "gelu({x}) is {}, expected {expected}",
                out[0]
            );
        }
    }
}
