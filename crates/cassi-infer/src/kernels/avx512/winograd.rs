//! The transforms of the full-precision convolutions on 16 pairs of pixels: permutations part and join the pixels of a
//! pair, and the operations of the portable passes give their bits.

use std::arch::x86_64::*;

use crate::kernels::PHASES;

/// As [`transform`](crate::kernels::Rows) says.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn transform(rows: &[&[f32]; 4], phases: &mut [f32], phase_stride: usize) {
    let pairs = rows[0].len() / 2 - 1;
    assert!(rows.iter().all(|row| row.len() >= 2 * pairs + 2));
    assert!((PHASES - 1) * phase_stride + pairs <= phases.len());
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for start in (0..pairs).step_by(16) {
        let count = pairs - start;
        let pairs_at = |row: &[f32], at: usize| {
            let first = lanes(2 * count);
            let second = lanes((2 * count).saturating_sub(16));
            // SAFETY: rows hold two pixels more than the pairs; lanes beyond are masked out.
            let [low, high] = unsafe {
                let place = row.as_ptr().add(2 * start + at);
                [load(first, place), load(second, place.wrapping_add(16))]
            };
            [_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high)]
        };
        let mut split = [[_mm512_setzero_ps(); 4]; 4];
        for r in 0..4 {
            let ([a, b], [c, d]) = (pairs_at(rows[r], 0), pairs_at(rows[r], 2));
            split[r] = differences([a, b, c, d]);
        }
        for k in 0..4 {
            let values = differences([split[0][k], split[1][k], split[2][k], split[3][k]]);
            for v in 0..4 {
                // SAFETY: every phase holds all pairs; lanes beyond are masked out.
                unsafe {
                    let place = phases.as_mut_ptr().add((4 * v + k) * phase_stride + start);
                    store(place, lanes(count), values[v]);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn differences([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    [_mm512_sub_ps(a, c), _mm512_add_ps(b, c), _mm512_sub_ps(c, b), _mm512_sub_ps(b, d)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sums([a, b, c, d]: [__m512; 4]) -> [__m512; 2] {
    [_mm512_add_ps(_mm512_add_ps(a, b), c), _mm512_sub_ps(_mm512_sub_ps(b, c), d)]
}

/// As [`combine`](crate::kernels::Rows) says.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn combine(
    products: &[f32],
    phase_stride: usize,
    shortcut: Option<&[&[f32]; 2]>,
    rows: &mut [&mut [f32]; 2],
) {
    let pairs = rows.iter().map(|row| row.len().div_ceil(2)).max().unwrap_or(0);
    assert!((PHASES - 1) * phase_stride + pairs <= products.len());
    if let Some(shortcut) = shortcut {
        assert!(shortcut.iter().zip(rows.iter()).all(|(shortcut, row)| row.len() <= shortcut.len()));
    }
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for start in (0..pairs).step_by(16) {
        let mask = lanes(pairs - start);
        let mut joined = [[_mm512_setzero_ps(); 2]; 4];
        for v in 0..4 {
            // SAFETY: every phase holds all pairs; lanes beyond are masked out.
            joined[v] =
                sums([0, 1, 2, 3].map(|k| unsafe {
                    load(mask, products.as_ptr().add((4 * v + k) * phase_stride + start))
                }));
        }
        let column =
            |parity: usize| [joined[0][parity], joined[1][parity], joined[2][parity], joined[3][parity]];
        let (even, odd) = (sums(column(0)), sums(column(1)));
        for r in 0..2 {
            let (even, odd) = (even[r], odd[r]);
            let halves = [_mm512_permutex2var_ps(even, low, odd), _mm512_permutex2var_ps(even, high, odd)];
            for (h, mut y) in halves.into_iter().enumerate() {
                let at = 2 * start + 16 * h;
                let mask = lanes(rows[r].len().saturating_sub(at));
                // SAFETY: lanes beyond the row, which is no longer than the shortcut, are masked out.
                unsafe {
                    if let Some(shortcut) = shortcut {
                        y = _mm512_add_ps(y, load(mask, shortcut[r].as_ptr().wrapping_add(at)));
                    }
                    store(rows[r].as_mut_ptr().wrapping_add(at), mask, y);
                }
            }
        }
    }
}

/// Lanes of a mask; all of them without one, because what a masked store has written cannot be forwarded to a load.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load(mask: __mmask16, place: *const f32) -> __m512 {
    // SAFETY: the caller promises that the lanes lie in one slice.
    unsafe { if mask == !0 { _mm512_loadu_ps(place) } else { _mm512_maskz_loadu_ps(mask, place) } }
}

/// As [`load`].
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store(place: *mut f32, mask: __mmask16, value: __m512) {
    // SAFETY: the caller promises that the lanes lie in one slice.
    unsafe {
        if mask == !0 { _mm512_storeu_ps(place, value) } else { _mm512_mask_storeu_ps(place, mask, value) }
    }
}

/// The first `count` of 16 lanes.
pub(super) fn lanes(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}
