//! Photographs brought to the size that training wants: shrunk by averaging light, then cut to a square.

use cassi_core::colour::{decode_srgb, encode_srgb_u8};
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

/// The middle square of an 8-bit sRGB picture `[row, column, channel]`, shrunk so that it has `side` pixels: each
/// averages the light of the area that it covers. `None` if the picture is smaller than that, as nothing is enlarged.
///
/// # Panics
/// If `side` is 0, or the picture has not three channels.
pub fn middle_square(picture: ArrayView3<'_, u8>, side: usize) -> Option<Array3<u8>> {
    let (rows, columns, channels) = picture.dim();
    assert!(side > 0 && channels == 3, "a square of {side} from a picture of {channels} channels");
    let shorter = rows.min(columns);
    if shorter < side {
        return None;
    }
    let light: [f32; 256] = std::array::from_fn(|code| decode_srgb(code as f64 / 255.0) as f32);
    let (down, across) =
        (covered((rows - shorter) / 2, shorter, side), covered((columns - shorter) / 2, shorter, side));
    let lines: Vec<Vec<u8>> = (0..side)
        .into_par_iter()
        .map(|row| {
            let mut line = vec![0f32; 3 * side];
            for (source_row, height) in down[row].iter() {
                for (pixel, parts) in line.chunks_exact_mut(3).zip(&across) {
                    for (source_column, width) in parts.iter() {
                        for (channel, out) in pixel.iter_mut().enumerate() {
                            let code = picture[[source_row, source_column, channel]];
                            *out += height * width * light[usize::from(code)];
                        }
                    }
                }
            }
            line.into_iter().map(|v| encode_srgb_u8(v.into())).collect()
        })
        .collect();
    Some(Array3::from_shape_vec((side, side, 3), lines.concat()).expect("lines of one length"))
}

/// What one pixel of the result covers along an axis: a first pixel, and the share of each from there on.
struct Cover {
    first: usize,
    shares: Vec<f32>,
}

impl Cover {
    fn iter(&self) -> impl Iterator<Item = (usize, f32)> {
        self.shares.iter().enumerate().map(|(i, &share)| (self.first + i, share))
    }
}

/// The covers of `side` pixels that divide `length` pixels from `start` on evenly; the shares of each sum to 1.
fn covered(start: usize, length: usize, side: usize) -> Vec<Cover> {
    let edge = |i: usize| i as f64 * length as f64 / side as f64;
    (0..side)
        .map(|i| {
            let (low, high) = (edge(i), edge(i + 1));
            let (first, last) = (low.floor() as usize, (high.ceil() as usize).min(length));
            let share = |pixel: usize| {
                let (from, to) = (low.max(pixel as f64), high.min((pixel + 1) as f64));
                ((to - from).max(0.0) / (high - low)) as f32
            };
            Cover { first: start + first, shares: (first..last).map(share).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_cut_and_nothing_enlarged() {
        let picture = Array3::from_shape_fn((4, 8, 3), |(r, c, channel)| (40 * r + 5 * c + channel) as u8);
        let square = middle_square(picture.view(), 4).unwrap();
        assert_eq!(square, picture.slice(ndarray::s![.., 2..6, ..]));
        assert!(middle_square(picture.view(), 5).is_none());
    }

    #[test]
    fn light_is_averaged_not_codes() {
        // Half of the pixels black, half white: half of the light, which is code 188, not 128.
        let board = Array3::from_shape_fn((6, 6, 3), |(r, c, _)| if (r + c) % 2 == 0 { 255 } else { 0 });
        let grey = middle_square(board.view(), 3).unwrap();
        assert!(grey.iter().all(|&code| code == 188), "{grey}");
        // A factor that is no whole number keeps a plain colour plain.
        let plain = Array3::from_elem((7, 9, 3), 77);
        assert!(middle_square(plain.view(), 5).unwrap().iter().all(|&code| code == 77));
    }

    #[test]
    fn shares_sum_to_one() {
        for (length, side) in [(7, 5), (100, 3), (4, 4), (1000, 333)] {
            let covers = covered(10, length, side);
            assert_eq!(covers.len(), side);
            for cover in &covers {
                assert!((cover.shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(cover.first >= 10 && cover.first + cover.shares.len() <= 10 + length);
            }
        }
    }
}
