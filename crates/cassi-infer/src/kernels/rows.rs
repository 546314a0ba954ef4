//! Element-wise passes over rows, written once and compiled for each instruction set: the compiler vectorises them,
//! and the same operations in the same order give the same bits everywhere. Rows are `[channel][stride]`.

use super::{LayerNorm, Pack};

/// The passes, for one instruction set.
pub struct Rows {
    /// `output[channel][output_stride]` from a chunk of pixels.
    pub layer_norm: fn(&LayerNorm<'_>, output: &mut [f32], output_stride: usize),
    /// Signs as floats −1, 0, 1 (the float engine's operand): `output[channel·output_stride + pixel]`.
    pub signs: fn(&Pack<'_>, output: &mut [f32], output_stride: usize),
    /// `a += b`
    pub add: fn(a: &mut [f32], b: &[f32]),
    /// `out[c] = (a[2c] + a[2c+1] + b[2c] + b[2c+1]) / 4` for two neighbouring rows; `width` is that of the result.
    pub average: fn(rows: [&[f32]; 2], stride: usize, out: &mut [f32], out_stride: usize, width: usize),
    /// A row of the plane that is twice as large, by bilinear interpolation between pixel centres (edges repeat).
    /// `near` is the row that it lies in, `far` the neighbour on the other side (itself at the border). `width` is
    /// that of the input; `blend` has room for it.
    pub double: fn(
        near_far: [&[f32]; 2],
        stride: usize,
        out: &mut [f32],
        out_stride: usize,
        width: usize,
        blend: &mut [f32],
    ),
    /// Winograd's F(2, 3) between rows: four input rows `d` to `d0 − d2`, `d1 + d2`, `d2 − d1`, `d1 − d3`.
    pub transform: fn(rows: [&[f32]; 4], phases: [&mut [f32]; 4]),
    /// And back: products `m` to `m0 + m1 + m2` and `m1 − m2 − m3`.
    pub combine: fn(products: [&[f32]; 4], rows: [&mut [f32]; 2]),
}

/// Two passes over 32 pixels at a time, variance with divisor n, ε = 1e-5.
#[inline(always)]
pub(super) fn layer_norm(norm: &LayerNorm<'_>, output: &mut [f32], output_stride: usize) {
    const WIDTH: usize = 32;
    let channels = norm.gain.len();
    let share = 1.0 / channels as f32;
    for start in (0..norm.pixels).step_by(WIDTH) {
        let row = |c: usize| -> &[f32; WIDTH] {
            norm.input[c * norm.stride + start..][..WIDTH].try_into().expect("WIDTH floats")
        };
        let mut mean = [0f32; WIDTH];
        for c in 0..channels {
            mean.iter_mut().zip(row(c)).for_each(|(m, x)| *m += x);
        }
        mean.iter_mut().for_each(|m| *m *= share);
        let mut inverse = [0f32; WIDTH];
        for c in 0..channels {
            let deviations = row(c).iter().zip(&mean).map(|(x, m)| x - m);
            inverse.iter_mut().zip(deviations).for_each(|(v, d)| *v += d * d);
        }
        inverse.iter_mut().for_each(|v| *v = 1.0 / (*v * share + 1e-5).sqrt());
        for c in 0..channels {
            let out: &mut [f32; WIDTH] =
                (&mut output[c * output_stride + start..][..WIDTH]).try_into().expect("WIDTH floats");
            let (x, gain, bias) = (row(c), norm.gain[c], norm.bias[c]);
            for i in 0..WIDTH {
                out[i] = (x[i] - mean[i]) * inverse[i] * gain + bias;
            }
        }
    }
}

#[inline(always)]
pub(super) fn signs(pack: &Pack<'_>, output: &mut [f32], output_stride: usize) {
    for (channel, (&above, &below)) in pack.above.iter().zip(pack.below).enumerate() {
        let input = &pack.input[channel * pack.stride..][..pack.pixels];
        for (o, &x) in output[channel * output_stride..][..pack.pixels].iter_mut().zip(input) {
            let positive = if x > above { 1.0 } else { 0.0 };
            *o = if x <= below { -1.0 } else { positive };
        }
    }
}

#[inline(always)]
pub(super) fn add(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}

#[inline(always)]
pub(super) fn average([a, b]: [&[f32]; 2], stride: usize, out: &mut [f32], out_stride: usize, width: usize) {
    for ((a, b), out) in
        a.chunks_exact(stride).zip(b.chunks_exact(stride)).zip(out.chunks_exact_mut(out_stride))
    {
        let pairs = a.as_chunks::<2>().0.iter().zip(b.as_chunks::<2>().0);
        for (o, (a, b)) in out[..width].iter_mut().zip(pairs) {
            *o = (a[0] + a[1] + b[0] + b[1]) * 0.25;
        }
    }
}

#[inline(always)]
pub(super) fn double(
    [near, far]: [&[f32]; 2],
    stride: usize,
    out: &mut [f32],
    out_stride: usize,
    width: usize,
    blend: &mut [f32],
) {
    let blend = &mut blend[..width];
    for ((near, far), out) in
        near.chunks_exact(stride).zip(far.chunks_exact(stride)).zip(out.chunks_exact_mut(out_stride))
    {
        for (b, (n, f)) in blend.iter_mut().zip(near.iter().zip(far)) {
            *b = 0.75 * n + 0.25 * f;
        }
        let out = &mut out[..2 * width];
        out[0] = blend[0];
        out[2 * width - 1] = blend[width - 1];
        let (inner, _) = out[1..2 * width - 1].as_chunks_mut::<2>();
        for (o, (left, right)) in inner.iter_mut().zip(blend.iter().zip(&blend[1..])) {
            *o = [0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right];
        }
    }
}

#[inline(always)]
pub(super) fn transform(rows: [&[f32]; 4], phases: [&mut [f32]; 4]) {
    let width = phases[0].len();
    let [d0, d1, d2, d3] = rows.map(|row| &row[..width]);
    let [p0, p1, p2, p3] = phases.map(|phase| &mut phase[..width]);
    for i in 0..width {
        p0[i] = d0[i] - d2[i];
        p1[i] = d1[i] + d2[i];
        p2[i] = d2[i] - d1[i];
        p3[i] = d1[i] - d3[i];
    }
}

#[inline(always)]
pub(super) fn combine(products: [&[f32]; 4], rows: [&mut [f32]; 2]) {
    let pixels = rows[0].len();
    let [m0, m1, m2, m3] = products.map(|m| &m[..pixels]);
    let [a, b] = rows.map(|row| &mut row[..pixels]);
    for i in 0..pixels {
        a[i] = m0[i] + m1[i] + m2[i];
        b[i] = m1[i] - m2[i] - m3[i];
    }
}

/// Defines the passes once more under a target feature, and their table `ROWS`.
#[cfg(target_arch = "x86_64")]
macro_rules! compile_rows {
    ($features:literal) => {
        pub(super) const ROWS: $crate::kernels::rows::Rows = {
            use $crate::kernels::{LayerNorm, Pack, rows};

            #[target_feature(enable = $features)]
            fn layer_norm(norm: &LayerNorm<'_>, output: &mut [f32], output_stride: usize) {
                rows::layer_norm(norm, output, output_stride);
            }

            #[target_feature(enable = $features)]
            fn signs(pack: &Pack<'_>, output: &mut [f32], output_stride: usize) {
                rows::signs(pack, output, output_stride);
            }

            #[target_feature(enable = $features)]
            fn add(a: &mut [f32], b: &[f32]) {
                rows::add(a, b);
            }

            #[target_feature(enable = $features)]
            fn average(rows: [&[f32]; 2], stride: usize, out: &mut [f32], out_stride: usize, width: usize) {
                rows::average(rows, stride, out, out_stride, width);
            }

            #[target_feature(enable = $features)]
            fn double(
                near_far: [&[f32]; 2],
                stride: usize,
                out: &mut [f32],
                out_stride: usize,
                width: usize,
                blend: &mut [f32],
            ) {
                rows::double(near_far, stride, out, out_stride, width, blend);
            }

            #[target_feature(enable = $features)]
            fn transform(rows: [&[f32]; 4], phases: [&mut [f32]; 4]) {
                rows::transform(rows, phases);
            }

            #[target_feature(enable = $features)]
            fn combine(products: [&[f32]; 4], rows: [&mut [f32]; 2]) {
                rows::combine(products, rows);
            }

            rows::Rows {
                // SAFETY: reached through a kernel whose `available` has found the features.
                layer_norm: |n, out, stride| unsafe { layer_norm(n, out, stride) },
                // SAFETY: as above.
                signs: |p, out, stride| unsafe { signs(p, out, stride) },
                // SAFETY: as above.
                add: |a, b| unsafe { add(a, b) },
                // SAFETY: as above.
                average: |r, s, out, out_stride, w| unsafe { average(r, s, out, out_stride, w) },
                // SAFETY: as above.
                double: |r, s, out, out_stride, w, b| unsafe { double(r, s, out, out_stride, w, b) },
                // SAFETY: as above.
                transform: |r, p| unsafe { transform(r, p) },
                // SAFETY: as above.
                combine: |p, r| unsafe { combine(p, r) },
            }
        };
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use compile_rows;

/// The passes for any CPU.
pub(super) const PORTABLE: Rows = Rows { layer_norm, signs, add, average, double, transform, combine };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bilinear_doubling_of_a_ramp_by_hand() {
        let mut out = vec![0.0; 6];
        double([&[0.0, 4.0, 8.0], &[0.0, 4.0, 8.0]], 3, &mut out, 6, 3, &mut [0.0; 3]);
        assert_eq!(out, [0.0, 1.0, 3.0, 5.0, 7.0, 8.0]);
        double([&[4.0, 4.0, 4.0], &[8.0, 8.0, 8.0]], 3, &mut out, 6, 3, &mut [0.0; 3]);
        assert_eq!(out, [5.0; 6]);
    }

    #[test]
    fn averages() {
        let mut out = vec![0.0; 2];
        average([&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]], 4, &mut out, 2, 2);
        assert_eq!(out, [3.5, 5.5]);
    }

    /// Two outputs of a 3-tap filter from four inputs.
    #[test]
    fn transforms_make_a_filter() {
        let (d, g) = ([0.3, -1.2, 0.7, 2.0], [0.5, 0.25, -1.0]);
        let mut t = [[0.0; 1]; 4];
        let [a, b, c, e] = &mut t;
        transform([&d[0..1], &d[1..2], &d[2..3], &d[3..4]], [a, b, c, e]);
        let outer = 0.5 * (g[0] + g[2]);
        let weights = [g[0], outer + 0.5 * g[1], outer - 0.5 * g[1], g[2]];
        let m: [[f32; 1]; 4] = std::array::from_fn(|i| [t[i][0] * weights[i]]);
        let (mut x, mut y) = ([0.0], [0.0]);
        combine([&m[0], &m[1], &m[2], &m[3]], [&mut x, &mut y]);
        let direct = |i: usize| d[i] * g[0] + d[i + 1] * g[1] + d[i + 2] * g[2];
        assert!((x[0] - direct(0)).abs() < 1e-6 && (y[0] - direct(1)).abs() < 1e-6, "{x:?} {y:?}");
    }
}
