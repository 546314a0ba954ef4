//! The noise level of a snapshot, estimated from the snapshot and the camera alone.
//!
//! In a small patch of a smooth part of the scene, the spectrum hardly changes, so the snapshot is nearly a
//! combination of a few known images: what the camera makes of the leading spectra, constant or with a slope along
//! either axis. What such a fit leaves is noise, plus whatever structure the patch has. The level is read off the
//! calmest patches, which have least of that: exact to a tenth for strong noise, and on noise-free scenes a residue
//! of 0.2 to 2 % of the mean.

use cassi_core::Wavelengths;
use rayon::prelude::*;

use crate::gap_tv::Camera;
use crate::spectra::Synthesis;

/// Side of a patch in detector pixels.
const PATCH: usize = 8;
/// Spectra fitted, each with an offset and two slopes.
const SPECTRA: usize = 3;
const TERMS: usize = 3 * SPECTRA;
/// Share of the patches below the one that is read.
const QUANTILE: f64 = 0.02;
/// That quantile of χ²/n for n = PATCH² − TERMS = 55 degrees of freedom (Wilson-Hilferty).
const QUANTILE_OF_CHI_SQUARED: f64 = 0.648;
/// Patches darker than this share of the mean are left out: they hold little signal and little of its noise.
const DARKEST: f64 = 0.25;
/// Fewer patches than this say nothing.
const FEWEST: usize = 20;

/// Standard deviation of the noise in the unit of the snapshot; 0 where the snapshot is no plane or too small to
/// tell.
pub(crate) fn estimate_noise(camera: &Camera<'_>, wavelengths: &Wavelengths, snapshot: &[f32]) -> f64 {
    let &[rows, columns] = camera.operator.range() else { return 0.0 };
    if rows < PATCH || columns < PATCH || camera.bands < SPECTRA {
        return 0.0;
    }
    let synthesis = Synthesis::prior(wavelengths, SPECTRA);
    let images: Vec<Vec<f32>> = (synthesis.by_spectrum.chunks(camera.bands))
        .map(|spectrum| {
            let cube: Vec<f32> =
                spectrum.iter().flat_map(|&v| std::iter::repeat_n(v, camera.plane())).collect();
            let mut image = vec![0.0; snapshot.len()];
            camera.forward(&cube, &mut image);
            image
        })
        .collect();
    let mean = snapshot.iter().map(|&v| f64::from(v)).sum::<f64>() / snapshot.len() as f64;
    let across = columns / PATCH;
    let mut variances: Vec<f64> = (0..rows / PATCH * across)
        .into_par_iter()
        .filter_map(|patch| {
            let (top, left) = (patch / across * PATCH, patch % across * PATCH);
            patch_variance(snapshot, &images, columns, top, left, DARKEST * mean)
        })
        .collect();
    if variances.len() < FEWEST {
        return 0.0;
    }
    variances.sort_by(f64::total_cmp);
    (variances[(QUANTILE * variances.len() as f64) as usize] / QUANTILE_OF_CHI_SQUARED).sqrt()
}

/// Residual variance of the fit in one patch; `None` if the patch is darker than `least` on average.
fn patch_variance(
    snapshot: &[f32],
    images: &[Vec<f32>],
    columns: usize,
    top: usize,
    left: usize,
    least: f64,
) -> Option<f64> {
    let mut normal = [[0.0f64; TERMS + 1]; TERMS + 1];
    let mut sum = 0.0;
    for row in 0..PATCH {
        for column in 0..PATCH {
            let at = (top + row) * columns + left + column;
            let slope = |i: usize| (i as f64 - 0.5 * (PATCH - 1) as f64) / PATCH as f64;
            let mut terms = [f64::from(snapshot[at]); TERMS + 1];
            for (image, terms) in images.iter().zip(terms.chunks_mut(3)) {
                let value = f64::from(image[at]);
                terms.copy_from_slice(&[value, value * slope(row), value * slope(column)]);
            }
            sum += terms[TERMS];
            for i in 0..=TERMS {
                for j in 0..=i {
                    normal[i][j] += terms[i] * terms[j];
                }
            }
        }
    }
    if sum < least * (PATCH * PATCH) as f64 {
        return None;
    }
    // Cholesky of the bordered normal equations: the last pivot is the squared residual.
    let ridge = 1e-9 * (0..TERMS).map(|i| normal[i][i]).sum::<f64>();
    for i in 0..=TERMS {
        for j in 0..=i {
            let mut value = normal[i][j] + if i == j && i < TERMS { ridge } else { 0.0 };
            for t in 0..j {
                value -= normal[i][t] * normal[j][t];
            }
            normal[i][j] = match i == j {
                true if i == TERMS => value.max(0.0),
                true if value <= 0.0 => return None, // the camera sees nothing of these spectra here
                true => value.sqrt(),
                false => value / normal[j][j],
            };
        }
    }
    Some(normal[TERMS][TERMS] / (PATCH * PATCH - TERMS) as f64)
}

#[cfg(test)]
mod tests {
    use cassi_core::{LinearOperator, Mask, random::Stream};
    use cassi_optics::SdCassi;
    use ndarray::Array2;

    use super::*;

    /// A smooth scene of two spectra through a random mask, and noise of a known level.
    fn snapshot(sigma: f64) -> (SdCassi, Vec<f32>) {
        let mut stream = Stream::new(3, "mask", 0);
        let mask = Mask::new(Array2::from_shape_fn((96, 80), |_| stream.uniform() as f32)).unwrap();
        let camera = SdCassi::new(&mask, 28, 2);
        let cube: Vec<f32> = (0..28 * 96 * 80)
            .map(|i| {
                let (b, r, c) = ((i / 7680) as f32, (i / 80 % 96) as f32, (i % 80) as f32);
                0.3 + 0.1 * (r / 60.0).sin() + 0.004 * b * (c / 90.0)
            })
            .collect();
        let mut y = vec![0.0; 96 * 134];
        camera.forward(&cube, &mut y);
        let mut stream = Stream::new(3, "noise", 0);
        y.iter_mut().for_each(|y| *y += (sigma * stream.normal()) as f32);
        (camera, y)
    }

    #[test]
    fn a_known_level_is_found() {
        for sigma in [0.05, 0.3] {
            let (operator, y) = snapshot(sigma);
            let camera = Camera::new(&operator, [28, 96, 80]);
            let found = estimate_noise(&camera, &Wavelengths::benchmark(), &y);
            // About two hundred patches: the 2 % quantile of 55 degrees of freedom scatters by 7 %, structure adds some.
            assert!((0.85..1.2).contains(&(found / sigma)), "{found} for {sigma}");
            // The unit of the snapshot does not matter.
            let scaled: Vec<f32> = y.iter().map(|v| 1e-3 * v).collect();
            let small = estimate_noise(&camera, &Wavelengths::benchmark(), &scaled);
            assert!((small / found - 1e-3).abs() < 1e-8);
        }
    }

    #[test]
    fn no_noise_is_nearly_none_and_little_says_nothing() {
        let (operator, y) = snapshot(0.0);
        let camera = Camera::new(&operator, [28, 96, 80]);
        let mean = y.iter().sum::<f32>() / y.len() as f32;
        assert!(estimate_noise(&camera, &Wavelengths::benchmark(), &y) < 0.01 * f64::from(mean));
        assert_eq!(estimate_noise(&camera, &Wavelengths::benchmark(), &vec![0.0; y.len()]), 0.0);
        let small = SdCassi::new(&Mask::new(Array2::ones((8, 8))).unwrap(), 28, 2);
        let camera = Camera::new(&small, [28, 8, 8]);
        assert_eq!(estimate_noise(&camera, &Wavelengths::benchmark(), &[1.0; 8 * 62]), 0.0);
    }
}
