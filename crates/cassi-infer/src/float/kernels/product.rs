//! Matrix products of pixels: the micro-kernel that most of the time goes into.
//!
//! A tile of `P` pixels by `W` registers of outputs is summed in registers; each weight loaded serves `P` pixels, each
//! value of a pixel `W` registers. Pixels of a chunk lie one cache line apart, so a tile needs one pointer and constant
//! offsets.

#![allow(unsafe_code)] // kernels: unchecked pointers; every function's contract is in its SAFETY section

use super::feed::{Feed, Finish, Pixels};
use super::lanes::Lanes;
use crate::float::matrix::Packed;
use crate::float::memory::{Aligned, CHUNK};

/// `finish(bias + Σ_s W_s x_s[p])` for `pixels` pixels and all outputs; `finish` may be called twice for a pixel.
///
/// # Safety
/// As [`Lanes`]; one input per segment of `w`, each valid for `pixels` pixels; `bias`, if any, holds all outputs of
/// `w`, and `finish` has them all.
#[inline(always)]
pub(super) unsafe fn product<V: Lanes, F: Feed<V>, E: Finish<V>>(
    x: &[Pixels<F>],
    pixels: usize,
    w: &Packed,
    bias: Option<&Aligned>,
    finish: E,
) {
    debug_assert_eq!(x.len(), w.segments().len());
    let bias = match bias {
        Some(bias) => bias.values::<f32>().as_ptr(),
        None => std::ptr::null(),
    };
    // SAFETY: registers of AVX-512 are whole panels, others halves of one; the rest by contract.
    unsafe {
        let mut panel = 0;
        while panel < w.panels() {
            if V::N == CHUNK {
                // Up to four panels at once, not leaving one alone if it can be helped.
                match w.panels() - panel {
                    1 => {
                        columns::<V, F, E, 12, 6, 1>(x, pixels, w, panel, bias, finish);
                        panel += 1;
                    }
                    2 => {
                        columns::<V, F, E, 12, 6, 2>(x, pixels, w, panel, bias, finish);
                        panel += 2;
                    }
                    3 | 5 => {
                        columns::<V, F, E, 8, 4, 3>(x, pixels, w, panel, bias, finish);
                        panel += 3;
                    }
                    _ => {
                        columns::<V, F, E, 6, 3, 4>(x, pixels, w, panel, bias, finish);
                        panel += 4;
                    }
                }
            } else {
                columns::<V, F, E, 6, 3, 2>(x, pixels, w, panel, bias, finish);
                panel += 1;
            }
        }
    }
}

/// All pixels in tiles of `P`, the rest in tiles of `HALF`, the last of which may overlap the one before.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn columns<V: Lanes, F: Feed<V>, E: Finish<V>, const P: usize, const HALF: usize, const W: usize>(
    x: &[Pixels<F>],
    pixels: usize,
    w: &Packed,
    panel: usize,
    bias: *const f32,
    finish: E,
) {
    // SAFETY: by contract.
    unsafe {
        let mut p = 0;
        while p + P <= pixels {
            tile::<V, F, E, P, W>(x, p, w, panel, bias, finish);
            p += P;
        }
        while p < pixels {
            if pixels < HALF {
                tile::<V, F, E, 1, W>(x, p, w, panel, bias, finish);
                p += 1;
            } else {
                p = p.min(pixels - HALF);
                tile::<V, F, E, HALF, W>(x, p, w, panel, bias, finish);
                p += HALF;
            }
        }
    }
}

/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn tile<V: Lanes, F: Feed<V>, E: Finish<V>, const P: usize, const W: usize>(
    x: &[Pixels<F>],
    first: usize,
    w: &Packed,
    panel: usize,
    bias: *const f32,
    finish: E,
) {
    // SAFETY: by contract; segments are multiples of four channels.
    unsafe {
        let stride = w.inputs() * CHUNK;
        let mut weights = F::weights(w).as_ptr().add(panel * stride);
        let mut sums = [[V::splat(0.0); W]; P];
        if !bias.is_null() {
            for v in 0..W {
                let b = V::load(bias.add(panel * CHUNK + v * V::N));
                for p in 0..P {
                    sums[p][v] = b;
                }
            }
        }
        for s in 0..x.len() {
            let mut pixel = x.get_unchecked(s).base.add(first * CHUNK);
            let mut left = *w.segments().get_unchecked(s);
            while left > 0 {
                let channels = left.min(CHUNK);
                let mut c = 0;
                while c < channels {
                    // Four channels.
                    for step in 0..4 / F::STEP {
                        let mut b = [V::splat(0.0); W];
                        for v in 0..W {
                            let at = v * V::N / CHUNK * stride + v * V::N % CHUNK * F::STEP;
                            b[v] = F::load(weights.add(step * CHUNK * F::STEP + at));
                        }
                        for p in 0..P {
                            let a = F::splat(pixel.add(p * CHUNK + c + step * F::STEP));
                            for v in 0..W {
                                sums[p][v] = F::dot(a, b[v], sums[p][v]);
                            }
                        }
                    }
                    weights = weights.add(4 * CHUNK);
                    c += 4;
                }
                pixel = pixel.add(x.get_unchecked(s).chunk);
                left -= channels;
            }
        }
        if E::LONG {
            // The compiler does not unroll a long loop, and sums that are indexed at run time would live in memory from
            // the first product on: hand them over through a buffer of their own.
            let mut buffer = Buffer([[0.0; CHUNK]; 24]);
            let buffer = buffer.0.as_mut_ptr().cast::<f32>();
            for p in 0..P {
                for v in 0..W {
                    sums[p][v].store(buffer.add((p * W + v) * V::N));
                }
            }
            for p in 0..P {
                for v in 0..W {
                    let sum = V::load(buffer.add((p * W + v) * V::N));
                    finish.finish(sum, first + p, panel * CHUNK + v * V::N);
                }
            }
        } else {
            for p in 0..P {
                for v in 0..W {
                    finish.finish(sums[p][v], first + p, panel * CHUNK + v * V::N);
                }
            }
        }
    }
}

/// The sums of the largest tile, 24 registers.
#[repr(align(64))]
struct Buffer([[f32; CHUNK]; 24]);
