//! Trained CASSI networks on the CPU without libtorch: binary layers on real bits, fused float kernels.
//!
//! [`binary`] runs BiSRNet and the seven binarized baselines of its toolbox on packed bits. It takes named tensors
//! as values or the bytes of a packed `.cbin` file, never a path, and gives the same integer sums on every CPU path
//! and thread count. [`kernels`] holds the convolutions, chosen at run time. [`float`] runs MST-S/M/L and MST++ on
//! fused float kernels.
//!
//! ```
//! use cassi_infer::binary::{BinaryNetwork, Input, Layout, Method, Workspace, rule_weights};
//! let weights = rule_weights(Method::BiSrNet);
//! let network = BinaryNetwork::from_tensors(&weights, Method::BiSrNet, Layout::Standard)?;
//! let (rows, columns) = (16, 20);
//! let (features, mask) = (vec![0.5; 28 * rows * columns], vec![1.0; rows * columns]);
//! let mut cube = vec![0.0; 28 * rows * columns];
//! let input = Input::Standard { features: &features, mask: &mask, rows, columns };
//! network.run(input, &mut Workspace::default(), &mut cube)?;
//! assert!(cube.iter().all(|v| v.is_finite()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone

pub mod binary;
mod error;
pub mod float;
pub mod kernels;

pub use error::{RunError, WeightsError};
