//! 512-bit kernels: whole chunks of 64 pixels in one register of bytes. 1x1 layers of ±1 weights and at least 36
//! channels count differing bits with VPOPCNTDQ on 32-channel words; the others look sums up by byte shuffle, which
//! costs fewer instructions for 28 channels, for groups of four and where zeros or borders need three values.
#![allow(unsafe_code)] // std::arch: every function is reached only after `available` has found its features

use std::arch::x86_64::*;

use super::{BitConv, CHUNK, Epilogue, FloatConv, Kernel, LayerNorm, Pack, TABLES, Target, avx2, portable};

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx512",
    available: || {
        (avx2::KERNEL.available)()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vpopcntdq")
    },
    // SAFETY: these pointers are called only when `available` has said yes, so all features named are there.
    pack: |p, out| unsafe { pack(p, out) },
    conv_bits: |c, e, t| unsafe { conv_bits(c, e, t) },
    conv_float: |c, e, t| unsafe { conv_float(c, e, t) },
    layer_norm: |n, out, stride| unsafe { layer_norm(n, out, stride) },
};

/// Most 32-channel words of a 1x1 layer (448 channels).
const WORDS: usize = 14;

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn pack(pack: &Pack<'_>, positive: &mut [u8]) -> bool {
    assert!(pack.pixels == 32 || pack.pixels == CHUNK);
    let zero = _mm512_setzero_ps();
    let mut zeros = 0;
    for group in 0..pack.factor.len() / 4 {
        let mut nibbles = _mm512_setzero_si512();
        for i in 0..4 {
            let channel = 4 * group + i;
            let x = &pack.input[channel * pack.stride..][..pack.pixels];
            let (k, b) = (_mm512_set1_ps(pack.factor[channel]), _mm512_set1_ps(pack.summand[channel]));
            let mut above = 0u64;
            for v in 0..pack.pixels / 16 {
                // SAFETY: x holds `pixels` floats.
                let x = unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * v)) };
                let x = _mm512_add_ps(_mm512_mul_ps(x, k), b);
                zeros |= _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, zero);
                above |= u64::from(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, zero)) << (16 * v);
            }
            nibbles = _mm512_or_si512(nibbles, _mm512_maskz_set1_epi8(above, 1 << i));
        }
        let out = &mut positive[group * pack.group_stride..][..pack.pixels];
        // SAFETY: out holds 32 or 64 bytes, and as many are stored.
        unsafe {
            match pack.pixels {
                32 => _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_castsi512_si256(nibbles)),
                _ => _mm512_storeu_si512(out.as_mut_ptr().cast(), nibbles),
            }
        }
    }
    zeros != 0
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn conv_bits(conv: &BitConv<'_>, epilogue: &Epilogue, mut target: Target<'_>) {
    if conv.pixels != CHUNK {
        return (avx2::KERNEL.conv_bits)(conv, epilogue, target);
    }
    let reach = conv.taps.iter().max().unwrap_or(&0) + (conv.groups - 1) * conv.group_stride + CHUNK;
    assert!(reach <= conv.positive.len() && conv.negative.is_none_or(|n| reach <= n.len()));
    let words = conv.groups.div_ceil(8);
    if conv.negative.is_none() && (2..=WORDS).contains(&words) && !conv.signs.is_empty() {
        return count_differences(conv, words, epilogue, target);
    }
    let seen = if conv.grouped { 1 } else { conv.groups };
    let mut sums = [[0i16; CHUNK]; 4];
    for (block, codes) in conv.codes.chunks_exact(4 * seen * conv.taps.len()).enumerate() {
        // SAFETY: all places read lie below `reach`, which both planes hold.
        unsafe {
            match conv.negative {
                None => sum_block::<false>(conv, block, seen, codes, &mut sums),
                Some(_) => sum_block::<true>(conv, block, seen, codes, &mut sums),
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            portable::finish(sums, epilogue, 4 * block + i, &mut target);
        }
    }
}

/// `channels − 2·popcount(activation xor weight)`, 16 pixels a register.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn count_differences(conv: &BitConv<'_>, words: usize, epilogue: &Epilogue, mut target: Target<'_>) {
    let mut activations = [[_mm512_setzero_si512(); 4]; WORDS];
    for group in 0..conv.groups {
        let bytes = &conv.positive[conv.taps[0] + group * conv.group_stride..][..CHUNK];
        for (v, bytes) in bytes.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: 16 bytes are there.
            let nibbles = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) };
            let shift = _mm_cvtsi32_si128(4 * (group as i32 % 8));
            let word = &mut activations[group / 8][v];
            *word = _mm512_or_si512(*word, _mm512_sll_epi32(nibbles, shift));
        }
    }
    let channels = _mm512_set1_epi32(4 * conv.groups as i32);
    let mut sums = [0f32; CHUNK];
    for (output, signs) in conv.signs.chunks_exact(words).enumerate() {
        let mut counts = [_mm512_setzero_si512(); 4];
        for (&sign, activations) in signs.iter().zip(&activations) {
            let sign = _mm512_set1_epi32(sign as i32);
            for (count, &activation) in counts.iter_mut().zip(activations) {
                *count = _mm512_add_epi32(*count, _mm512_popcnt_epi32(_mm512_xor_si512(activation, sign)));
            }
        }
        for (v, &count) in counts.iter().enumerate() {
            let sum = _mm512_sub_epi32(channels, _mm512_slli_epi32::<1>(count));
            // SAFETY: four vectors of 16 floats make a chunk.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr().add(16 * v), _mm512_cvtepi32_ps(sum)) };
        }
        portable::finish(&sums, epilogue, output, &mut target);
    }
}

/// Sums of four output channels over a chunk, by look-up.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn sum_block<const TERNARY: bool>(
    conv: &BitConv<'_>,
    block: usize,
    seen: usize,
    codes: &[u8],
    sums: &mut [[i16; CHUNK]; 4],
) {
    let first = if conv.grouped { block } else { 0 };
    let mut acc = [_mm512_setzero_si512(); 4];
    let limit = avx2::LOOKUPS[usize::from(TERNARY)];
    let (mut room, mut fresh) = (limit, true);
    let mut codes = codes.as_ptr();
    let negative = conv.negative.map_or(std::ptr::null(), <[u8]>::as_ptr);
    // SAFETY: the caller has checked that every place lies inside the planes; `codes` holds 4 bytes a look-up,
    // each below 81.
    unsafe {
        for &tap in conv.taps {
            for group in first..first + seen {
                if room == 0 {
                    flush(&mut acc, sums, fresh);
                    (room, fresh) = (limit, false);
                }
                room -= 1;
                let place = tap + group * conv.group_stride;
                let nibbles = _mm512_loadu_si512(conv.positive.as_ptr().add(place).cast());
                let minus = if TERNARY {
                    _mm512_loadu_si512(negative.add(place).cast())
                } else {
                    _mm512_setzero_si512()
                };
                for acc in &mut acc {
                    let table = TABLES.as_ptr().add(*codes as usize).cast::<__m128i>();
                    let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table));
                    codes = codes.add(1);
                    *acc = _mm512_add_epi8(*acc, _mm512_shuffle_epi8(table, nibbles));
                    if TERNARY {
                        *acc = _mm512_sub_epi8(*acc, _mm512_shuffle_epi8(table, minus));
                    }
                }
            }
        }
        flush(&mut acc, sums, fresh);
        if TERNARY {
            for sums in sums {
                for v in 0..2 {
                    let place = sums.as_mut_ptr().add(32 * v).cast();
                    // Twice the sum is even, so the arithmetic shift divides exactly.
                    _mm512_storeu_si512(
                        place,
                        _mm512_srai_epi16::<1>(_mm512_loadu_si512(place.cast_const())),
                    );
                }
            }
        }
    }
}

/// Moves 8-bit partial sums into the 16-bit sums (overwrites them if `fresh`) and clears them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn flush(acc: &mut [__m512i; 4], sums: &mut [[i16; CHUNK]; 4], fresh: bool) {
    for (acc, sums) in acc.iter_mut().zip(sums) {
        let halves = [_mm512_castsi512_si256(*acc), _mm512_extracti64x4_epi64::<1>(*acc)];
        for (h, half) in halves.into_iter().enumerate() {
            let wide = _mm512_cvtepi8_epi16(half);
            // SAFETY: two vectors of 32 sums make a chunk.
            unsafe {
                let place: *mut __m512i = sums.as_mut_ptr().add(32 * h).cast();
                let before =
                    if fresh { _mm512_setzero_si512() } else { _mm512_loadu_si512(place.cast_const()) };
                _mm512_storeu_si512(place, _mm512_add_epi16(before, wide));
            }
        }
        *acc = _mm512_setzero_si512();
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn conv_float(conv: &FloatConv<'_>, epilogue: &Epilogue, mut target: Target<'_>) {
    assert!(conv.pixels == 32 || conv.pixels == CHUNK);
    let seen = if conv.grouped { 4 } else { conv.channels };
    let reach =
        conv.taps.iter().max().unwrap_or(&0) + (conv.channels - 1) * conv.channel_stride + conv.pixels;
    assert!(reach <= conv.input.len());
    let mut sums = [[0f32; CHUNK]; 4];
    for (block, weights) in conv.weights.chunks_exact(4 * seen * conv.taps.len()).enumerate() {
        // SAFETY: all places read lie below `reach`.
        unsafe {
            match conv.pixels {
                32 => multiply_block::<2>(conv, block, seen, weights, &mut sums),
                _ => multiply_block::<4>(conv, block, seen, weights, &mut sums),
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            portable::finish(&sums[..conv.pixels], epilogue, 4 * block + i, &mut target);
        }
    }
}

/// Four output channels over `16·VECTORS` pixels.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn multiply_block<const VECTORS: usize>(
    conv: &FloatConv<'_>,
    block: usize,
    seen: usize,
    weights: &[f32],
    sums: &mut [[f32; CHUNK]; 4],
) {
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
                for (o, acc) in acc.iter_mut().enumerate() {
                    let w = _mm512_set1_ps(*weights.add(o));
                    for v in 0..VECTORS {
                        acc[v] = _mm512_fmadd_ps(w, x[v], acc[v]);
                    }
                }
                weights = weights.add(4);
                place = place.wrapping_add(conv.channel_stride);
            }
        }
        for (acc, sums) in acc.iter().zip(sums) {
            for v in 0..VECTORS {
                _mm512_storeu_ps(sums.as_mut_ptr().add(16 * v), acc[v]);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn layer_norm(norm: &LayerNorm<'_>, output: &mut [f32], output_stride: usize) {
    portable::layer_norm_inline(norm, output, output_stride);
}
