//! Rows between levels: 2x2 averages, bilinear doubling, every second pixel. Rows are `[channel][stride]`.

/// `out[c] = (a[2c] + a[2c+1] + b[2c] + b[2c+1]) / 4` for two neighbouring rows; `width` is that of the result.
pub(super) fn average(a: &[f32], b: &[f32], stride: usize, out: &mut [f32], out_stride: usize, width: usize) {
    for ((a, b), out) in
        a.chunks_exact(stride).zip(b.chunks_exact(stride)).zip(out.chunks_exact_mut(out_stride))
    {
        let pairs = a.as_chunks::<2>().0.iter().zip(b.as_chunks::<2>().0);
        for (o, (a, b)) in out[..width].iter_mut().zip(pairs) {
            *o = (a[0] + a[1] + b[0] + b[1]) * 0.25;
        }
    }
}

/// Row `row` of the plane that is twice as large, by bilinear interpolation between pixel centres (edges repeat).
/// `near` is the row that row `row` lies in, `far` its neighbour on the other side (itself at the border). `width`
/// is that of the input; `blend` has room for it.
pub(super) fn double(
    near: &[f32],
    far: &[f32],
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
        for (o, pair) in inner.iter_mut().zip(blend.windows(2)) {
            o[0] = 0.75 * pair[0] + 0.25 * pair[1];
            o[1] = 0.25 * pair[0] + 0.75 * pair[1];
        }
    }
}

/// Pixels `parity`, `parity + 2`, ... of every channel; `width` is that of the result.
pub(super) fn every_second(
    row: &[f32],
    stride: usize,
    parity: usize,
    out: &mut [f32],
    out_stride: usize,
    width: usize,
) {
    for (row, out) in row.chunks_exact(stride).zip(out.chunks_exact_mut(out_stride)) {
        for (o, pair) in out[..width].iter_mut().zip(row.as_chunks::<2>().0) {
            *o = pair[parity];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bilinear_doubling_of_a_ramp_by_hand() {
        let mut out = vec![0.0; 6];
        double(&[0.0, 4.0, 8.0], &[0.0, 4.0, 8.0], 3, &mut out, 6, 3, &mut [0.0; 3]);
        assert_eq!(out, [0.0, 1.0, 3.0, 5.0, 7.0, 8.0]);
        double(&[4.0, 4.0, 4.0], &[8.0, 8.0, 8.0], 3, &mut out, 6, 3, &mut [0.0; 3]);
        assert_eq!(out, [5.0; 6]);
    }

    #[test]
    fn averages_and_every_second() {
        let mut out = vec![0.0; 2];
        average(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], 4, &mut out, 2, 2);
        assert_eq!(out, [3.5, 5.5]);
        every_second(&[1.0, 2.0, 3.0, 4.0], 4, 1, &mut out, 2, 2);
        assert_eq!(out, [2.0, 4.0]);
    }
}
