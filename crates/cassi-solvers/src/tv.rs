//! Total-variation denoising of one plane by Chambolle's dual iteration, as a wavefront through the cache.
//!
//! `min_u ½ ‖u − f‖² + weight · TV(u)` with the isotropic TV of forward differences, by dual updates from `p = 0`
//! with τ = 1/4 (A. Chambolle, "An algorithm for total variation minimization and applications", 2004): an `inner`
//! of 5 computes the primal image five times and updates the dual four times in between, which is how the field's
//! reference code counts. Instead of sweeping the plane once per update, every update follows the one before it by
//! one row, so a plane streams once through rows that stay in the first-level cache.

use cassi_core::ShapeError;

use crate::kernels::{DualStep, Kernel, LEFT, best, framed_len};

/// Eight floats, aligned for vector access.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(32))]
struct Vector([f32; 8]);

/// A framed, aligned row.
#[derive(Clone, Default)]
struct Row(Vec<Vector>);

impl Row {
    fn zeros(width: usize) -> Self {
        Self(vec![Vector([0.0; 8]); framed_len(width) / 8])
    }

    fn get(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    fn get_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// One dual update: its last two rows of `p`, and the primal row it was computed from.
#[derive(Default)]
struct Stage {
    px: [Row; 2],
    py: [Row; 2],
    out: Row,
}

/// The rows in flight of one plane `[row, column]`; made once per thread and used for plane after plane.
pub(crate) struct Wavefront {
    width: usize,
    /// The last rows of the image: one more than there are dual updates.
    image: Vec<Row>,
    stages: Vec<Stage>,
    zero: Row,
}

impl Wavefront {
    /// For planes of `width` columns and `inner` primal steps (`inner − 1` dual updates), from `p = 0` or, where
    /// `kept`, from the dual of the last visit.
    pub(crate) fn new(width: usize, inner: usize, kept: bool) -> Self {
        let row = || Row::zeros(width);
        let stage = || Stage { px: [row(), row()], py: [row(), row()], out: row() };
        let stages: Vec<Stage> = (1..inner + usize::from(kept)).map(|_| stage()).collect();
        Self { width, image: vec![row(); stages.len() + 1], stages, zero: row() }
    }

    /// Overwrites `plane` by its denoised successor. `fill(row, old, image)` writes row `row` of the image to be
    /// denoised, given that row of the plane as it was; `dual [2, row, column]` is where the dual is kept from visit
    /// to visit, if it is. Returns `Σ (new − old)²` and `Σ new²`.
    pub(crate) fn run(
        &mut self,
        kernel: &Kernel,
        plane: &mut [f32],
        dual: Option<&mut [f32]>,
        weight: f32,
        mut fill: impl FnMut(usize, &[f32], &mut [f32]),
    ) -> [f64; 2] {
        let (width, rows) = (self.width, plane.len() / self.width);
        let step = DualStep { tau: 0.25, slope: 0.25 / weight };
        let mut pass = Pass { front: self, kernel, plane, dual, rows, step, sums: [0.0; 2] };
        for row in 0..rows {
            let slot = row % pass.front.image.len();
            let image = pass.front.image[slot].get_mut();
            fill(row, &pass.plane[row * width..][..width], &mut image[LEFT..LEFT + width]);
            image[LEFT + width] = image[LEFT + width - 1];
            pass.image_ready(row);
        }
        pass.sums
    }
}

/// One plane on its way through a wavefront.
struct Pass<'a> {
    front: &'a mut Wavefront,
    kernel: &'a Kernel,
    plane: &'a mut [f32],
    dual: Option<&'a mut [f32]>,
    rows: usize,
    step: DualStep,
    sums: [f64; 2],
}

impl Pass<'_> {
    /// Row `row` of the image is there: the first dual update can do the row above it, and the last row itself.
    fn image_ready(&mut self, row: usize) {
        if self.front.stages.is_empty() {
            let width = self.front.width;
            let image = self.front.image[row % self.front.image.len()].get();
            let target = &mut self.plane[row * width..][..width];
            for (target, &new) in target.iter_mut().zip(&image[LEFT..]) {
                self.sums[0] += f64::from((new - *target) * (new - *target));
                self.sums[1] += f64::from(new * new);
                *target = new;
            }
            return;
        }
        if let Some(dual) = &self.dual {
            let (width, stage) = (self.front.width, &mut self.front.stages[0]);
            let (x, y) = dual.split_at(self.rows * width);
            let payload = LEFT..LEFT + width;
            stage.px[row % 2].get_mut()[payload.clone()].copy_from_slice(&x[row * width..][..width]);
            stage.py[row % 2].get_mut()[payload].copy_from_slice(&y[row * width..][..width]);
            self.dual_ready(0, row);
            return;
        }
        if row > 0 {
            self.first_dual(row - 1, row);
        }
        if row + 1 == self.rows {
            self.first_dual(row, row);
        }
    }

    fn first_dual(&mut self, row: usize, below: usize) {
        let Wavefront { image, stages, width, .. } = &mut *self.front;
        let (image, below) = (image[row % image.len()].get(), image[below % image.len()].get());
        let stage = &mut stages[0];
        let (px, py) = (stage.px[row % 2].get_mut(), stage.py[row % 2].get_mut());
        (self.kernel.dual_first)(image, below, px, py, *width, self.step);
        self.dual_ready(0, row);
    }

    /// Row `row` of the dual after update `stage` is there: the next primal row follows, and with it the next dual
    /// row above it.
    fn dual_ready(&mut self, stage: usize, row: usize) {
        let (here, above) = (row % 2, (row + 1) % 2);
        let Wavefront { image, stages, width, zero } = &mut *self.front;
        let image = image[row % image.len()].get();
        let (done, todo) = stages.split_at_mut(stage + 1);
        let p = &done[stage];
        let next = (p.px[here].get(), p.py[here].get());
        let py_above = if row > 0 { p.py[above].get() } else { zero.get() };
        let Some(new) = todo.first_mut() else {
            let target = &mut self.plane[row * *width..][..*width];
            let [change, energy] = (self.kernel.finish)(target, image, next, py_above);
            self.sums[0] += f64::from(change);
            self.sums[1] += f64::from(energy);
            if let Some(dual) = &mut self.dual {
                let (x, y) = dual.split_at_mut(self.rows * *width);
                x[row * *width..][..*width].copy_from_slice(&next.0[LEFT..LEFT + *width]);
                y[row * *width..][..*width].copy_from_slice(&next.1[LEFT..LEFT + *width]);
            }
            return;
        };
        let out = new.out.get_mut();
        if row == 0 {
            (self.kernel.divergence)(out, image, next, py_above, *width);
        } else {
            let before = (p.px[above].get(), py_above);
            let written = (new.px[above].get_mut(), new.py[above].get_mut());
            (self.kernel.dual_next)(out, image, before, next, written, *width, self.step);
            self.dual_ready(stage + 1, row - 1);
        }
        if row + 1 == self.rows {
            let Wavefront { stages, width, .. } = &mut *self.front;
            let (done, todo) = stages.split_at_mut(stage + 1);
            let (p, new) = (&done[stage], &mut todo[0]);
            let before = (p.px[here].get(), p.py[here].get());
            let written = (new.px[here].get_mut(), new.py[here].get_mut());
            (self.kernel.dual_last)(new.out.get(), before, written, *width, self.step);
            self.dual_ready(stage + 1, row);
        }
    }
}

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
    Wavefront::new(shape[1], inner, false)
        .run(best(), plane, None, weight, |_, old, image| image.copy_from_slice(old));
    Ok(())
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;

    use super::*;
    use crate::kernels::KERNELS;

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
    fn the_wavefront_equals_the_written_iteration() {
        let kernels = KERNELS.iter().filter(|k| (k.available)());
        for kernel in kernels {
            for (rows, columns) in [(1, 1), (1, 9), (9, 1), (2, 2), (3, 17), (20, 16), (33, 40)] {
                for inner in [1, 2, 3, 5, 12] {
                    let plane = noise(rows, columns);
                    let mut found = plane.clone();
                    let [change, energy] = Wavefront::new(columns, inner, false).run(
                        kernel,
                        &mut found,
                        None,
                        0.3,
                        |_, old, image| image.copy_from_slice(old),
                    );
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
            let mut dual = vec![0.0; 2 * image.len()];
            let mut front = Wavefront::new(columns, 3, true);
            let mut found = vec![0.0; image.len()];
            for _ in 0..3 {
                front.run(best(), &mut found, Some(&mut dual), 0.3, |row, _, out| {
                    out.copy_from_slice(&image[row * columns..][..columns]);
                });
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
