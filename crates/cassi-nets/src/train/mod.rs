//! Training networks: `cassi train`.
//!
//! Scenes and masks lie packed in the memory of the training device, or a window of them does ([`data`]); each step
//! draws its batch there, so that nothing waits for a disk. Gradients come from data-parallel workers, one flat Adam step follows, and
//! everything needed to go on after a kill is in one file.

mod checkpoint;
mod config;
pub mod data;
mod error;
pub mod first;
mod log;
mod loss;
mod meter;
mod optimiser;
mod picture;
mod report;
mod run;
mod sample;
mod schedule;
pub mod validate;
mod workers;

pub use config::{
    Augmentation, Binarise, BinomialNoise, Crop, DataSource, Loss, LossKind, MaskSource, MaskUse, Noise,
    Optimiser, Precision, Stage, Storage, TrainConfig, Validation, expand,
};
pub use error::TrainError;
pub use report::{Event, RunOptions, TrainReport};
pub use run::run;
pub use schedule::{Schedule, ScheduleKind};
pub use validate::SceneScore;

/// What a panic said. libtorch's errors come as panics out of `tch`.
pub(crate) fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a panic without a message".into())
}
