//! Eight floats in an array, in plain Rust that the compiler vectorises for the baseline CPU, with the exact square
//! root and division.
#![allow(unsafe_code)] // the lanes' loads and stores go through pointers, which the callers of `Lanes` answer for

use super::lanes::Lanes;
use super::{Kernel, LANES, table};

table!(Plain, 1, {
    name: "portable",
    available: || true,
    solve,
});

#[derive(Clone, Copy)]
struct Plain([f32; 8]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

// SAFETY (loads and stores): the trait's contract gives valid pointers.
impl Lanes for Plain {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        Self(unsafe { at.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { at.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 8];
        let count = count.min(8);
        lanes[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(at, count) });
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn store_first(self, at: *mut f32, count: usize) {
        let count = count.min(8);
        unsafe { std::slice::from_raw_parts_mut(at, count) }.copy_from_slice(&self.0[..count]);
    }
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        Self(std::array::from_fn(|i| if i < count { self.0[i] } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.zip(factor, |a, b| a * b).zip(addend, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn shrinkage<const N: usize>(x: [Self; N], y: [Self; N]) -> [Self; N] {
        std::array::from_fn(|k| x[k].zip(y[k], |x, y| 1.0 / (1.0 + 2.0 * (x * x + y * y).sqrt())))
    }
    #[inline(always)]
    unsafe fn total(self) -> f32 {
        self.0.iter().sum()
    }
}

fn solve(factor: &[f32], band: usize, t: &mut [f32]) {
    let rows = t.len() / LANES;
    let row = |i: usize| &factor[i * band * LANES..(i + 1) * band * LANES];
    for i in 0..rows {
        let l = row(i);
        let (before, here) = t.split_at_mut(i * LANES);
        for d in 1..band.min(i + 1) {
            for lane in 0..LANES {
                here[lane] -= l[d * LANES + lane] * before[(i - d) * LANES + lane];
            }
        }
        for lane in 0..LANES {
            here[lane] *= l[lane];
        }
    }
    for i in (0..rows).rev() {
        let l = row(i);
        let (before, here) = t.split_at_mut(i * LANES);
        for lane in 0..LANES {
            here[lane] *= l[lane];
        }
        for d in 1..band.min(i + 1) {
            for lane in 0..LANES {
                before[(i - d) * LANES + lane] -= l[d * LANES + lane] * here[lane];
            }
        }
    }
}
