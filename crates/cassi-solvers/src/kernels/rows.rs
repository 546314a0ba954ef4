//! Loops over plain rows, for any vector width.
#![allow(unsafe_code)] // vector loads and stores through pointers into slices whose lengths are asserted

use super::lanes::Lanes;

/// `out = x + mask · u` over the length of `out`.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn lift<V: Lanes>(out: &mut [f32], x: &[f32], mask: &[f32], u: &[f32]) {
    let width = out.len();
    assert!([x.len(), mask.len(), u.len()].iter().all(|&n| n >= width));
    let (out, x, mask, u) = (out.as_mut_ptr(), x.as_ptr(), mask.as_ptr(), u.as_ptr());
    let whole = width / V::WIDTH * V::WIDTH;
    // SAFETY: every row has `width` floats, by the assertion.
    unsafe {
        for at in (0..whole).step_by(V::WIDTH) {
            V::load(mask.add(at)).mul_add(V::load(u.add(at)), V::load(x.add(at))).store(out.add(at));
        }
        if whole < width {
            let left = width - whole;
            let (mask, u) = (V::load_first(mask.add(whole), left), V::load_first(u.add(whole), left));
            mask.mul_add(u, V::load_first(x.add(whole), left)).store_first(out.add(whole), left);
        }
    }
}

/// `y += mask · x` over the length of `x`.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn accumulate<V: Lanes>(y: &mut [f32], mask: &[f32], x: &[f32]) {
    let width = x.len();
    assert!(y.len() >= width && mask.len() >= width);
    let (y, mask, x) = (y.as_mut_ptr(), mask.as_ptr(), x.as_ptr());
    let whole = width / V::WIDTH * V::WIDTH;
    // SAFETY: every row has `width` floats, by the assertion.
    unsafe {
        for at in (0..whole).step_by(V::WIDTH) {
            V::load(mask.add(at)).mul_add(V::load(x.add(at)), V::load(y.add(at))).store(y.add(at));
        }
        if whole < width {
            let left = width - whole;
            let (mask, x) = (V::load_first(mask.add(whole), left), V::load_first(x.add(whole), left));
            mask.mul_add(x, V::load_first(y.add(whole), left)).store_first(y.add(whole), left);
        }
    }
}

/// `out[w] = Σ_j coefficients[j] · rows[j · stride + w]`.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn combine<V: Lanes>(out: &mut [f32], coefficients: &[f32], rows: &[f32], stride: usize) {
    let width = out.len();
    assert!(coefficients.is_empty() || rows.len() >= (coefficients.len() - 1) * stride + width);
    let (out, rows) = (out.as_mut_ptr(), rows.as_ptr());
    let block = 4 * V::WIDTH;
    let blocks = width / block * block;
    // SAFETY: row `j` starts at `j · stride` and has `width` floats, by the assertion.
    unsafe {
        for start in (0..blocks).step_by(block) {
            let mut sums = [V::splat(0.0); 4];
            for (j, &coefficient) in coefficients.iter().enumerate() {
                let (coefficient, row) = (V::splat(coefficient), rows.add(j * stride + start));
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = coefficient.mul_add(V::load(row.add(v * V::WIDTH)), *sum);
                }
            }
            for (v, sum) in sums.into_iter().enumerate() {
                sum.store(out.add(start + v * V::WIDTH));
            }
        }
        for at in (blocks..width).step_by(V::WIDTH) {
            let mut sum = V::splat(0.0);
            for (j, &coefficient) in coefficients.iter().enumerate() {
                let row = V::load_first(rows.add(j * stride + at), width - at);
                sum = V::splat(coefficient).mul_add(row, sum);
            }
            sum.store_first(out.add(at), width - at);
        }
    }
}
