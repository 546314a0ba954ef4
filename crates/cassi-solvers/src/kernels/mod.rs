//! Kernels of the solvers, in several instruction sets behind one list: total variation of a plane, mask-and-shear,
//! spectral combinations, banded solves.
//!
//! The loops are written once, over the vectors of `lanes`: `wavefront` for total variation, `rows` for the rest.
//! Each instruction set brings its vectors and compiles the loops with its features; the best one that the CPU has is
//! chosen once at run time by [`best`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod portable;
mod rows;
mod wavefront;

use std::sync::OnceLock;

pub(crate) use wavefront::{Plane, Wavefront};

/// Rows that one banded solve works on side by side.
pub(crate) const LANES: usize = 8;

/// One implementation of every kernel.
pub(crate) struct Kernel {
    /// Instruction set, as `CASSI_REQUIRE_ISA` names it.
    pub name: &'static str,
    /// Whether this CPU has it.
    pub available: fn() -> bool,
    /// Overwrites a plane by its denoised successor; returns `Σ (new − old)²` and `Σ new²`.
    pub denoise: fn(&mut Wavefront, Plane<'_>) -> [f64; 2],
    /// `(out, x, mask, u)`: `out = x + mask · u` over the length of `out`.
    pub lift: fn(&mut [f32], &[f32], &[f32], &[f32]),
    /// `(y, mask, x)`: `y += mask · x` over the length of `x`.
    pub accumulate: fn(&mut [f32], &[f32], &[f32]),
    /// `(out, coefficients, rows, stride)`: `out[w] = Σ_j coefficients[j] · rows[j · stride + w]`.
    pub combine: fn(&mut [f32], &[f32], &[f32], usize),
    /// `(factor, band, t)`: solves `L Lᵀ x = t` in place for [`LANES`] systems side by side; `t [n, LANES]`,
    /// `factor [n, band, LANES]` with `factor[i, d] = L[i, i − d]`, and the reciprocal of `L[i, i]` at `d = 0`.
    pub solve: fn(&[f32], usize, &mut [f32]),
}

/// Defines the `KERNEL` of a vector type, of which dual updates take so many side by side: the shared loops, compiled
/// with its target features, and what it brings of its own.
macro_rules! table {
    ($lanes:ty, $together:literal, $($features:literal,)? { $($own:tt)* }) => {
        pub(super) const KERNEL: Kernel = Kernel {
            denoise: |front, plane| {
                $(#[target_feature(enable = $features)])?
                unsafe fn inner(
                    front: &mut super::Wavefront,
                    plane: super::Plane<'_>,
                ) -> [f64; 2] {
                    // SAFETY: compiled for the instruction set of the vectors.
                    unsafe { super::wavefront::sweep::<$lanes, $together>(front, plane) }
                }
                // SAFETY: `best` and the tests use a table only after `available` found its instruction set.
                unsafe { inner(front, plane) }
            },
            lift: |out, x, mask, u| {
                $(#[target_feature(enable = $features)])?
                unsafe fn inner(out: &mut [f32], x: &[f32], mask: &[f32], u: &[f32]) {
                    // SAFETY: as above.
                    unsafe { super::rows::lift::<$lanes>(out, x, mask, u) }
                }
                // SAFETY: as above.
                unsafe { inner(out, x, mask, u) }
            },
            accumulate: |y, mask, x| {
                $(#[target_feature(enable = $features)])?
                unsafe fn inner(y: &mut [f32], mask: &[f32], x: &[f32]) {
                    // SAFETY: as above.
                    unsafe { super::rows::accumulate::<$lanes>(y, mask, x) }
                }
                // SAFETY: as above.
                unsafe { inner(y, mask, x) }
            },
            combine: |out, coefficients, rows, stride| {
                $(#[target_feature(enable = $features)])?
                unsafe fn inner(out: &mut [f32], coefficients: &[f32], rows: &[f32], stride: usize) {
                    // SAFETY: as above.
                    unsafe { super::rows::combine::<$lanes>(out, coefficients, rows, stride) }
                }
                // SAFETY: as above.
                unsafe { inner(out, coefficients, rows, stride) }
            },
            $($own)*
        };
    };
}
use table;

/// Best first.
pub(crate) static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    portable::KERNEL,
];

/// The best kernel that this CPU can run.
pub(crate) fn best() -> &'static Kernel {
    static BEST: OnceLock<&'static Kernel> = OnceLock::new();
    BEST.get_or_init(|| {
        KERNELS.iter().find(|k| (k.available)()).expect("the portable kernel runs everywhere")
    })
}

/// Name of the instruction set that the solvers' kernels use on this CPU: `avx512`, `avx2` or `portable`.
pub fn kernel_name() -> &'static str {
    best().name
}

/// Every kernel that this CPU has, for tests; one that `CASSI_REQUIRE_ISA` names and this CPU has not is a failure.
#[cfg(test)]
pub(crate) fn available() -> Vec<&'static Kernel> {
    let required = std::env::var("CASSI_REQUIRE_ISA").unwrap_or_default();
    let (found, missing): (Vec<_>, Vec<_>) = KERNELS.iter().partition(|k| (k.available)());
    assert!(missing.iter().all(|k| k.name != required), "this CPU lacks {required}");
    found
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;

    use super::*;

    fn draw(name: &str, n: usize) -> Vec<f32> {
        let mut stream = Stream::new(11, name, n as u64);
        (0..n).map(|_| stream.uniform_in(-1.0, 1.0) as f32).collect()
    }

    const WIDTHS: [usize; 16] = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257, 660];

    #[test]
    fn rows_are_what_they_say() {
        for k in available() {
            for width in WIDTHS {
                let (x, mask, u) = (draw("x", width), draw("mask", width), draw("u", width));
                let assert = |what: &str, found: &[f32], expected: &dyn Fn(usize) -> f64, bound: f64| {
                    for (i, f) in found.iter().enumerate() {
                        let gap = (f64::from(*f) - expected(i)).abs();
                        assert!(gap <= bound, "{}: {what}, width {width}, [{i}]", k.name);
                    }
                };
                let of = |v: &[f32], i: usize| f64::from(v[i]);
                // Two roundings of values below 2.
                let mut out = vec![f32::NAN; width];
                (k.lift)(&mut out, &x, &mask, &u);
                assert("lift", &out, &|i| of(&x, i) + of(&mask, i) * of(&u, i), 3e-7);
                // Longer operands than the row are fine, and what lies behind it is not touched.
                let mut y = [&x[..], &[7.0; 20]].concat();
                (k.accumulate)(&mut y, &[&mask[..], &[9.0; 20]].concat(), &u);
                assert("accumulate", &y[..width], &|i| of(&x, i) + of(&mask, i) * of(&u, i), 3e-7);
                assert_eq!(y[width..], [7.0; 20]);
                for (terms, stride) in [(1, 3), (28, 2), (12, width)] {
                    let (c, rows) = (draw("coefficients", terms), draw("rows", (terms - 1) * stride + width));
                    (k.combine)(&mut out, &c, &rows, stride);
                    let sum = |i| (0..terms).map(|j| of(&c, j) * of(&rows, j * stride + i)).sum::<f64>();
                    // Up to 28 terms below 1: as many roundings of sums that stay below 10.
                    assert("combine", &out, &sum, 28.0 * 6e-7);
                }
            }
        }
    }

    #[test]
    fn every_solve_equals_portable() {
        for k in available() {
            for (n, band) in [(1, 1), (5, 3), (30, 28), (155, 28)] {
                let mut factor: Vec<f32> = draw("factor", n * band * LANES).iter().map(|v| 0.1 * v).collect();
                factor.chunks_mut(band * LANES).for_each(|row| row[..LANES].fill(0.8));
                let t = draw("t", n * LANES);
                let (mut found, mut expected) = (t.clone(), t);
                (k.solve)(&factor, band, &mut found);
                (portable::KERNEL.solve)(&factor, band, &mut expected);
                for (f, e) in found.iter().zip(&expected) {
                    // Values are of order 1; sums of up to 28 terms in another order.
                    assert!((f - e).abs() <= 4e-6 * (1.0 + e.abs()), "{}, {n}: {f} for {e}", k.name);
                }
            }
        }
    }

    #[test]
    fn the_portable_solve_inverts_a_known_system() {
        // L = [[2, 0], [1, 1]]: L Lᵀ = [[4, 2], [2, 2]]; x = (1, 2) gives t = (8, 6).
        let lanes = |v: f32| [v; LANES];
        let factor = [lanes(0.5), lanes(0.0), lanes(1.0), lanes(1.0)].concat();
        let mut t = [lanes(8.0), lanes(6.0)].concat();
        (portable::KERNEL.solve)(&factor, 2, &mut t);
        assert_eq!(t, [lanes(1.0), lanes(2.0)].concat());
    }
}
