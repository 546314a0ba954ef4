//! A register of floats: the vocabulary in which every float kernel is written once.
//!
//! [`Portable`] is the specification; the others are the same operations on registers. Fused multiply-add rounds once
//! where the hardware has it and twice in [`Portable`], so results agree to rounding, not to the bit.
//!
//! Nothing here or in the passes may call a [`Lanes`] method from a closure: a closure is a function of its own, which
//! does not inherit the instruction set of the function around it, and then no intrinsic in it is inlined.

#![allow(unsafe_code)] // kernels: std::arch intrinsics and unchecked pointers; see each SAFETY line

/// `N` floats.
///
/// # Safety
/// Every method needs the instruction set of its type, and pointers valid for `N` floats.
pub(crate) trait Lanes: Copy {
    /// Number of floats: 8 or 16.
    const N: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self · b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    unsafe fn min(self, b: Self) -> Self;
    unsafe fn max(self, b: Self) -> Self;
    /// The nearest whole number.
    unsafe fn round(self) -> Self;
    /// 2 to the power of whole numbers from -126 to 127.
    unsafe fn exp2_whole(self) -> Self;
    /// Sum of all lanes.
    unsafe fn sum(self) -> f32;
    /// `x Φ(x)`, the exact (erf) form of GELU, to 1e-6.
    unsafe fn gelu(self) -> Self;
}

/// [`Lanes`] that multiply bf16, pairs of which lie in the bits of each float.
///
/// # Safety
/// As [`Lanes`].
pub(crate) trait Bf16Lanes: Lanes {
    /// Rounds to `N` bf16, to nearest, ties to even.
    unsafe fn store_bf16(self, to: *mut u16);
    /// `c[i] + a[2i] b[2i] + a[2i + 1] b[2i + 1]`.
    unsafe fn dot_bf16(self, b: Self, c: Self) -> Self;
}

/// GELU without a table.
///
/// erf is the rational approximation of odd degree 13 over even degree 8 that Eigen and XLA use, on |x| < 4, beyond
/// which it is ±1 to f32.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(super) unsafe fn rational_gelu<V: Lanes>(x: V) -> V {
    const P: [f32; 6] =
        [2.770_681_4e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2];
    const Q: [f32; 4] = [-2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    // SAFETY: by contract.
    unsafe {
        let z = x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2)).min(V::splat(4.0)).max(V::splat(-4.0));
        let s = z.mul(z);
        let mut p = V::splat(-2.726_142e-10);
        for a in P {
            p = p.mul_add(s, V::splat(a));
        }
        let mut q = V::splat(-1.456_607_2e-5);
        for b in Q {
            q = q.mul_add(s, V::splat(b));
        }
        let erf = z.mul(p).div(q);
        let half = x.mul(V::splat(0.5));
        half.mul_add(erf, half)
    }
}

/// Plain arrays: what any CPU can do.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], b.0[i])))
    }
}

impl Lanes for Portable {
    const N: usize = 8;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's pointer is valid for eight floats; no alignment is assumed.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * b.0[i] + c.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.zip(b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        self.zip(b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        self.zip(b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(self.0.map(f32::round_ties_even))
    }
    #[inline(always)]
    unsafe fn exp2_whole(self) -> Self {
        Self(self.0.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23)))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let v = self.0;
        ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]))
    }
    #[inline(always)]
    unsafe fn gelu(self) -> Self {
        // SAFETY: portable lanes need nothing.
        unsafe { rational_gelu(self) }
    }
}

#[cfg(test)] // the specification of bf16; a CPU without it is refused
impl Bf16Lanes for Portable {
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        for (i, &value) in self.0.iter().enumerate() {
            // SAFETY: the caller's pointer is valid for eight halves.
            unsafe { to.add(i).write(half::bf16::from_f32(value).to_bits()) };
        }
    }
    #[inline(always)]
    unsafe fn dot_bf16(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| {
            let (a, b) = (self.0[i].to_bits(), b.0[i].to_bits());
            let low = f32::from_bits(a << 16) * f32::from_bits(b << 16);
            let high = f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
            c.0[i] + (low + high)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Maclaurin series, which converges for every argument and is exact to f64 rounding below 3.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[inline(always)]
    unsafe fn gelu<V: Lanes>(x: f32) -> f32 {
        let mut out = [0f32; 16];
        // SAFETY: by contract, and `out` holds a register.
        unsafe { V::splat(x).gelu().store(out.as_mut_ptr()) };
        out[0]
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn table_gelu(x: f32) -> f32 {
        // SAFETY: the features are enabled here.
        unsafe { gelu::<super::super::x86::Avx512>(x) }
    }

    #[test]
    fn gelu_is_x_phi_of_x() {
        // Beyond ±4.2 the series loses digits; there gelu is x or 0 to 1e-4 and the table ends at 5.8.
        for i in -420..=420 {
            let x = i as f32 / 100.0;
            let expected = 0.5 * f64::from(x) * (1.0 + erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2));
            // SAFETY: portable lanes need nothing; AVX-512 is asked for first.
            let mut found = vec![unsafe { gelu::<Portable>(x) }];
            #[cfg(target_arch = "x86_64")]
            if std::is_x86_feature_detected!("avx512f") {
                found.push(unsafe { table_gelu(x) });
            }
            for found in found {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-6,
                    "gelu({x}) is {found}, expected {expected}"
                );
            }
        }
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx512f") {
            for x in [6.0, 50.0, 1e30] {
                // SAFETY: AVX-512 was asked for.
                let [positive, negative] = unsafe { [table_gelu(x), table_gelu(-x)] };
                assert!(positive == x && negative.abs() < 1e-6, "gelu(±{x}) is {positive} and {negative}");
            }
            // SAFETY: AVX-512 was asked for.
            assert!(unsafe { table_gelu(f32::NAN) }.is_nan());
        }
    }
}
