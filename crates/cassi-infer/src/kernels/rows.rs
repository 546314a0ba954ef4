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
    /// Winograd's F(2, 3) between four rows and between neighbouring pixels, for pairs of pixels: rows begin one
    /// pixel before the first pair and end one behind the last. Phase `4·vertical + horizontal` lies at that multiple of
    /// `phase_stride` in `phases`.
    pub transform: fn(rows: &[&[f32]; 4], phases: &mut [f32], phase_stride: usize),
    /// And back: products in the same order to pixels of two rows, as many as each is long, with the shortcut added.
    pub combine:
        fn(products: &[f32], phase_stride: usize, shortcut: Option<&[&[f32]; 2]>, rows: &mut [&mut [f32]; 2]),
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
pub(super) fn transform(rows: &[&[f32]; 4], phases: &mut [f32], phase_stride: usize) {
    let pairs = rows[0].len() / 2 - 1;
    let differences = |[a, b, c, d]: [f32; 4]| [a - c, b + c, c - b, b - d];
    for j in 0..pairs {
        let split = rows.map(|row| differences(std::array::from_fn(|i| row[2 * j + i])));
        for k in 0..4 {
            for (v, value) in differences(split.map(|row| row[k])).into_iter().enumerate() {
                phases[(4 * v + k) * phase_stride + j] = value;
            }
        }
    }
}

#[inline(always)]
pub(super) fn combine(
    products: &[f32],
    phase_stride: usize,
    shortcut: Option<&[&[f32]; 2]>,
    rows: &mut [&mut [f32]; 2],
) {
    let pairs = rows.iter().map(|row| row.len().div_ceil(2)).max().unwrap_or(0);
    let sums = |[a, b, c, d]: [f32; 4]| [a + b + c, b - c - d];
    for j in 0..pairs {
        let joined: [[f32; 2]; 4] =
            std::array::from_fn(|v| sums(std::array::from_fn(|k| products[(4 * v + k) * phase_stride + j])));
        for parity in 0..2 {
            let at = 2 * j + parity;
            for (r, value) in sums(joined.map(|pair| pair[parity])).into_iter().enumerate() {
                if let Some(out) = rows[r].get_mut(at) {
                    *out = shortcut.map_or(value, |shortcut| value + shortcut[r][at]);
                }
            }
        }
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
            fn transform(rows: &[&[f32]; 4], phases: &mut [f32], phase_stride: usize) {
                rows::transform(rows, phases, phase_stride);
            }

            #[target_feature(enable = $features)]
            fn combine(
                products: &[f32],
                phase_stride: usize,
                shortcut: Option<&[&[f32]; 2]>,
                rows: &mut [&mut [f32]; 2],
            ) {
                rows::combine(products, phase_stride, shortcut, rows);
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
                transform: |r, p, stride| unsafe { transform(r, p, stride) },
                // SAFETY: as above.
                combine: |p, stride, s, r| unsafe { combine(p, stride, s, r) },
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
}
