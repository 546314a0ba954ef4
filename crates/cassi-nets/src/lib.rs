//! CASSI networks on libtorch: architectures, training, CUDA and conformance.
//!
//! Everything here needs feature `torch` (see `scripts/setup-libtorch.sh`); without it the crate is empty, so that a
//! default build of the workspace links no libtorch.
#![cfg(feature = "torch")]

pub mod arch;
pub mod device;
mod error;
pub mod train;
pub mod weights;

pub use error::{NetsError, WeightsMismatch};
