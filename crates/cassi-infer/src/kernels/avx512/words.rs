//! Sums of signs packed in words: the total less twice the number of differing bits.

use std::arch::x86_64::*;

use super::finish::{Output, for_form};
use crate::kernels::{Finish, Target, WordConv};

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn conv_words(conv: &WordConv<'_>, finish: &Finish, target: Target<'_>) {
    conv.check();
    let mut output = Output::new(finish, target, conv.outputs, conv.pixels);
    let (form, output) = (output.form(), &mut output);
    // SAFETY: `check` has found every place read inside the planes and the weights.
    unsafe {
        match (conv.nonzero.is_some(), conv.pixels) {
            (false, 32) => for_form!(form, count, (conv, output), 2, false),
            (false, _) => for_form!(form, count, (conv, output), 4, false),
            (true, 32) => for_form!(form, count, (conv, output), 2, true),
            (true, _) => for_form!(form, count, (conv, output), 4, true),
        }
    }
}

/// All output channels over `16·VECTORS` pixels, four at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn count<const FORM: u8, const VECTORS: usize, const MASKED: bool>(
    conv: &WordConv<'_>,
    output: &mut Output<'_>,
) {
    let words = conv.words();
    let positive = conv.positive.as_ptr();
    let nonzero = conv.nonzero.map_or(std::ptr::null(), <[u32]>::as_ptr);
    let taps = conv.weights.len() / (words * conv.outputs);
    let mut total = [_mm512_set1_ps((conv.channels * conv.taps.len()) as f32); VECTORS];
    // SAFETY: the caller has checked the places.
    unsafe {
        if MASKED {
            for v in 0..VECTORS {
                let mut count = _mm512_setzero_si512();
                for &(place, _) in conv.taps {
                    for word in 0..words {
                        let mask = nonzero.add(place + word * conv.word_stride + 16 * v);
                        let mask = _mm512_loadu_si512(mask.cast());
                        count = _mm512_add_epi32(count, _mm512_popcnt_epi32(mask));
                    }
                }
                total[v] = _mm512_cvtepi32_ps(count);
            }
        }
        for block in 0..conv.outputs / 4 {
            let weights = conv.weights.as_ptr().add(4 * block * words * taps);
            let mut counts = [[_mm512_setzero_si512(); VECTORS]; 4];
            for &(place, tap) in conv.taps {
                let mut weights = weights.add(4 * tap * words);
                let mut place = place;
                for _ in 0..words {
                    let mut weight = [_mm512_setzero_si512(); 4];
                    for o in 0..4 {
                        weight[o] = _mm512_set1_epi32(*weights.add(o) as i32);
                    }
                    for v in 0..VECTORS {
                        let bits = _mm512_loadu_si512(positive.add(place + 16 * v).cast());
                        for o in 0..4 {
                            let difference = if MASKED {
                                let mask = _mm512_loadu_si512(nonzero.add(place + 16 * v).cast());
                                // (bits xor weight) and mask
                                _mm512_ternarylogic_epi32::<0x28>(bits, weight[o], mask)
                            } else {
                                _mm512_xor_si512(bits, weight[o])
                            };
                            counts[o][v] = _mm512_add_epi32(counts[o][v], _mm512_popcnt_epi32(difference));
                        }
                    }
                    weights = weights.add(4);
                    place += conv.word_stride;
                }
            }
            for o in 0..4 {
                let mut sums = [_mm512_setzero_ps(); VECTORS];
                for v in 0..VECTORS {
                    // Small integers: exact.
                    let count = _mm512_cvtepi32_ps(counts[o][v]);
                    sums[v] = _mm512_fnmadd_ps(_mm512_set1_ps(2.0), count, total[v]);
                }
                output.row::<FORM, VECTORS>(sums, 4 * block + o);
            }
        }
    }
}
