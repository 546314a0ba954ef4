//! The detector: noise on a snapshot, and the standard deviation it amounts to.
//!
//! The benchmark's shot noise lives on the scale that networks see, `v = 1.2 · 2 · y / bands`:
//! `Binomial(⌊v · levels / qe⌋, qe) / levels`, here brought back to the unit of the snapshot. (Training code of the
//! real-data networks, Meng et al., ECCV 2020, and its successors: `qe` 0.4, 2048 levels.)

use cassi_core::{NoiseModel, Snapshot, random::Stream};
use rayon::prelude::*;

use crate::OpticsError;

/// Quantum efficiency of the benchmark's shot noise.
const BENCHMARK_QE: f64 = 0.4;
/// Counts at `v = 1` of the benchmark's shot noise.
const BENCHMARK_LEVELS: f64 = 2048.0;

/// `v / y`: from the sum over bands to the scale on which shot noise is drawn.
fn network_scale(bands: usize) -> f64 {
    1.2 * 2.0 / bands as f64
}

/// Adds noise to a snapshot `[row, column]` that is a sum over `bands` bands. Every row has a random stream of its
/// own, so the thread count changes nothing.
///
/// ```
/// use cassi_core::Snapshot;
/// use cassi_optics::detector::{add_noise, parse_noise};
/// let mut snapshot = Snapshot::new(ndarray::Array2::from_elem((4, 60), 7.0))?;
/// add_noise(&mut snapshot, parse_noise("gaussian:0.01")?, 28, 1);
/// assert!(snapshot.as_slice().iter().all(|v| (v - 7.0).abs() < 0.1));
/// # Ok::<(), cassi_optics::OpticsError>(())
/// ```
///
/// # Panics
/// If `bands` is 0 or the model's parameters are out of the ranges that [`parse_noise`] and
/// `InstrumentDescription::validate` check.
pub fn add_noise(snapshot: &mut Snapshot, model: NoiseModel, bands: usize, seed: u64) {
    assert!(bands > 0, "a snapshot has at least one band");
    let columns = snapshot.columns();
    let rows = snapshot.as_mut_slice().par_chunks_mut(columns).enumerate();
    match model {
        NoiseModel::None => {}
        NoiseModel::Gaussian { sigma } => rows.for_each(|(row, values)| {
            let mut stream = Stream::new(seed, "noise/gaussian", row as u64);
            values.iter_mut().for_each(|v| *v += (sigma * stream.normal()) as f32);
        }),
        NoiseModel::Binomial { qe, levels } => {
            let scale = network_scale(bands);
            rows.for_each(|(row, values)| {
                let mut stream = Stream::new(seed, "noise/binomial", row as u64);
                for value in values {
                    // A negative or undefined irradiance has no photons: the cast makes it 0.
                    let photons = (scale * f64::from(*value) * levels / qe).floor() as u64;
                    *value = (stream.binomial(photons, qe) as f64 / levels / scale) as f32;
                }
            });
        }
    }
}

/// The standard deviation, in the unit of the snapshot, of white noise as strong as this model's on this snapshot
/// (root of the mean variance over pixels). `snapshot` may be the clean one or the noisy one.
///
/// Shot noise: `⌊v levels / qe⌋` trials have a variance of `v (1 − qe) / levels` on the scale of `v`; rounding down
/// is neglected, being below one count.
pub fn noise_sigma(model: NoiseModel, snapshot: &Snapshot, bands: usize) -> f64 {
    match model {
        NoiseModel::None => 0.0,
        NoiseModel::Gaussian { sigma } => sigma,
        NoiseModel::Binomial { qe, levels } => {
            let scale = network_scale(bands);
            let values = snapshot.as_slice();
            let mean = values.iter().map(|&y| f64::from(y.max(0.0))).sum::<f64>() / values.len() as f64;
            (mean * (1.0 - qe) / (levels * scale)).sqrt()
        }
    }
}

/// Reads `none`, `gaussian:SIGMA` or `binomial[:QE,LEVELS]`; `binomial` alone is the benchmark's, 0.4 and 2048.
///
/// # Errors
/// Any other text, a negative sigma, a quantum efficiency outside (0, 1], fewer than one level.
pub fn parse_noise(text: &str) -> Result<NoiseModel, OpticsError> {
    let error = |expected| Err(OpticsError::Noise { found: text.into(), expected });
    let (kind, values) = text.split_once(':').map_or((text, None), |(kind, values)| (kind, Some(values)));
    match (kind, values) {
        ("none", None) => Ok(NoiseModel::None),
        ("gaussian", Some(sigma)) => match sigma.trim().parse::<f64>() {
            Ok(sigma) if sigma.is_finite() && sigma >= 0.0 => Ok(NoiseModel::Gaussian { sigma }),
            _ => error("gaussian:SIGMA with a standard deviation of at least 0, e.g. gaussian:0.01"),
        },
        ("binomial", None) => Ok(NoiseModel::Binomial { qe: BENCHMARK_QE, levels: BENCHMARK_LEVELS }),
        ("binomial", Some(values)) => {
            let numbers =
                values.split_once(',').map(|(a, b)| (a.trim().parse::<f64>(), b.trim().parse::<f64>()));
            match numbers {
                Some((Ok(qe), Ok(levels)))
                    if qe > 0.0 && qe <= 1.0 && levels.is_finite() && levels >= 1.0 =>
                {
                    Ok(NoiseModel::Binomial { qe, levels })
                }
                _ => error(
                    "binomial:QE,LEVELS with QE in (0, 1] and LEVELS at least 1, e.g. binomial:0.4,2048",
                ),
            }
        }
        _ => error("none, gaussian:SIGMA or binomial[:QE,LEVELS]"),
    }
}

/// Writes a model as [`parse_noise`] reads it.
pub fn format_noise(model: NoiseModel) -> String {
    match model {
        NoiseModel::None => "none".into(),
        NoiseModel::Gaussian { sigma } => format!("gaussian:{sigma}"),
        NoiseModel::Binomial { qe, levels } => format!("binomial:{qe},{levels}"),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn flat(value: f32) -> Snapshot {
        Snapshot::new(Array2::from_elem((200, 310), value)).unwrap()
    }

    fn moments(snapshot: &Snapshot, around: f64) -> (f64, f64, f64) {
        let n = snapshot.as_slice().len() as f64;
        let power =
            |p: i32| snapshot.as_slice().iter().map(|&v| (f64::from(v) - around).powi(p)).sum::<f64>() / n;
        (power(1), power(2), n)
    }

    #[test]
    fn gaussian_noise_has_its_mean_and_variance() {
        let (sigma, mut snapshot) = (0.05, flat(5.0));
        let model = NoiseModel::Gaussian { sigma };
        add_noise(&mut snapshot, model, 28, 1);
        let (mean, variance, n) = moments(&snapshot, 5.0);
        // Five standard errors of mean and variance; adding to 5.0 rounds to 2.4e-7, far below.
        assert!(mean.abs() < 5.0 * sigma / n.sqrt(), "{mean}");
        assert!((variance / sigma.powi(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance}");
        assert_eq!(noise_sigma(model, &snapshot, 28), sigma);
    }

    #[test]
    fn shot_noise_has_the_moments_of_the_binomial() {
        let (qe, levels, y, bands) = (0.4, 2048.0, 5.83, 28);
        let model = NoiseModel::Binomial { qe, levels };
        let (clean, mut noisy) = (flat(y), flat(y));
        add_noise(&mut noisy, model, bands, 2);
        let scale = 2.4 / 28.0;
        let trials = (f64::from(y) * scale * levels / qe).floor();
        let (mean, variance, n) = moments(&noisy, trials * qe / levels / scale);
        let expected = trials * qe * (1.0 - qe) / (levels * scale).powi(2);
        // Five standard errors; the excess kurtosis of 2558 trials, about −5e-4, does not show.
        assert!(mean.abs() < 5.0 * (expected / n).sqrt(), "{mean}");
        assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance} {expected}");
        // Rounding down takes less than one of 2558 trials.
        assert!((noise_sigma(model, &clean, bands).powi(2) / expected - 1.0).abs() < 1.0 / 2558.0);
        // Every value is a whole number of counts.
        let counts = f64::from(noisy.as_slice()[17]) * scale * levels;
        assert!((counts - counts.round()).abs() < 1e-3);
    }

    #[test]
    fn full_efficiency_only_rounds_down_and_darkness_stays_dark() {
        let mut snapshot = Snapshot::new(ndarray::arr2(&[[7.0, 0.0, -0.5, 0.001]])).unwrap();
        add_noise(&mut snapshot, NoiseModel::Binomial { qe: 1.0, levels: 1000.0 }, 24, 3);
        // v = 0.1 y: 700, 0, none, ⌊0.1⌋ counts, over 1000 · 0.1. The stored f32 7.0 gives 700.0 to rounding.
        for (found, expected) in snapshot.as_slice().iter().zip([7.0, 0.0, 0.0, 0.0]) {
            assert!((found - expected).abs() <= 0.01, "{found} {expected}");
        }
    }

    #[test]
    fn thread_count_changes_no_bit() {
        let noisy = |threads, model| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut snapshot = flat(3.0);
            pool.install(|| add_noise(&mut snapshot, model, 28, 9));
            snapshot
        };
        for model in [NoiseModel::Gaussian { sigma: 0.1 }, NoiseModel::Binomial { qe: 0.4, levels: 2048.0 }] {
            assert_eq!(noisy(1, model), noisy(5, model));
        }
    }

    #[test]
    fn what_may_be_written() {
        for (text, model) in [
            ("none", NoiseModel::None),
            ("gaussian:0.01", NoiseModel::Gaussian { sigma: 0.01 }),
            ("binomial:0.4,2048", NoiseModel::Binomial { qe: 0.4, levels: 2048.0 }),
        ] {
            assert_eq!(parse_noise(text).unwrap(), model);
            assert_eq!(format_noise(model), text);
        }
        assert_eq!(parse_noise("binomial").unwrap(), parse_noise("binomial:0.4,2048").unwrap());
        let bad = [
            "",
            "gauss:1",
            "none:1",
            "gaussian",
            "gaussian:-1",
            "gaussian:nan",
            "gaussian:inf",
            "gaussian:x",
        ];
        let worse = [
            "binomial:",
            "binomial:0.4",
            "binomial:0,9",
            "binomial:1.1,9",
            "binomial:0.4,0",
            "binomial:0.4,9,9",
        ];
        for text in bad.into_iter().chain(worse) {
            let message = parse_noise(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("noise `{text}`")), "{message}");
        }
    }
}
