//! 256-bit kernels: table look-ups by byte shuffle, 32 pixels at a time, and register-blocked fused multiply-adds.
#![allow(unsafe_code)] // std::arch: every function is reached only after `available` has found its features

use std::arch::x86_64::*;

use super::epilogue::Fused;
use super::{BitConv, CHUNK, Finish, FloatConv, Kernel, Pack, TABLES, Target, WordConv, portable};

super::rows::compile_rows!("avx2,fma");

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx2",
    available: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    // SAFETY: these pointers are called only when `available` has said yes, so AVX2 and FMA are there.
    words: false,
    pack: |p, out, stride| unsafe { pack(p, out, stride) },
    pack_words: |p, positive, nonzero, stride| unsafe { pack_words(p, positive, nonzero, stride) },
    conv_bits: |c, e, t| unsafe { conv_bits(c, e, t) },
    conv_words: |c, e, t| unsafe { conv_words(c, e, t) },
    conv_float: |c, e, t| unsafe { conv_float(c, e, t) },
    rows: ROWS,
};

#[target_feature(enable = "avx2,fma")]
fn pack(pack: &Pack<'_>, positive: &mut [u8], group_stride: usize) -> bool {
    let mut zeros = _mm256_setzero_ps();
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for group in 0..pack.above.len() / 4 {
        for start in (0..pack.pixels).step_by(32) {
            let mut nibbles = _mm256_setzero_si256();
            for i in 0..4 {
                let channel = 4 * group + i;
                let x: &[f32; 32] =
                    pack.input[channel * pack.stride + start..][..32].try_into().expect("32 floats");
                let (top, bottom) =
                    (_mm256_set1_ps(pack.above[channel]), _mm256_set1_ps(pack.below[channel]));
                let mut above = [_mm256_setzero_si256(); 4];
                for (j, above) in above.iter_mut().enumerate() {
                    // SAFETY: x holds 32 floats and j is below 4.
                    let v = unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * j)) };
                    let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(v, top);
                    let not_negative = _mm256_cmp_ps::<_CMP_GT_OQ>(v, bottom);
                    zeros = _mm256_or_ps(zeros, _mm256_xor_ps(positive, not_negative));
                    *above = _mm256_castps_si256(positive);
                }
                let words = [_mm256_packs_epi32(above[0], above[1]), _mm256_packs_epi32(above[2], above[3])];
                let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words[0], words[1]), order);
                nibbles = _mm256_or_si256(nibbles, _mm256_and_si256(bytes, _mm256_set1_epi8(1 << i)));
            }
            let out: &mut [u8; 32] =
                (&mut positive[group * group_stride + start..][..32]).try_into().expect("32 bytes");
            // SAFETY: out holds 32 bytes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), nibbles) };
        }
    }
    _mm256_movemask_ps(zeros) != 0
}

#[target_feature(enable = "avx2,fma")]
fn pack_words(pack: &Pack<'_>, positive: &mut [u32], nonzero: &mut [u32], word_stride: usize) -> bool {
    portable::pack_words_inline(pack, positive, nonzero, word_stride)
}

#[target_feature(enable = "avx2,fma")]
fn conv_words(conv: &WordConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    portable::conv_words_inline::<Fused>(conv, finish, target);
}

/// Look-ups of magnitude at most 4 (8 with negatives) that fit an 8-bit sum: 31 · 4 and 15 · 8 are below 128.
pub(super) const LOOKUPS: [usize; 2] = [31, 15];

#[target_feature(enable = "avx2,fma")]
fn conv_bits(conv: &BitConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    assert!(conv.pixels == 32 || conv.pixels == CHUNK);
    let seen = if conv.grouped { 1 } else { conv.groups };
    let reach = conv.taps.iter().max().unwrap_or(&0) + (conv.groups - 1) * conv.group_stride + conv.pixels;
    assert!(reach <= conv.positive.len() && conv.negative.is_none_or(|n| reach <= n.len()));
    let mut sums = [[0i16; CHUNK]; 4];
    for (block, codes) in conv.codes.chunks_exact(4 * seen * conv.taps.len()).enumerate() {
        // SAFETY: all places read lie below `reach`, which both planes hold.
        unsafe {
            match (conv.negative, conv.pixels) {
                (None, 32) => sum_block::<1, false>(conv, block, seen, codes, &mut sums),
                (None, _) => sum_block::<2, false>(conv, block, seen, codes, &mut sums),
                (Some(_), 32) => sum_block::<1, true>(conv, block, seen, codes, &mut sums),
                (Some(_), _) => sum_block::<2, true>(conv, block, seen, codes, &mut sums),
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            portable::finish_row::<_, Fused>(&sums[..conv.pixels], finish, 4 * block + i, target);
        }
    }
}

/// Sums of four output channels over `32·VECTORS` pixels.
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_block<const VECTORS: usize, const TERNARY: bool>(
    conv: &BitConv<'_>,
    block: usize,
    seen: usize,
    codes: &[u8],
    sums: &mut [[i16; CHUNK]; 4],
) {
    let first = if conv.grouped { block } else { 0 };
    let mut acc = [[_mm256_setzero_si256(); VECTORS]; 4];
    let (mut room, mut fresh) = (LOOKUPS[usize::from(TERNARY)], true);
    let mut codes = codes.as_ptr();
    let negative = conv.negative.map_or(std::ptr::null(), <[u8]>::as_ptr);
    // SAFETY: the caller has checked that every place lies inside the planes; `codes` holds 4 bytes a look-up,
    // each below 81.
    unsafe {
        for &tap in conv.taps {
            for group in first..first + seen {
                if room == 0 {
                    flush(&mut acc, sums, fresh);
                    (room, fresh) = (LOOKUPS[usize::from(TERNARY)], false);
                }
                room -= 1;
                let place = tap + group * conv.group_stride;
                let mut nibbles = [_mm256_setzero_si256(); VECTORS];
                let mut minus = [_mm256_setzero_si256(); VECTORS];
                for v in 0..VECTORS {
                    nibbles[v] = _mm256_loadu_si256(conv.positive.as_ptr().add(place + 32 * v).cast());
                    if TERNARY {
                        minus[v] = _mm256_loadu_si256(negative.add(place + 32 * v).cast());
                    }
                }
                for acc in &mut acc {
                    let table = TABLES.as_ptr().add(*codes as usize).cast::<__m128i>();
                    let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
                    codes = codes.add(1);
                    for v in 0..VECTORS {
                        acc[v] = _mm256_add_epi8(acc[v], _mm256_shuffle_epi8(table, nibbles[v]));
                        if TERNARY {
                            acc[v] = _mm256_sub_epi8(acc[v], _mm256_shuffle_epi8(table, minus[v]));
                        }
                    }
                }
            }
        }
        flush(&mut acc, sums, fresh);
        if TERNARY {
            for sums in sums {
                for v in 0..2 * VECTORS {
                    let place = sums.as_mut_ptr().add(16 * v).cast();
                    // Twice the sum is even, so the arithmetic shift divides exactly.
                    _mm256_storeu_si256(place, _mm256_srai_epi16::<1>(_mm256_loadu_si256(place)));
                }
            }
        }
    }
}

/// Moves 8-bit partial sums into the 16-bit sums (overwrites them if `fresh`) and clears them.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn flush<const VECTORS: usize>(
    acc: &mut [[__m256i; VECTORS]; 4],
    sums: &mut [[i16; CHUNK]; 4],
    fresh: bool,
) {
    for (acc, sums) in acc.iter_mut().zip(sums) {
        for v in 0..VECTORS {
            let halves = [_mm256_castsi256_si128(acc[v]), _mm256_extracti128_si256::<1>(acc[v])];
            for (h, half) in halves.into_iter().enumerate() {
                let wide = _mm256_cvtepi8_epi16(half);
                // SAFETY: 32·VECTORS is at most CHUNK.
                unsafe {
                    let place = sums.as_mut_ptr().add(32 * v + 16 * h).cast();
                    let before = if fresh { _mm256_setzero_si256() } else { _mm256_loadu_si256(place) };
                    _mm256_storeu_si256(place, _mm256_add_epi16(before, wide));
                }
            }
            acc[v] = _mm256_setzero_si256();
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn conv_float(conv: &FloatConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    assert!(conv.pixels == 32 || conv.pixels == CHUNK);
    let seen = if conv.grouped { 4 } else { conv.channels };
    let reach =
        conv.taps.iter().max().unwrap_or(&0) + (conv.channels - 1) * conv.channel_stride + conv.pixels;
    assert!(reach <= conv.input.len());
    let mut sums = [[0f32; CHUNK]; 4];
    for (block, weights) in conv.weights.chunks_exact(4 * seen * conv.taps.len()).enumerate() {
        // SAFETY: all places read lie below `reach`; start + 8·VECTORS never passes `pixels`.
        unsafe {
            let mut start = 0;
            while start + 24 <= conv.pixels {
                multiply_block::<3>(conv, block, seen, weights, start, &mut sums);
                start += 24;
            }
            match conv.pixels - start {
                16 => multiply_block::<2>(conv, block, seen, weights, start, &mut sums),
                8 => multiply_block::<1>(conv, block, seen, weights, start, &mut sums),
                _ => {}
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            portable::finish_row::<_, Fused>(&sums[..conv.pixels], finish, 4 * block + i, target);
        }
    }
}

/// Four output channels over `8·VECTORS` pixels: 12 accumulators for three vectors, which keeps both FMA units busy.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_block<const VECTORS: usize>(
    conv: &FloatConv<'_>,
    block: usize,
    seen: usize,
    weights: &[f32],
    start: usize,
    sums: &mut [[f32; CHUNK]; 4],
) {
    let first = if conv.grouped { 4 * block } else { 0 };
    let mut acc = [[_mm256_setzero_ps(); VECTORS]; 4];
    let mut weights = weights.as_ptr();
    // SAFETY: the caller has checked the places; `weights` holds 4 floats a tap and channel.
    unsafe {
        for &tap in conv.taps {
            let mut place = conv.input.as_ptr().add(tap + first * conv.channel_stride + start);
            for _ in 0..seen {
                let mut x = [_mm256_setzero_ps(); VECTORS];
                for v in 0..VECTORS {
                    x[v] = _mm256_loadu_ps(place.add(8 * v));
                }
                for (o, acc) in acc.iter_mut().enumerate() {
                    let w = _mm256_broadcast_ss(&*weights.add(o));
                    for v in 0..VECTORS {
                        acc[v] = _mm256_fmadd_ps(w, x[v], acc[v]);
                    }
                }
                weights = weights.add(4);
                place = place.wrapping_add(conv.channel_stride);
            }
        }
        for (acc, sums) in acc.iter().zip(sums) {
            for v in 0..VECTORS {
                _mm256_storeu_ps(sums.as_mut_ptr().add(start + 8 * v), acc[v]);
            }
        }
    }
}
