//! Time, samples and loss between two progress reports.

use std::time::Instant;

use super::Event;

/// Seconds between progress reports.
const REPORT_SECONDS: f64 = 10.0;

/// Time and loss between two reports.
pub(super) struct Meter {
    before: f64,
    start: Instant,
    last: Instant,
    last_step_count: u64,
    pub(super) samples: u64,
    drawing: f64,
    pub(super) loss: f64,
    pub(super) losses: u64,
}

impl Meter {
    pub(super) fn new(before: f64) -> Self {
        let now = Instant::now();
        Self {
            before,
            start: now,
            last: now,
            last_step_count: 0,
            samples: 0,
            drawing: 0.0,
            loss: 0.0,
            losses: 0,
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    pub(super) fn drawn(&mut self, since: Instant) {
        self.drawing += since.elapsed().as_secs_f64();
        self.last_step_count += 1;
    }

    pub(super) fn due(&self, ended: bool) -> bool {
        ended || self.last.elapsed().as_secs_f64() >= REPORT_SECONDS
    }

    pub(super) fn report(&mut self, step: u64, steps: u64, rate: f64, left: f64) -> Event {
        let seconds = self.last.elapsed().as_secs_f64().max(1e-9);
        let event = Event::Progress {
            step,
            steps,
            loss: self.loss / self.losses.max(1) as f64,
            rate,
            samples_per_second: self.samples as f64 / seconds,
            data_share: self.drawing / seconds,
            seconds_left: left * seconds / self.last_step_count.max(1) as f64,
        };
        (self.last, self.last_step_count, self.samples) = (Instant::now(), 0, 0);
        (self.drawing, self.loss, self.losses) = (0.0, 0.0, 0);
        event
    }
}
