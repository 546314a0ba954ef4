//! Row kernels of the solvers: total variation, mask-and-shear, spectral combinations, banded solves.
//!
//! `portable` is the specification, written so that the compiler can vectorise it for the baseline CPU; the others
//! do the same with wider registers, chosen once at run time by [`best`]. Rows of the TV pipeline are *framed*: the
//! payload starts at [`LEFT`], `framed_len(width)` floats in all, so that whole vectors may be read at `w − 1` and
//! `w + 1` without a special case. Frames left of the payload stay zero; those right of it hold finite scratch.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

use std::sync::OnceLock;

/// Floats before the payload of a framed row.
pub(crate) const LEFT: usize = 8;
/// Rows that one banded solve works on side by side.
pub(crate) const LANES: usize = 8;

/// Length of a framed row of `width` values: the payload rounded up to whole vectors, one vector before it and one
/// after it.
pub(crate) fn framed_len(width: usize) -> usize {
    LEFT + width.next_multiple_of(8) + 8
}

/// The step of one dual update: `p ← (p − τ g) / (1 + slope |g|)`, `slope = τ / weight`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DualStep {
    /// τ, 1/4 in two dimensions.
    pub tau: f32,
    /// τ over the TV weight.
    pub slope: f32,
}

/// One implementation of every kernel. All rows named `framed` below must have [`framed_len`] floats.
pub(crate) struct Kernel {
    /// Instruction set, as `CASSI_REQUIRE_ISA` names it.
    pub name: &'static str,
    /// Whether this CPU has it.
    pub available: fn() -> bool,
    /// `(image, below, px, py, width, step)`, framed: the first dual update of a row, from `p = 0`.
    pub dual_first: fn(&[f32], &[f32], &mut [f32], &mut [f32], usize, DualStep),
    /// `(out, image_next, here, next, new, width, step)`, framed: with `out` the primal row `r`, overwrites it by
    /// row `r + 1`, `image_next + div p`, and writes the updated duals `new = (px, py)` of row `r`; `here` and `next`
    /// are `(px, py)` of rows `r` and `r + 1`.
    pub dual_next:
        fn(&mut [f32], &[f32], (&[f32], &[f32]), (&[f32], &[f32]), (&mut [f32], &mut [f32]), usize, DualStep),
    /// `(out, here, new, width, step)`, framed: the dual update of the last row, which has no row below.
    pub dual_last: fn(&[f32], (&[f32], &[f32]), (&mut [f32], &mut [f32]), usize, DualStep),
    /// `(out, image, p, py_above, width)`, framed: `out = image + div p`.
    pub divergence: fn(&mut [f32], &[f32], (&[f32], &[f32]), &[f32], usize),
    /// `(target, image, p, py_above)`: `target = image + div p` for a plain row of its own length, the others
    /// framed; returns `Σ (new − old)²` and `Σ new²`.
    pub finish: fn(&mut [f32], &[f32], (&[f32], &[f32]), &[f32]) -> [f32; 2],
    /// `(out, x, mask, u)`: `out = x + mask · u` over the length of `out`, all plain.
    pub lift: fn(&mut [f32], &[f32], &[f32], &[f32]),
    /// `(y, mask, x)`: `y += mask · x` over the length of `x`, all plain.
    pub accumulate: fn(&mut [f32], &[f32], &[f32]),
    /// `(out, coefficients, rows, stride)`: `out[w] = Σ_j coefficients[j] · rows[j · stride + w]`.
    pub combine: fn(&mut [f32], &[f32], &[f32], usize),
    /// `(factor, band, t)`: solves `L Lᵀ x = t` in place for [`LANES`] systems side by side; `t [n, LANES]`,
    /// `factor [n, band, LANES]` with `factor[i, d] = L[i, i − d]`, and the reciprocal of `L[i, i]` at `d = 0`.
    pub solve: fn(&[f32], usize, &mut [f32]),
}

/// Best first.
#[cfg(target_arch = "x86_64")]
pub(crate) static KERNELS: &[Kernel] = &[avx2::KERNEL, portable::KERNEL];
/// Best first.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) static KERNELS: &[Kernel] = &[portable::KERNEL];

/// The best kernel that this CPU can run.
pub(crate) fn best() -> &'static Kernel {
    static BEST: OnceLock<&'static Kernel> = OnceLock::new();
    BEST.get_or_init(|| {
        KERNELS.iter().find(|k| (k.available)()).expect("the portable kernel runs everywhere")
    })
}

/// Name of the instruction set that the solvers' kernels use on this CPU: `avx2` or `portable`.
pub fn kernel_name() -> &'static str {
    best().name
}

/// Checks that every slice is a framed row of this width: what makes unchecked vector access sound.
#[cfg(target_arch = "x86_64")]
fn assert_framed(width: usize, rows: &[&[f32]]) {
    let length = framed_len(width);
    assert!(rows.iter().all(|row| row.len() == length), "rows framed for {width} values");
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;

    use super::*;

    const STEP: DualStep = DualStep { tau: 0.25, slope: 1.7 };

    fn draw(name: &str, n: usize) -> Vec<f32> {
        let mut stream = Stream::new(11, name, n as u64);
        (0..n).map(|_| stream.uniform_in(-1.0, 1.0) as f32).collect()
    }

    /// A framed row with a zero frame on the left and the last value repeated on the right, as the pipeline keeps it.
    fn framed(name: &str, width: usize) -> Vec<f32> {
        let mut row = draw(name, framed_len(width));
        row[..LEFT].fill(0.0);
        row[LEFT + width] = row[LEFT + width - 1];
        row
    }

    fn assert_close(name: &str, what: &str, width: usize, found: &[f32], expected: &[f32]) {
        // Values are of order 1; the approximate reciprocals with one Newton step are good to 3e-7, sums of up to 40
        // terms in another order to a few ulps of the sum of magnitudes.
        for (i, (f, e)) in found.iter().zip(expected).enumerate() {
            assert!(
                (f - e).abs() <= 4e-6 * (1.0 + e.abs()),
                "{name}: {what}, width {width}, [{i}]: {f} for {e}"
            );
        }
    }

    fn run_all(k: &Kernel, width: usize) -> Vec<(&'static str, Vec<f32>)> {
        let payload = |row: &[f32]| row[LEFT..LEFT + width].to_vec();
        let (image, below) = (framed("image", width), framed("below", width));
        let (px, py) = (framed("px", width), framed("py", width));
        let (qx, qy) = (framed("qx", width), framed("qy", width));
        let mut results = Vec::new();
        let fresh = || vec![0.0; framed_len(width)];

        let (mut nx, mut ny) = (fresh(), fresh());
        (k.dual_first)(&image, &below, &mut nx, &mut ny, width, STEP);
        results.extend([("dual_first x", payload(&nx)), ("dual_first y", payload(&ny))]);

        let mut out = image.clone();
        (k.dual_next)(&mut out, &below, (&px, &py), (&qx, &qy), (&mut nx, &mut ny), width, STEP);
        results.extend([
            ("dual_next", payload(&out)),
            ("dual_next x", payload(&nx)),
            ("dual_next y", payload(&ny)),
        ]);
        (k.dual_last)(&image, (&px, &py), (&mut nx, &mut ny), width, STEP);
        results.extend([("dual_last x", payload(&nx)), ("dual_last y", payload(&ny))]);
        (k.divergence)(&mut out, &image, (&px, &py), &qy, width);
        results.push(("divergence", payload(&out)));

        let mut target = draw("target", width);
        let sums = (k.finish)(&mut target, &image, (&px, &py), &qy);
        results.extend([("finish", target), ("finish sums", sums.to_vec())]);

        let (mask, u) = (draw("mask", width), draw("u", width));
        let mut row = vec![0.0; width];
        (k.lift)(&mut row, &image[..width], &mask, &u);
        results.push(("lift", row.clone()));
        (k.accumulate)(&mut row, &mask, &u);
        results.push(("accumulate", row.clone()));
        for (terms, stride) in [(1, 3), (28, 2), (12, width)] {
            let rows = draw("rows", (terms - 1) * stride + width);
            (k.combine)(&mut row, &draw("coefficients", terms), &rows, stride);
            results.push(("combine", row.clone()));
        }
        results
    }

    #[test]
    fn every_kernel_equals_portable() {
        for k in KERNELS {
            if !(k.available)() {
                assert_ne!(std::env::var("CASSI_REQUIRE_ISA").as_deref(), Ok(k.name), "no {} here", k.name);
                continue;
            }
            for width in [1, 2, 7, 8, 9, 15, 16, 17, 31, 40, 64, 255, 256, 257, 660] {
                for ((what, found), (_, expected)) in
                    run_all(k, width).iter().zip(&run_all(&portable::KERNEL, width))
                {
                    // The two sums run over the row: compare them relative to its length.
                    let scale = if *what == "finish sums" { 1.0 / width as f32 } else { 1.0 };
                    let scaled = |v: &[f32]| v.iter().map(|v| v * scale).collect::<Vec<_>>();
                    assert_close(k.name, what, width, &scaled(found), &scaled(expected));
                }
            }
            for (n, band) in [(1, 1), (5, 3), (30, 28), (155, 28)] {
                let mut factor: Vec<f32> = draw("factor", n * band * LANES).iter().map(|v| 0.1 * v).collect();
                factor.chunks_mut(band * LANES).for_each(|row| row[..LANES].fill(0.8));
                let t = draw("t", n * LANES);
                let (mut found, mut expected) = (t.clone(), t);
                (k.solve)(&factor, band, &mut found);
                (portable::KERNEL.solve)(&factor, band, &mut expected);
                assert_close(k.name, "solve", n, &found, &expected);
            }
        }
    }

    #[test]
    fn the_portable_dual_update_is_chambolles() {
        // Two columns: image 1, 3 with 2, 3 below; g = (2, 1) and (0, 0).
        let row = |a: f32, b: f32| {
            let mut row = vec![0.0; framed_len(2)];
            row[LEFT..LEFT + 3].copy_from_slice(&[a, b, b]);
            row
        };
        let (mut px, mut py) = (row(0.0, 0.0), row(0.0, 0.0));
        (portable::KERNEL.dual_first)(&row(1.0, 3.0), &row(2.0, 3.0), &mut px, &mut py, 2, STEP);
        let shrink = 1.0 + 1.7 * 5f32.sqrt();
        assert_eq!(px[LEFT..LEFT + 2], [-0.5 / shrink, 0.0]);
        assert_eq!(py[LEFT..LEFT + 2], [-0.25 / shrink, 0.0]);
        // div p at column 1 is p_x[0] − p_x[1] plus the same along columns.
        let mut out = row(0.0, 0.0);
        (portable::KERNEL.divergence)(&mut out, &row(1.0, 3.0), (&px, &py), &row(0.5, 0.0), 2);
        assert_eq!(out[LEFT..LEFT + 2], [1.0 - px[LEFT] + 0.5 - py[LEFT], 3.0 + px[LEFT]]);
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
