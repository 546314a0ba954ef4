//! Signs to bits: a value exceeds a threshold where the difference is negative, and VBMI2 shifts the sign of a
//! difference into a word in one instruction, without mask registers. The lower threshold is looked at only in chunks
//! where the least difference to the upper one leaves room for an exact zero.

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
            32 => compare_vectors::<2>(last, pack.stride, above, below, pack.widest),
            _ => compare_vectors::<4>(last, pack.stride, above, below, pack.widest),
        }
    }
}

/// Looks for zeros only if a value lies so close below its upper threshold that it may be one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
unsafe fn compare_vectors<const VECTORS: usize>(
    last: *const f32,
    stride: usize,
    above: &[f32],
    below: &[f32],
    widest: f32,
) -> [[__m512i; 2]; 4] {
    // SAFETY: as the caller promises.
    let (positive, least) = unsafe { exceed::<VECTORS>(last, stride, above) };
    let mut bits = positive.map(|bits| [bits; 2]);
    // Differences that are not negative are ordered as their bits are, below all that are.
    if _mm512_cmple_epu32_mask(least, _mm512_castps_si512(_mm512_set1_ps(widest))) != 0 {
        // SAFETY: as the caller promises.
        let (not_negative, _) = unsafe { exceed::<VECTORS>(last, stride, below) };
        bits.iter_mut().zip(not_negative).for_each(|(pair, bits)| pair[1] = bits);
    }
    bits
}

/// Where values exceed a threshold, from the last channel, which lies at `input`, to the first, whose bit is the
/// lowest; and the least bits of a difference `threshold − value`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
unsafe fn exceed<const VECTORS: usize>(
    mut input: *const f32,
    stride: usize,
    thresholds: &[f32],
) -> ([__m512i; 4], __m512i) {
    let mut bits = [_mm512_setzero_si512(); 4];
    let mut least = [_mm512_set1_epi32(-1); 4];
    for &threshold in thresholds.iter().rev() {
        let threshold = _mm512_set1_ps(threshold);
        for v in 0..VECTORS {
            // SAFETY: the caller has checked that the channels hold so many pixels.
            let x = unsafe { _mm512_loadu_ps(input.add(16 * v)) };
            let difference = _mm512_castps_si512(_mm512_sub_ps(threshold, x));
            bits[v] = _mm512_shldi_epi32::<1>(bits[v], difference);
            least[v] = _mm512_min_epu32(least[v], difference);
        }
        input = input.wrapping_sub(stride);
    }
    let [a, b, c, d] = least;
    (bits, _mm512_min_epu32(_mm512_min_epu32(a, b), _mm512_min_epu32(c, d)))
}
