//! CASSI networks on libtorch: architectures, training, CUDA and conformance.
//!
//! Everything here needs feature `torch` (see `scripts/setup-libtorch.sh`); without it the crate is empty, so that a
//! default build of the workspace links no libtorch.
//!
//! ```no_run
//! # #[cfg(feature = "torch")] {
//! use cassi_nets::arch::{Layout, Options, build};
//! use tch::{Device, Kind, Tensor, nn};
//! let store = nn::VarStore::new(Device::Cpu);
//! let network = build("mst-pp", &Options::new(Layout::Standard), &store.root()).expect("a network of that name");
//! let features = Tensor::rand([1, 28, 32, 32], (Kind::Float, Device::Cpu));
//! let mask = Tensor::rand([1, 28, 32, 32], (Kind::Float, Device::Cpu));
//! assert_eq!(network.forward(&features, Some(&mask), false).size(), [1, 28, 32, 32]);
//! # }
//! ```
#![cfg(feature = "torch")]

pub mod arch;
pub mod device;
mod error;
pub mod train;
pub mod weights;

pub use error::{NetsError, WeightsMismatch};
