//! Bilinear doubling of a row: 16 blended pixels and their neighbours make two registers of results, by the operations of
//! the portable pass, so with its bits.

use std::arch::x86_64::*;

use super::winograd::{lanes, load, store};

/// As [`double`](crate::kernels::Rows) says; the blended row stays in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn double(
    [near, far]: [&[f32]; 2],
    stride: usize,
    out: &mut [f32],
    out_stride: usize,
    width: usize,
) {
    let (quarter, three) = (_mm512_set1_ps(0.25), _mm512_set1_ps(0.75));
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    let rows = near.chunks_exact(stride).zip(far.chunks_exact(stride));
    for ((near, far), out) in rows.zip(out.chunks_exact_mut(out_stride)) {
        let (near, far, out) = (&near[..width], &far[..width], &mut out[..2 * width]);
        let blend = |start: usize| {
            let mask = lanes(width.saturating_sub(start));
            // SAFETY: lanes at and beyond `width` are masked out.
            unsafe {
                let near = load(mask, near.as_ptr().wrapping_add(start));
                let far = load(mask, far.as_ptr().wrapping_add(start));
                _mm512_add_ps(_mm512_mul_ps(three, near), _mm512_mul_ps(quarter, far))
            }
        };
        let (mut before, mut own) = (_mm512_setzero_ps(), blend(0));
        let mut last = own;
        for start in (0..width).step_by(16) {
            let after = blend(start + 16);
            let (left, right) = (shift::<15>(before, own), shift::<1>(own, after));
            let weighted = _mm512_mul_ps(three, own);
            let even = _mm512_add_ps(_mm512_mul_ps(quarter, left), weighted);
            let odd = _mm512_add_ps(weighted, _mm512_mul_ps(quarter, right));
            let results = 2 * (width - start);
            let place = out.as_mut_ptr().wrapping_add(2 * start);
            // SAFETY: lanes at and beyond `2·width` are masked out.
            unsafe {
                let (first, second) =
                    (_mm512_permutex2var_ps(even, low, odd), _mm512_permutex2var_ps(even, high, odd));
                store(place, lanes(results), first);
                store(place.wrapping_add(16), lanes(results.saturating_sub(16)), second);
                if start == 0 {
                    // The edges repeat.
                    *place = _mm512_cvtss_f32(own);
                }
            }
            (before, own, last) = (own, after, own);
        }
        let mut end = [0f32; 16];
        // SAFETY: 16 floats fill the vector.
        unsafe { _mm512_storeu_ps(end.as_mut_ptr(), last) };
        out[2 * width - 1] = end[(width - 1) % 16];
    }
}

/// Sixteen floats of two vectors side by side, from number `N` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn shift<const N: i32>(first: __m512, second: __m512) -> __m512 {
    let (first, second) = (_mm512_castps_si512(first), _mm512_castps_si512(second));
    _mm512_castsi512_ps(_mm512_alignr_epi32::<N>(second, first))
}
