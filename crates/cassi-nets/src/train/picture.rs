//! Pictures of validation scenes: truth above, estimate below, in false colour.
//!
//! Three bands stand for red, green and blue (the ones nearest to 610, 550 and 465 nm), with the gamma of sRGB; for
//! the eye during a training, not for a paper.

use cassi_core::Wavelengths;
use image::{ImageFormat, Rgb, RgbImage};
use tch::Tensor;

use crate::weights::to_host;

/// A PNG of scenes in false colour, side by side, truth above estimate, each `[band, row, column]`.
pub(crate) fn comparison(pairs: &[(Tensor, Tensor)], wavelengths: &Wavelengths) -> Option<Vec<u8>> {
    let first = &pairs.first()?.0;
    let (rows, columns) = (first.size()[1] as usize, first.size()[2] as usize);
    let bands = [610.0, 550.0, 465.0].map(|nm| wavelengths.nearest(nm) as i64);
    let mut picture = RgbImage::new((pairs.len() * columns) as u32, 2 * rows as u32);
    for (place, (truth, estimate)) in pairs.iter().enumerate() {
        for (half, cube) in [truth, estimate].into_iter().enumerate() {
            for (colour, &band) in bands.iter().enumerate() {
                let plane = to_host(&cube.select(0, band));
                let width = plane.shape[1];
                for r in 0..rows.min(plane.shape[0]) {
                    for c in 0..columns.min(width) {
                        let value = plane.data[r * width + c].clamp(0.0, 1.0).powf(1.0 / 2.2);
                        let (x, y) = ((place * columns + c) as u32, (half * rows + r) as u32);
                        let Rgb(pixel) = picture.get_pixel_mut(x, y);
                        pixel[colour] = (255.0 * value).round() as u8;
                    }
                }
            }
        }
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}
