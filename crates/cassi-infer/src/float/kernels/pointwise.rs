//! What a pixel or its neighbours in one channel need: depthwise convolution, layer norm, products, sigmoid, and the
//! channel Gram matrix.

#![allow(unsafe_code)] // kernels: unchecked pointers; every function's contract is in its SAFETY section

use super::feed::{Feed, Finish, Pixels, Target};
use super::lanes::Lanes;
use crate::float::memory::{Aligned, CHUNK};

/// One row of a depthwise K x K convolution: `finish(bias + Σ taps[dy][dx] ⊙ rows[dy][p + dx])`, with `rows[dy]` starting
/// `K / 2` pixels to the left of the first output; taps `[chunk][tap][16]`. Every pixel is finished once.
///
/// # Safety
/// As [`Lanes`]; rows valid for `columns + K − 1` pixels of `chunks` chunks, `finish` for `columns`.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Lanes, E: Finish<V>, const K: usize>(
    rows: [Pixels<f32>; K],
    columns: usize,
    chunks: usize,
    taps: &Aligned,
    bias: Option<&Aligned>,
    finish: E,
) {
    let taps = taps.values::<f32>();
    debug_assert_eq!(taps.len(), chunks * K * K * CHUNK);
    // SAFETY: by contract.
    unsafe {
        for chunk in 0..chunks {
            for lane in (0..CHUNK).step_by(V::N) {
                let taps = taps.as_ptr().add(chunk * K * K * CHUNK + lane);
                let start = match bias {
                    Some(bias) => V::load(bias.values::<f32>().as_ptr().add(chunk * CHUNK + lane)),
                    None => V::splat(0.0),
                };
                let mut from = [std::ptr::null(); K];
                for dy in 0..K {
                    from[dy] = rows[dy].base.add(chunk * rows[dy].chunk + lane);
                }
                let mut p = 0;
                if V::N == CHUNK {
                    while p + 8 <= columns {
                        depthwise_tile::<V, E, K, 8>(from, p, taps, start, chunk * CHUNK + lane, finish);
                        p += 8;
                    }
                } else {
                    while p + 4 <= columns {
                        depthwise_tile::<V, E, K, 4>(from, p, taps, start, chunk * CHUNK + lane, finish);
                        p += 4;
                    }
                }
                while p < columns {
                    depthwise_tile::<V, E, K, 1>(from, p, taps, start, chunk * CHUNK + lane, finish);
                    p += 1;
                }
            }
        }
    }
}

/// # Safety
/// As [`depthwise`].
#[inline(always)]
unsafe fn depthwise_tile<V: Lanes, E: Finish<V>, const K: usize, const P: usize>(
    rows: [*const f32; K],
    first: usize,
    taps: *const f32,
    start: V,
    channel: usize,
    finish: E,
) {
    // SAFETY: by contract.
    unsafe {
        let mut sums = [start; P];
        for dy in 0..K {
            let row = rows[dy].add(first * CHUNK);
            for dx in 0..K {
                let tap = V::load(taps.add((dy * K + dx) * CHUNK));
                for p in 0..P {
                    sums[p] = V::load(row.add((p + dx) * CHUNK)).mul_add(tap, sums[p]);
                }
            }
        }
        for p in 0..P {
            finish.finish(sums[p], first + p, channel);
        }
    }
}

/// Layer norm of every pixel over its first `channels` channels, eps 1e-5.
///
/// # Safety
/// As [`Lanes`]; `x` and `y` valid for `pixels` pixels of `chunks` chunks, padding channels of `x` zero.
#[inline(always)]
pub(super) unsafe fn layer_norm<V: Lanes, F: Feed<V>>(
    x: Pixels<f32>,
    pixels: usize,
    chunks: usize,
    channels: usize,
    gamma: &Aligned,
    beta: &Aligned,
    y: Target<F>,
) {
    let (gamma, beta) = (gamma.values::<f32>().as_ptr(), beta.values::<f32>().as_ptr());
    let count = channels as f32;
    // Every padding channel adds mean² to the squares.
    let padding = (chunks * CHUNK - channels) as f32;
    // SAFETY: by contract.
    unsafe {
        for p in 0..pixels {
            let pixel = x.base.add(p * CHUNK);
            let mut sum = V::splat(0.0);
            for chunk in 0..chunks {
                for lane in (0..CHUNK).step_by(V::N) {
                    sum = sum.add(V::load(pixel.add(chunk * x.chunk + lane)));
                }
            }
            let mean = sum.sum() / count;
            let centre = V::splat(mean);
            let mut squares = V::splat(0.0);
            for chunk in 0..chunks {
                for lane in (0..CHUNK).step_by(V::N) {
                    let d = V::load(pixel.add(chunk * x.chunk + lane)).sub(centre);
                    squares = d.mul_add(d, squares);
                }
            }
            let total = squares.sum() - padding * mean * mean;
            let scale = V::splat(1.0 / (total.max(0.0) / count + 1e-5).sqrt());
            for chunk in 0..chunks {
                for lane in (0..CHUNK).step_by(V::N) {
                    let normal = V::load(pixel.add(chunk * x.chunk + lane)).sub(centre).mul(scale);
                    let channel = chunk * CHUNK + lane;
                    let value = normal.mul_add(V::load(gamma.add(channel)), V::load(beta.add(channel)));
                    F::put(value, y.at(p, channel));
                }
            }
        }
    }
}

/// `y = a ⊙ b`.
///
/// # Safety
/// As [`Lanes`]; all valid for `pixels` pixels of `chunks` chunks.
#[inline(always)]
pub(super) unsafe fn multiply<V: Lanes, F: Feed<V>>(
    a: Pixels<f32>,
    b: Pixels<f32>,
    pixels: usize,
    chunks: usize,
    y: Target<F>,
) {
    // SAFETY: by contract.
    unsafe {
        for chunk in 0..chunks {
            let (a, b) = (a.base.add(chunk * a.chunk), b.base.add(chunk * b.chunk));
            for p in 0..pixels {
                for lane in (0..CHUNK).step_by(V::N) {
                    let at = p * CHUNK + lane;
                    F::put(V::load(a.add(at)).mul(V::load(b.add(at))), y.at(p, chunk * CHUNK + lane));
                }
            }
        }
    }
}

/// `y = x`, in the form that products read.
///
/// # Safety
/// As [`Lanes`]; both valid for `pixels` pixels of `chunks` chunks.
#[inline(always)]
pub(super) unsafe fn convert<V: Lanes, F: Feed<V>>(
    x: Pixels<f32>,
    pixels: usize,
    chunks: usize,
    y: Target<F>,
) {
    // SAFETY: by contract.
    unsafe {
        for chunk in 0..chunks {
            let x = x.base.add(chunk * x.chunk);
            for p in 0..pixels {
                for lane in (0..CHUNK).step_by(V::N) {
                    F::put(V::load(x.add(p * CHUNK + lane)), y.at(p, chunk * CHUNK + lane));
                }
            }
        }
    }
}

/// `m + m / (1 + exp(−gate))`, for `n` floats, a multiple of the lanes; the result replaces `gate`.
///
/// # Safety
/// As [`Lanes`]; both valid for `n` floats.
#[inline(always)]
pub(super) unsafe fn gated<V: Lanes>(m: *const f32, gate: *mut f32, n: usize) {
    // SAFETY: by contract.
    unsafe {
        for at in (0..n).step_by(V::N) {
            let (m, x) = (V::load(m.add(at)), V::load(gate.add(at)));
            // exp(−x) = 2ⁿ exp(r), |r| ≤ ln 2 / 2; the series to r⁶ is within 2e-7. Beyond ±80 the gate is 0 or 1.
            let y = V::splat(0.0).sub(x).min(V::splat(80.0)).max(V::splat(-80.0));
            let n = y.mul(V::splat(std::f32::consts::LOG2_E)).round();
            // ln 2 in two parts, the first of which has so few bits that its multiples are exact.
            let r = n.mul_add(V::splat(-0.693_359_4), y);
            let r = n.mul_add(V::splat(2.121_944_4e-4), r);
            let mut e = V::splat(1.0 / 720.0);
            for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
                e = e.mul_add(r, V::splat(c));
            }
            let one = V::splat(1.0);
            m.add(m.div(one.add(e.mul(n.exp2_whole())))).store(gate.add(at));
        }
    }
}

/// Adds `Σ_p x[p] x[p]ᵀ` to `sums [channel][padded channel]` for a run of pixels, in f32 over at most 64 pixels, then
/// in f64. Only chunks on the diagonal and right of it are summed; the matrix is symmetric.
///
/// # Safety
/// As [`Lanes`]; `x` valid for `pixels` pixels of `chunks` chunks, `sums` for its square.
#[inline(always)]
pub(super) unsafe fn gram<V: Lanes>(x: Pixels<f32>, pixels: usize, chunks: usize, sums: *mut f64) {
    // SAFETY: by contract.
    unsafe {
        for first in (0..pixels).step_by(64) {
            let x = x.skip(first);
            let n = (pixels - first).min(64);
            for i in 0..chunks {
                let mut j = i;
                while j < chunks {
                    if V::N == CHUNK && j + 1 < chunks {
                        gram_chunk::<V, 8, 2>(x, n, i, j, chunks, sums);
                        j += 2;
                    } else if V::N == CHUNK {
                        gram_chunk::<V, 16, 1>(x, n, i, j, chunks, sums);
                        j += 1;
                    } else {
                        gram_chunk::<V, 4, 2>(x, n, i, j, chunks, sums);
                        j += 1;
                    }
                }
            }
        }
    }
}

/// Sixteen channels by `W` registers of them, `R` channels at a time.
///
/// # Safety
/// As [`gram`].
#[inline(always)]
unsafe fn gram_chunk<V: Lanes, const R: usize, const W: usize>(
    x: Pixels<f32>,
    pixels: usize,
    i: usize,
    j: usize,
    chunks: usize,
    sums: *mut f64,
) {
    // SAFETY: by contract.
    unsafe {
        for first in (0..CHUNK).step_by(R) {
            let mut left = x.base.add(i * x.chunk + first);
            let mut right = x.base.add(j * x.chunk);
            let mut acc = [[V::splat(0.0); W]; R];
            for _ in 0..pixels {
                let mut b = [V::splat(0.0); W];
                for v in 0..W {
                    b[v] = V::load(right.add(v * V::N / CHUNK * x.chunk + v * V::N % CHUNK));
                }
                for r in 0..R {
                    let a = V::splat(*left.add(r));
                    for v in 0..W {
                        acc[r][v] = a.mul_add(b[v], acc[r][v]);
                    }
                }
                left = left.add(CHUNK);
                right = right.add(CHUNK);
            }
            for r in 0..R {
                for v in 0..W {
                    let mut lanes = [0f32; CHUNK];
                    acc[r][v].store(lanes.as_mut_ptr());
                    let to = sums.add((i * CHUNK + first + r) * chunks * CHUNK + j * CHUNK + v * V::N);
                    for lane in 0..V::N {
                        *to.add(lane) += f64::from(lanes[lane]);
                    }
                }
            }
        }
    }
}
