//! The noise of a snapshot, estimated from the snapshot and the camera alone: a standard deviation for every pixel.
//!
//! In a small patch of a smooth part of the scene, the spectrum hardly changes, so the snapshot is nearly a
//! combination of a few known images: what the camera makes of the leading spectra, constant or with a slope along
//! either axis. What such a fit leaves is noise, plus whatever structure the patch has.
//!
//! Structure and noise are told apart by dispersion: a scene pixel lights one detector pixel in every `step` of a row
//! through nearly the same mask and spectrum, noise lights one alone. So the fit is made to differences over `step`
//! columns, in which structure cancels but for the ends of its spectrum, and noise does not. What the same fit to the
//! snapshot itself leaves then tells how much of the residue is noise at all.
//!
//! Noise that grows with the signal (shot noise; a mask that is not quite the camera's) is strongest where the snapshot
//! is brightest. So the level is read off the calmest patches of each of a few classes of brightness.

use std::f32::consts::FRAC_1_SQRT_2;

use cassi_core::Wavelengths;
use rayon::prelude::*;

use crate::gap_tv::{Camera, MARGIN};
use crate::spectra::Synthesis;

/// Side of a patch in detector pixels.
const PATCH: usize = 8;
/// Spectra fitted, each with an offset and two slopes.
const SPECTRA: usize = 3;
const TERMS: usize = 3 * SPECTRA;
/// Classes of brightness, with equally many patches, at least [`CLASS`].
const CLASSES: usize = 12;
/// Patches whose quantile can be read.
const CLASS: usize = 40;
/// Share of the patches of a class below the one that is read.
const QUANTILE: f64 = 0.05;
/// That quantile of the standard normal.
const NORMAL_QUANTILE: f64 = -1.645;
/// Patches darker than this share of the mean are left out: they hold little signal and little of its noise.
const DARKEST: f64 = 0.25;
/// Fewer patches than this say nothing.
const FEWEST: usize = 20;

/// Variance of the noise as a function of brightness: points in the order of brightness, linear between them, constant
/// before the first and, as shot noise is, proportional to brightness beyond the last.
struct Curve(Vec<[f64; 2]>);

impl Curve {
    fn at(&self, brightness: f64) -> f64 {
        let after = self.0.partition_point(|point| point[0] < brightness);
        match (after.checked_sub(1).map(|before| self.0[before]), self.0.get(after)) {
            (Some(a), Some(b)) => a[1] + (brightness - a[0]) / (b[0] - a[0]) * (b[1] - a[1]),
            (Some(end), None) => end[1] * brightness / end[0],
            (None, Some(end)) => end[1],
            (None, None) => 0.0,
        }
    }
}

/// Standard deviation of the noise to reckon with, `[row, column]` in the unit of the snapshot and with its margin
/// ([`MARGIN`]); all 0 where the snapshot is no plane or
/// too small to tell.
pub(crate) fn estimate_noise(camera: &Camera<'_>, wavelengths: &Wavelengths, snapshot: &[f32]) -> Vec<f32> {
    let nothing = vec![0.0; snapshot.len()];
    let &[rows, columns] = camera.operator.range() else { return nothing };
    let lag = camera.coded.map_or(0, |coded| coded.step);
    if rows < PATCH || columns < PATCH + lag || camera.bands < SPECTRA {
        return nothing;
    }
    let images: Vec<Vec<f32>> = (Synthesis::prior(wavelengths, SPECTRA).by_spectrum.chunks(camera.bands))
        .map(|spectrum| {
            let flat = spectrum.iter().flat_map(|&v| std::iter::repeat_n(v, camera.plane()));
            let mut image = vec![0.0; snapshot.len()];
            camera.forward(&flat.collect::<Vec<f32>>(), &mut image);
            image
        })
        .collect();
    let plain = Planes { columns, snapshot: snapshot.to_vec(), images };
    let differences = plain.differences(lag);
    let across = differences.columns / PATCH;
    let mean = snapshot.iter().map(|&v| f64::from(v)).sum::<f64>() / snapshot.len() as f64;
    let mut found: Vec<Patch> = (0..rows / PATCH * across)
        .into_par_iter()
        .filter_map(|patch| {
            let (top, left) = (patch / across * PATCH, patch % across * PATCH);
            Some(Patch {
                brightness: mean_of(snapshot, columns, top, left),
                variance: differences.residual_variance(top, left)?,
                with_structure: plain.residual_variance(top, left)?,
            })
        })
        .filter(|patch| patch.brightness > DARKEST * mean)
        .collect();
    if found.len() < FEWEST {
        return nothing;
    }
    found.sort_by(|a, b| a.brightness.total_cmp(&b.brightness));
    let class = found.len().div_ceil(CLASSES).max(CLASS);
    let curve = Curve(found.chunks(class).map(|class| point_of(class, lag > 0)).collect());
    let mut sigma = nothing;
    for (row, sigma) in sigma.chunks_mut(columns).enumerate() {
        let top = (row / PATCH * PATCH).min(rows - PATCH);
        for (at, sigma) in sigma.chunks_mut(PATCH).enumerate() {
            let left = (at * PATCH).min(columns - PATCH);
            sigma.fill(curve.at(mean_of(snapshot, columns, top, left)).sqrt() as f32);
        }
    }
    sigma
}

/// One patch of the snapshot.
struct Patch {
    brightness: f64,
    /// Residual variance of the fit to differences.
    variance: f64,
    /// Residual variance of the fit to the snapshot, which holds the structure too.
    with_structure: f64,
}

/// Mean brightness of a class of patches, and the variance of noise to reckon with there.
fn point_of(class: &[Patch], differences: bool) -> [f64; 2] {
    let quantile = |of: fn(&Patch) -> f64, freedom: f64| {
        let mut values: Vec<f64> = class.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        // That quantile of χ²/n (Wilson-Hilferty).
        let spread = 2.0 / (9.0 * freedom);
        let calmest = (1.0 - spread + NORMAL_QUANTILE * spread.sqrt()).powi(3);
        values[(QUANTILE * values.len() as f64) as usize] / calmest
    };
    let brightness = class.iter().map(|patch| patch.brightness).sum::<f64>() / class.len() as f64;
    let freedom = (PATCH * PATCH - TERMS) as f64;
    let with_structure = quantile(|patch| patch.with_structure, freedom);
    if !differences {
        return [brightness, with_structure];
    }
    // Differences of white noise are correlated by −1/2 over their lag: the variance of a sample variance grows by
    // 1 + 2 · (1/2)², so a third of the degrees of freedom is gone.
    let variance = quantile(|patch| patch.variance, freedom / 1.5);
    // The margin is for noise; what is mostly structure gets less of it.
    let noise = if with_structure > 0.0 { (variance / with_structure).min(1.0) } else { 0.0 };
    [brightness, variance * (1.0 + (MARGIN - 1.0) * noise).powi(2)]
}

/// Mean over the patch at `top`, `left` of a plane of so many columns.
fn mean_of(plane: &[f32], columns: usize, top: usize, left: usize) -> f64 {
    let rows = plane[top * columns..].chunks(columns).take(PATCH);
    let sum: f64 = rows.flat_map(|row| &row[left..left + PATCH]).map(|&v| f64::from(v)).sum();
    sum / (PATCH * PATCH) as f64
}

/// The snapshot and the images of the leading spectra, all `[row, column]`.
struct Planes {
    columns: usize,
    snapshot: Vec<f32>,
    images: Vec<Vec<f32>>,
}

impl Planes {
    /// Differences over `lag` columns, scaled to keep the variance of white noise; the planes themselves for 0.
    fn differences(&self, lag: usize) -> Self {
        let difference = |plane: &Vec<f32>| -> Vec<f32> {
            if lag == 0 {
                return plane.clone();
            }
            let rows = plane.chunks(self.columns);
            rows.flat_map(|row| row.iter().zip(&row[lag..]).map(|(a, b)| (b - a) * FRAC_1_SQRT_2)).collect()
        };
        let images = self.images.iter().map(difference).collect();
        Self { columns: self.columns - lag, snapshot: difference(&self.snapshot), images }
    }

    /// Residual variance of the fit in the patch at `top`, `left`; `None` where the camera sees nothing of the spectra.
    fn residual_variance(&self, top: usize, left: usize) -> Option<f64> {
        let mut normal = [[0.0f64; TERMS + 1]; TERMS + 1];
        for row in 0..PATCH {
            for column in 0..PATCH {
                let at = (top + row) * self.columns + left + column;
                let slope = |i: usize| (i as f64 - 0.5 * (PATCH - 1) as f64) / PATCH as f64;
                let mut terms = [f64::from(self.snapshot[at]); TERMS + 1];
                for (image, terms) in self.images.iter().zip(terms.chunks_mut(3)) {
                    let value = f64::from(image[at]);
                    terms.copy_from_slice(&[value, value * slope(row), value * slope(column)]);
                }
                for i in 0..=TERMS {
                    for j in 0..=i {
                        normal[i][j] += terms[i] * terms[j];
                    }
                }
            }
        }
        Some(residual_energy(&mut normal)? / (PATCH * PATCH - TERMS) as f64)
    }
}

/// Squared residual of a least-squares fit, from its normal equations bordered by the data: the last pivot of their
/// Cholesky factorisation. `None` if the terms are all zero.
fn residual_energy(normal: &mut [[f64; TERMS + 1]; TERMS + 1]) -> Option<f64> {
    let ridge = 1e-9 * (0..TERMS).map(|i| normal[i][i]).sum::<f64>();
    for i in 0..=TERMS {
        for j in 0..=i {
            let mut value = normal[i][j] + if i == j && i < TERMS { ridge } else { 0.0 };
            for t in 0..j {
                value -= normal[i][t] * normal[j][t];
            }
            normal[i][j] = match i == j {
                true if i == TERMS => value.max(0.0),
                true if value <= 0.0 => return None,
                true => value.sqrt(),
                false => value / normal[j][j],
            };
        }
    }
    Some(normal[TERMS][TERMS])
}

#[cfg(test)]
mod tests {
    use cassi_core::{LinearOperator, Mask, check::dot, random::Stream};
    use cassi_optics::SdCassi;
    use ndarray::Array2;

    use super::*;

    const SHAPE: [usize; 3] = [28, 96, 80];

    fn camera() -> SdCassi {
        let mut stream = Stream::new(3, "mask", 0);
        SdCassi::new(&Mask::new(Array2::from_shape_fn((96, 80), |_| stream.uniform() as f32)).unwrap(), 28, 2)
    }

    /// A smooth scene, half of it twice as bright, every pixel of it multiplied by up to 1 ± `texture`.
    fn snapshot(camera: &SdCassi, texture: f64) -> Vec<f32> {
        let mut stream = Stream::new(3, "texture", 0);
        let shade: Vec<f64> = (0..96 * 80).map(|_| 1.0 + texture * stream.uniform_in(-1.0, 1.0)).collect();
        let cube: Vec<f32> = (0..28 * 96 * 80)
            .map(|i| {
                let (b, r, c) = ((i / 7680) as f64, (i / 80 % 96) as f64, (i % 80) as f64);
                let light = if r < 48.0 { 1.0 } else { 2.0 };
                (light * shade[i % 7680] * (0.3 + 0.1 * (r / 60.0).sin() + 0.004 * b * (c / 90.0))) as f32
            })
            .collect();
        let mut y = vec![0.0; 96 * 134];
        camera.forward(&cube, &mut y);
        y
    }

    fn estimate(operator: &SdCassi, y: &[f32]) -> Vec<f32> {
        estimate_noise(&Camera::new(operator, SHAPE), &Wavelengths::benchmark(), y)
    }

    fn rms(v: &[f32]) -> f64 {
        (dot(v, v) / v.len() as f64).sqrt()
    }

    #[test]
    fn a_known_level_is_found() {
        let operator = camera();
        for sigma in [0.05, 0.3] {
            let mut y = snapshot(&operator, 0.0);
            let mut stream = Stream::new(3, "noise", 0);
            y.iter_mut().for_each(|y| *y += (sigma * stream.normal()) as f32);
            let found = estimate(&operator, &y);
            // About fifty patches a class: their 5 % quantile of 37 degrees of freedom scatters by 10 %, and four of
            // them are averaged; structure adds some.
            let ratio = rms(&found) / (MARGIN * sigma);
            assert!((0.8..1.25).contains(&ratio), "{ratio} of {sigma}");
            // The unit of the snapshot does not matter.
            let scaled: Vec<f32> = y.iter().map(|v| 1e-3 * v).collect();
            assert!((rms(&estimate(&operator, &scaled)) / rms(&found) - 1e-3).abs() < 1e-8);
        }
    }

    #[test]
    fn noise_that_grows_with_the_signal_is_followed() {
        let operator = camera();
        let mut y = snapshot(&operator, 0.0);
        let mut stream = Stream::new(3, "noise", 0);
        y.iter_mut().for_each(|y| *y += (0.1 * f64::from(*y).sqrt() * stream.normal()) as f32);
        let found = estimate(&operator, &y);
        // Columns 40 to 90 see light of all bands; the lower half is twice as bright, the noise √2 times stronger.
        let level = |rows: std::ops::Range<usize>| -> f64 {
            let of_row = |row: usize| rms(&found[row * 134 + 40..row * 134 + 90]);
            rows.clone().map(of_row).sum::<f64>() / rows.len() as f64
        };
        let ratio = level(56..88) / level(8..40);
        // Each level is good to a tenth or so.
        assert!((1.2..1.7).contains(&ratio), "{ratio}");
    }

    #[test]
    fn texture_is_not_noise() {
        let operator = camera();
        let (smooth, textured) = (snapshot(&operator, 0.0), snapshot(&operator, 0.3));
        let difference: Vec<f32> = textured.iter().zip(&smooth).map(|(a, b)| a - b).collect();
        // What the texture does to the snapshot, and how little of it is taken for noise: of 28 bands' worth of
        // variance two ends stay in a difference, whose halved square is what counts: √(1/28), a fifth.
        let found = rms(&estimate(&operator, &textured));
        assert!(found < 0.33 * rms(&difference), "{found} of {}", rms(&difference));
    }

    #[test]
    fn no_noise_is_nearly_none_and_little_says_nothing() {
        let operator = camera();
        let y = snapshot(&operator, 0.0);
        let mean = y.iter().sum::<f32>() / y.len() as f32;
        assert!(rms(&estimate(&operator, &y)) < 0.01 * f64::from(mean));
        assert_eq!(rms(&estimate(&operator, &vec![0.0; y.len()])), 0.0);
        let small = SdCassi::new(&Mask::new(Array2::ones((8, 8))).unwrap(), 28, 2);
        let camera = Camera::new(&small, [28, 8, 8]);
        assert_eq!(rms(&estimate_noise(&camera, &Wavelengths::benchmark(), &[1.0; 8 * 62])), 0.0);
    }
}
