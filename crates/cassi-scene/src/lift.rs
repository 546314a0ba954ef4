//! Photographs to spectra: the likeliest reflectance behind every colour.
//!
//! A colour leaves most of a spectrum open. Of all spectra within (0, 1) that render to it under daylight (CIE 1931,
//! D65, sRGB), the lift takes the likeliest one under the model of measured reflectances: logits are Gaussian with the
//! model's mean and covariance, so the result is as smooth as what was measured. It is found for the nodes of a
//! 17x17x17 lattice by repeated linearisation, each step a closed form,
//! `q = m + C Jᵀ (J C Jᵀ)⁻¹ (c − M σ(q₀) + J (q₀ − m))` with `J = M diag(σ'(q₀))`.
//!
//! Between nodes spectra are mixed linearly in linear light. Rendering is linear too, so a mixture of nodes that render
//! to their own colours renders to the colour in between, exactly, and a mixture of spectra within (0, 1) stays there.

use cassi_core::{
    Cube, ShapeError, Wavelengths,
    colour::{Renderer, decode_srgb},
    random::Stream,
};
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

use crate::reflectance::{MODEL, sigmoid};

/// Lattice points along each channel; 16 steps of 16 code values (the last one 15).
const NODES: usize = 17;
/// Logits stay within this: 0.1 % to 99.9 %.
const LARGEST_LOGIT: f64 = 7.0;

/// A table from colours to spectra on one wavelength grid. Making one takes a fraction of a second.
#[derive(Debug, Clone)]
pub struct Lift {
    grid: Wavelengths,
    /// Linear light at the lattice points of a channel.
    levels: [f32; NODES],
    /// `[red][green][blue][band]`.
    spectra: Vec<f32>,
}

/// Everything the nodes' equations share.
struct Problem {
    mean: Vec<f64>,
    /// Covariance of the logits, `[band][band]`.
    covariance: Vec<Vec<f64>>,
    /// Linear sRGB weight of each band.
    weights: Vec<[f64; 3]>,
}

impl Lift {
    /// The likeliest spectra on this grid.
    pub fn new(grid: &Wavelengths) -> Self {
        Self::around(grid, MODEL.mean_logit(grid))
    }

    /// Other spectra that render to the same colours: metamers, drawn by seed. `strength` 1 moves the centre of the
    /// model by one standard deviation in its finer components; training data wants 0 to 1.
    pub fn metameric(grid: &Wavelengths, seed: u64, strength: f64) -> Self {
        let mut random = Stream::new(seed, "metamers", 0);
        let mut mean = MODEL.mean_logit(grid);
        // The first components are brightness and hue, which the colour decides anyway.
        for component in &MODEL.components(grid)[2..] {
            let amount = strength * random.normal();
            mean.iter_mut().zip(component).for_each(|(m, c)| *m += amount * c);
        }
        Self::around(grid, mean)
    }

    fn around(grid: &Wavelengths, mean: Vec<f64>) -> Self {
        let components = MODEL.components(grid);
        // What ten components leave out, so that saturated colours can be met: small and smooth.
        let rest = |a: f64, b: f64| 0.2 * (-0.5 * ((a - b) / 35.0).powi(2)).exp();
        let covariance = (0..grid.len())
            .map(|i| {
                let entry = |j: usize| {
                    components.iter().map(|c| c[i] * c[j]).sum::<f64>() + rest(grid.nm()[i], grid.nm()[j])
                };
                (0..grid.len()).map(entry).collect()
            })
            .collect();
        let problem = Problem { mean, covariance, weights: Renderer::daylight(grid).weights() };
        let level = |i: usize| decode_srgb((16 * i).min(255) as f64 / 255.0);
        let bands = grid.len();
        let mut spectra = vec![0.0; NODES * NODES * NODES * bands];
        // Along blue each node starts from its neighbour; lines are independent.
        spectra.par_chunks_mut(NODES * bands).enumerate().for_each(|(line, out)| {
            let mut logits = problem.mean.clone();
            for (blue, spectrum) in out.chunks_exact_mut(bands).enumerate() {
                let colour = [line / NODES, line % NODES, blue];
                if colour == [0; 3] {
                    continue; // black is zero
                }
                logits = problem.solve(colour.map(level), logits);
                spectrum.iter_mut().zip(&logits).for_each(|(s, &q)| *s = sigmoid(q) as f32);
            }
        });
        Self { grid: grid.clone(), levels: std::array::from_fn(|i| level(i) as f32), spectra }
    }

    /// Lower lattice point and position above it for one channel in linear light.
    fn place(&self, value: f32) -> (usize, f32) {
        let low = self.levels[1..NODES - 1].partition_point(|&level| level <= value);
        let (a, b) = (self.levels[low], self.levels[low + 1]);
        (low, ((value - a) / (b - a)).clamp(0.0, 1.0))
    }

    /// Adds the spectrum of one colour (linear sRGB, limited to [0, 1]) to `out`, one value every `stride`.
    fn add(&self, colour: [f32; 3], out: &mut [f32], stride: usize) {
        let bands = self.grid.len();
        let places = colour.map(|v| self.place(v));
        for corner in 0..8 {
            let (mut node, mut weight) = (0, 1.0);
            for (channel, (low, above)) in places.into_iter().enumerate() {
                let upper = corner >> channel & 1;
                node = node * NODES + low + upper;
                weight *= if upper == 1 { above } else { 1.0 - above };
            }
            if weight > 0.0 {
                let spectrum = &self.spectra[node * bands..(node + 1) * bands];
                out.iter_mut().step_by(stride).zip(spectrum).for_each(|(o, s)| *o += weight * s);
            }
        }
    }

    /// The spectrum of one colour in linear sRGB, limited to [0, 1].
    pub fn spectrum(&self, linear: [f32; 3]) -> Vec<f32> {
        let mut out = vec![0.0; self.grid.len()];
        self.add(linear, &mut out, 1);
        out
    }

    /// The cube `[band, row, column]` of an 8-bit sRGB picture `[row, column, channel]`. Values are reflectances in
    /// [0, 1]; rendered under D65 they give the picture back.
    ///
    /// # Errors
    /// If the picture has not three channels, or no pixel.
    pub fn image(&self, picture: ArrayView3<'_, u8>) -> Result<Cube, ShapeError> {
        let linear: [f32; 256] = std::array::from_fn(|code| decode_srgb(code as f64 / 255.0) as f32);
        let (rows, columns, channels) = picture.dim();
        if channels != 3 || rows == 0 || columns == 0 {
            return Err(ShapeError {
                what: "picture to lift",
                found: picture.shape().to_vec(),
                expected: "[at least 1, at least 1, 3]".into(),
                axes: "(row, column, channel)",
            });
        }
        let bands = self.grid.len();
        let lines: Vec<Vec<f32>> = (0..rows)
            .into_par_iter()
            .map(|row| {
                let mut line = vec![0.0; bands * columns];
                for column in 0..columns {
                    let colour =
                        [0, 1, 2].map(|channel| linear[usize::from(picture[[row, column, channel]])]);
                    self.add(colour, &mut line[column..], columns);
                }
                line
            })
            .collect();
        let mut data = Array3::zeros((bands, rows, columns));
        let planes = data.as_slice_mut().expect("C order").par_chunks_mut(rows * columns);
        planes.enumerate().for_each(|(band, plane)| {
            for (out, line) in plane.chunks_exact_mut(columns).zip(&lines) {
                out.copy_from_slice(&line[band * columns..(band + 1) * columns]);
            }
        });
        Cube::new(data, self.grid.clone())
    }
}

impl Problem {
    /// Logits of the likeliest spectrum of a colour in linear light, from a first guess; of a colour out of reach the
    /// nearest one that was met on the way.
    fn solve(&self, colour: [f64; 3], mut logits: Vec<f64>) -> Vec<f64> {
        let bands = self.mean.len();
        let (mut best, mut least) = (logits.clone(), f64::INFINITY);
        for _ in 0..60 {
            let reflectance: Vec<f64> = logits.iter().map(|&q| sigmoid(q)).collect();
            let mut residual = colour;
            for (r, w) in reflectance.iter().zip(&self.weights) {
                (0..3).for_each(|i| residual[i] -= r * w[i]);
            }
            let error = residual.iter().map(|v| v * v).sum::<f64>().sqrt();
            if error < least {
                least = error;
                best.clone_from(&logits);
            }
            let jacobian: Vec<[f64; 3]> =
                reflectance.iter().zip(&self.weights).map(|(r, w)| w.map(|w| w * r * (1.0 - r))).collect();
            for ((j, q), m) in jacobian.iter().zip(&logits).zip(&self.mean) {
                (0..3).for_each(|i| residual[i] += j[i] * (q - m));
            }
            // C Jᵀ, then the 3x3 system, a millionth of its trace added to keep it regular at black and white.
            let spread: Vec<[f64; 3]> = (0..bands)
                .map(|row| {
                    let mut sum = [0.0; 3];
                    for (c, j) in self.covariance[row].iter().zip(&jacobian) {
                        (0..3).for_each(|i| sum[i] += c * j[i]);
                    }
                    sum
                })
                .collect();
            let mut system = [[0.0; 4]; 3];
            for (j, s) in jacobian.iter().zip(&spread) {
                for a in 0..3 {
                    (0..3).for_each(|b| system[a][b] += j[a] * s[b]);
                }
            }
            let trace = system[0][0] + system[1][1] + system[2][2];
            for a in 0..3 {
                system[a][a] += 1e-6 * trace;
                system[a][3] = residual[a];
            }
            let multipliers = solve3(system);
            let mut step: Vec<f64> = (0..bands)
                .map(|b| {
                    self.mean[b] + (0..3).map(|i| spread[b][i] * multipliers[i]).sum::<f64>() - logits[b]
                })
                .collect();
            let longest = step.iter().fold(0.0, |a: f64, s| a.max(s.abs()));
            // The linearisation holds for about one logit.
            let shorten = (1.0 / longest.max(1e-12)).min(1.0);
            step.iter_mut().for_each(|s| *s *= shorten);
            for (q, s) in logits.iter_mut().zip(&step) {
                *q = (*q + s).clamp(-LARGEST_LOGIT, LARGEST_LOGIT);
            }
            if longest < 1e-3 {
                break;
            }
        }
        best
    }
}

/// Solves three equations, `[a | b]` by rows, with pivoting.
fn solve3(mut m: [[f64; 4]; 3]) -> [f64; 3] {
    for i in 0..3 {
        let pivot = (i..3).max_by(|&a, &b| m[a][i].abs().total_cmp(&m[b][i].abs())).expect("rows remain");
        m.swap(i, pivot);
        for row in i + 1..3 {
            let factor = m[row][i] / m[i][i];
            for k in i..4 {
                m[row][k] -= factor * m[i][k];
            }
        }
    }
    let mut x = [0.0; 3];
    for i in (0..3).rev() {
        x[i] = (m[i][3] - (i + 1..3).map(|k| m[i][k] * x[k]).sum::<f64>()) / m[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_equations() {
        let x = solve3([[0.0, 2.0, 1.0, 7.0], [1.0, 0.0, 0.0, 1.0], [3.0, 1.0, -1.0, 2.0]]);
        for (found, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn black_is_zero_and_white_is_bright() {
        let lift = Lift::new(&Wavelengths::benchmark());
        assert!(lift.spectrum([0.0; 3]).iter().all(|&v| v == 0.0));
        assert!(lift.spectrum([1.0; 3]).iter().all(|&v| v > 0.97));
    }
}
