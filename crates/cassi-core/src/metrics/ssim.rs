//! Structural similarity (Wang et al., IEEE TIP 13(4), 2004) with an 11x11 Gaussian window of sigma 1.5, in the three
//! conventions in use.
//!
//! They differ in what happens at the border (windows that leave the picture count on zeros, or do not count) and in
//! the values (as they are with L = 1, or clamped 8-bit levels with L = 255). Everything is f64: the variances are
//! differences of near-equal numbers.

use super::{Pair, level, mean};

/// Half the window.
const RADIUS: usize = 5;
/// The window's side.
const SIDE: usize = 2 * RADIUS + 1;

/// What a window that leaves the picture does.
#[derive(Clone, Copy, PartialEq)]
enum Border {
    /// It sees zeros outside and counts (the toolbox's padded convolution).
    Zeros,
    /// It does not count.
    Valid,
}

/// Normalised weights of the window along one axis at distance 0..=RADIUS.
fn window() -> [f64; RADIUS + 1] {
    let mut weights: [f64; RADIUS + 1] =
        std::array::from_fn(|d| (-((d * d) as f64) / (2.0 * 1.5 * 1.5)).exp());
    let total = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.iter_mut().for_each(|w| *w /= total);
    weights
}

/// One window position along a row of `line`, centred at `line[at]`.
#[inline(always)]
fn tap(line: &[f64; SIDE], weights: &[f64; RADIUS + 1]) -> f64 {
    let mut sum = weights[0] * line[RADIUS];
    for d in 1..=RADIUS {
        sum += weights[d] * (line[RADIUS - d] + line[RADIUS + d]);
    }
    sum
}

/// Mean SSIM of one plane `[rows, columns]` for values of peak `peak`; NaN if no window counts.
fn mean_ssim(truth: &[f64], estimate: &[f64], columns: usize, peak: f64, border: Border) -> f64 {
    let rows = truth.len() / columns;
    if border == Border::Valid && (rows < SIDE || columns < SIDE) {
        return f64::NAN;
    }
    let (c1, c2) = ((0.01 * peak).powi(2), (0.03 * peak).powi(2));
    let weights = window();
    let margin = if border == Border::Valid { RADIUS } else { 0 };
    // Four windowed means suffice: both means, the sum of both squares, the product. Down the columns first, into
    // one row with RADIUS zeros at either side, then along the row.
    let mut lines = [(); 4].map(|()| vec![0.0; columns + 2 * RADIUS]);
    let mut sum = 0.0;
    for row in margin..rows - margin {
        lines.iter_mut().for_each(|line| line.fill(0.0));
        let [t_line, e_line, square_line, product_line] = &mut lines;
        for other in row.saturating_sub(RADIUS)..(row + RADIUS + 1).min(rows) {
            let weight = weights[row.abs_diff(other)];
            let range = other * columns..(other + 1) * columns;
            let inner = RADIUS..RADIUS + columns;
            let outputs = (t_line[inner.clone()].iter_mut().zip(&mut e_line[inner.clone()]))
                .zip(square_line[inner.clone()].iter_mut().zip(&mut product_line[inner]));
            for (((t_sum, e_sum), (squares, products)), (&t, &e)) in
                outputs.zip(truth[range.clone()].iter().zip(&estimate[range]))
            {
                *t_sum += weight * t;
                *e_sum += weight * e;
                *squares += weight * (t * t + e * e);
                *products += weight * (t * e);
            }
        }
        for column in margin..columns - margin {
            let at =
                |line: &[f64]| tap(line[column..column + SIDE].try_into().expect("SIDE values"), &weights);
            let (t, e) = (at(t_line), at(e_line));
            let (squares, products) = (at(square_line), at(product_line));
            let (means, energy) = (t * e, t * t + e * e);
            sum += (2.0 * means + c1) * (2.0 * (products - means) + c2)
                / ((energy + c1) * (squares - energy + c2));
        }
    }
    sum / ((rows - 2 * margin) * (columns - 2 * margin)) as f64
}

impl Pair<'_> {
    fn ssim(&self, map: fn(f32) -> f64, peak: f64, border: Border) -> Vec<f64> {
        self.each_band(|truth, estimate| {
            let as_f64 = |plane: &[f32]| plane.iter().map(|&v| map(v)).collect::<Vec<_>>();
            mean_ssim(&as_f64(truth), &as_f64(estimate), self.truth.columns(), peak, border)
        })
    }

    /// SSIM: values as they are, L = 1, valid region, mean over bands. NaN for pictures below 11x11.
    pub fn ssim_unit_peak(&self) -> f64 {
        mean(&self.ssim_unit_peak_per_band())
    }

    /// SSIM of every band: values as they are, L = 1, valid region. NaN for pictures below 11x11.
    pub fn ssim_unit_peak_per_band(&self) -> Vec<f64> {
        self.ssim(f64::from, 1.0, Border::Valid)
    }

    /// SSIM as the MST toolbox logs it: values as they are, L = 1, mean over all pixels and bands, where border
    /// pixels count with zeros beyond the border.
    pub fn ssim_mst(&self) -> f64 {
        mean(&self.ssim(f64::from, 1.0, Border::Zeros))
    }

    /// SSIM as published tables have it (`cal_ssim.m` of the MST toolbox): clamped 8-bit levels, L = 255, valid
    /// region, mean over bands. NaN for pictures below 11x11.
    pub fn ssim_matlab(&self) -> f64 {
        mean(&self.ssim(level, 255.0, Border::Valid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, without separability: means, variances and covariance under the 2-D window.
    fn direct(truth: &[f64], estimate: &[f64], columns: usize, row: usize, column: usize) -> f64 {
        let weights = window();
        let mut moments = [0.0; 5];
        for r in row - RADIUS..=row + RADIUS {
            for c in column - RADIUS..=column + RADIUS {
                let weight = weights[row.abs_diff(r)] * weights[column.abs_diff(c)];
                let (t, e) = (truth[r * columns + c], estimate[r * columns + c]);
                for (m, v) in moments.iter_mut().zip([t, e, t * t, e * e, t * e]) {
                    *m += weight * v;
                }
            }
        }
        let [t, e, tt, ee, te] = moments;
        (2.0 * t * e + 1e-4) * (2.0 * (te - t * e) + 9e-4)
            / ((t * t + e * e + 1e-4) * (tt - t * t + ee - e * e + 9e-4))
    }

    #[test]
    fn one_valid_window_is_the_definition() {
        let plane = |k: usize| (0..SIDE * SIDE).map(|i| ((i * k) % 17) as f64 / 17.0).collect::<Vec<_>>();
        let (truth, estimate) = (plane(5), plane(7));
        let got = mean_ssim(&truth, &estimate, SIDE, 1.0, Border::Valid);
        // f64 sums of 121 terms in another order.
        assert!((got - direct(&truth, &estimate, SIDE, RADIUS, RADIUS)).abs() < 1e-12);
    }

    #[test]
    fn a_picture_smaller_than_the_window_has_no_valid_region() {
        assert!(mean_ssim(&[0.5; 100], &[0.5; 100], 10, 1.0, Border::Valid).is_nan());
        assert!((mean_ssim(&[0.5; 100], &[0.5; 100], 10, 1.0, Border::Zeros) - 1.0).abs() < 1e-12);
    }
}
