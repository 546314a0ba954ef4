//! AVX2 and FMA, eight floats at a time.
//!
//! The square root and the reciprocal of the dual update are the 12-bit approximations with one Newton step each:
//! accurate to 3e-7, and several times faster than the divider.
#![allow(unsafe_code)] // std::arch intrinsics, reached only through a table whose `available` found AVX2 and FMA

use std::arch::x86_64::*;

use super::lanes::Lanes;
use super::{Kernel, LANES, table};

table!(Avx2, 4, "avx2,fma", {
    name: "avx2",
    available: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    solve,
});

#[derive(Clone, Copy)]
struct Avx2(__m256);

/// Eight lanes of which the first `count` are on, for masked loads and stores.
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    let count = count.min(8) as i32;
    // SAFETY: register arithmetic only.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

// SAFETY (every method): the trait's contract gives the instruction sets and valid pointers; masked lanes are not
// touched.
impl Lanes for Avx2 {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(at)) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { _mm256_storeu_ps(at, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, count: usize) -> Self {
        unsafe { Self(_mm256_maskload_ps(at, first_lanes(count))) }
    }
    #[inline(always)]
    unsafe fn store_first(self, at: *mut f32, count: usize) {
        unsafe { _mm256_maskstore_ps(at, first_lanes(count), self.0) }
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        unsafe { Self(_mm256_and_ps(self.0, _mm256_castsi256_ps(first_lanes(count)))) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, addend.0)) }
    }
    #[inline(always)]
    unsafe fn shrinkage<const N: usize>(x: [Self; N], y: [Self; N]) -> [Self; N] {
        unsafe {
            // The floor keeps the root finite; it is the square of a gradient far below any signal.
            let floor = _mm256_set1_ps(f32::MIN_POSITIVE);
            let (one, two, three) = (_mm256_set1_ps(1.0), _mm256_set1_ps(2.0), _mm256_set1_ps(3.0));
            let (mut a, mut b, mut q) = ([floor; N], [floor; N], [Self(floor); N]);
            for k in 0..N {
                a[k] = _mm256_fmadd_ps(y[k].0, y[k].0, floor);
            }
            for k in 0..N {
                a[k] = _mm256_fmadd_ps(x[k].0, x[k].0, a[k]);
            }
            // 2√s = s·r (3 − s r²) after a Newton step.
            for k in 0..N {
                b[k] = _mm256_rsqrt_ps(a[k]);
            }
            for k in 0..N {
                a[k] = _mm256_mul_ps(a[k], b[k]);
            }
            for k in 0..N {
                b[k] = _mm256_fnmadd_ps(a[k], b[k], three);
            }
            for k in 0..N {
                a[k] = _mm256_fmadd_ps(a[k], b[k], one);
            }
            // q ← q (2 − q d).
            for k in 0..N {
                b[k] = _mm256_rcp_ps(a[k]);
            }
            for k in 0..N {
                a[k] = _mm256_fnmadd_ps(a[k], b[k], two);
            }
            for k in 0..N {
                q[k] = Self(_mm256_mul_ps(a[k], b[k]));
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn total(self) -> f32 {
        let mut lanes = [0.0f32; 8];
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes.iter().sum()
    }
}

fn solve(factor: &[f32], band: usize, t: &mut [f32]) {
    assert!(band > 0 && t.len().is_multiple_of(LANES) && factor.len() == t.len() * band);
    // SAFETY: the table is used only where `available` found AVX2 and FMA; the lengths were asserted.
    unsafe { solve_avx2(factor, band, t) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn solve_avx2(factor: &[f32], band: usize, t: &mut [f32]) {
    let rows = t.len() / LANES;
    // SAFETY: `factor` holds `rows · band` vectors and `t` holds `rows`, by the assertion of `solve`; `d` stays
    // below `band` and at most `i`.
    unsafe {
        let t = t.as_mut_ptr();
        for i in 0..rows {
            let l = factor.as_ptr().add(i * band * LANES);
            // Four partial sums: one chain of fused multiply-adds would wait for itself.
            let mut sums = [_mm256_setzero_ps(); 4];
            for d in 1..band.min(i + 1) {
                let known = _mm256_loadu_ps(t.add((i - d) * LANES));
                sums[d % 4] = _mm256_fmadd_ps(_mm256_loadu_ps(l.add(d * LANES)), known, sums[d % 4]);
            }
            let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[2]), _mm256_add_ps(sums[1], sums[3]));
            let here = _mm256_sub_ps(_mm256_loadu_ps(t.add(i * LANES)), sum);
            _mm256_storeu_ps(t.add(i * LANES), _mm256_mul_ps(here, _mm256_loadu_ps(l)));
        }
        for i in (0..rows).rev() {
            let l = factor.as_ptr().add(i * band * LANES);
            let here = _mm256_mul_ps(_mm256_loadu_ps(t.add(i * LANES)), _mm256_loadu_ps(l));
            _mm256_storeu_ps(t.add(i * LANES), here);
            for d in 1..band.min(i + 1) {
                let at = t.add((i - d) * LANES);
                let sum = _mm256_fnmadd_ps(_mm256_loadu_ps(l.add(d * LANES)), here, _mm256_loadu_ps(at));
                _mm256_storeu_ps(at, sum);
            }
        }
    }
}
