//! The redistribution `sign(k·x + b)` as two thresholds a channel.
//!
//! In f32, `k·x + b` (rounded after the product and after the sum) never decreases in x where k > 0, so its sign is
//! decided by comparing x with two numbers found once, by bisection over all floats: no multiplication, no addition
//! and no rounding is left where signs are taken. A channel with k < 0 takes the opposite sign of `−k·x − b`, and its
//! weights change their sign instead.

use std::ops::Range;

use crate::kernels::Pack;

/// When a value counts as positive and when as negative, a pair of thresholds a channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SignRule {
    /// Positive where `x > above`.
    pub(super) above: Vec<f32>,
    /// Negative unless `x > below`; zero between the two.
    pub(super) below: Vec<f32>,
    /// The widest interval of zeros, as [`Pack::widest`] has it.
    pub(super) widest: f32,
    /// Channels whose sign is the opposite of that.
    pub(super) flipped: Vec<bool>,
}

impl SignRule {
    /// Of `sign(factor·x + summand)`.
    pub(super) fn new(factor: &[f32], summand: &[f32]) -> Self {
        let flipped: Vec<bool> = factor.iter().map(|&k| k < 0.0).collect();
        let rule = |(&k, &b): (&f32, &f32)| if k < 0.0 { thresholds(-k, -b) } else { thresholds(k, b) };
        let (above, below): (Vec<f32>, Vec<f32>) = factor.iter().zip(summand).map(rule).unzip();
        let widest = Pack::widest(&above, &below);
        Self { above, below, widest, flipped }
    }

    /// Of these channels alone.
    pub(super) fn part(&self, channels: Range<usize>) -> Self {
        let (above, below) = (self.above[channels.clone()].to_vec(), self.below[channels.clone()].to_vec());
        let widest = Pack::widest(&above, &below);
        Self { above, below, widest, flipped: self.flipped[channels].to_vec() }
    }
}

/// The largest x with `k·x + b ≤ 0` and the largest with `k·x + b < 0`, for k ≥ 0. Zeros are never −0: kernels may
/// take the sign of a difference to a threshold.
fn thresholds(k: f32, b: f32) -> (f32, f32) {
    if k == 0.0 {
        return match b {
            b if b > 0.0 => (f32::NEG_INFINITY, f32::NEG_INFINITY),
            b if b < 0.0 => (f32::INFINITY, f32::INFINITY),
            _ => (f32::INFINITY, f32::NEG_INFINITY),
        };
    }
    // The place of the first float, in ascending order, for which `test` holds; it does for +∞.
    let first = |test: fn(f32) -> bool| {
        let (mut low, mut high) = (place(f32::NEG_INFINITY), place(f32::INFINITY));
        while low < high {
            let middle = low + (high - low) / 2;
            if test(float(middle) * k + b) { high = middle } else { low = middle + 1 }
        }
        low
    };
    (float(first(|v| v > 0.0) - 1), float(first(|v| v >= 0.0) - 1))
}

/// Floats in ascending order, numbered.
fn place(x: f32) -> i64 {
    let bits = i64::from(x.to_bits() & 0x7FFF_FFFF);
    if x.is_sign_negative() { -bits } else { bits }
}

fn float(place: i64) -> f32 {
    let magnitude = f32::from_bits(place.unsigned_abs() as u32);
    if place < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sign_by_rule(rule: &SignRule, x: f32) -> i32 {
        let sign = i32::from(x > rule.above[0]) - i32::from(x <= rule.below[0]);
        if rule.flipped[0] { -sign } else { sign }
    }

    fn sign_by_formula(k: f32, b: f32, x: f32) -> i32 {
        let v = x * k + b;
        i32::from(v > 0.0) - i32::from(v < 0.0)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// At random and at the floats around the edge, where rounding decides.
        #[test]
        fn thresholds_decide_as_the_formula(
            k in prop_oneof![Just(0.0), Just(1.0), Just(-1.0), -2f32..2.0, -1e-7f32..1e-7, -1e30f32..1e30],
            b in prop_oneof![Just(0.0), -1f32..1.0, -1e-7f32..1e-7],
            x in -4f32..4.0,
        ) {
            let rule = SignRule::new(&[k], &[b]);
            let mut tried = vec![x, 0.0, -0.0, f32::MAX, f32::MIN];
            for edge in [rule.above[0], rule.below[0], -b / k] {
                if edge.is_finite() {
                    tried.extend((-3..=3).map(|d| float(place(edge) + d)));
                }
            }
            for x in tried.into_iter().filter(|x| x.is_finite()) {
                prop_assert_eq!(sign_by_rule(&rule, x), sign_by_formula(k, b, x), "sign({}·{} + {})", k, x, b);
            }
        }
    }

    #[test]
    fn zero_is_its_own_case() {
        let rule = SignRule::new(&[1.0, 0.0], &[0.0, 0.0]);
        assert_eq!((rule.above[0], rule.below[0]), (0.0, -f32::from_bits(1)));
        assert_eq!((rule.above[1], rule.below[1]), (f32::INFINITY, f32::NEG_INFINITY));
    }
}
