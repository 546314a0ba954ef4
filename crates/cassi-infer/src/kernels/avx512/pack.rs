//! Signs to bits: a value exceeds a threshold where the difference is negative, and VBMI2 shifts the sign of a
//! difference into a word in one instruction. That is two instructions a value and threshold, and no mask registers.

use std::arch::x86_64::*;

use crate::kernels::{CHUNK, Pack};

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
pub(super) fn pack(pack: &Pack<'_>, positive: &mut [u8], group_stride: usize) -> bool {
    let mut zeros = _mm512_setzero_si512();
    for group in 0..pack.above.len() / 4 {
        let out = &mut positive[group * group_stride..][..pack.pixels];
        let planes = compare(pack, 4 * group, 4);
        for (out, [bits, not_negative]) in out.as_chunks_mut::<16>().0.iter_mut().zip(planes) {
            zeros = _mm512_or_si512(zeros, _mm512_xor_si512(bits, not_negative));
            // SAFETY: out holds 16 bytes.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(bits)) };
        }
    }
    _mm512_test_epi32_mask(zeros, zeros) != 0
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
pub(super) fn pack_words(
    pack: &Pack<'_>,
    positive: &mut [u32],
    nonzero: &mut [u32],
    word_stride: usize,
) -> bool {
    let mut zeros = _mm512_setzero_si512();
    for word in 0..pack.above.len().div_ceil(32) {
        let channels = (pack.above.len() - 32 * word).min(32);
        let all = _mm512_set1_epi32((u32::MAX >> (32 - channels)) as i32);
        let positive = &mut positive[word * word_stride..][..pack.pixels];
        let nonzero = &mut nonzero[word * word_stride..][..pack.pixels];
        let planes = compare(pack, 32 * word, channels);
        let out = positive.as_chunks_mut::<16>().0.iter_mut().zip(nonzero.as_chunks_mut::<16>().0);
        for ((positive, nonzero), [bits, not_negative]) in out.zip(planes) {
            let zero = _mm512_xor_si512(bits, not_negative);
            zeros = _mm512_or_si512(zeros, zero);
            // SAFETY: both hold 16 words.
            unsafe {
                _mm512_storeu_si512(positive.as_mut_ptr().cast(), bits);
                _mm512_storeu_si512(nonzero.as_mut_ptr().cast(), _mm512_andnot_si512(zero, all));
            }
        }
    }
    _mm512_test_epi32_mask(zeros, zeros) != 0
}

/// Bits of the positives and of the not negatives of up to 32 channels, for each 16 pixels of the chunk.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
fn compare(pack: &Pack<'_>, first: usize, channels: usize) -> [[__m512i; 2]; 4] {
    assert!(pack.pixels == 32 || pack.pixels == CHUNK);
    assert!((first + channels - 1) * pack.stride + pack.pixels <= pack.input.len());
    let (above, below) = (&pack.above[first..first + channels], &pack.below[first..first + channels]);
    let last = pack.input[(first + channels - 1) * pack.stride..].as_ptr();
    // SAFETY: the last channel's last pixel lies in the input.
    unsafe {
        match pack.pixels {
            32 => compare_vectors::<2>(last, pack.stride, above, below),
            _ => compare_vectors::<4>(last, pack.stride, above, below),
        }
    }
}

/// From the last channel, which lies at `input`, to the first, whose bit is the lowest.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
unsafe fn compare_vectors<const VECTORS: usize>(
    mut input: *const f32,
    stride: usize,
    above: &[f32],
    below: &[f32],
) -> [[__m512i; 2]; 4] {
    let mut bits = [[_mm512_setzero_si512(); 2]; 4];
    for (&above, &below) in above.iter().zip(below).rev() {
        let (above, below) = (_mm512_set1_ps(above), _mm512_set1_ps(below));
        for v in 0..VECTORS {
            // SAFETY: the caller has checked that the channels hold so many pixels.
            let x = unsafe { _mm512_loadu_ps(input.add(16 * v)) };
            let above = _mm512_castps_si512(_mm512_sub_ps(above, x));
            let below = _mm512_castps_si512(_mm512_sub_ps(below, x));
            bits[v][0] = _mm512_shldi_epi32::<1>(bits[v][0], above);
            bits[v][1] = _mm512_shldi_epi32::<1>(bits[v][1], below);
        }
        input = input.wrapping_sub(stride);
    }
    bits
}
