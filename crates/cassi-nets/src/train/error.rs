//! What can go wrong in a training.

use std::path::PathBuf;

use crate::NetsError;

/// Why a training could not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration says something impossible.
    #[error("{origin}: {reason}")]
    Config {
        /// The file, or the value at fault.
        origin: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A data source holds nothing that can be used.
    #[error("{path}: {reason}")]
    Data {
        /// The source.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The loss is no number any more.
    #[error(
        "the loss is {loss} at step {step} (the batch of seed {seed}, index {step}); the last good state is \
         {checkpoint}; lower optimiser.rate or set optimiser.clip, and resume"
    )]
    NotFinite {
        /// The first step whose loss is not finite; its batch can be drawn again from seed and step.
        step: u64,
        /// The seed.
        seed: u64,
        /// The loss.
        loss: f64,
        /// Where the last good state lies, in words.
        checkpoint: String,
    },
    /// The device ran out of memory.
    #[error(
        "no memory left on the device for {samples} samples of {rows} x {columns} at once; set `part = {fits}` in the \
         stage (the batch stays, its gradient is summed over parts), or a smaller crop"
    )]
    Memory {
        /// Samples at once.
        samples: usize,
        /// Their rows.
        rows: usize,
        /// Their columns.
        columns: usize,
        /// A number worth trying.
        fits: usize,
    },
    /// A checkpoint of another training.
    #[error("{path}: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Something is wrong with the network or the device.
    #[error(transparent)]
    Nets(#[from] NetsError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] cassi_io::IoError),
    /// An instrument or a mask does not fit.
    #[error(transparent)]
    Optics(#[from] cassi_optics::OpticsError),
}
