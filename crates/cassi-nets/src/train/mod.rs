//! Training networks: `cassi train`.
//!
//! Scenes and masks lie packed in the memory of the training device ([`data`]); each step draws its batch there, so
//! that nothing waits for a disk. Gradients come from data-parallel workers, one flat Adam step follows, and
//! everything needed to go on after a kill is in one file.

mod checkpoint;
mod config;
pub mod data;
mod error;
mod log;
mod loss;
mod optimiser;
mod picture;
mod run;
mod sample;
pub mod validate;
mod workers;

pub use config::{
    Augmentation, BinomialNoise, Crop, DataSource, Loss, LossKind, MaskSource, MaskUse, Noise, Optimiser,
    Precision, Schedule, ScheduleKind, Stage, Storage, TrainConfig, Validation, expand,
};
pub use error::TrainError;
pub use run::{Event, RunOptions, TrainReport, run};
pub use validate::SceneScore;

/// What a panic said. libtorch's errors come as panics out of `tch`.
pub(crate) fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a panic without a message".into())
}
