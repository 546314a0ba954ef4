//! The dual iteration of total variation as a wavefront: every update of a plane follows the one before it by one
//! row, so that the plane streams once through rows that stay in the first-level cache.
//!
//! With `p⁰ = 0` (or kept from the last visit), update `s` takes `uˢ = image + τ div pˢ⁻¹` to
//! `pˢ = (pˢ⁻¹ − ∇uˢ) / (1 + τ/weight |∇uˢ|)`; the result is `image + τ div p` of the last dual. (The dual of the paper
//! is `τ p`; this form has one multiplication fewer.) Image, `u` and `p` are kept in a unit in which `τ/weight` is 2,
//! which saves another two. Row `r` of `pˢ` needs rows `r` and `r + 1` of `uˢ`, which need rows up to `r + 1` of
//! `pˢ⁻¹`: so when row `n` of the image arrives, update `s` can do its row `n − s`.
//!
//! Rows in flight are *framed*: the payload starts at [`LEFT`], in all [`framed_len`] floats, so that whole vectors
//! may be read at `w − 1` and `w + 1` without a special case. What lies left of the payload stays zero; of `image` and
//! `u`, the float right of it repeats the last one, which makes the gradient there zero; the rest is finite scratch.
#![allow(unsafe_code)] // vector loads and stores through pointers into framed rows, see `Wavefront::row`

use super::lanes::Lanes;

/// τ, the step of the dual update that converges in two dimensions.
const TAU: f32 = 0.25;
/// Floats before the payload of a framed row: the widest vector.
const LEFT: usize = 16;

/// Rows by which the plane is asked for ahead: between two rows of it the caches see hundreds of others.
const AHEAD: usize = 2;

/// Length of a framed row: the payload rounded up to the widest vector, one such vector before it and one after it.
fn framed_len(width: usize) -> usize {
    LEFT + width.next_multiple_of(LEFT) + LEFT
}

/// One cache line.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LEFT]);

/// The rows in flight of planes `[row, column]`; made once per thread and used for plane after plane.
pub(crate) struct Wavefront {
    width: usize,
    updates: usize,
    kept: bool,
    /// All framed rows, one after the other: `updates + 1` of the image, one of zeros, four of each dual
    /// (two axes, even and odd rows), one of each `u`.
    lines: Vec<Line>,
}

impl Wavefront {
    /// For planes of `width` columns and `inner` primal steps, from `p = 0` (which makes `inner − 1` dual updates)
    /// or, where `kept`, from the dual of the last visit. `inner` is at least 1.
    pub(crate) fn new(width: usize, inner: usize, kept: bool) -> Self {
        let updates = inner - 1;
        let rows = updates + 2 + 5 * (updates + 1);
        let lines = vec![Line([0.0; LEFT]); rows * framed_len(width) / LEFT];
        Self { width, updates, kept, lines }
    }

    /// Framed row `index`.
    #[inline(always)]
    fn row(&mut self, index: usize) -> *mut f32 {
        let length = framed_len(self.width);
        let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut self.lines);
        floats[index * length..][..length].as_mut_ptr()
    }

    #[inline(always)]
    fn image(&mut self, row: usize) -> *mut f32 {
        self.row(row % (self.updates + 1))
    }

    #[inline(always)]
    fn zeros(&mut self) -> *mut f32 {
        self.row(self.updates + 1)
    }

    /// Row `row` of both axes of the dual after update `stage`.
    #[inline(always)]
    fn dual(&mut self, stage: usize, row: usize) -> [*mut f32; 2] {
        let first = self.updates + 2 + 5 * stage + row % 2;
        [self.row(first), self.row(first + 2)]
    }

    /// The latest row of `u` of update `stage`, from 1 on.
    #[inline(always)]
    fn primal(&mut self, stage: usize) -> *mut f32 {
        self.row(self.updates + 2 + 5 * stage + 4)
    }
}

/// A plane to be denoised.
pub(crate) struct Plane<'a> {
    /// `[row, column]`, as many columns as the wavefront is wide; overwritten by the result.
    pub(crate) values: &'a mut [f32],
    /// `[2, row, column]`, where the dual is kept from visit to visit, if it is: `p` times `τ / (2 weight)`.
    pub(crate) dual: Option<&'a mut [f32]>,
    /// The TV weight, in the unit of the values and positive.
    pub(crate) weight: f32,
    /// `(row, old, image)` writes row `row` of the image to be denoised, given that row of the plane as it was.
    pub(crate) fill: &'a mut dyn FnMut(usize, &[f32], &mut [f32]),
}

/// Overwrites a plane by its denoised successor; returns `Σ (new − old)²` and `Σ new²`. Dual updates take `N` vectors
/// side by side.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn sweep<V: Lanes, const N: usize>(front: &mut Wavefront, plane: Plane<'_>) -> [f64; 2] {
    let Plane { values, mut dual, weight, fill } = plane;
    let (width, updates, rows) = (front.width, front.updates, values.len() / front.width);
    assert!(width > 0 && values.len() == rows * width && front.kept == dual.is_some());
    assert!(dual.as_ref().is_none_or(|dual| dual.len() == 2 * values.len()));
    // Without an update there is nothing to scale for. The bound keeps the squares of gradients up to 1e6 finite, at a
    // weight far below any rounding of theirs.
    let scale = if updates == 0 && dual.is_none() { 1.0 } else { (TAU / (2.0 * weight)).min(1e12) };
    let unit = 1.0 / scale;
    let mut sums = [0.0; 2];
    for arrived in 0..rows + updates {
        if arrived < rows {
            let image = front.image(arrived);
            // SAFETY: the payload of a framed row; nothing else refers to it now.
            let payload = unsafe { std::slice::from_raw_parts_mut(image.add(LEFT), width + 1) };
            if arrived + AHEAD < rows {
                let row = &values[(arrived + AHEAD) * width..][..width];
                // SAFETY: the CPU has the instruction set, by the caller.
                row.chunks(LEFT).for_each(|line| unsafe { V::prefetch(line.as_ptr()) });
            }
            fill(arrived, &values[arrived * width..][..width], &mut payload[..width]);
            payload[..width].iter_mut().for_each(|v| *v *= scale);
            payload[width] = payload[width - 1];
            if let Some(dual) = &dual {
                for (axis, row) in dual.chunks(rows * width).zip(front.dual(0, arrived)) {
                    // SAFETY: as above.
                    let payload = unsafe { std::slice::from_raw_parts_mut(row.add(LEFT), width) };
                    payload.copy_from_slice(&axis[arrived * width..][..width]);
                }
            }
        }
        // SAFETY: the CPU has the instruction set, by the caller; every pointer is a framed row of this width, and
        // those that a loop writes are distinct from those that it reads but for `primal`, which it says.
        unsafe {
            for stage in 1..=updates {
                // The row of `u` that is new; beyond the last one the dual of the last row is due.
                let Some(new) = (arrived + 1).checked_sub(stage) else { break };
                if new > rows || (stage == 1 && dual.is_none() && new == 0) {
                    continue;
                }
                let (image, u) = (front.image(new), front.primal(stage));
                let (before, above) = (front.dual(stage - 1, new + 1), front.dual(stage, new + 1));
                let next = front.dual(stage - 1, new);
                if stage == 1 && dual.is_none() {
                    let here = front.image(new - 1);
                    first_dual::<V, N>(here, if new < rows { image } else { here }, above, width);
                } else if new == 0 {
                    primal_row::<V>(u, image, next, front.zeros(), width);
                } else if new < rows {
                    next_dual::<V, N>(u, image, before, next, above, width);
                } else {
                    last_dual::<V>(u, before, above, width);
                }
            }
            if let Some(row) = arrived.checked_sub(updates) {
                let target = &mut values[row * width..][..width];
                let p = front.dual(updates, row);
                let py_above = if row > 0 { front.dual(updates, row - 1)[1] } else { front.zeros() };
                let row_sums = match updates == 0 && dual.is_none() {
                    // p = 0: the result is the image.
                    true => finish::<V>(target, front.image(row), [front.zeros(); 2], front.zeros(), unit),
                    false => finish::<V>(target, front.image(row), p, py_above, unit),
                };
                sums[0] += f64::from(row_sums[0]);
                sums[1] += f64::from(row_sums[1]);
                if let Some(dual) = &mut dual {
                    for (axis, row_of_p) in dual.chunks_mut(rows * width).zip(p) {
                        let payload = std::slice::from_raw_parts(row_of_p.add(LEFT), width);
                        axis[row * width..][..width].copy_from_slice(payload);
                    }
                }
            }
        }
    }
    sums
}

/// The first update from `p = 0`, where `u` is the image: `above = −g / (1 + 2 |g|)`.
#[inline(always)]
unsafe fn first_dual<V: Lanes, const N: usize>(
    here: *const f32,
    below: *const f32,
    above: [*mut f32; 2],
    width: usize,
) {
    // SAFETY: framed rows, see `sweep`.
    unsafe {
        let mut i = LEFT;
        while i + N * V::WIDTH <= LEFT + width {
            first_dual_at::<V, N>(here, below, above, i);
            i += N * V::WIDTH;
        }
        while i < LEFT + width {
            first_dual_at::<V, 1>(here, below, above, i);
            i += V::WIDTH;
        }
    }
}

/// `first_dual` at the `N` vectors from `i` on, side by side.
#[inline(always)]
unsafe fn first_dual_at<V: Lanes, const N: usize>(
    here: *const f32,
    below: *const f32,
    above: [*mut f32; 2],
    i: usize,
) {
    // SAFETY: framed rows, see `sweep`.
    unsafe {
        let (mut gx, mut gy) = ([V::splat(0.0); N], [V::splat(0.0); N]);
        for k in 0..N {
            let i = i + k * V::WIDTH;
            let u = V::load(here.add(i));
            // The differences with their signs turned.
            gx[k] = u.sub(V::load(here.add(i + 1)));
            gy[k] = u.sub(V::load(below.add(i)));
        }
        let q = V::shrinkage(gx, gy);
        for k in 0..N {
            let i = i + k * V::WIDTH;
            gx[k].mul(q[k]).store(above[0].add(i));
            gy[k].mul(q[k]).store(above[1].add(i));
        }
    }
}

/// `image + τ div p` at vector start `i`, `py_above` being the vector there of the row above.
#[inline(always)]
unsafe fn primal_at<V: Lanes>(image: *const f32, p: [*mut f32; 2], py_above: V, i: usize) -> V {
    // SAFETY: framed rows, see `sweep`.
    unsafe {
        let x = V::load(p[0].add(i - 1)).sub(V::load(p[0].add(i)));
        let y = py_above.sub(V::load(p[1].add(i)));
        x.add(y).mul_add(V::splat(TAU), V::load(image.add(i)))
    }
}

/// Overwrites row `r` of `u` by row `r + 1`, `image + τ div next`, and sets `above` to the dual of row `r`: `before` and
/// `next` are rows `r` and `r + 1` of the dual so far.
#[inline(always)]
unsafe fn next_dual<V: Lanes, const N: usize>(
    u: *mut f32,
    image: *const f32,
    before: [*mut f32; 2],
    next: [*mut f32; 2],
    above: [*mut f32; 2],
    width: usize,
) {
    // SAFETY: framed rows, see `sweep`.
    unsafe {
        let end = LEFT + width;
        let mut i = LEFT;
        while i + N * V::WIDTH <= end {
            next_dual_at::<V, N>(u, image, before, next, above, i);
            i += N * V::WIDTH;
        }
        while i < end {
            next_dual_at::<V, 1>(u, image, before, next, above, i);
            i += V::WIDTH;
        }
        *u.add(end) = *u.add(end - 1);
    }
}

/// `next_dual` at the `N` vectors from `i` on, side by side.
#[inline(always)]
unsafe fn next_dual_at<V: Lanes, const N: usize>(
    u: *mut f32,
    image: *const f32,
    before: [*mut f32; 2],
    next: [*mut f32; 2],
    above: [*mut f32; 2],
    i: usize,
) {
    // SAFETY: framed rows, see `sweep`; `u` is read at `i + 1` before that vector is overwritten.
    unsafe {
        let zero = V::splat(0.0);
        let (mut px, mut py, mut below) = ([zero; N], [zero; N], [zero; N]);
        let (mut gx, mut gy) = ([zero; N], [zero; N]);
        for k in 0..N {
            let i = i + k * V::WIDTH;
            py[k] = V::load(before[1].add(i));
            below[k] = primal_at::<V>(image, next, py[k], i);
        }
        for k in 0..N {
            let i = i + k * V::WIDTH;
            let here = V::load(u.add(i));
            gx[k] = V::load(u.add(i + 1)).sub(here);
            gy[k] = below[k].sub(here);
        }
        for k in 0..N {
            let i = i + k * V::WIDTH;
            below[k].store(u.add(i));
            px[k] = V::load(before[0].add(i)).sub(gx[k]);
            py[k] = py[k].sub(gy[k]);
        }
        let q = V::shrinkage(gx, gy);
        for k in 0..N {
            let i = i + k * V::WIDTH;
            px[k].mul(q[k]).store(above[0].add(i));
            py[k].mul(q[k]).store(above[1].add(i));
        }
    }
}

/// The dual of the last row, which has none below it.
#[inline(always)]
unsafe fn last_dual<V: Lanes>(u: *const f32, before: [*mut f32; 2], above: [*mut f32; 2], width: usize) {
    // SAFETY: framed rows, see `sweep`.
    unsafe {
        for i in (LEFT..LEFT + width).step_by(V::WIDTH) {
            let gx = V::load(u.add(i + 1)).sub(V::load(u.add(i)));
            let [q] = V::shrinkage([gx], [V::splat(0.0)]);
            V::load(before[0].add(i)).sub(gx).mul(q).store(above[0].add(i));
            V::load(before[1].add(i)).mul(q).store(above[1].add(i));
        }
    }
}

/// `u = image + τ div p`.
#[inline(always)]
unsafe fn primal_row<V: Lanes>(
    u: *mut f32,
    image: *const f32,
    p: [*mut f32; 2],
    py_above: *const f32,
    width: usize,
) {
    // SAFETY: framed rows, see `sweep`.
    unsafe {
        for i in (LEFT..LEFT + width).step_by(V::WIDTH) {
            primal_at::<V>(image, p, V::load(py_above.add(i)), i).store(u.add(i));
        }
        *u.add(LEFT + width) = *u.add(LEFT + width - 1);
    }
}

/// Overwrites a plain row by `image + τ div p`, times `unit`; returns `Σ (new − old)²` and `Σ new²`.
#[inline(always)]
unsafe fn finish<V: Lanes>(
    target: &mut [f32],
    image: *const f32,
    p: [*mut f32; 2],
    py_above: *const f32,
    unit: f32,
) -> [f32; 2] {
    let width = target.len();
    let target = target.as_mut_ptr();
    let whole = width / V::WIDTH * V::WIDTH;
    // SAFETY: framed rows, see `sweep`; `target` has `width` floats.
    unsafe {
        let unit = V::splat(unit);
        let (mut change, mut energy) = (V::splat(0.0), V::splat(0.0));
        for w in (0..whole).step_by(V::WIDTH) {
            let new = primal_at::<V>(image, p, V::load(py_above.add(LEFT + w)), LEFT + w).mul(unit);
            let moved = new.sub(V::load(target.add(w)));
            (change, energy) = (moved.mul_add(moved, change), new.mul_add(new, energy));
            new.store(target.add(w));
        }
        if whole < width {
            let at = LEFT + whole;
            let new = primal_at::<V>(image, p, V::load(py_above.add(at)), at).first(width - whole).mul(unit);
            let moved = new.sub(V::load_first(target.add(whole), width - whole));
            (change, energy) = (moved.mul_add(moved, change), new.mul_add(new, energy));
            new.store_first(target.add(whole), width - whole);
        }
        [change.total(), energy.total()]
    }
}
