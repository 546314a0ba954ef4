//! How a training is run beside its configuration, what it tells on the way, and what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::validate::SceneScore;

/// What does not change what is learnt.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// `cpu`, `cuda` or `cuda:INDEX`.
    pub device: String,
    /// CPU threads; 0 takes all cores. On the CPU every thread is a worker with a part of the batch.
    pub threads: usize,
    /// Start from these weights instead of random ones.
    pub continue_from: Option<PathBuf>,
    /// The command as it was given, for the card.
    pub command: String,
    /// Raised from outside, it ends the training after the step with a checkpoint.
    pub interrupt: Arc<AtomicBool>,
    /// Stop as a kill would after so many steps in all: nothing more is written.
    pub die_at: Option<u64>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            device: "cpu".into(),
            threads: 0,
            continue_from: None,
            command: String::new(),
            interrupt: Arc::default(),
            die_at: None,
        }
    }
}

/// What happens during a training.
#[derive(Debug, Clone)]
pub enum Event {
    /// A line worth showing once.
    Note(String),
    /// Every few seconds.
    Progress {
        /// Steps done.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Mean loss since the last report.
        loss: f64,
        /// Learning rate.
        rate: f64,
        /// Samples a second since the last report.
        samples_per_second: f64,
        /// Share of the time that drawing batches took, 0 to 1.
        data_share: f64,
        /// Seconds to the end at this pace.
        seconds_left: f64,
    },
    /// After a validation of the averaged weights.
    Validation {
        /// Steps done.
        step: u64,
        /// Scene by scene.
        scores: Vec<SceneScore>,
        /// Whether it is the best so far.
        best: bool,
    },
    /// A state from which the training can go on.
    Checkpoint {
        /// The file.
        path: PathBuf,
    },
}

/// What came of a training.
#[derive(Debug, Clone)]
pub struct TrainReport {
    /// Steps done.
    pub steps: u64,
    /// Whether all steps are done (or time or patience ran out), so that resuming would add nothing.
    pub finished: bool,
    /// Seconds in all.
    pub seconds: f64,
    /// Samples seen.
    pub samples: u64,
    /// The weights.
    pub weights: PathBuf,
    /// Their card.
    pub card: PathBuf,
    /// The last validation.
    pub scores: Vec<SceneScore>,
}
