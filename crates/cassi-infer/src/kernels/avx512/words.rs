//! Sums of signs packed in words: the total less twice the number of differing bits. Counts start at minus half the
//! total, so that they end at minus half the sum; the epilogue takes that. Where a pixel is one word, the activation is
//! looked up by the number of differing bits.

use std::arch::x86_64::*;

use super::finish::{Output, for_form};
use crate::kernels::epilogue::Form;
use crate::kernels::{Finish, Target, WordConv};

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn conv_words(conv: &WordConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    conv.check();
    let output = Output::new(finish, target, conv.outputs, conv.pixels);
    let form = output.form();
    let single = conv.taps.len() == 1 && conv.weights.len() == conv.outputs && conv.nonzero.is_none();
    // SAFETY: `check` has found every place read inside the planes and the weights.
    unsafe {
        if single && form >= Form::Prelu as u8 && finish.activations.len() == conv.outputs {
            return match conv.pixels {
                32 => for_form!(form, look_up, (conv, finish, &output), 2),
                _ => for_form!(form, look_up, (conv, finish, &output), 4),
            };
        }
        match (conv.nonzero.is_some(), conv.pixels) {
            (false, 32) => for_form!(form, count, (conv, &output), 2, false),
            (false, _) => for_form!(form, count, (conv, &output), 4, false),
            (true, 32) => for_form!(form, count, (conv, &output), 2, true),
            (true, _) => for_form!(form, count, (conv, &output), 4, true),
        }
    }
}

/// All output channels over `16·VECTORS` pixels of one word each.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn look_up<const FORM: u8, const VECTORS: usize>(
    conv: &WordConv<'_>,
    finish: &Finish,
    output: &Output<'_>,
) {
    let output = *output;
    let mut bits = [_mm512_setzero_si512(); VECTORS];
    // SAFETY: the caller has checked the places.
    unsafe {
        for v in 0..VECTORS {
            bits[v] = _mm512_loadu_si512(conv.positive.as_ptr().add(conv.taps[0].0 + 16 * v).cast());
        }
        for (channel, (&weight, table)) in conv.weights.iter().zip(&finish.activations).enumerate() {
            let weight = _mm512_set1_epi32(weight as i32);
            let table = [_mm512_loadu_ps(table.as_ptr()), _mm512_loadu_ps(table.as_ptr().add(16))];
            let mut values = [_mm512_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                let count = _mm512_popcnt_epi32(_mm512_xor_si512(bits[v], weight));
                values[v] = _mm512_permutex2var_ps(table[0], count, table[1]);
            }
            output.activated::<FORM, VECTORS>(values, channel);
        }
    }
}

/// All output channels over `16·VECTORS` pixels, four at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn count<const FORM: u8, const VECTORS: usize, const MASKED: bool>(
    conv: &WordConv<'_>,
    output: &Output<'_>,
) {
    let output = *output;
    let words = conv.words();
    let positive = conv.positive.as_ptr();
    let nonzero = conv.nonzero.map_or(std::ptr::null(), <[u32]>::as_ptr);
    let taps = conv.weights.len() / (words * conv.outputs);
    let start = if MASKED { 0 } else { -((conv.channels * conv.taps.len() / 2) as i32) };
    // Half the number of bits that count.
    let mut half = [_mm512_setzero_ps(); VECTORS];
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
                half[v] = _mm512_mul_ps(_mm512_cvtepi32_ps(count), _mm512_set1_ps(0.5));
            }
        }
        for block in 0..conv.outputs / 4 {
            let weights = conv.weights.as_ptr().add(4 * block * words * taps);
            let mut counts = [[_mm512_set1_epi32(start); VECTORS]; 4];
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
                let mut halves = [_mm512_setzero_ps(); VECTORS];
                for v in 0..VECTORS {
                    // Small multiples of a half: exact.
                    halves[v] = _mm512_cvtepi32_ps(counts[o][v]);
                    if MASKED {
                        halves[v] = _mm512_sub_ps(halves[v], half[v]);
                    }
                }
                output.row::<FORM, VECTORS, true>(halves, 4 * block + o);
            }
        }
    }
}
