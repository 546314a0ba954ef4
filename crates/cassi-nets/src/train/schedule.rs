//! The learning rate over the steps.

use serde::{Deserialize, Serialize};

/// Learning rate over the steps, after a linear warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Its form.
    pub kind: ScheduleKind,
    /// Steps of linear warm-up.
    pub warm_up: u64,
    /// Cosine: the rate at the end, relative to the top.
    pub last: f64,
    /// Halving: every so many steps.
    pub every: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { kind: ScheduleKind::Cosine, warm_up: 0, last: 0.0, every: 50_000 }
    }
}

/// Forms of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// The same throughout.
    Constant,
    /// Half a cosine from top to end.
    Cosine,
    /// Halved at regular intervals.
    Halving,
}

impl Schedule {
    /// The learning rate relative to the top at `step` of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        if step < self.warm_up {
            return (step + 1) as f64 / self.warm_up as f64;
        }
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Halving => 0.5f64.powi((step / self.every.max(1)) as i32),
            ScheduleKind::Cosine => {
                let span = steps.saturating_sub(self.warm_up).max(1) as f64;
                let done = ((step - self.warm_up) as f64 / span).min(1.0);
                self.last + (1.0 - self.last) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule { kind, warm_up: 4, last: 0.1, every: 10 }
    }

    #[test]
    fn every_form_by_hand() {
        for kind in [ScheduleKind::Constant, ScheduleKind::Cosine, ScheduleKind::Halving] {
            let rates = [0, 1, 3].map(|step| schedule(kind).at(step, 24));
            assert_eq!(rates, [0.25, 0.5, 1.0], "warm-up of {kind:?}");
        }
        assert_eq!([4, 23].map(|step| schedule(ScheduleKind::Constant).at(step, 24)), [1.0, 1.0]);
        assert_eq!([9, 10, 20].map(|step| schedule(ScheduleKind::Halving).at(step, 24)), [1.0, 0.5, 0.25]);
        // Twenty steps of half a cosine from 1 to 0.1: at the quarter, (1 + cos 45 degrees) / 2 of the way is left.
        let expected = [1.0, 0.1 + 0.9 * 0.5 * (1.0 + 0.5f64.sqrt()), 0.55, 0.1, 0.1];
        for (step, expected) in [4, 9, 14, 24, 30].into_iter().zip(expected) {
            let found = schedule(ScheduleKind::Cosine).at(step, 24);
            assert!((found - expected).abs() < 1e-12, "step {step}: {found}, expected {expected}");
        }
    }
}
