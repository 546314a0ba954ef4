//! Float convolutions: four output channels over 64 pixels in 16 accumulators, which keeps both FMA units busy.

use std::arch::x86_64::*;

use super::finish::{Output, for_form};
use crate::kernels::{CHUNK, Finish, FloatConv, Target};

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn conv_float(conv: &FloatConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    assert!(conv.pixels == 32 || conv.pixels == CHUNK);
    let reach =
        conv.taps.iter().max().unwrap_or(&0) + (conv.channels - 1) * conv.channel_stride + conv.pixels;
    assert!(reach <= conv.input.len());
    let output = Output::new(finish, target, conv.outputs, conv.pixels);
    let form = output.form();
    // SAFETY: all places read lie below `reach`.
    unsafe {
        match conv.pixels {
            32 => for_form!(form, multiply, (conv, &output), 2),
            _ => for_form!(form, multiply, (conv, &output), 4),
        }
    }
}

/// All output channels over `16·VECTORS` pixels, four at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn multiply<const FORM: u8, const VECTORS: usize>(conv: &FloatConv<'_>, output: &Output<'_>) {
    let output = *output;
    let seen = if conv.grouped { 4 } else { conv.channels };
    let blocks = conv.weights.chunks_exact(4 * seen * conv.taps.len()).take(conv.outputs / 4);
    for (block, weights) in blocks.enumerate() {
        let first = if conv.grouped { 4 * block } else { 0 };
        let mut acc = [[_mm512_setzero_ps(); VECTORS]; 4];
        let mut weights = weights.as_ptr();
        // SAFETY: the caller has checked the places; `weights` holds 4 floats a tap and channel.
        unsafe {
            for &tap in conv.taps {
                let mut place = conv.input.as_ptr().add(tap + first * conv.channel_stride);
                for _ in 0..seen {
                    let mut x = [_mm512_setzero_ps(); VECTORS];
                    for v in 0..VECTORS {
                        x[v] = _mm512_loadu_ps(place.add(16 * v));
                    }
                    for o in 0..4 {
                        let w = _mm512_set1_ps(*weights.add(o));
                        for v in 0..VECTORS {
                            acc[o][v] = _mm512_fmadd_ps(w, x[v], acc[o][v]);
                        }
                    }
                    weights = weights.add(4);
                    place = place.wrapping_add(conv.channel_stride);
                }
            }
            for o in 0..4 {
                output.row::<FORM, VECTORS, false>(acc[o], 4 * block + o);
            }
        }
    }
}
