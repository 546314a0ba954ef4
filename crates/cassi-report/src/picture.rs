//! Pictures: cubes, bands, planes and error maps as 8-bit RGB, and their PNG bytes.

use cassi_core::{
    Cube, ShapeError,
    colour::{Illuminant, Renderer, White, wavelength_to_rgb},
};
use image::{ExtendedColorType, ImageEncoder, codecs::png};
use ndarray::{Array2, ArrayView2};
use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

use crate::ReportError;

/// An 8-bit RGB picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green, blue of every pixel, row by row.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, rgb: colour.repeat(width * height) }
    }

    /// A plane `[row, column]` through a table from value to colour.
    pub fn from_plane(plane: ArrayView2<'_, f32>, colour: impl Fn(f32) -> [u8; 3]) -> Self {
        let (height, width) = plane.dim();
        Self { width, height, rgb: plane.iter().flat_map(|&v| colour(v)).collect() }
    }

    /// A plane in grey, black at `low` and white at `high`, linear between.
    pub fn grey(plane: ArrayView2<'_, f32>, low: f32, high: f32) -> Self {
        let span = if high > low { high - low } else { 1.0 };
        Self::from_plane(plane, |v| [((v - low) / span * 255.0).round().clamp(0.0, 255.0) as u8; 3])
    }

    /// A plane in shades of one wavelength's colour: black at 0, full at `high`. The value is coded with the screen's
    /// gamma, so that what is twice as bright is twice as much light.
    pub fn false_colour(plane: ArrayView2<'_, f32>, nm: f64, high: f32) -> Self {
        let full = wavelength_to_rgb(nm);
        let scale = if high > 0.0 { 1.0 / high } else { 1.0 };
        let table: Vec<[u8; 3]> = (0..=1023)
            .map(|i| {
                let coded = cassi_core::colour::encode_srgb(f64::from(i) / 1023.0);
                full.map(|c| (f64::from(c) * coded).round() as u8)
            })
            .collect();
        Self::from_plane(plane, |v| table[((v * scale).clamp(0.0, 1.0) * 1023.0).round() as usize])
    }

    /// A plane in the viridis colours, `low` dark and `high` bright.
    pub fn viridis(plane: ArrayView2<'_, f32>, low: f32, high: f32) -> Self {
        let table = viridis_table();
        let span = if high > low { high - low } else { 1.0 };
        Self::from_plane(plane, |v| table[((v - low) / span * 255.0).round().clamp(0.0, 255.0) as usize])
    }

    /// A window, enlarged or reduced to `width` by `height` by nearest neighbour.
    pub(crate) fn window(
        &self,
        [row, column]: [usize; 2],
        [rows, columns]: [usize; 2],
        width: usize,
        height: usize,
    ) -> Self {
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            let line = (row + y * rows / height) * self.width;
            for x in 0..width {
                let at = 3 * (line + column + x * columns / width);
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Self { width, height, rgb }
    }

    /// Resized: whole blocks of pixels are averaged when it shrinks, repeated when it grows.
    pub(crate) fn resized(&self, width: usize, height: usize) -> Self {
        if width >= self.width || height >= self.height {
            return self.window([0, 0], [self.height, self.width], width, height);
        }
        let edges = |i: usize, of: usize, n: usize| (i * of / n, ((i + 1) * of / n).max(i * of / n + 1));
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            let (top, bottom) = edges(y, self.height, height);
            for x in 0..width {
                let (left, right) = edges(x, self.width, width);
                let mut sums = [0u32; 3];
                for line in top..bottom {
                    let pixels = &self.rgb[3 * (line * self.width + left)..3 * (line * self.width + right)];
                    for pixel in pixels.chunks_exact(3) {
                        sums.iter_mut().zip(pixel).for_each(|(s, &p)| *s += u32::from(p));
                    }
                }
                let count = ((bottom - top) * (right - left)) as u32;
                rgb.extend(sums.map(|s| ((s + count / 2) / count) as u8));
            }
        }
        Self { width, height, rgb }
    }

    /// Copies another picture into this one, upper left corner at `(x, y)`; what would leave it is cut off.
    pub(crate) fn paste(&mut self, other: &Self, x: usize, y: usize) {
        let width = other.width.min(self.width.saturating_sub(x));
        for row in 0..other.height.min(self.height.saturating_sub(y)) {
            let (to, from) = (3 * ((y + row) * self.width + x), 3 * row * other.width);
            self.rgb[to..to + 3 * width].copy_from_slice(&other.rgb[from..from + 3 * width]);
        }
    }

    /// PNG bytes, 8-bit RGB.
    ///
    /// # Errors
    /// If the size is 0.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        let mut bytes = Vec::new();
        let (width, height) = (self.width as u32, self.height as u32);
        png::PngEncoder::new_with_quality(&mut bytes, png::CompressionType::Fast, png::FilterType::Adaptive)
            .write_image(&self.rgb, width, height, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }
}

/// The viridis colours, dark to bright: readable with any colour vision and in grey.
pub(crate) fn viridis_table() -> [[u8; 3]; 256] {
    std::array::from_fn(|i| {
        let colour = ViridisRGB.get_color(i as f32 / 255.0);
        [colour.0, colour.1, colour.2]
    })
}

/// How a cube becomes one colour picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rendering {
    /// The light; [`Illuminant::E`] for cubes that hold radiance.
    pub illuminant: Illuminant,
    /// Factor on all values; `None`: the 99.5th percentile of the brightest channel becomes full.
    pub exposure: Option<f64>,
}

impl Default for Rendering {
    fn default() -> Self {
        Self { illuminant: Illuminant::D65, exposure: None }
    }
}

/// The renderer for `cube` with the exposure settled.
pub(crate) fn renderer(cube: &Cube, rendering: Rendering) -> Result<Renderer, ShapeError> {
    let renderer = Renderer::new(cube.wavelengths(), rendering.illuminant, White::D65);
    let exposure = match rendering.exposure {
        Some(exposure) => exposure,
        None => renderer.auto_exposure(cube)?,
    };
    Ok(renderer.with_exposure(exposure))
}

/// Renders through a renderer made for the same bands; grids equal to rounding are taken as equal.
pub(crate) fn rendered(cube: &Cube, renderer: &Renderer) -> Picture {
    let (height, width) = (cube.rows(), cube.columns());
    let same = Cube::new(cube.view().to_owned(), renderer.wavelengths().clone()).expect("bands were checked");
    let rgb = renderer.render(&same).expect("its own grid").into_raw_vec_and_offset().0;
    Picture { width, height, rgb }
}

/// The colour picture of a cube.
pub fn colour_picture(cube: &Cube, rendering: Rendering) -> Picture {
    rendered(cube, &renderer(cube, rendering).expect("its own grid"))
}

/// One band in the colour of its wavelength, full at `high` (by default the largest value of the band).
///
/// # Panics
/// If the cube has no such band.
pub fn band_picture(cube: &Cube, band: usize, high: Option<f32>) -> Picture {
    let plane = cube.band(band);
    let high = high.unwrap_or_else(|| plane.iter().copied().fold(0.0, f32::max));
    Picture::false_colour(plane, cube.wavelengths().nm()[band], high)
}

/// All bands in the colours of their wavelengths on one common scale, row by row in a grid close to a square, with
/// gaps of two white pixels.
pub fn montage(cube: &Cube) -> Picture {
    let across = (1..=cube.bands())
        .min_by_key(|&n| (n * cube.columns()).abs_diff(cube.bands().div_ceil(n) * cube.rows()))
        .expect("at least one band");
    let (cell_w, cell_h) = (cube.columns() + 2, cube.rows() + 2);
    let down = cube.bands().div_ceil(across);
    let mut sheet = Picture::filled(across * cell_w - 2, down * cell_h - 2, [255; 3]);
    let high = cube.as_slice().iter().copied().fold(0.0, f32::max);
    for band in 0..cube.bands() {
        sheet.paste(&band_picture(cube, band, Some(high)), band % across * cell_w, band / across * cell_h);
    }
    sheet
}

/// A snapshot or mask in grey from 0 (black) to its largest value (white), with that scaling in words.
pub fn plane_picture(plane: ArrayView2<'_, f32>) -> (Picture, String) {
    let high = plane.iter().copied().fold(0.0, f32::max);
    (Picture::grey(plane, 0.0, high), format!("black = 0, white = {high:.4}, linear"))
}

/// Mean over bands of |estimate − truth| `[row, column]`.
pub(crate) fn error_plane(truth: &Cube, estimate: &Cube) -> Array2<f32> {
    let mut sum = Array2::<f32>::zeros((truth.rows(), truth.columns()));
    for band in 0..truth.bands() {
        ndarray::Zip::from(&mut sum)
            .and(truth.band(band))
            .and(estimate.band(band))
            .for_each(|s, &t, &e| *s += (e - t).abs());
    }
    sum / truth.bands() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use cassi_core::Wavelengths;
    use ndarray::{Array3, arr2};

    #[test]
    fn planes_map_ends_to_ends() {
        let plane = arr2(&[[0.0, 0.5], [1.0, 2.0]]);
        assert_eq!(
            Picture::grey(plane.view(), 0.0, 1.0).rgb,
            [0, 0, 0, 128, 128, 128, 255, 255, 255, 255, 255, 255]
        );
        let (picture, words) = plane_picture(plane.view());
        assert_eq!(picture.rgb[9..], [255; 3]);
        assert_eq!(words, "black = 0, white = 2.0000, linear");
        let viridis = Picture::viridis(plane.view(), 0.0, 2.0);
        assert_eq!(viridis.rgb[..3], viridis_table()[0]);
        assert_eq!(viridis.rgb[9..], viridis_table()[255]);
        assert_eq!(Picture::false_colour(plane.view(), 550.0, 2.0).rgb[9..], wavelength_to_rgb(550.0));
    }

    #[test]
    fn windows_enlarge_and_blocks_average() {
        let picture = Picture::grey(arr2(&[[0.0, 1.0], [0.2, 0.6]]).view(), 0.0, 1.0);
        let window = picture.window([1, 0], [1, 2], 4, 2);
        let greys: Vec<u8> = window.rgb.iter().step_by(3).copied().collect();
        assert_eq!(greys, [51, 51, 153, 153, 51, 51, 153, 153]);
        assert_eq!(picture.resized(1, 1).rgb, [115; 3]); // (0 + 255 + 51 + 153) / 4 = 114.75
    }

    #[test]
    fn montage_holds_every_band_and_png_reads_back() {
        let cube = Cube::new(
            Array3::from_shape_fn((6, 4, 5), |(b, ..)| b as f32),
            Wavelengths::linspace(450.0, 650.0, 6),
        );
        let cube = cube.unwrap();
        let sheet = montage(&cube);
        assert_eq!((sheet.width, sheet.height), (2 * 7 - 2, 3 * 6 - 2));
        let last = 3 * (sheet.width * sheet.height - 1);
        assert_eq!(sheet.rgb[last..], wavelength_to_rgb(650.0));
        let decoded = image::load_from_memory(&sheet.to_png().unwrap()).unwrap().to_rgb8();
        assert_eq!(decoded.into_raw(), sheet.rgb);
    }
}
