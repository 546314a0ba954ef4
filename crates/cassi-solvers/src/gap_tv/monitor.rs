//! What is told of a run: trace, observer, stopping rules, notes.

use std::time::Duration;

use cassi_core::check::dot;
use cassi_core::{Control, Cube, Observer, Progress, Reconstruction, TracePoint};
use ndarray::ArrayView3;

pub(crate) struct Monitor<'a> {
    observer: &'a mut dyn Observer,
    iterations: usize,
    tolerance: f64,
    snapshot_norm: f64,
    trace: Vec<TracePoint>,
    notes: Vec<String>,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(
        observer: &'a mut dyn Observer,
        iterations: usize,
        tolerance: f64,
        snapshot: &[f32],
    ) -> Self {
        let snapshot_norm = dot(snapshot, snapshot).sqrt();
        Self { observer, iterations, tolerance, snapshot_norm, trace: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn wants_estimate(&self) -> bool {
        self.observer.wants_estimate()
    }

    /// Takes down one step: the misfit `‖y − A x‖` after it, and `‖x − x_before‖²` with `‖x‖²`. Says whether to stop.
    pub(crate) fn step(
        &mut self,
        misfit: f64,
        [moved, energy]: [f64; 2],
        estimate: Option<ArrayView3<'_, f32>>,
    ) -> bool {
        let iteration = self.trace.len() + 1;
        let residual = Some(if self.snapshot_norm > 0.0 { misfit / self.snapshot_norm } else { 0.0 });
        let change = if energy > 0.0 { (moved / energy).sqrt() } else { 0.0 };
        self.trace.push(TracePoint { iteration, residual, objective: None, change: Some(change) });
        let progress = Progress {
            iteration,
            iterations: self.iterations,
            residual,
            objective: None,
            change: Some(change),
            estimate,
        };
        let stopped = self.observer.observe(&progress) == Control::Stop;
        let settled = self.tolerance > 0.0 && change < self.tolerance;
        if iteration < self.iterations {
            if stopped {
                self.notes.push(format!("stopped by the observer after {iteration} iterations"));
            } else if settled {
                self.notes.push(format!(
                    "stopped after {iteration} iterations: a step changed less than tolerance"
                ));
            }
        }
        stopped || settled
    }

    pub(crate) fn finish(self, cube: Cube, elapsed: Duration) -> Reconstruction {
        Reconstruction {
            cube,
            standard_deviation: None,
            samples: Vec::new(),
            iterations: self.trace.len(),
            residual: self.trace.last().and_then(|point| point.residual),
            trace: self.trace,
            elapsed,
            notes: self.notes,
        }
    }
}
