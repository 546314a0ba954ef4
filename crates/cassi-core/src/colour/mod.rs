//! From spectra to colours on a screen: CIE 1931 observer, named illuminants, sRGB.
//!
//! A [`Renderer`] belongs to one wavelength grid, one [`Illuminant`] and one treatment of [`White`]. It takes the cube
//! for reflectance, lights it, integrates against the observer and gives linear sRGB or 8-bit pictures
//! `[row, column, 3]`. A cube that already is radiance is rendered with [`Illuminant::E`], which multiplies by 1.
//! Between band centres spectra are taken to be straight lines, beyond the first and the last constant; the weights of
//! the bands are the exact integrals of that, so unequal spacing and line spectra of lamps are respected.
//!
//! ```
//! use cassi_core::{Cube, Wavelengths, colour::{Illuminant, Renderer, White}};
//! let grid = Wavelengths::benchmark();
//! let mut cube = Cube::zeros([28, 4, 6], grid.clone());
//! cube.as_mut_slice().fill(0.5);
//! let picture = Renderer::new(&grid, Illuminant::D65, White::D65).render(&cube)?;
//! assert_eq!(picture.shape(), [4, 6, 3]);
//! assert_eq!(picture[[0, 0, 0]], 188); // 0.5 in linear light
//! # Ok::<(), cassi_core::ShapeError>(())
//! ```

mod false_colour;
mod renderer;
mod srgb;
mod tables;

pub use false_colour::wavelength_to_rgb;
pub use renderer::{Renderer, White};
pub use srgb::{decode_srgb, encode_srgb, encode_srgb_u8};
pub use tables::{Illuminant, Patch, UnknownIlluminant, colorchecker, observer};
