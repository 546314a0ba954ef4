//! Sums of signs packed by fours: byte shuffles of 64 pixels.

use std::arch::x86_64::*;

use super::finish::{Output, for_form};
use crate::kernels::{BitConv, CHUNK, Finish, TABLES, Target, avx2};

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn conv_bits(conv: &BitConv<'_>, finish: &Finish, target: &mut Target<'_>) {
    assert!(conv.pixels == 32 || conv.pixels == CHUNK);
    let reach = conv.taps.iter().max().unwrap_or(&0) + (conv.groups - 1) * conv.group_stride + conv.pixels;
    assert!(reach <= conv.positive.len() && conv.negative.is_none_or(|n| reach <= n.len()));
    let output = Output::new(finish, target, conv.outputs, conv.pixels);
    let form = output.form();
    // SAFETY: all places read lie below `reach`, which both planes hold.
    unsafe {
        match (conv.negative.is_some(), conv.pixels) {
            (false, 32) => for_form!(form, sum, (conv, &output), 2, false),
            (false, _) => for_form!(form, sum, (conv, &output), 4, false),
            (true, 32) => for_form!(form, sum, (conv, &output), 2, true),
            (true, _) => for_form!(form, sum, (conv, &output), 4, true),
        }
    }
}

/// All output channels over `16·VECTORS` pixels, four at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn sum<const FORM: u8, const VECTORS: usize, const TERNARY: bool>(
    conv: &BitConv<'_>,
    output: &Output<'_>,
) {
    let output = *output;
    let seen = if conv.grouped { 1 } else { conv.groups };
    let taps = conv.taps.len();
    let blocks = conv.codes.chunks_exact(4 * seen * taps).take(conv.outputs / 4).enumerate();
    let group = |block: usize| if conv.grouped { block } else { 0 };
    // SAFETY: the caller has checked the places.
    unsafe {
        if seen * taps <= avx2::LOOKUPS[usize::from(TERNARY)] {
            for (block, codes) in blocks {
                let sums = look_up::<VECTORS, TERNARY>(conv, conv.taps, group(block), seen, codes);
                for (o, sums) in sums.into_iter().enumerate() {
                    let mut row = [_mm512_setzero_ps(); VECTORS];
                    for v in 0..VECTORS {
                        let sum = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(quarter(sums, v)));
                        // Twice the sum is even: exact.
                        row[v] = if TERNARY { _mm512_mul_ps(sum, _mm512_set1_ps(0.5)) } else { sum };
                    }
                    output.row::<FORM, VECTORS, false>(row, 4 * block + o);
                }
            }
            return;
        }
        let mut sums = [[0i16; CHUNK]; 4];
        for (block, codes) in blocks {
            sum_many::<VECTORS, TERNARY>(conv, group(block), seen, codes, &mut sums);
            for (o, sums) in sums.iter().enumerate() {
                let mut row = [_mm512_setzero_ps(); VECTORS];
                for v in 0..VECTORS {
                    let sum = _mm256_loadu_si256(sums.as_ptr().add(16 * v).cast());
                    let sum = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(sum));
                    row[v] = if TERNARY { _mm512_mul_ps(sum, _mm512_set1_ps(0.5)) } else { sum };
                }
                output.row::<FORM, VECTORS, false>(row, 4 * block + o);
            }
        }
    }
}

/// Sixteen of 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn quarter(bytes: __m512i, which: usize) -> __m128i {
    match which {
        0 => _mm512_castsi512_si128(bytes),
        1 => _mm512_extracti32x4_epi32::<1>(bytes),
        2 => _mm512_extracti32x4_epi32::<2>(bytes),
        _ => _mm512_extracti32x4_epi32::<3>(bytes),
    }
}

/// 8-bit sums (twice that if ternary) of four output channels over a few taps and groups of a chunk.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn look_up<const VECTORS: usize, const TERNARY: bool>(
    conv: &BitConv<'_>,
    taps: &[usize],
    first: usize,
    groups: usize,
    codes: &[u8],
) -> [__m512i; 4] {
    let load = |place: *const u8| {
        // SAFETY: the caller has checked that every place and `16·VECTORS` bytes lie inside the planes.
        unsafe {
            match VECTORS {
                2 => _mm512_castsi256_si512(_mm256_loadu_si256(place.cast())),
                _ => _mm512_loadu_si512(place.cast()),
            }
        }
    };
    let mut acc = [_mm512_setzero_si512(); 4];
    let mut codes = codes.as_ptr();
    let (positive, negative) =
        (conv.positive.as_ptr(), conv.negative.map_or(std::ptr::null(), <[u8]>::as_ptr));
    for &tap in taps {
        for group in first..first + groups {
            // SAFETY: as above; `codes` holds 4 bytes a look-up, each below 81.
            unsafe {
                let place = tap + group * conv.group_stride;
                let nibbles = load(positive.add(place));
                let minus = if TERNARY { load(negative.add(place)) } else { nibbles };
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
    }
    acc
}

/// 16-bit sums (twice that if ternary) of four output channels over all taps and groups, by parts that fit 8 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn sum_many<const VECTORS: usize, const TERNARY: bool>(
    conv: &BitConv<'_>,
    first: usize,
    seen: usize,
    codes: &[u8],
    sums: &mut [[i16; CHUNK]; 4],
) {
    let limit = avx2::LOOKUPS[usize::from(TERNARY)];
    *sums = [[0; CHUNK]; 4];
    for (tap, codes) in conv.taps.chunks(1).zip(codes.chunks_exact(4 * seen)) {
        for (part, codes) in codes.chunks(4 * limit).enumerate() {
            // SAFETY: the caller has checked the places of all groups below `first + seen`.
            let acc = unsafe {
                look_up::<VECTORS, TERNARY>(conv, tap, first + part * limit, codes.len() / 4, codes)
            };
            for (acc, sums) in acc.into_iter().zip(sums.iter_mut()) {
                let halves = [_mm512_castsi512_si256(acc), _mm512_extracti64x4_epi64::<1>(acc)];
                for (half, sums) in halves.into_iter().zip(sums.as_chunks_mut::<32>().0) {
                    let place: *mut __m512i = sums.as_mut_ptr().cast();
                    // SAFETY: 32 sums fill the vector.
                    unsafe {
                        let before = _mm512_loadu_si512(place.cast_const());
                        _mm512_storeu_si512(place, _mm512_add_epi16(before, _mm512_cvtepi8_epi16(half)));
                    }
                }
            }
        }
    }
}
