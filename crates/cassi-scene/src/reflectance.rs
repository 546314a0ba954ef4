//! A statistical model of measured reflectances, and materials drawn from it.
//!
//! Logits of 2,327 measured reflectances (paints, Munsell chips, leaves, foods, skin, cloth; 400 to 700 nm in steps of
//! 5) are written as mean plus ten principal components, whose coefficients follow a mixture of Gaussians. The table is
//! in `data/reflectance_model.csv`; `examples/fit_reflectances.rs` made it. The logit keeps every draw within (0, 1)
//! and makes it as smooth as what was measured.

use std::sync::LazyLock;

use cassi_core::{Wavelengths, random::Stream};

/// Wavelengths of the model: 400 to 700 nm in steps of 5.
const BANDS: usize = 61;
/// Principal components kept.
const COMPONENTS: usize = 10;

struct Cluster {
    weight: f64,
    centre: [f64; COMPONENTS],
    deviation: [f64; COMPONENTS],
}

/// The fitted table.
pub(crate) struct Model {
    grid: Wavelengths,
    mean: [f64; BANDS],
    /// Scaled so that coefficients have unit variance.
    components: Vec<[f64; BANDS]>,
    clusters: Vec<Cluster>,
}

/// The model of this crate.
pub(crate) static MODEL: LazyLock<Model> = LazyLock::new(Model::parse);

impl Model {
    fn parse() -> Self {
        let mut model = Self {
            grid: Wavelengths::linspace(400.0, 700.0, BANDS),
            mean: [0.0; BANDS],
            components: Vec::new(),
            clusters: Vec::new(),
        };
        for line in
            include_str!("../data/reflectance_model.csv").lines().skip(1).filter(|l| !l.starts_with('#'))
        {
            let mut cells = line.split(',');
            let kind = cells.next().expect("a kind");
            let values: Vec<f64> = cells.map(|cell| cell.parse().expect("a number in every cell")).collect();
            match kind {
                "mean" => model.mean.copy_from_slice(&values[1..]),
                "component" => model.components.push(values[1..].try_into().expect("61 values")),
                _ => model.clusters.push(Cluster {
                    weight: values[0],
                    centre: values[1..=COMPONENTS].try_into().expect("10 means"),
                    deviation: values[COMPONENTS + 1..].try_into().expect("10 deviations"),
                }),
            }
        }
        assert_eq!(model.components.len(), COMPONENTS, "the table holds all components");
        model
    }

    /// Logits on another grid (linear interpolation, constant beyond 400 to 700 nm).
    fn onto(&self, values: &[f64; BANDS], target: &Wavelengths) -> Vec<f64> {
        (self.grid.interpolation_onto(target).into_iter())
            .map(|(low, weight)| {
                let high = (low + 1).min(BANDS - 1);
                values[low] + weight * (values[high] - values[low])
            })
            .collect()
    }

    /// Mean logit on a grid.
    pub(crate) fn mean_logit(&self, target: &Wavelengths) -> Vec<f64> {
        self.onto(&self.mean, target)
    }

    /// Components on a grid, scaled to unit variance of their coefficients, largest first.
    pub(crate) fn components(&self, target: &Wavelengths) -> Vec<Vec<f64>> {
        self.components.iter().map(|component| self.onto(component, target)).collect()
    }

    fn logit(&self, coefficients: &[f64; COMPONENTS]) -> [f64; BANDS] {
        let mut logit = self.mean;
        for (component, c) in self.components.iter().zip(coefficients) {
            logit.iter_mut().zip(component).for_each(|(l, v)| *l += c * v);
        }
        logit
    }
}

pub(crate) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// A reflectance as a function of wavelength, in (0, 1): logits at 400 to 700 nm in steps of 5.
#[derive(Debug, Clone, PartialEq)]
pub struct Reflectance {
    logit: [f64; BANDS],
}

impl Reflectance {
    /// Draws a reflectance from the model. One in five is made more saturated or gets a steep edge or a narrow band,
    /// as dyes, filters and prints have and the measured sets hardly show.
    pub fn draw(random: &mut Stream) -> Self {
        let mut choice = random.uniform() * MODEL.clusters.iter().map(|c| c.weight).sum::<f64>();
        let cluster = MODEL.clusters.iter().find(|c| {
            choice -= c.weight;
            choice <= 0.0
        });
        let cluster = cluster.unwrap_or(&MODEL.clusters[0]);
        let coefficients = std::array::from_fn(|k| {
            cluster.centre[k] + cluster.deviation[k] * random.normal().clamp(-2.5, 2.5)
        });
        let mut logit = MODEL.logit(&coefficients);
        let nm = |band: usize| 400.0 + 5.0 * band as f64;
        match random.uniform() {
            p if p < 0.08 => {
                // A steep edge: reflecting above (or below) it, absorbing on the other side.
                let (edge, width) = (random.uniform_in(450.0, 640.0), random.uniform_in(6.0, 22.0));
                let height = random.uniform_in(1.5, 3.5) * if random.chance(0.75) { 1.0 } else { -1.0 };
                (0..BANDS).for_each(|b| logit[b] += height * ((nm(b) - edge) / width).tanh());
            }
            p if p < 0.14 => {
                let (centre, width) = (random.uniform_in(440.0, 650.0), random.uniform_in(10.0, 32.0));
                let height = random.uniform_in(1.2, 3.0) * if random.chance(0.6) { 1.0 } else { -1.0 };
                (0..BANDS)
                    .for_each(|b| logit[b] += height * (-0.5 * ((nm(b) - centre) / width).powi(2)).exp());
            }
            p if p < 0.30 => {
                // More saturated: the shape of the logit exaggerated around its mean.
                let (mean, gain) = (logit.iter().sum::<f64>() / BANDS as f64, random.uniform_in(1.3, 2.0));
                logit.iter_mut().for_each(|l| *l = mean + gain * (*l - mean));
            }
            _ => {}
        }
        // Nothing is blacker than 0.7 % or brighter than 99 %.
        Self { logit: logit.map(|l| l.clamp(-5.0, 4.6)) }
    }

    /// Draws until `accept(blue, green, red)` likes the mean reflectance of 430-490, 520-570 and 600-680 nm; after
    /// 200 draws the last one is taken.
    pub fn draw_like(random: &mut Stream, accept: impl Fn(f64, f64, f64) -> bool) -> Self {
        let mut reflectance = Self::draw(random);
        for _ in 0..200 {
            let mean = |bands: std::ops::Range<usize>| {
                bands.clone().map(|b| sigmoid(reflectance.logit[b])).sum::<f64>() / bands.len() as f64
            };
            if accept(mean(6..19), mean(24..35), mean(40..57)) {
                break;
            }
            reflectance = Self::draw(random);
        }
        reflectance
    }

    /// From a function of the wavelength in nm, limited to [0.005, 0.995].
    pub fn from_fn(f: impl Fn(f64) -> f64) -> Self {
        let logit = |r: f64| (r / (1.0 - r)).ln();
        Self { logit: std::array::from_fn(|b| logit(f(400.0 + 5.0 * b as f64).clamp(0.005, 0.995))) }
    }

    /// A variant of this one: lighter or darker by `lightness` (in logits) and slightly varied in shape.
    pub fn varied(&self, random: &mut Stream, lightness: f64, shape: f64) -> Self {
        let mut logit = self.logit;
        for component in &MODEL.components[1..6] {
            let amount = shape * random.normal();
            logit.iter_mut().zip(component).for_each(|(l, v)| *l += amount * v);
        }
        Self { logit: logit.map(|l| (l + lightness).clamp(-5.0, 4.6)) }
    }

    /// Values in (0, 1) at the bands of a grid.
    pub fn on(&self, grid: &Wavelengths) -> Vec<f32> {
        MODEL.onto(&self.logit, grid).into_iter().map(|l| sigmoid(l) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_smooth_bounded_and_varied() {
        let grid = Wavelengths::linspace(400.0, 700.0, 61);
        let draws: Vec<Vec<f32>> =
            (0..400).map(|i| Reflectance::draw(&mut Stream::new(1, "test", i)).on(&grid)).collect();
        for r in &draws {
            assert!(r.iter().all(|v| (0.0..=1.0).contains(v)));
            // The steepest edge has height 7 logits over a width of 6 nm: a quarter of that a step of 5 nm, plus a
            // steep measured one.
            assert!(r.windows(2).all(|w| (w[0] - w[1]).abs() < 0.75));
        }
        let mean = draws.iter().flatten().sum::<f32>() / (400.0 * 61.0);
        assert!((0.15..0.5).contains(&mean), "{mean}");
        let spread = |band: usize| {
            let values: Vec<f32> = draws.iter().map(|r| r[band]).collect();
            let m = values.iter().sum::<f32>() / 400.0;
            (values.iter().map(|v| (v - m).powi(2)).sum::<f32>() / 400.0).sqrt()
        };
        assert!([5, 30, 55].iter().all(|&band| spread(band) > 0.12));
    }

    #[test]
    fn a_given_curve_comes_back() {
        let grid = Wavelengths::benchmark();
        let r = Reflectance::from_fn(|nm| 0.2 + 0.5 * (nm - 400.0) / 300.0);
        for (value, nm) in r.on(&grid).iter().zip(grid.nm()) {
            // Logits are interpolated over 5 nm: a second-order effect.
            assert!((f64::from(*value) - (0.2 + 0.5 * (nm - 400.0) / 300.0)).abs() < 1e-4);
        }
    }
}
