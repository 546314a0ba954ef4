//! Grey masks: a binary pattern as a camera photographs it.
//!
//! Cells that are not a whole number of detector pixels wide, blurred by the relay lens, slightly overexposed, on a
//! black level, darker towards the corners, with noise, at 8 bits. With the default parameters mean, histogram
//! (about two fifths saturated, a quarter dark) and correlation length come out like those of photographed masks of
//! real cameras (Meng, Ma, Yuan, ECCV 2020: mean 0.50 to 0.56, 0.65 at one pixel of distance, none at four).

use cassi_core::{Mask, random::Stream};
use serde::{Deserialize, Serialize};

use super::from_rows;
use crate::OpticsError;

/// What the photograph of a binary mask looks like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grey {
    /// Side of a cell in detector pixels, at least 1; a fraction makes the alignment drift over the frame.
    pub cell: f64,
    /// Probability of an open cell.
    pub open_fraction: f64,
    /// Standard deviation of the blur in pixels, at most 16.
    pub blur: f64,
    /// Exposure: a fully open pixel at the centre reaches this before it is clipped to 1.
    pub exposure: f64,
    /// What a shut pixel still shows.
    pub black: f64,
    /// Loss of light in the corners, 0 to 1, growing with the square of the distance from the centre.
    pub vignetting: f64,
    /// Standard deviation of the camera's noise, relative to full scale.
    pub noise: f64,
}

impl Default for Grey {
    fn default() -> Self {
        Self {
            cell: 2.05,
            open_fraction: 0.48,
            blur: 0.36,
            exposure: 1.2,
            black: 0.02,
            vignetting: 0.06,
            noise: 0.006,
        }
    }
}

impl Grey {
    /// Checks the range of every parameter.
    ///
    /// # Errors
    /// Names the first that is out of it.
    pub fn validate(&self) -> Result<(), OpticsError> {
        let unit = 0.0..=1.0;
        let checks = [
            ("cell", self.cell, (1.0..=1024.0).contains(&self.cell), "a number of pixels in [1, 1024]"),
            ("open_fraction", self.open_fraction, unit.contains(&self.open_fraction), "a number in [0, 1]"),
            ("blur", self.blur, (0.0..=16.0).contains(&self.blur), "a number of pixels in [0, 16]"),
            (
                "exposure",
                self.exposure,
                self.exposure > 0.0 && self.exposure <= 100.0,
                "a number in (0, 100]",
            ),
            ("black", self.black, unit.contains(&self.black), "a number in [0, 1]"),
            ("vignetting", self.vignetting, unit.contains(&self.vignetting), "a number in [0, 1]"),
            ("noise", self.noise, unit.contains(&self.noise), "a number in [0, 1]"),
        ];
        match checks.into_iter().find(|(_, _, fits, _)| !fits) {
            Some((field, found, _, expected)) => Err(OpticsError::recipe(field, found, expected)),
            None => Ok(()),
        }
    }
}

/// A mask as a camera photographs it. Values are whole multiples of 1/255, at least 1/255.
///
/// # Panics
/// If a side is 0 or a parameter is out of the range that [`Grey::validate`] checks.
pub fn grey(rows: usize, columns: usize, parameters: &Grey, seed: u64) -> Mask {
    let p = parameters;
    p.validate().expect("parameters in their ranges");
    let mut image = photographed_cells(rows, columns, p, seed);
    blur(&mut image, columns, p.blur);
    let squared_distance = |at: usize, length: usize| ((2 * at + 1) as f64 / length as f64 - 1.0).powi(2);
    from_rows(rows, columns, |row| {
        let mut noise = Stream::new(seed, "mask/grey-noise", row as u64);
        let line = image[row * columns..][..columns].iter().enumerate();
        line.map(|(column, &open)| {
            let corner = (squared_distance(row, rows) + squared_distance(column, columns)) / 2.0;
            let light = p.exposure * open * (1.0 - p.vignetting * corner);
            // Four uniform numbers make a bell of unit variance with bounded tails, and no logarithm.
            let bell = ((0..4).map(|_| noise.uniform()).sum::<f64>() - 2.0) * 3f64.sqrt();
            let value = p.black + (1.0 - p.black) * light + p.noise * bell;
            (value.clamp(0.0, 1.0) * 255.0).round().max(1.0) as f32 / 255.0
        })
        .collect()
    })
}

/// The mean of the cells under each pixel, `[row, column]`.
fn photographed_cells(rows: usize, columns: usize, p: &Grey, seed: u64) -> Vec<f64> {
    let down = overlaps(rows, p.cell);
    let across = overlaps(columns, p.cell);
    let cells = |length: usize| (length as f64 / p.cell) as usize + 2;
    let pattern: Vec<Vec<f64>> = (0..cells(rows))
        .map(|row| {
            let mut stream = Stream::new(seed, "mask/grey-cells", row as u64);
            (0..cells(columns)).map(|_| f64::from(stream.chance(p.open_fraction))).collect()
        })
        .collect();
    let pixel = |&(r, below): &(usize, f64), &(c, right): &(usize, f64)| {
        let line = |row: &[f64]| (1.0 - right) * row[c] + right * row[c + 1];
        (1.0 - below) * line(&pattern[r]) + below * line(&pattern[r + 1])
    };
    down.iter().flat_map(|r| across.iter().map(|c| pixel(r, c)).collect::<Vec<_>>()).collect()
}

/// For each pixel along a side, the cell it begins in and the share of it that lies in the next cell. A cell is at
/// least a pixel wide, so there are never three.
fn overlaps(length: usize, cell: f64) -> Vec<(usize, f64)> {
    (0..length)
        .map(|pixel| {
            let first = (pixel as f64 / cell).floor();
            let next = (((pixel + 1) as f64) - (first + 1.0) * cell).clamp(0.0, 1.0);
            (first as usize, next)
        })
        .collect()
}

/// Gaussian-like blur in place by repeated steps `[a, 1 − 2a, a]` in both directions: each adds 2a to the variance.
/// Edges repeat the outermost pixel.
fn blur(image: &mut [f64], columns: usize, sigma: f64) {
    let passes = (2.0 * sigma * sigma).ceil() as usize; // a <= 1/4 keeps the transfer function positive
    let a = sigma * sigma / (2 * passes.max(1)) as f64;
    let rows = image.len() / columns;
    let mut line = vec![0.0; rows.max(columns)];
    for _ in 0..passes {
        for (length, count, along, between) in [(columns, rows, 1, columns), (rows, columns, columns, 1)] {
            for start in (0..count).map(|i| i * between) {
                for (i, value) in line[..length].iter_mut().enumerate() {
                    *value = image[start + i * along];
                }
                for i in 0..length {
                    let (before, after) = (line[i.saturating_sub(1)], line[(i + 1).min(length - 1)]);
                    image[start + i * along] = a * before + (1.0 - 2.0 * a) * line[i] + a * after;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_keeps_the_mean_and_adds_its_variance() {
        let n = 41;
        let mut image = vec![0.0; n * n];
        image[20 * n + 20] = 1.0;
        blur(&mut image, n, 1.3);
        let sum: f64 = image.iter().sum();
        assert!((sum - 1.0).abs() < 1e-12);
        let spread = |along: fn(usize, usize) -> usize| -> f64 {
            image.iter().enumerate().map(|(i, v)| v * (along(i, n) as f64 - 20.0).powi(2)).sum()
        };
        assert!((spread(|i, n| i / n) - 1.69).abs() < 1e-12);
        assert!((spread(|i, n| i % n) - 1.69).abs() < 1e-12);
    }

    #[test]
    fn cells_are_averaged_by_area() {
        // Cells of 1.5 pixels: pixel 0 is in cell 0, pixel 1 half in 0 and half in 1, pixel 2 in 1, then again.
        assert_eq!(overlaps(4, 1.5), [(0, 0.0), (0, 0.5), (1, 0.0), (2, 0.0)]);
        let sharp = Grey {
            cell: 1.0,
            blur: 0.0,
            exposure: 1.0,
            black: 0.0,
            vignetting: 0.0,
            noise: 0.0,
            ..Grey::default()
        };
        let mask = grey(20, 20, &sharp, 1);
        assert!(mask.as_slice().iter().all(|&v| v == 1.0 / 255.0 || v == 1.0));
    }

    #[test]
    fn it_looks_like_a_photographed_mask() {
        let mask = grey(256, 256, &Grey::default(), 1);
        let values = mask.as_slice();
        let share = |range: std::ops::RangeInclusive<f32>| {
            values.iter().filter(|v| range.contains(v)).count() as f64 / values.len() as f64
        };
        // The two public photographs have means 0.50 and 0.56, 24 to 28 % below 0.1 and 32 to 43 % above 0.9.
        assert!((0.48..0.58).contains(&mask.throughput()), "mean {}", mask.throughput());
        assert!((0.20..0.32).contains(&share(0.0..=0.1)), "dark {}", share(0.0..=0.1));
        assert!((0.30..0.46).contains(&share(0.9..=1.0)), "bright {}", share(0.9..=1.0));
        // Correlation with the neighbour to the right 0.65, four columns on below 0.05.
        let mean = mask.throughput();
        let correlation = |lag: usize| {
            let rows = mask.view();
            let (mut both, mut own) = (0.0, 0.0);
            for row in rows.outer_iter() {
                for c in 0..row.len() - lag {
                    let here = f64::from(row[c]) - mean;
                    both += here * (f64::from(row[c + lag]) - mean);
                    own += here * here;
                }
            }
            both / own
        };
        assert!((0.58..0.72).contains(&correlation(1)), "{}", correlation(1));
        assert!(correlation(4).abs() < 0.05, "{}", correlation(4));
    }
}
