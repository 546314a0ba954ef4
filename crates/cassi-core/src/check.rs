//! The check that every linear operator must pass: linearity, dot test, normal operator, bound, thread independence.
//!
//! Mismatches are scaled by `‖A x‖ ‖y‖`, not by the inner product, which may happen to be near zero.

use crate::{LinearOperator, elements, random::Stream};

/// How far an operator is from what it claims to be; all are relative and should be at rounding level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatorReport {
    /// `|⟨A x, y⟩ − ⟨x, Aᵀ y⟩| / (‖A x‖ ‖y‖)`, the largest over the seeds.
    pub adjoint_mismatch: f64,
    /// `‖A(a x + b z) − a A x − b A z‖ / (|a| ‖A x‖ + |b| ‖A z‖)`, the largest over the seeds.
    pub linearity_mismatch: f64,
    /// `‖A Aᵀ y − d ⊙ y‖ / ‖A Aᵀ y‖` where the operator gives the diagonal `d` of `A Aᵀ`.
    pub gram_mismatch: Option<f64>,
    /// Largest singular value found by power iteration, over the stated bound: at most 1 but for rounding.
    pub norm_over_bound: f64,
}

impl OperatorReport {
    /// Tolerance of each relative mismatch: 28-term f32 sums accumulate below 1e-6.
    pub const TOLERANCE: f64 = 1e-6;

    /// Whether every figure is within rounding.
    pub fn passes(&self) -> bool {
        self.adjoint_mismatch < Self::TOLERANCE
            && self.linearity_mismatch < Self::TOLERANCE
            && self.gram_mismatch.is_none_or(|m| m < Self::TOLERANCE)
            && self.norm_over_bound < 1.0 + 1e-4
    }
}

fn draw(seed: u64, purpose: &str, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(seed, purpose, 0);
    (0..n).map(|_| stream.uniform_in(-1.0, 1.0) as f32).collect()
}

/// Inner product, summed in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// `|⟨A x, y⟩ − ⟨x, Aᵀ y⟩| / (‖A x‖ ‖y‖)` on random `x` and `y`.
pub fn adjoint_mismatch(operator: &dyn LinearOperator, seed: u64) -> f64 {
    let x = draw(seed, "check/x", elements(operator.domain()));
    let y = draw(seed, "check/y", elements(operator.range()));
    let (mut ax, mut aty) = (vec![f32::NAN; y.len()], vec![f32::NAN; x.len()]);
    operator.forward(&x, &mut ax);
    operator.adjoint(&y, &mut aty);
    (dot(&ax, &y) - dot(&x, &aty)).abs() / (norm(&ax) * norm(&y)).max(f64::MIN_POSITIVE)
}

fn linearity_mismatch(operator: &dyn LinearOperator, seed: u64) -> f64 {
    let n = elements(operator.domain());
    let (x, z) = (draw(seed, "check/x", n), draw(seed, "check/z", n));
    let (a, b) = (0.7f32, -1.3f32);
    let mixed: Vec<f32> = x.iter().zip(&z).map(|(x, z)| a * x + b * z).collect();
    let apply = |x: &[f32]| {
        let mut y = vec![f32::NAN; elements(operator.range())];
        operator.forward(x, &mut y);
        y
    };
    let (ax, az, am) = (apply(&x), apply(&z), apply(&mixed));
    let gap: Vec<f32> = (am.iter().zip(&ax).zip(&az)).map(|((m, x), z)| m - a * x - b * z).collect();
    let scale = f64::from(a) * norm(&ax) + f64::from(-b) * norm(&az);
    norm(&gap) / scale.max(f64::MIN_POSITIVE)
}

/// Runs the whole check with `seeds` random draws.
///
/// # Panics
/// If forward or adjoint leave an element unwritten (it stays NaN), which makes every mismatch NaN.
pub fn check_operator(operator: &dyn LinearOperator, seeds: u64) -> OperatorReport {
    let worst = |f: &dyn Fn(u64) -> f64| {
        (0..seeds).map(f).fold(0.0, |worst: f64, v| {
            assert!(!v.is_nan(), "the operator leaves elements unwritten or makes NaN");
            worst.max(v)
        })
    };
    let (n, m) = (elements(operator.domain()), elements(operator.range()));
    let gram_mismatch = operator.gram_diagonal().map(|diagonal| {
        let y = draw(0, "check/gram", m);
        let (mut aty, mut aaty) = (vec![f32::NAN; n], vec![f32::NAN; m]);
        operator.adjoint(&y, &mut aty);
        operator.forward(&aty, &mut aaty);
        let gap: Vec<f32> = (aaty.iter().zip(diagonal).zip(&y)).map(|((a, d), y)| a - d * y).collect();
        norm(&gap) / norm(&aaty).max(f64::MIN_POSITIVE)
    });
    OperatorReport {
        adjoint_mismatch: worst(&|seed| adjoint_mismatch(operator, seed)),
        linearity_mismatch: worst(&|seed| linearity_mismatch(operator, seed)),
        gram_mismatch,
        norm_over_bound: largest_singular_value(operator, 30)
            / f64::from(operator.norm_bound()).max(f64::MIN_POSITIVE),
    }
}

/// The largest singular value by `iterations` of power iteration on `Aᵀ A`: a lower estimate that converges upward.
pub fn largest_singular_value(operator: &dyn LinearOperator, iterations: usize) -> f64 {
    let mut x = draw(0, "check/power", elements(operator.domain()));
    let mut y = vec![0.0; elements(operator.range())];
    let mut sigma = 0.0;
    for _ in 0..iterations {
        let scale = norm(&x);
        if scale == 0.0 {
            return 0.0;
        }
        x.iter_mut().for_each(|v| *v = (f64::from(*v) / scale) as f32);
        operator.forward(&x, &mut y);
        sigma = norm(&y);
        operator.adjoint(&y, &mut x);
    }
    sigma
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2x3 matrix, with a fault to be found on demand.
    struct Matrix {
        wrong_adjoint: bool,
        bound: f32,
    }
    const M: [[f32; 3]; 2] = [[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]];

    impl LinearOperator for Matrix {
        fn domain(&self) -> &[usize] {
            &[3]
        }
        fn range(&self) -> &[usize] {
            &[2]
        }
        fn forward(&self, x: &[f32], y: &mut [f32]) {
            for (y, row) in y.iter_mut().zip(M) {
                *y = row.iter().zip(x).map(|(m, x)| m * x).sum();
            }
        }
        fn adjoint(&self, y: &[f32], x: &mut [f32]) {
            for (c, x) in x.iter_mut().enumerate() {
                let c = if self.wrong_adjoint { 2 - c } else { c };
                *x = M[0][c] * y[0] + M[1][c] * y[1];
            }
        }
        fn norm_bound(&self) -> f32 {
            self.bound
        }
    }

    #[test]
    fn a_right_operator_passes_and_wrong_ones_do_not() {
        // ‖M‖₂² is the larger eigenvalue of M Mᵀ = [[5, −2], [−2, 10]], (15 + √41) / 2.
        let bound = f32::sqrt((15.0 + 41f32.sqrt()) / 2.0);
        assert!(check_operator(&Matrix { wrong_adjoint: false, bound }, 8).passes());
        assert!(!check_operator(&Matrix { wrong_adjoint: true, bound }, 8).passes());
        assert!(!check_operator(&Matrix { wrong_adjoint: false, bound: 0.9 * bound }, 8).passes());
        let sigma = largest_singular_value(&Matrix { wrong_adjoint: false, bound }, 100);
        assert!((sigma - f64::from(bound)).abs() < 1e-5);
    }
}
