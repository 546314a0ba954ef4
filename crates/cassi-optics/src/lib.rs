//! CASSI instruments: what lies between a scene and a snapshot.
//!
//! An instrument is a TOML description ([`parse_instrument`], [`builtin`]). With a mask ([`mask`]) it makes an exact
//! linear operator, [`SdCassi`], with its exact adjoint; [`detector`] adds noise, [`simulate`] does all of it in one
//! call. [`network_input`] derives what networks take, [`recognise_mask`] tells what a mask file holds, and [`explain`]
//! says which voxels reach a detector pixel. Files are opened elsewhere: everything here takes text and values.
//!
//! ```
//! use cassi_core::{Cube, LinearOperator};
//! use cassi_optics::{SdCassi, builtin, mask::shipped, simulate};
//! let camera = builtin("standard").unwrap();
//! let mask = shipped("cassi256")?;
//! assert_eq!(SdCassi::for_instrument(&camera, &mask).range(), [256, 310]);
//!
//! let scene = Cube::zeros([28, 256, 256], camera.wavelengths_nm.clone());
//! let simulation = simulate(&scene, &camera, &mask, camera.camera.noise, 7)?;
//! assert_eq!(simulation.snapshot.shape(), [256, 310]);
//! # Ok::<(), cassi_optics::OpticsError>(())
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone

#[cfg(test)]
mod catalogue;
mod convention;
pub mod detector;
mod error;
pub mod explain;
mod input;
mod instrument;
mod kernels;
pub mod mask;
mod operator;
mod simulate;

pub use convention::{MaskConvention, RecognisedMask, recognise_mask};
pub use error::OpticsError;
pub use input::{check_fit, network_input};
pub use instrument::{builtin, builtin_names, parse_instrument, to_toml};
pub use operator::SdCassi;
pub use simulate::{Simulation, simulate};
