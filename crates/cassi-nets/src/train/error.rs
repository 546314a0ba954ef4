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
    #[error("no memory left on the device for {samples} samples of {rows} x {columns} at once; {}", advice(*.fits))]
    Memory {
        /// Samples at once.
        samples: usize,
        /// Their rows.
        rows: usize,
        /// Their columns.
        columns: usize,
        /// So many fit: it was tried.
        fits: Option<usize>,
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

/// What libtorch says when memory is short: CUDA, its CPU allocator, the C++ library.
const OUT_OF_MEMORY: [&str; 3] = ["out of memory", "can't allocate memory", "bad_alloc"];

impl TrainError {
    /// If `message` says that memory was short for so many samples: the error, after halves of them were tried.
    pub(super) fn memory(
        message: &str,
        samples: usize,
        [rows, columns]: [usize; 2],
        fits: impl Fn(usize) -> bool,
    ) -> Option<Self> {
        if !OUT_OF_MEMORY.iter().any(|words| message.contains(words)) {
            return None;
        }
        let mut part = samples / 2;
        while part > 0 && !fits(part) {
            part /= 2;
        }
        Some(Self::Memory { samples, rows, columns, fits: (part > 0).then_some(part) })
    }
}

fn advice(fits: Option<usize>) -> String {
    match fits {
        Some(part) => format!(
            "{part} fit: set `part = {part}` in the stage (the batch stays, its gradient is summed over parts)"
        ),
        None => "not even one fits: set a smaller `crop` in the stage".into(),
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn too_little_memory_is_told_from_what_libtorch_says() {
        let panic = std::panic::catch_unwind(|| Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu)));
        let message = crate::train::panic_message(panic.expect_err("more than any machine has"));
        let error = |fits: &dyn Fn(usize) -> bool| TrainError::memory(&message, 16, [96, 64], fits);
        let fits = error(&|part| part <= 3).expect("it is about memory").to_string();
        assert!(fits.contains("16 samples of 96 x 64") && fits.contains("set `part = 2`"), "{fits}");
        let nothing = error(&|_| false).expect("it is about memory").to_string();
        assert!(nothing.contains("not even one fits") && nothing.contains("crop"), "{nothing}");
        assert!(TrainError::memory("shapes do not match", 16, [96, 64], |_| true).is_none());
    }
}
