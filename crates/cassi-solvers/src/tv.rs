//! Total-variation denoising of one plane by Chambolle's dual iteration.
//!
//! `min_u ½ ‖u − f‖² + weight · TV(u)` with the isotropic TV of forward differences, by dual updates from `p = 0`
//! with τ = 1/4 (A. Chambolle, "An algorithm for total variation minimization and applications", 2004): an `inner`
//! of 5 computes the primal image five times and updates the dual four times in between, which is how the field's
//! reference code counts. How it runs through the caches: `crate::kernels::wavefront`.

use cassi_core::ShapeError;

use crate::kernels::{Plane, Wavefront, best};

/// Denoises a plane `[rows, columns]` in C order in place by `inner` steps; `weight` is in the unit of its values
/// and positive.
///
/// ```
/// let mut plane = vec![0.0, 0.0, 1.0, 1.0];
/// cassi_solvers::tv_denoise(&mut plane, [2, 2], 0.1, 50)?;
/// assert!((plane.iter().sum::<f32>() - 2.0).abs() < 1e-6); // the mean stays
/// assert!(plane[0] > 0.0 && plane[2] < 1.0); // the step shrinks
/// # Ok::<(), cassi_core::ShapeError>(())
/// ```
///
/// # Errors
/// If the plane has not `rows · columns` values, or has none.
///
/// # Panics
/// If `weight` is not positive or `inner` is 0.
pub fn tv_denoise(plane: &mut [f32], shape: [usize; 2], weight: f32, inner: usize) -> Result<(), ShapeError> {
    assert!(weight > 0.0 && inner > 0, "a positive weight and at least one step");
    if plane.is_empty() || plane.len() != shape[0] * shape[1] {
        return Err(ShapeError {
            what: "plane",
            found: vec![plane.len()],
            expected: format!("[{}, {}], not empty", shape[0], shape[1]),
            axes: "(row, column)",
        });
    }
    let fill = &mut |_: usize, old: &[f32], image: &mut [f32]| image.copy_from_slice(old);
    let mut front = Wavefront::new(shape[1], inner, false);
    (best().denoise)(&mut front, Plane { values: plane, dual: None, weight, fill });
    Ok(())
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;

    use super::*;
    use crate::kernels::available;

    fn noise(rows: usize, columns: usize) -> Vec<f32> {
        let mut stream = Stream::new(5, "plane", (rows * columns) as u64);
        (0..rows * columns).map(|_| stream.uniform() as f32).collect()
    }

    /// The iteration as it is written down, plane by plane in f64.
    fn reference(f: &[f32], [rows, columns]: [usize; 2], weight: f64, inner: usize) -> Vec<f64> {
        let at = |r: usize, c: usize| r * columns + c;
        let mut p = vec![[0.0f64; 2]; f.len()];
        let mut out = vec![0.0; f.len()];
        for step in 0..inner {
            for r in 0..rows {
                for c in 0..columns {
                    let [x, y] = p[at(r, c)];
                    let left = if c > 0 { p[at(r, c - 1)][0] } else { 0.0 };
                    let above = if r > 0 { p[at(r - 1, c)][1] } else { 0.0 };
                    out[at(r, c)] = f64::from(f[at(r, c)]) + left - x + above - y;
                }
            }
            if step + 1 == inner {
                break;
            }
            for r in 0..rows {
                for c in 0..columns {
                    let gx = if c + 1 < columns { out[at(r, c + 1)] - out[at(r, c)] } else { 0.0 };
                    let gy = if r + 1 < rows { out[at(r + 1, c)] - out[at(r, c)] } else { 0.0 };
                    let shrink = 1.0 + 0.25 / weight * gx.hypot(gy);
                    let [x, y] = &mut p[at(r, c)];
                    (*x, *y) = ((*x - 0.25 * gx) / shrink, (*y - 0.25 * gy) / shrink);
                }
            }
        }
        out
    }

    #[test]
    fn every_kernel_equals_the_written_iteration() {
        for kernel in available() {
            for (rows, columns) in [(1, 1), (1, 9), (9, 1), (2, 2), (3, 17), (20, 16), (33, 40)] {
                for inner in [1, 2, 3, 5, 12] {
                    let plane = noise(rows, columns);
                    let mut found = plane.clone();
                    let fill = &mut |_: usize, old: &[f32], image: &mut [f32]| image.copy_from_slice(old);
                    let mut front = Wavefront::new(columns, inner, false);
                    let task = Plane { values: &mut found, dual: None, weight: 0.3, fill };
                    let [change, energy] = (kernel.denoise)(&mut front, task);
                    let expected = reference(&plane, [rows, columns], 0.3, inner);
                    // Rounding of f32 (6e-8) and of the approximate reciprocals (3e-7), over up to 11 updates.
                    for (f, e) in found.iter().zip(&expected) {
                        assert!((f64::from(*f) - e).abs() < 5e-6, "{} {rows}x{columns} {inner}", kernel.name);
                    }
                    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                        expected.iter().zip(&plane).map(|(&e, &p)| f(e, f64::from(p))).sum()
                    };
                    assert!((change - sum(&|e, p| (e - p) * (e - p))).abs() < 1e-4 * (1.0 + change));
                    assert!((energy - sum(&|e, _| e * e)).abs() < 1e-4 * (1.0 + energy));
                }
            }
        }
    }

    #[test]
    fn a_kept_dual_goes_on_where_it_stopped() {
        // Denoising one image three times with a kept dual is denoising it once with as many updates.
        for (rows, columns) in [(1, 1), (5, 9), (20, 16)] {
            let image = noise(rows, columns);
            let fill = &mut |row: usize, _: &[f32], out: &mut [f32]| {
                out.copy_from_slice(&image[row * columns..][..columns]);
            };
            let mut dual = vec![0.0; 2 * image.len()];
            let mut front = Wavefront::new(columns, 3, true);
            let mut found = vec![0.0; image.len()];
            for _ in 0..3 {
                let task = Plane { values: &mut found, dual: Some(&mut dual), weight: 0.3, fill };
                (best().denoise)(&mut front, task);
            }
            // Two updates a visit: six in all, which a cold start makes in seven steps.
            let expected = reference(&image, [rows, columns], 0.3, 7);
            for (f, e) in found.iter().zip(&expected) {
                assert!((f64::from(*f) - e).abs() < 5e-6, "{rows}x{columns}"); // rounding, as above
            }
        }
    }

    #[test]
    fn a_constant_stays_and_the_mean_is_kept() {
        let mut constant = vec![0.7; 12 * 19];
        tv_denoise(&mut constant, [12, 19], 0.2, 6).unwrap();
        assert!(constant.iter().all(|&v| v == 0.7));
        let plane = noise(31, 26);
        let mut denoised = plane.clone();
        tv_denoise(&mut denoised, [31, 26], 0.2, 20).unwrap();
        let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
        // The divergence telescopes; what remains is rounding.
        assert!((mean(&plane) - mean(&denoised)).abs() < 1e-6);
    }

    #[test]
    fn a_two_pixel_step_has_its_closed_form() {
        // min ½ (a² + (b − 1)²) + w |b − a| has a = w, b = 1 − w for w < ½, and the mean for larger weights.
        for (weight, expected) in [(0.2f32, 0.2), (0.8, 0.5)] {
            let mut plane = vec![0.0, 1.0];
            tv_denoise(&mut plane, [1, 2], weight, 400).unwrap();
            // Chambolle's iteration converges slowly near the bound of the dual: 400 steps reach 1e-3.
            assert!((plane[0] - expected).abs() < 1e-3, "{plane:?}");
        }
    }

    #[test]
    fn the_objective_falls() {
        let plane = noise(24, 24);
        let objective = |u: &[f32]| {
            let mut total = 0.0f64;
            for r in 0..24 {
                for c in 0..24 {
                    let v = f64::from(u[r * 24 + c]);
                    let gx = if c < 23 { f64::from(u[r * 24 + c + 1]) - v } else { 0.0 };
                    let gy = if r < 23 { f64::from(u[(r + 1) * 24 + c]) - v } else { 0.0 };
                    total += 0.3 * gx.hypot(gy) + 0.5 * (v - f64::from(plane[r * 24 + c])).powi(2);
                }
            }
            total
        };
        let mut before = objective(&plane);
        for inner in [2, 4, 8, 16, 32, 64] {
            let mut u = plane.clone();
            tv_denoise(&mut u, [24, 24], 0.3, inner).unwrap();
            let after = objective(&u);
            assert!(after < before, "{inner}: {after} after {before}");
            before = after;
        }
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(tv_denoise(&mut [0.0; 5], [2, 3], 0.1, 5).is_err());
        assert!(tv_denoise(&mut [], [0, 3], 0.1, 5).is_err());
    }
}
