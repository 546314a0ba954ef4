//! CASSI instruments: masks, dispersion, exact operators and detectors.
//!
//! ```
//! use cassi_core::{LinearOperator, Mask};
//! use cassi_optics::{SdCassi, builtin};
//! let instrument = builtin("standard").unwrap();
//! let mask = Mask::new(ndarray::Array2::from_elem((8, 8), 0.5))?;
//! let camera = SdCassi::for_instrument(&instrument, &mask);
//! assert_eq!(camera.range(), [8, 62]);
//! # Ok::<(), cassi_core::ShapeError>(())
//! ```

mod error;
mod instrument;
mod kernels;
pub mod mask;
mod operator;

pub use error::OpticsError;
pub use instrument::{builtin, builtin_names, parse_instrument, to_toml};
pub use operator::SdCassi;
