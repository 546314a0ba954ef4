//! The vocabulary of coded-aperture snapshot spectral imaging (CASSI).
//!
//! A scene is a [`Cube`] `[band, row, column]` of relative radiance in [0, 1] with its [`Wavelengths`] in nm; a
//! camera with a coded [`Mask`] and a disperser turns it into one [`Snapshot`] `[row, column]`. What maps one to
//! the other is a [`LinearOperator`] with an exact adjoint; what goes back is a [`Reconstructor`], which reads a
//! [`Problem`] and reports to an [`Observer`]. All arrays are `f32` in C order.
//!
//! This crate holds data, traits and what every other crate shares: geometry ([`shear`]), metrics with their
//! convention in the name ([`metrics`]), colour ([`colour`]), counter-based random numbers ([`random`]) and the
//! check every operator must pass ([`check`]). It never opens a file and knows no solver, network or command.
//!
//! ```
//! use cassi_core::{Cube, Wavelengths, shear};
//! let cube = Cube::zeros([28, 256, 256], Wavelengths::benchmark());
//! assert_eq!(shear::sheared_columns(cube.columns(), cube.bands(), 2), 310);
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone

pub mod card;
pub mod check;
pub mod colour;
mod cube;
mod error;
mod image2d;
mod instrument;
pub mod metrics;
mod operator;
pub mod random;
mod reconstruct;
pub mod shear;
mod tensors;
mod wavelengths;

pub use cube::Cube;
pub use error::ShapeError;
pub use image2d::{Mask, Snapshot};
pub use instrument::{
    Camera, Dispersion, InputConvention, InstrumentDescription, InstrumentError, NoiseModel, SceneSize,
};
pub use operator::{CodedShear, LinearOperator, elements};
pub use reconstruct::{
    Control, Family, MethodCard, NoiseLevel, Observer, Parameter, Problem, Progress, ReconstructError,
    Reconstruction, Reconstructor, Silent, TracePoint, refinement, takes_snapshots,
};
pub use tensors::{NamedTensors, Tensor};
pub use wavelengths::{Wavelengths, WavelengthsError};
