//! Classical reconstruction of coded snapshots: GAP-TV over any linear operator.
//!
//! [`GapTv`] implements [`cassi_core::Reconstructor`]. Any [`cassi_core::LinearOperator`] over a cube
//! `[band, row, column]` will do; one that is a coded shear (`as_coded_shear`) is run through fused passes that give
//! the same result faster. The defaults need no tuning: they were chosen once, on training scenes.
//!
//! ```
//! use cassi_core::{LinearOperator, Mask, NoiseLevel, Problem, Reconstructor, Silent, Snapshot};
//! use cassi_optics::{SdCassi, builtin};
//! use cassi_solvers::GapTv;
//! use ndarray::{Array2, Array3};
//!
//! // A grey square before a dark ground, 28 bands, through a chequered mask.
//! let instrument = builtin("standard").unwrap();
//! let mask = Mask::new(Array2::from_shape_fn((16, 16), |(r, c)| ((r + c) % 2) as f32))?;
//! let camera = SdCassi::for_instrument(&instrument, &mask);
//! let scene = Array3::from_shape_fn((28, 16, 16), |(_, r, c)| if (4..12).contains(&r) && c > 7 { 0.5 } else { 0.1 });
//! let mut y = Array2::zeros((16, 16 + 2 * 27));
//! camera.forward(scene.as_slice().unwrap(), y.as_slice_mut().unwrap());
//!
//! let snapshot = Snapshot::new(y)?;
//! let problem = Problem {
//!     snapshot: &snapshot,
//!     instrument: &instrument,
//!     operator: Some(&camera),
//!     mask: Some(&mask),
//!     noise: NoiseLevel::Known(0.0),
//!     warm_start: None,
//! };
//! let result = GapTv::from_settings(&[("iterations".into(), "30".into())])?.reconstruct(&problem, &mut Silent)?;
//! assert_eq!(result.cube.shape(), [28, 16, 16]);
//! assert!(result.residual.unwrap() < 0.05); // ‖y − A x‖ / ‖y‖
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone

mod gap_tv;
mod gram;
mod joint;
mod kernels;
mod noise;
mod settings;
mod spectra;
mod tv;

pub use gap_tv::{GapTv, Subspace, Weight};
pub use kernels::kernel_name;
pub use spectra::{DEFAULT_RANK, RANK as LARGEST_RANK};
pub use tv::tv_denoise;
