//! Procedural hyperspectral scenes with measured-reflectance statistics, and RGB photographs lifted to spectra.
//!
//! A [`SceneRecipe`] (kind, seed, size) renders to a cube on any wavelength grid: objects with outlines, textures,
//! shading, highlights and shadows, whose spectra are drawn from a model of 2,327 measured reflectances
//! ([`Reflectance`]), under a lamp. [`Lift`] turns a photograph into a cube whose rendering under daylight is that
//! photograph again. Everything follows from seeds, and threads change nothing. `docs/scenes.md` describes the kinds of
//! scenes.
//!
//! ```
//! use cassi_core::Wavelengths;
//! use cassi_scene::{Kind, SceneRecipe};
//! let cube = SceneRecipe::new(Kind::StillLife, 7).with_size(48, 64).render(&Wavelengths::benchmark());
//! assert_eq!(cube.shape(), [28, 48, 64]);
//! assert!(cube.as_slice().iter().all(|v| (0.0..=1.0).contains(v)));
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone

mod compose;
mod lift;
mod noise;
mod paint;
mod photograph;
mod recipe;
mod reflectance;
mod shape;
mod texture;

pub use lift::Lift;
pub use photograph::middle_square;
pub use recipe::{Kind, SceneRecipe, UnknownKind};
pub use reflectance::Reflectance;
