//! [`Lanes`] on the registers of AVX2 with FMA and of AVX-512; [`Lanes`] says what each method does.

#![allow(unsafe_code)] // kernels: std::arch intrinsics; see each SAFETY line

use std::arch::x86_64::*;

use super::lanes::{Bf16Lanes, Lanes, rational_gelu};
use super::table::{GELU, GELU_LAST, GELU_SCALE};

/// One AVX register, with FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

// SAFETY (all methods): the caller has AVX2 and FMA, and pointers valid for eight floats.
impl Lanes for Avx2 {
    const N: usize = 8;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { _mm256_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(unsafe { _mm256_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        Self(unsafe { _mm256_sub_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Self(unsafe { _mm256_mul_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        Self(unsafe { _mm256_div_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        Self(unsafe { _mm256_min_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        Self(unsafe { _mm256_max_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    unsafe fn exp2_whole(self) -> Self {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn gelu(self) -> Self {
        unsafe { rational_gelu(self) }
    }
}

/// One AVX-512 register; bf16 needs AVX-512 BF16 too.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

// SAFETY (all methods): the caller has AVX-512 F, and pointers valid for sixteen floats.
impl Lanes for Avx512 {
    const N: usize = 16;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        Self(unsafe { _mm512_sub_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Self(unsafe { _mm512_mul_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        Self(unsafe { _mm512_div_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        Self(unsafe { _mm512_min_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        Self(unsafe { _mm512_max_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    unsafe fn exp2_whole(self) -> Self {
        Self(unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), self.0) })
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let low = _mm512_castps512_ps256(self.0);
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0)));
            Avx2(_mm256_add_ps(low, high)).sum()
        }
    }
    /// `max(x, 0) − g(|x|)` with `g(a) = a Φ(−a)` from a table of sixteen polynomials: no division, and half of the
    /// work is permutations, which leave the multipliers to the matrix products around it.
    #[inline(always)]
    unsafe fn gelu(self) -> Self {
        unsafe {
            let size = _mm512_mul_ps(_mm512_abs_ps(self.0), _mm512_set1_ps(GELU_SCALE));
            let size = _mm512_min_ps(size, _mm512_set1_ps(GELU_LAST));
            // Adding 1.5 · 2²³ leaves the nearest whole number in the low bits, where the permutation looks for it.
            let magic = _mm512_set1_ps(12_582_912.0);
            let shifted = _mm512_add_ps(size, magic);
            let index = _mm512_castps_si512(shifted);
            let d = _mm512_sub_ps(size, _mm512_sub_ps(shifted, magic));
            let mut g = _mm512_permutexvar_ps(index, _mm512_loadu_ps(GELU.0[4].as_ptr()));
            g = _mm512_fmadd_ps(g, d, _mm512_permutexvar_ps(index, _mm512_loadu_ps(GELU.0[3].as_ptr())));
            g = _mm512_fmadd_ps(g, d, _mm512_permutexvar_ps(index, _mm512_loadu_ps(GELU.0[2].as_ptr())));
            g = _mm512_fmadd_ps(g, d, _mm512_permutexvar_ps(index, _mm512_loadu_ps(GELU.0[1].as_ptr())));
            g = _mm512_fmadd_ps(g, d, _mm512_permutexvar_ps(index, _mm512_loadu_ps(GELU.0[0].as_ptr())));
            // The second operand is what max gives for NaN.
            Self(_mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), self.0), g))
        }
    }
}

// SAFETY: as above, and the caller has AVX-512 BF16.
impl Bf16Lanes for Avx512 {
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        unsafe { to.cast::<__m256bh>().write_unaligned(_mm512_cvtneps_pbh(self.0)) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(self, b: Self, c: Self) -> Self {
        unsafe {
            let a = std::mem::transmute::<__m512, __m512bh>(self.0);
            let b = std::mem::transmute::<__m512, __m512bh>(b.0);
            Self(_mm512_dpbf16_ps(c.0, a, b))
        }
    }
}
