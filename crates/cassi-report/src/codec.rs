//! Cubes inside the page: quantised, predicted, deflated.
//!
//! A value becomes `round((v − low) / (high − low) · (2^bits − 1))`. Each level is predicted from its left, upper and
//! upper left neighbours (the median predictor of lossless JPEG), the signed difference is folded to an unsigned one
//! (0, −1, 1, −2 ... → 0, 1, 2, 3 ...), and low bytes then high bytes of a band follow each other in one zlib stream.
//! The page undoes this with `DecompressionStream`. No canvas is read: some browsers add noise to what is read from
//! one, and numbers shown must be those that were written.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use cassi_core::Cube;
use flate2::{Compression, write::ZlibEncoder};
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;
use serde::Serialize;

/// A stack of planes as the page reads it.
#[derive(Debug, Serialize)]
pub(crate) struct Packed {
    bands: usize,
    rows: usize,
    columns: usize,
    bits: u32,
    low: f32,
    high: f32,
    data: String,
}

/// Bits a value and side of the blocks of pixels that are averaged, for so many values in a whole page: below about
/// 40 MB at any count. Smooth pictures cost about 0.9, 0.7 and 0.5 bytes a value at 12, 10 and 8 bits.
pub(crate) fn plan(values: usize) -> (u32, usize) {
    const MOST: usize = 48_000_000;
    let block = (1..).find(|&n| values / (n * n) <= MOST).expect("some block is large enough");
    match values / (block * block) {
        0..=16_000_000 => (12, block),
        16_000_001..=30_000_000 => (10, block),
        _ => (8, block),
    }
}

/// Means over blocks of `n` by `n` pixels; what does not fill a block at the far edges is averaged alone.
pub(crate) fn binned(cube: &Cube, n: usize) -> Array3<f32> {
    if n == 1 {
        return cube.view().to_owned();
    }
    let (rows, columns) = (cube.rows().div_ceil(n), cube.columns().div_ceil(n));
    let mut out = Array3::zeros((cube.bands(), rows, columns));
    for ((band, row, column), value) in out.indexed_iter_mut() {
        let block = cube.band(band);
        let block = block.slice(ndarray::s![
            row * n..((row + 1) * n).min(cube.rows()),
            column * n..((column + 1) * n).min(cube.columns())
        ]);
        *value = block.mean().expect("not empty");
    }
    out
}

/// The median predictor: left + up − upper left, limited to the range of left and up.
fn predicted(left: i32, up: i32, corner: i32) -> i32 {
    if corner >= left.max(up) {
        left.min(up)
    } else if corner <= left.min(up) {
        left.max(up)
    } else {
        left + up - corner
    }
}

fn fold_band(levels: &[i32], columns: usize) -> Vec<u8> {
    let at = |row: usize, column: usize| levels[row * columns + column];
    let (mut low, mut high) = (Vec::with_capacity(2 * levels.len()), Vec::with_capacity(levels.len()));
    for row in 0..levels.len() / columns {
        for column in 0..columns {
            let guess = match (row, column) {
                (0, 0) => 0,
                (0, _) => at(0, column - 1),
                (_, 0) => at(row - 1, 0),
                _ => predicted(at(row, column - 1), at(row - 1, column), at(row - 1, column - 1)),
            };
            let gap = at(row, column) - guess;
            let folded = ((gap << 1) ^ (gap >> 31)) as u32;
            low.push(folded as u8);
            high.push((folded >> 8) as u8);
        }
    }
    low.append(&mut high);
    low
}

impl Packed {
    /// Packs planes `[band, row, column]`, all finite.
    pub(crate) fn new(planes: ArrayView3<'_, f32>, bits: u32) -> Self {
        let (bands, rows, columns) = planes.dim();
        let (low, high) =
            planes.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        let top = f64::from((1u32 << bits) - 1);
        let scale = if high > low { top / (f64::from(high) - f64::from(low)) } else { 0.0 };
        let folded: Vec<Vec<u8>> = (0..bands)
            .into_par_iter()
            .map(|band| {
                let plane = planes.index_axis(ndarray::Axis(0), band);
                let level = |v: &f32| ((f64::from(*v) - f64::from(low)) * scale).round() as i32;
                fold_band(&plane.iter().map(level).collect::<Vec<i32>>(), columns)
            })
            .collect();
        let mut stream = ZlibEncoder::new(Vec::new(), Compression::new(5));
        folded.iter().for_each(|bytes| stream.write_all(bytes).expect("a vector takes every byte"));
        let bytes = stream.finish().expect("a vector takes every byte");
        Self { bands, rows, columns, bits, low, high, data: STANDARD.encode(bytes) }
    }

    /// Half of a quantisation step: the largest error of a value in the page.
    pub(crate) fn half_step(&self) -> f64 {
        (f64::from(self.high) - f64::from(self.low)) / f64::from((1u32 << self.bits) - 1) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// The page's decoder in Rust.
    fn unpacked(packed: &Packed) -> Vec<f64> {
        let mut bytes = Vec::new();
        let coded = STANDARD.decode(&packed.data).unwrap();
        flate2::read::ZlibDecoder::new(&coded[..]).read_to_end(&mut bytes).unwrap();
        let (pixels, columns) = (packed.rows * packed.columns, packed.columns);
        let mut values = Vec::new();
        for band in bytes.chunks_exact(2 * pixels) {
            let mut levels = vec![0i32; pixels];
            for i in 0..pixels {
                let folded = i32::from(band[i]) | i32::from(band[pixels + i]) << 8;
                let gap = (folded >> 1) ^ -(folded & 1);
                let guess = match (i / columns, i % columns) {
                    (0, 0) => 0,
                    (0, _) => levels[i - 1],
                    (_, 0) => levels[i - columns],
                    _ => predicted(levels[i - 1], levels[i - columns], levels[i - columns - 1]),
                };
                levels[i] = guess + gap;
            }
            values.extend(
                levels.iter().map(|&l| f64::from(packed.low) + 2.0 * packed.half_step() * f64::from(l)),
            );
        }
        values
    }

    #[test]
    fn values_return_to_within_half_a_step() {
        let noisy = |b: usize, r: usize, c: usize| {
            ((b * 7919 + r * 104_729 + c * 1_299_709) % 1009) as f32 / 500.0 - 0.7
        };
        for (shape, bits) in [((3, 7, 11), 12), ((1, 1, 1), 12), ((2, 5, 1), 8), ((2, 16, 16), 10)] {
            let planes = Array3::from_shape_fn(shape, |(b, r, c)| noisy(b, r, c));
            let packed = Packed::new(planes.view(), bits);
            let values = unpacked(&packed);
            assert_eq!(values.len(), planes.len());
            for (v, w) in planes.iter().zip(values) {
                // Rounding of f64 arithmetic comes on top of half a step.
                assert!((f64::from(*v) - w).abs() <= packed.half_step() + 1e-9, "{v} {w} at {bits} bits");
            }
        }
    }

    #[test]
    fn pages_stay_within_their_size() {
        assert_eq!(plan(3 * 3 * 28 * 256 * 256), (10, 1));
        assert_eq!(plan(4 * 28 * 256 * 256), (12, 1));
        assert_eq!(plan(3 * 28 * 660 * 660), (8, 1));
        assert_eq!(plan(5 * 28 * 660 * 660).1, 2);
    }
}
