//! Sums of signs packed by fours: byte shuffles of 64 pixels.

use std::arch::x86_64::*;

use super::finish::{Output, for_form};
use crate::kernels::{BitConv, CHUNK, Finish, TABLES, Target, avx2};

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn conv_bits(conv: &BitConv<'_>, finish: &Finish, target: Target<'_>) {
    if conv.pixels != CHUNK {
        return (avx2::KERNEL.conv_bits)(conv, finish, target);
    }
    let reach = conv.taps.iter().max().unwrap_or(&0) + (conv.groups - 1) * conv.group_stride + CHUNK;
    assert!(reach <= conv.positive.len() && conv.negative.is_none_or(|n| reach <= n.len()));
    let mut output = Output::new(finish, target, conv.outputs, conv.pixels);
    let (form, output) = (output.form(), &mut output);
    // SAFETY: all places read lie below `reach`, which both planes hold.
    unsafe {
        match conv.negative {
            None => for_form!(form, sum, (conv, output), false),
            Some(_) => for_form!(form, sum, (conv, output), true),
        }
    }
}

/// All output channels over a chunk, four at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn sum<const FORM: u8, const TERNARY: bool>(conv: &BitConv<'_>, output: &mut Output<'_>) {
    let seen = if conv.grouped { 1 } else { conv.groups };
    let mut sums = [[0i16; CHUNK]; 4];
    let blocks = conv.codes.chunks_exact(4 * seen * conv.taps.len()).take(conv.outputs / 4);
    for (block, codes) in blocks.enumerate() {
        // SAFETY: the caller has checked the places.
        unsafe {
            sum_block::<TERNARY>(conv, block, seen, codes, &mut sums);
            for (o, sums) in sums.iter().enumerate() {
                let mut row = [_mm512_setzero_ps(); 4];
                for v in 0..4 {
                    let sum = _mm256_loadu_si256(sums.as_ptr().add(16 * v).cast());
                    row[v] = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(sum));
                }
                output.row::<FORM, 4>(row, 4 * block + o);
            }
        }
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
