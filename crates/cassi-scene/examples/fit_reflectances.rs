//! Fits the reflectance model of this crate to measured reflectances and prints the table.
//!
//! ```text
//! cargo run --release -p cassi-scene --example fit_reflectances \
//!     < "$CASSI_SHARED/spectra/reflectances_400_700_5nm.csv" > crates/cassi-scene/data/reflectance_model.csv
//! ```
//! Input: one header line, then `set,index,r400,r405..r700`. Each reflectance is limited to [0.005, 0.995] and mapped
//! by the logit; sets are weighted by the root of their size, so that 1,600 paint chips do not drown 170 leaves and
//! foods. Principal components of the logits, scaled to unit variance, then a mixture of Gaussians with diagonal
//! covariance on the coefficients, started from k-means. Everything is deterministic.

use std::collections::HashMap;

const BANDS: usize = 61;
const COMPONENTS: usize = 10;
const CLUSTERS: usize = 24;

fn main() {
    let text = std::io::read_to_string(std::io::stdin()).expect("a table on standard input");
    let mut sets = Vec::new();
    let mut logits: Vec<[f64; BANDS]> = Vec::new();
    for line in text.lines().skip(1) {
        let mut cells = line.split(',');
        sets.push(cells.next().expect("a set"));
        let values: Vec<f64> = cells.skip(1).map(|cell| cell.parse().expect("a number")).collect();
        let logit = |r: f64| (r.clamp(0.005, 0.995) / (1.0 - r.clamp(0.005, 0.995))).ln();
        logits.push(std::array::from_fn(|band| logit(values[band])));
    }
    let mut sizes = HashMap::new();
    sets.iter().for_each(|set| *sizes.entry(*set).or_insert(0usize) += 1);
    let mut weights: Vec<f64> = sets.iter().map(|set| 1.0 / (sizes[set] as f64).sqrt()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= total);

    let mut mean = [0.0; BANDS];
    for (logit, w) in logits.iter().zip(&weights) {
        mean.iter_mut().zip(logit).for_each(|(m, v)| *m += w * v);
    }
    let mut covariance = [[0.0; BANDS]; BANDS];
    for (logit, w) in logits.iter().zip(&weights) {
        for i in 0..BANDS {
            for j in 0..BANDS {
                covariance[i][j] += w * (logit[i] - mean[i]) * (logit[j] - mean[j]);
            }
        }
    }
    let trace: f64 = (0..BANDS).map(|i| covariance[i][i]).sum();
    let components = leading_eigenvectors(covariance);
    let kept: f64 = components.iter().map(|(value, _)| value).sum();
    let points: Vec<[f64; COMPONENTS]> = logits
        .iter()
        .map(|logit| {
            std::array::from_fn(|k| {
                let (value, vector) = &components[k];
                (0..BANDS).map(|i| (logit[i] - mean[i]) * vector[i]).sum::<f64>() / value.sqrt()
            })
        })
        .collect();

    println!("kind,weight,values");
    println!(
        "# {} reflectances, {COMPONENTS} components hold {:.3} % of the variance",
        points.len(),
        100.0 * kept / trace
    );
    println!("mean,1,{}", joined(&mean));
    for (value, vector) in &components {
        println!("component,{value:.5},{}", joined(&vector.map(|v| v * value.sqrt())));
    }
    for (weight, centre, deviation) in mixture(&points, &weights) {
        println!("cluster,{weight:.5},{},{}", joined(&centre), joined(&deviation));
    }
}

fn joined(values: &[f64]) -> String {
    values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(",")
}

/// The first eigenpairs of a symmetric matrix by the power method with deflation; each vector's sum is positive.
fn leading_eigenvectors(mut matrix: [[f64; BANDS]; BANDS]) -> Vec<(f64, [f64; BANDS])> {
    (0..COMPONENTS)
        .map(|_| {
            let mut vector: [f64; BANDS] = std::array::from_fn(|i| 1.0 + (i as f64 * 1.7).sin());
            let mut value = 0.0;
            for _ in 0..2000 {
                let product: [f64; BANDS] =
                    std::array::from_fn(|i| (0..BANDS).map(|j| matrix[i][j] * vector[j]).sum());
                value = product.iter().map(|v| v * v).sum::<f64>().sqrt();
                vector = product.map(|v| v / value);
            }
            let sign = vector.iter().sum::<f64>().signum();
            vector = vector.map(|v| v * sign);
            for i in 0..BANDS {
                for j in 0..BANDS {
                    matrix[i][j] -= value * vector[i] * vector[j];
                }
            }
            (value, vector)
        })
        .collect()
}

type Cluster = (f64, [f64; COMPONENTS], [f64; COMPONENTS]);

/// k-means from farthest points, then 60 steps of expectation maximisation. Deviations stay above 0.05.
fn mixture(points: &[[f64; COMPONENTS]], weights: &[f64]) -> Vec<Cluster> {
    let distance = |a: &[f64; COMPONENTS], b: &[f64; COMPONENTS]| -> f64 {
        a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
    };
    let mut centres = vec![[0.0; COMPONENTS]];
    while centres.len() < CLUSTERS {
        // Root of the weight times the distance: outliers alone should not become centres.
        let score = |i: &usize| {
            let nearest = centres.iter().map(|c| distance(c, &points[*i])).fold(f64::INFINITY, f64::min);
            weights[*i].sqrt() * nearest.sqrt().min(4.0)
        };
        let farthest = (0..points.len()).max_by(|a, b| score(a).total_cmp(&score(b))).expect("points");
        centres.push(points[farthest]);
    }
    let mut owners = vec![0; points.len()];
    for _ in 0..50 {
        for (owner, point) in owners.iter_mut().zip(points) {
            let nearest = |a: &usize, b: &usize| {
                distance(&centres[*a], point).total_cmp(&distance(&centres[*b], point))
            };
            *owner = (0..CLUSTERS).min_by(nearest).expect("clusters");
        }
        for (cluster, centre) in centres.iter_mut().enumerate() {
            let members = || (0..points.len()).filter(|&i| owners[i] == cluster);
            let total: f64 = members().map(|i| weights[i]).sum();
            if total > 0.0 {
                *centre = std::array::from_fn(|k| {
                    members().map(|i| weights[i] * points[i][k]).sum::<f64>() / total
                });
            }
        }
    }
    let mut clusters: Vec<Cluster> =
        centres.iter().map(|&centre| (1.0 / CLUSTERS as f64, centre, [0.6; COMPONENTS])).collect();
    for _ in 0..60 {
        let shares: Vec<Vec<f64>> = points
            .iter()
            .map(|point| {
                let logs: Vec<f64> = clusters
                    .iter()
                    .map(|(weight, centre, deviation)| {
                        let exponent = |k: usize| {
                            -0.5 * ((point[k] - centre[k]) / deviation[k]).powi(2) - deviation[k].ln()
                        };
                        weight.ln() + (0..COMPONENTS).map(exponent).sum::<f64>()
                    })
                    .collect();
                let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = logs.iter().map(|l| (l - top).exp()).sum();
                logs.iter().map(|l| (l - top).exp() / total).collect()
            })
            .collect();
        for (cluster, (weight, centre, deviation)) in clusters.iter_mut().enumerate() {
            let share = |i: usize| weights[i] * shares[i][cluster];
            let total: f64 = (0..points.len()).map(share).sum();
            *weight = total.max(1e-4);
            let average = |f: &dyn Fn(usize) -> f64| {
                (0..points.len()).map(|i| share(i) * f(i)).sum::<f64>() / total.max(1e-12)
            };
            *centre = std::array::from_fn(|k| average(&|i| points[i][k]));
            *deviation =
                std::array::from_fn(|k| average(&|i| (points[i][k] - centre[k]).powi(2)).sqrt().max(0.05));
        }
    }
    clusters
}
