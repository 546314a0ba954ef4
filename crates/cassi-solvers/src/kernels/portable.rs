//! The specification of every kernel, in plain loops.

use super::{DualStep, Kernel, LANES, LEFT};

pub(super) const KERNEL: Kernel = Kernel {
    name: "portable",
    available: || true,
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

fn dual_first(image: &[f32], below: &[f32], px: &mut [f32], py: &mut [f32], width: usize, step: DualStep) {
    for i in LEFT..LEFT + width {
        let (gx, gy) = (image[i + 1] - image[i], below[i] - image[i]);
        let shrink = 1.0 + step.slope * (gx * gx + gy * gy).sqrt();
        px[i] = -step.tau * gx / shrink;
        py[i] = -step.tau * gy / shrink;
    }
}

fn dual_next(
    out: &mut [f32],
    image_next: &[f32],
    here: (&[f32], &[f32]),
    next: (&[f32], &[f32]),
    new: (&mut [f32], &mut [f32]),
    width: usize,
    step: DualStep,
) {
    for i in LEFT..LEFT + width {
        let out_next = image_next[i] + ((next.0[i - 1] - next.0[i]) + (here.1[i] - next.1[i]));
        let (gx, gy) = (out[i + 1] - out[i], out_next - out[i]);
        let shrink = 1.0 + step.slope * (gx * gx + gy * gy).sqrt();
        new.0[i] = (here.0[i] - step.tau * gx) / shrink;
        new.1[i] = (here.1[i] - step.tau * gy) / shrink;
        out[i] = out_next;
    }
    out[LEFT + width] = out[LEFT + width - 1];
}

fn dual_last(
    out: &[f32],
    here: (&[f32], &[f32]),
    new: (&mut [f32], &mut [f32]),
    width: usize,
    step: DualStep,
) {
    for i in LEFT..LEFT + width {
        let gx = out[i + 1] - out[i];
        let shrink = 1.0 + step.slope * gx.abs();
        new.0[i] = (here.0[i] - step.tau * gx) / shrink;
        new.1[i] = here.1[i] / shrink;
    }
}

fn divergence(out: &mut [f32], image: &[f32], p: (&[f32], &[f32]), py_above: &[f32], width: usize) {
    for i in LEFT..LEFT + width {
        out[i] = image[i] + ((p.0[i - 1] - p.0[i]) + (py_above[i] - p.1[i]));
    }
    out[LEFT + width] = out[LEFT + width - 1];
}

fn finish(target: &mut [f32], image: &[f32], p: (&[f32], &[f32]), py_above: &[f32]) -> [f32; 2] {
    let mut sums = [0.0; 2];
    for (w, target) in target.iter_mut().enumerate() {
        let i = LEFT + w;
        let new = image[i] + ((p.0[i - 1] - p.0[i]) + (py_above[i] - p.1[i]));
        sums[0] += (new - *target) * (new - *target);
        sums[1] += new * new;
        *target = new;
    }
    sums
}

fn lift(out: &mut [f32], x: &[f32], mask: &[f32], u: &[f32]) {
    for (((out, x), mask), u) in out.iter_mut().zip(x).zip(mask).zip(u) {
        *out = x + mask * u;
    }
}

fn accumulate(y: &mut [f32], mask: &[f32], x: &[f32]) {
    for ((y, mask), x) in y.iter_mut().zip(mask).zip(x) {
        *y += mask * x;
    }
}

fn combine(out: &mut [f32], coefficients: &[f32], rows: &[f32], stride: usize) {
    out.fill(0.0);
    for (j, &coefficient) in coefficients.iter().enumerate() {
        for (out, value) in out.iter_mut().zip(&rows[j * stride..][..]) {
            *out += coefficient * value;
        }
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
