//! AVX-512 (the foundation set), sixteen floats at a time.
//!
//! Square root and reciprocal of the dual update are the 14-bit approximations with one Newton step each: accurate to
//! a rounding or two, and several times faster than the divider.
#![allow(unsafe_code)] // std::arch intrinsics, reached only through a table whose `available` found AVX-512F

use std::arch::x86_64::*;

use super::lanes::Lanes;
use super::{Kernel, avx2, table};

table!(Avx512, 4, "avx512f", {
    name: "avx512",
    available: || is_x86_feature_detected!("avx512f") && (avx2::KERNEL.available)(),
    // Eight rows side by side: half a register would stay empty.
    solve: avx2::KERNEL.solve,
});

#[derive(Clone, Copy)]
struct Avx512(__m512);

/// The lanes below `count`.
#[inline(always)]
fn lanes_below(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

// SAFETY (every method): the trait's contract gives the instruction set and valid pointers; masked lanes are not
// touched.
impl Lanes for Avx512 {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(value)) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(at)) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { _mm512_storeu_ps(at, self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, count: usize) -> Self {
        unsafe { Self(_mm512_maskz_loadu_ps(lanes_below(count), at)) }
    }
    #[inline(always)]
    unsafe fn store_first(self, at: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(at, lanes_below(count), self.0) }
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        unsafe { Self(_mm512_maskz_mov_ps(lanes_below(count), self.0)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
    }
    #[inline(always)]
    unsafe fn shrinkage<const N: usize>(x: [Self; N], y: [Self; N]) -> [Self; N] {
        unsafe {
            // The floor keeps the root finite; it is the square of a gradient far below any signal.
            let floor = _mm512_set1_ps(f32::MIN_POSITIVE);
            let (one, two, three) = (_mm512_set1_ps(1.0), _mm512_set1_ps(2.0), _mm512_set1_ps(3.0));
            let (mut a, mut b, mut q) = ([floor; N], [floor; N], [Self(floor); N]);
            for k in 0..N {
                a[k] = _mm512_fmadd_ps(y[k].0, y[k].0, floor);
            }
            for k in 0..N {
                a[k] = _mm512_fmadd_ps(x[k].0, x[k].0, a[k]);
            }
            // 2√s = s·r (3 − s r²) after a Newton step.
            for k in 0..N {
                b[k] = _mm512_rsqrt14_ps(a[k]);
            }
            for k in 0..N {
                a[k] = _mm512_mul_ps(a[k], b[k]);
            }
            for k in 0..N {
                b[k] = _mm512_fnmadd_ps(a[k], b[k], three);
            }
            for k in 0..N {
                a[k] = _mm512_fmadd_ps(a[k], b[k], one);
            }
            // q ← q (2 − q d).
            for k in 0..N {
                b[k] = _mm512_rcp14_ps(a[k]);
            }
            for k in 0..N {
                a[k] = _mm512_fnmadd_ps(a[k], b[k], two);
            }
            for k in 0..N {
                q[k] = Self(_mm512_mul_ps(a[k], b[k]));
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn total(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
}
