//! AVX2 and FMA, eight floats at a time.
//!
//! The square root and the reciprocal of the dual update are the 12-bit approximations with one Newton step each:
//! accurate to 3e-7, and several times faster than the divider. Framed rows are read and written in whole vectors;
//! plain rows end in a masked one, so nothing outside a slice is ever touched.
#![allow(unsafe_code)] // std::arch intrinsics; every pointer is derived from a slice whose length is asserted

use std::arch::x86_64::*;

use super::{DualStep, Kernel, LANES, LEFT, assert_framed};

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx2",
    available: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    dual_first,
    dual_next,
    dual_last,
    divergence,
    finish,
    lift,
    accumulate,
    combine,
    solve,
};

/// Defines the safe entry of a kernel, which is reached only through a table whose `available` said yes.
macro_rules! entry {
    ($name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?, $inner:ident, { $($check:tt)* }) => {
        fn $name($($argument: $type),*) $(-> $result)? {
            $($check)*
            debug_assert!((KERNEL.available)());
            // SAFETY: `best` and the tests call the kernels of this table only after `available` found AVX2 and
            // FMA; the lengths that the pointers rely on were asserted on the lines above.
            unsafe { $inner($($argument),*) }
        }
    };
}

entry!(dual_first(image: &[f32], below: &[f32], px: &mut [f32], py: &mut [f32], width: usize, step: DualStep),
    dual_first_avx2, { assert_framed(width, &[image, below, px, py]); });
entry!(dual_next(out: &mut [f32], image_next: &[f32], here: (&[f32], &[f32]), next: (&[f32], &[f32]),
        new: (&mut [f32], &mut [f32]), width: usize, step: DualStep),
    dual_next_avx2, { assert_framed(width, &[out, image_next, here.0, here.1, next.0, next.1, new.0, new.1]); });
entry!(dual_last(out: &[f32], here: (&[f32], &[f32]), new: (&mut [f32], &mut [f32]), width: usize, step: DualStep),
    dual_last_avx2, { assert_framed(width, &[out, here.0, here.1, new.0, new.1]); });
entry!(divergence(out: &mut [f32], image: &[f32], p: (&[f32], &[f32]), py_above: &[f32], width: usize),
    divergence_avx2, { assert_framed(width, &[out, image, p.0, p.1, py_above]); });
entry!(finish(target: &mut [f32], image: &[f32], p: (&[f32], &[f32]), py_above: &[f32]) -> [f32; 2],
    finish_avx2, { assert_framed(target.len(), &[image, p.0, p.1, py_above]); });
entry!(lift(out: &mut [f32], x: &[f32], mask: &[f32], u: &[f32]),
    lift_avx2, { assert!([x.len(), mask.len(), u.len()].iter().all(|&n| n >= out.len())); });
entry!(accumulate(y: &mut [f32], mask: &[f32], x: &[f32]),
    accumulate_avx2, { assert!(y.len() >= x.len() && mask.len() >= x.len()); });
entry!(combine(out: &mut [f32], coefficients: &[f32], rows: &[f32], stride: usize),
    combine_avx2, { assert!(coefficients.is_empty() || rows.len() >= (coefficients.len() - 1) * stride + out.len()); });
entry!(solve(factor: &[f32], band: usize, t: &mut [f32]),
    solve_avx2, { assert!(band > 0 && t.len().is_multiple_of(LANES) && factor.len() == t.len() * band); });

/// `1 / (1 + slope · √(gx² + gy²))`.
#[inline(always)]
unsafe fn shrinkage(gx: __m256, gy: __m256, slope: __m256) -> __m256 {
    // SAFETY: register arithmetic only, inlined into functions that enable AVX2 and FMA.
    unsafe {
        // The floor keeps rsqrt finite; it is the square of a gradient far below any signal.
        let squared =
            _mm256_max_ps(_mm256_fmadd_ps(gx, gx, _mm256_mul_ps(gy, gy)), _mm256_set1_ps(f32::MIN_POSITIVE));
        let rough = _mm256_rsqrt_ps(squared);
        // √s = s·r, with r ← r (1.5 − 0.5 s r²).
        let root = _mm256_mul_ps(squared, rough);
        let correction =
            _mm256_fnmadd_ps(_mm256_mul_ps(root, rough), _mm256_set1_ps(0.5), _mm256_set1_ps(1.5));
        let denominator = _mm256_fmadd_ps(slope, _mm256_mul_ps(root, correction), _mm256_set1_ps(1.0));
        let q = _mm256_rcp_ps(denominator);
        // q ← q (2 − q d).
        _mm256_mul_ps(q, _mm256_fnmadd_ps(q, denominator, _mm256_set1_ps(2.0)))
    }
}

/// Eight lanes of which the first `count` are on, for masked loads and stores.
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    // SAFETY: register arithmetic only.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn dual_first_avx2(
    image: &[f32],
    below: &[f32],
    px: &mut [f32],
    py: &mut [f32],
    width: usize,
    step: DualStep,
) {
    // SAFETY: rows are framed, so `i + 8` and one float more stay inside for every vector start `i`.
    unsafe {
        let (tau, slope) = (_mm256_set1_ps(-step.tau), _mm256_set1_ps(step.slope));
        for i in (LEFT..LEFT + width).step_by(8) {
            let here = _mm256_loadu_ps(image.as_ptr().add(i));
            let gx = _mm256_sub_ps(_mm256_loadu_ps(image.as_ptr().add(i + 1)), here);
            let gy = _mm256_sub_ps(_mm256_loadu_ps(below.as_ptr().add(i)), here);
            let q = _mm256_mul_ps(tau, shrinkage(gx, gy, slope));
            _mm256_storeu_ps(px.as_mut_ptr().add(i), _mm256_mul_ps(gx, q));
            _mm256_storeu_ps(py.as_mut_ptr().add(i), _mm256_mul_ps(gy, q));
        }
    }
}

/// `image + div p` at vector start `i`.
#[inline(always)]
unsafe fn primal(image: &[f32], p: (&[f32], &[f32]), py_above: &[f32], i: usize) -> __m256 {
    // SAFETY: the caller's rows are framed and `i` starts a vector of the payload, so `i − 1 .. i + 8` is inside.
    unsafe {
        let x = _mm256_sub_ps(_mm256_loadu_ps(p.0.as_ptr().add(i - 1)), _mm256_loadu_ps(p.0.as_ptr().add(i)));
        let y =
            _mm256_sub_ps(_mm256_loadu_ps(py_above.as_ptr().add(i)), _mm256_loadu_ps(p.1.as_ptr().add(i)));
        _mm256_add_ps(_mm256_loadu_ps(image.as_ptr().add(i)), _mm256_add_ps(x, y))
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn dual_next_avx2(
    out: &mut [f32],
    image_next: &[f32],
    here: (&[f32], &[f32]),
    next: (&[f32], &[f32]),
    new: (&mut [f32], &mut [f32]),
    width: usize,
    step: DualStep,
) {
    // SAFETY: rows are framed; `out` is read at `i + 1 ..= i + 8` before vector `i` of it is overwritten.
    unsafe {
        let (tau, slope) = (_mm256_set1_ps(step.tau), _mm256_set1_ps(step.slope));
        for i in (LEFT..LEFT + width).step_by(8) {
            let out_next = primal(image_next, next, here.1, i);
            let out_here = _mm256_loadu_ps(out.as_ptr().add(i));
            let gx = _mm256_sub_ps(_mm256_loadu_ps(out.as_ptr().add(i + 1)), out_here);
            let gy = _mm256_sub_ps(out_next, out_here);
            _mm256_storeu_ps(out.as_mut_ptr().add(i), out_next);
            let q = shrinkage(gx, gy, slope);
            let px = _mm256_fnmadd_ps(tau, gx, _mm256_loadu_ps(here.0.as_ptr().add(i)));
            let py = _mm256_fnmadd_ps(tau, gy, _mm256_loadu_ps(here.1.as_ptr().add(i)));
            _mm256_storeu_ps(new.0.as_mut_ptr().add(i), _mm256_mul_ps(px, q));
            _mm256_storeu_ps(new.1.as_mut_ptr().add(i), _mm256_mul_ps(py, q));
        }
    }
    out[LEFT + width] = out[LEFT + width - 1];
}

#[target_feature(enable = "avx2,fma")]
unsafe fn dual_last_avx2(
    out: &[f32],
    here: (&[f32], &[f32]),
    new: (&mut [f32], &mut [f32]),
    width: usize,
    step: DualStep,
) {
    // SAFETY: rows are framed.
    unsafe {
        let (tau, slope) = (_mm256_set1_ps(step.tau), _mm256_set1_ps(step.slope));
        for i in (LEFT..LEFT + width).step_by(8) {
            let gx =
                _mm256_sub_ps(_mm256_loadu_ps(out.as_ptr().add(i + 1)), _mm256_loadu_ps(out.as_ptr().add(i)));
            let q = shrinkage(gx, _mm256_setzero_ps(), slope);
            let px = _mm256_fnmadd_ps(tau, gx, _mm256_loadu_ps(here.0.as_ptr().add(i)));
            _mm256_storeu_ps(new.0.as_mut_ptr().add(i), _mm256_mul_ps(px, q));
            let py = _mm256_loadu_ps(here.1.as_ptr().add(i));
            _mm256_storeu_ps(new.1.as_mut_ptr().add(i), _mm256_mul_ps(py, q));
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn divergence_avx2(
    out: &mut [f32],
    image: &[f32],
    p: (&[f32], &[f32]),
    py_above: &[f32],
    width: usize,
) {
    // SAFETY: rows are framed.
    unsafe {
        for i in (LEFT..LEFT + width).step_by(8) {
            _mm256_storeu_ps(out.as_mut_ptr().add(i), primal(image, p, py_above, i));
        }
    }
    out[LEFT + width] = out[LEFT + width - 1];
}

#[target_feature(enable = "avx2,fma")]
unsafe fn finish_avx2(target: &mut [f32], image: &[f32], p: (&[f32], &[f32]), py_above: &[f32]) -> [f32; 2] {
    let width = target.len();
    // SAFETY: all rows but `target` are framed; `target` is touched in whole vectors below `width`, then masked.
    unsafe {
        let (mut change, mut energy) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        for w in (0..width).step_by(8) {
            let lanes = first_lanes(width - w);
            let new = primal(image, p, py_above, LEFT + w);
            let new = _mm256_and_ps(new, _mm256_castsi256_ps(lanes));
            let at = target.as_mut_ptr().add(w);
            let moved = _mm256_sub_ps(new, _mm256_maskload_ps(at, lanes));
            change = _mm256_fmadd_ps(moved, moved, change);
            energy = _mm256_fmadd_ps(new, new, energy);
            if width - w >= 8 {
                _mm256_storeu_ps(at, new);
            } else {
                _mm256_maskstore_ps(at, lanes, new);
            }
        }
        let sum = |v: __m256| {
            let mut lanes = [0.0f32; 8];
            _mm256_storeu_ps(lanes.as_mut_ptr(), v);
            lanes.iter().sum()
        };
        [sum(change), sum(energy)]
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn lift_avx2(out: &mut [f32], x: &[f32], mask: &[f32], u: &[f32]) {
    let width = out.len();
    let whole = width & !7;
    // SAFETY: every row is at least as long as `out`; the last, partial vector is masked.
    unsafe {
        for w in (0..whole).step_by(8) {
            let sum = _mm256_fmadd_ps(
                _mm256_loadu_ps(mask.as_ptr().add(w)),
                _mm256_loadu_ps(u.as_ptr().add(w)),
                _mm256_loadu_ps(x.as_ptr().add(w)),
            );
            _mm256_storeu_ps(out.as_mut_ptr().add(w), sum);
        }
        if whole < width {
            let lanes = first_lanes(width - whole);
            let sum = _mm256_fmadd_ps(
                _mm256_maskload_ps(mask.as_ptr().add(whole), lanes),
                _mm256_maskload_ps(u.as_ptr().add(whole), lanes),
                _mm256_maskload_ps(x.as_ptr().add(whole), lanes),
            );
            _mm256_maskstore_ps(out.as_mut_ptr().add(whole), lanes, sum);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn accumulate_avx2(y: &mut [f32], mask: &[f32], x: &[f32]) {
    let width = x.len();
    let whole = width & !7;
    // SAFETY: every row is at least as long as `x`; the last, partial vector is masked.
    unsafe {
        for w in (0..whole).step_by(8) {
            let sum = _mm256_fmadd_ps(
                _mm256_loadu_ps(mask.as_ptr().add(w)),
                _mm256_loadu_ps(x.as_ptr().add(w)),
                _mm256_loadu_ps(y.as_ptr().add(w)),
            );
            _mm256_storeu_ps(y.as_mut_ptr().add(w), sum);
        }
        if whole < width {
            let lanes = first_lanes(width - whole);
            let sum = _mm256_fmadd_ps(
                _mm256_maskload_ps(mask.as_ptr().add(whole), lanes),
                _mm256_maskload_ps(x.as_ptr().add(whole), lanes),
                _mm256_maskload_ps(y.as_ptr().add(whole), lanes),
            );
            _mm256_maskstore_ps(y.as_mut_ptr().add(whole), lanes, sum);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn combine_avx2(out: &mut [f32], coefficients: &[f32], rows: &[f32], stride: usize) {
    let width = out.len();
    let blocks = width & !31;
    // SAFETY: row `j` of `rows` starts at `j · stride` and has `width` floats, by the assertion of the entry; the
    // last, partial vector is masked.
    unsafe {
        for w in (0..blocks).step_by(32) {
            let mut sums = [_mm256_setzero_ps(); 4];
            for (j, coefficient) in coefficients.iter().enumerate() {
                let (coefficient, at) = (_mm256_broadcast_ss(coefficient), rows.as_ptr().add(j * stride + w));
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_fmadd_ps(coefficient, _mm256_loadu_ps(at.add(8 * v)), *sum);
                }
            }
            for (v, sum) in sums.into_iter().enumerate() {
                _mm256_storeu_ps(out.as_mut_ptr().add(w + 8 * v), sum);
            }
        }
        for w in (blocks..width).step_by(8) {
            let lanes = first_lanes(width - w);
            let mut sum = _mm256_setzero_ps();
            for (j, coefficient) in coefficients.iter().enumerate() {
                let row = _mm256_maskload_ps(rows.as_ptr().add(j * stride + w), lanes);
                sum = _mm256_fmadd_ps(_mm256_broadcast_ss(coefficient), row, sum);
            }
            _mm256_maskstore_ps(out.as_mut_ptr().add(w), lanes, sum);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn solve_avx2(factor: &[f32], band: usize, t: &mut [f32]) {
    let rows = t.len() / LANES;
    // SAFETY: `factor` holds `rows · band` vectors and `t` holds `rows`, by the assertion of the entry; `d` stays
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
