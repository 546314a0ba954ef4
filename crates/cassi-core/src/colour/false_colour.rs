//! The colour in which a single band is drawn.

use super::{
    srgb::{apply, encode_srgb_u8, xyz_to_rgb},
    tables::observer,
};

/// A screen colour for one wavelength in nm, for figures that show a band in its own colour. Pure spectral lights lie
/// outside sRGB: white is added until no channel is negative, then the brightest channel is set to full, fading to a
/// third beyond 420 and 680 nm so that the ends remain visible.
pub fn wavelength_to_rgb(nm: f64) -> [u8; 3] {
    // Hue changes no more beyond the range in which the observer's values are reliable.
    let linear = apply(&xyz_to_rgb(), observer(nm.clamp(400.0, 700.0)));
    let lowest = linear.into_iter().fold(0.0, f64::min);
    let brightest = linear.into_iter().fold(0.0, f64::max) - lowest;
    let fade = ((nm - 380.0) / 40.0).min((740.0 - nm) / 60.0).clamp(1.0 / 3.0, 1.0);
    linear.map(|channel| encode_srgb_u8((channel - lowest) / brightest * fade))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_are_where_the_eye_has_them() {
        let strongest = |nm: f64| {
            let rgb = wavelength_to_rgb(nm);
            (0..3).max_by_key(|&i| rgb[i]).unwrap()
        };
        assert_eq!([450.0, 530.0, 640.0].map(strongest), [2, 1, 0]);
        let [red, green, blue] = wavelength_to_rgb(580.0);
        assert!(red > 200 && green > 150 && blue < 60, "yellow: {red} {green} {blue}");
        assert_ne!(wavelength_to_rgb(300.0), [0; 3]);
    }
}
