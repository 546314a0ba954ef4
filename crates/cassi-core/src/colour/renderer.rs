//! Cubes to pictures: one 3-by-bands matrix made once, applied to every pixel.

use ndarray::Array3;
use rayon::prelude::*;

use super::{
    Illuminant, encode_srgb_u8,
    srgb::{D65_WHITE, apply, bradford, multiply, xyz_to_rgb},
    tables::{FIRST_NM, LAST_NM, observer},
};
use crate::{Cube, ShapeError, Wavelengths};

/// What becomes of the light's own colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum White {
    /// A perfect reflector is shown as the screen's white (D65), by Bradford adaptation: what an adapted eye sees.
    #[default]
    D65,
    /// A perfect reflector is shown in the colour of the light, at luminance 1: what an unadapted camera records.
    Unadapted,
}

/// Renders cubes on one wavelength grid under one illuminant to sRGB.
///
/// At exposure 1 a perfect reflector has luminance 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Renderer {
    wavelengths: Wavelengths,
    illuminant: Illuminant,
    white: White,
    exposure: f64,
    /// `[band][channel]`, exposure left out.
    weights: Vec<[f64; 3]>,
}

/// XYZ weight of each band: the integral of light times observer times the band's share of a spectrum that is linear
/// between band centres and constant beyond them. The tables are linear between multiples of 5 nm, so steps of 1 nm
/// leave an error far below 8 bits.
fn xyz_weights(wavelengths: &Wavelengths, illuminant: Illuminant) -> Vec<[f64; 3]> {
    let steps = (LAST_NM - FIRST_NM) as usize + 1;
    let fine = Wavelengths::linspace(FIRST_NM, LAST_NM, steps);
    let mut weights = vec![[0.0; 3]; wavelengths.len()];
    for ((low, above), &nm) in wavelengths.interpolation_onto(&fine).into_iter().zip(fine.nm()) {
        let power = illuminant.power(nm);
        for (channel, response) in observer(nm).into_iter().enumerate() {
            weights[low][channel] += power * response * (1.0 - above);
            weights[(low + 1).min(wavelengths.len() - 1)][channel] += power * response * above;
        }
    }
    weights
}

impl Renderer {
    /// Prepares the rendering of cubes on these bands as reflectance under this light ([`Illuminant::E`]: as
    /// radiance).
    pub fn new(wavelengths: &Wavelengths, illuminant: Illuminant, white: White) -> Self {
        let mut weights = xyz_weights(wavelengths, illuminant);
        let sum: [f64; 3] = std::array::from_fn(|i| weights.iter().map(|w| w[i]).sum());
        let source = sum.map(|v| v / sum[1]);
        let matrix = match white {
            White::D65 => multiply(&xyz_to_rgb(), &bradford(source, D65_WHITE)),
            White::Unadapted => xyz_to_rgb(),
        };
        for weight in &mut weights {
            *weight = apply(&matrix, weight.map(|v| v / sum[1]));
        }
        Self { wavelengths: wavelengths.clone(), illuminant, white, exposure: 1.0, weights }
    }

    /// Daylight on screen white: the usual choice.
    pub fn daylight(wavelengths: &Wavelengths) -> Self {
        Self::new(wavelengths, Illuminant::D65, White::D65)
    }

    /// The same with all values multiplied by `exposure` first.
    pub fn with_exposure(mut self, exposure: f64) -> Self {
        self.exposure = exposure;
        self
    }

    /// The exposure that makes the pixel at the 99.5th percentile of brightness (its strongest channel) just full;
    /// 1 for a black cube. Meant for estimates and measured cubes of arbitrary scale.
    ///
    /// # Errors
    /// If the cube is not on this grid.
    pub fn auto_exposure(&self, cube: &Cube) -> Result<f64, ShapeError> {
        let linear = self.linear(cube)?;
        let mut peaks: Vec<f32> = (linear.as_slice().expect("C order"))
            .chunks_exact(3)
            .map(|rgb| rgb.iter().fold(0.0, |a: f32, &b| a.max(b)))
            .collect();
        let at = (peaks.len() - 1) * 995 / 1000;
        let peak = f64::from(*peaks.select_nth_unstable_by(at, f32::total_cmp).1);
        Ok(if peak > 0.0 { self.exposure / peak } else { 1.0 })
    }

    /// The band centres.
    pub fn wavelengths(&self) -> &Wavelengths {
        &self.wavelengths
    }

    /// The linear map from a spectrum to linear sRGB, `[band][channel]`, at the exposure set.
    pub fn weights(&self) -> Vec<[f64; 3]> {
        self.weights.iter().map(|w| w.map(|v| v * self.exposure)).collect()
    }

    /// What was done, in words for a caption, e.g. `CIE 1931, illuminant D65, white D65 (Bradford)`.
    pub fn describe(&self) -> String {
        let white = match self.white {
            White::D65 => "white D65 (Bradford)",
            White::Unadapted => "not adapted",
        };
        format!("CIE 1931, illuminant {}, {white}", self.illuminant)
    }

    /// Linear sRGB of one spectrum, neither clipped nor encoded.
    ///
    /// # Panics
    /// If the spectrum has another number of bands.
    pub fn spectrum(&self, spectrum: &[f32]) -> [f64; 3] {
        assert_eq!(spectrum.len(), self.weights.len(), "one value a band");
        let mut rgb = [0.0; 3];
        for (&value, weight) in spectrum.iter().zip(&self.weights) {
            for (channel, w) in rgb.iter_mut().zip(weight) {
                *channel += f64::from(value) * w * self.exposure;
            }
        }
        rgb
    }

    /// Linear sRGB `[row, column, channel]`, neither clipped nor encoded.
    ///
    /// # Errors
    /// If the cube is not on this grid.
    pub fn linear(&self, cube: &Cube) -> Result<Array3<f32>, ShapeError> {
        if !cube.wavelengths().matches(&self.wavelengths, 1e-6) {
            return Err(ShapeError {
                what: "cube to render",
                found: cube.shape().to_vec(),
                expected: format!("the {} band centres the renderer was made for", self.wavelengths.len()),
                axes: "(band, row, column)",
            });
        }
        let [_, rows, columns] = cube.shape();
        let mut picture = Array3::<f32>::zeros((rows, columns, 3));
        let values = cube.as_slice();
        let lines = picture.as_slice_mut().expect("C order").par_chunks_mut(3 * columns);
        lines.enumerate().for_each(|(row, line)| {
            for (band, weight) in self.weights.iter().enumerate() {
                let weight = weight.map(|w| (w * self.exposure) as f32);
                let start = (band * rows + row) * columns;
                for (pixel, &value) in line.chunks_exact_mut(3).zip(&values[start..start + columns]) {
                    for (channel, w) in pixel.iter_mut().zip(weight) {
                        *channel += value * w;
                    }
                }
            }
        });
        Ok(picture)
    }

    /// An 8-bit sRGB picture `[row, column, channel]`; colours outside sRGB are clipped channel by channel.
    ///
    /// # Errors
    /// If the cube is not on this grid.
    pub fn render(&self, cube: &Cube) -> Result<Array3<u8>, ShapeError> {
        let linear = self.linear(cube)?;
        let mut picture = Array3::zeros(linear.raw_dim());
        let coded = picture.as_slice_mut().expect("C order");
        (coded.par_chunks_mut(4096).zip(linear.as_slice().expect("C order").par_chunks(4096))).for_each(
            |(out, values)| {
                out.iter_mut().zip(values).for_each(|(o, &v)| *o = encode_srgb_u8(f64::from(v)));
            },
        );
        Ok(picture)
    }
}
