//! Where a network's numbers come from while it is built: a float checkpoint, whose weights are binarized by the
//! rule of the method and whose names and shapes are checked, or nothing (to list what a network asks for).

use std::collections::HashSet;

use cassi_core::{NamedTensors, Tensor};

use super::{BuildParts, Layout, Method, build};
use crate::WeightsError;

/// How latent weights become binary ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `mean|w|·sign(w)`; the tensor may be a flat column.
    Scaled,
    /// As [`Rule::Scaled`], stored as `[n, 1]`.
    ScaledColumn,
    /// `sign(w)`.
    Sign,
    /// `sign(sign(w) + 0.01)`: zero counts as +1.
    SignUp,
    /// Centred, divided by the unbiased standard deviation, scale a power of two.
    Standardised,
    /// Centred, divided by the biased standard deviation, scaled by 1/√fan-in and by a trained gain.
    Gained,
}

/// Ternary weights `[output][input of its group][tap]` and a scale for each output.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Binary {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) taps: usize,
    pub(super) signs: Vec<i8>,
    pub(super) scale: Vec<f32>,
}

/// The numbers of one network, asked for in a fixed order.
pub(super) trait Source {
    /// Binary weights of shape `[outputs, inputs, side, side]`.
    fn binary(&mut self, name: &str, shape: [usize; 4], rule: Rule) -> Binary;
    /// Floats of the given shape.
    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32>;
    /// Batch normalisation in evaluation mode as a factor and a summand a channel.
    fn batch_norm(&mut self, prefix: &str, channels: usize) -> (Vec<f32>, Vec<f32>);
    /// A tensor that the checkpoint carries and inference does not need.
    fn unused(&mut self, name: &str, shape: &[usize]);
}

/// A float checkpoint.
pub(super) struct Checkpoint<'a> {
    tensors: &'a NamedTensors,
    seen: HashSet<String>,
    missing: Vec<String>,
    misshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    not_finite: Vec<String>,
}

impl<'a> Checkpoint<'a> {
    fn new(tensors: &'a NamedTensors) -> Self {
        Self { tensors, seen: HashSet::new(), missing: vec![], misshaped: vec![], not_finite: vec![] }
    }

    /// Zeros stand in for what is wrong; the list of wrongs decides at the end.
    fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        self.seen.insert(name.to_string());
        match self.tensors.get(name) {
            None => self.missing.push(name.to_string()),
            Some(t) if t.shape != shape => {
                self.misshaped.push((name.to_string(), t.shape.clone(), shape.to_vec()));
            }
            Some(t) if t.data.iter().any(|v| !v.is_finite()) => self.not_finite.push(name.to_string()),
            Some(t) => return t.data.clone(),
        }
        vec![0.0; shape.iter().product()]
    }
}

impl<S: Source + ?Sized> Source for &mut S {
    fn binary(&mut self, name: &str, shape: [usize; 4], rule: Rule) -> Binary {
        (**self).binary(name, shape, rule)
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        (**self).floats(name, shape)
    }

    fn batch_norm(&mut self, prefix: &str, channels: usize) -> (Vec<f32>, Vec<f32>) {
        (**self).batch_norm(prefix, channels)
    }

    fn unused(&mut self, name: &str, shape: &[usize]) {
        (**self).unused(name, shape);
    }
}

impl Source for Checkpoint<'_> {
    fn binary(&mut self, name: &str, shape: [usize; 4], rule: Rule) -> Binary {
        let weight_name = format!("{name}.weight");
        let latent = match rule {
            Rule::ScaledColumn => self.take(&weight_name, &[shape.iter().product(), 1]),
            _ => self.take(&weight_name, &shape),
        };
        let mut binary = binarize(&latent, shape, rule);
        if rule == Rule::Gained {
            let gain = self.take(&format!("{name}.gain"), &[shape[0], 1, 1, 1]);
            binary.scale.iter_mut().zip(gain).for_each(|(s, g)| *s *= g);
        }
        binary
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        self.take(name, shape)
    }

    fn batch_norm(&mut self, prefix: &str, channels: usize) -> (Vec<f32>, Vec<f32>) {
        let mut part = |name: &str| self.take(&format!("{prefix}.{name}"), &[channels]);
        let (gain, bias, mean, variance) =
            (part("weight"), part("bias"), part("running_mean"), part("running_var"));
        // Counters of batches are integers that some writers leave out.
        self.seen.insert(format!("{prefix}.num_batches_tracked"));
        let scale: Vec<f64> =
            gain.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + 1e-5).sqrt()).collect();
        let shift =
            (0..channels).map(|c| (f64::from(bias[c]) - f64::from(mean[c]) * scale[c]) as f32).collect();
        (scale.into_iter().map(|s| s as f32).collect(), shift)
    }

    fn unused(&mut self, name: &str, shape: &[usize]) {
        self.take(name, shape);
    }
}

/// Binarizes latent weights.
fn binarize(latent: &[f32], shape: [usize; 4], rule: Rule) -> Binary {
    let [outputs, inputs, side, _] = shape;
    let fan_in = inputs * side * side;
    let mut signs = Vec::with_capacity(latent.len());
    let mut scale = Vec::with_capacity(outputs);
    for w in latent.chunks_exact(fan_in) {
        let mean = w.iter().map(|&v| f64::from(v)).sum::<f64>() / fan_in as f64;
        let deviation =
            |divisor: f64| (w.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / divisor).sqrt();
        let mean_magnitude = |centre: f64, unit: f64| {
            w.iter().map(|&v| ((f64::from(v) - centre) / unit).abs()).sum::<f64>() / fan_in as f64
        };
        let sign = |v: f64| i8::from(v > 0.0) - i8::from(v < 0.0);
        let centre = match rule {
            Rule::Standardised | Rule::Gained => mean,
            _ => 0.0,
        };
        signs.extend(w.iter().map(|&v| match rule {
            Rule::SignUp => 2 * i8::from(v >= 0.0) - 1,
            _ => sign(f64::from(v) - centre),
        }));
        scale.push(match rule {
            Rule::Scaled | Rule::ScaledColumn => mean_magnitude(0.0, 1.0) as f32,
            Rule::Sign | Rule::SignUp => 1.0,
            Rule::Standardised => {
                let magnitude = mean_magnitude(mean, deviation(fan_in as f64 - 1.0));
                magnitude.log2().round_ties_even().exp2() as f32
            }
            Rule::Gained => {
                (mean_magnitude(mean, deviation(fan_in as f64) + 1e-5) / (fan_in as f64).sqrt()) as f32
            }
        });
    }
    Binary { outputs, inputs, taps: side * side, signs, scale }
}

/// Reads a checkpoint strictly.
pub(super) fn read_checkpoint(
    tensors: &NamedTensors,
    method: Method,
    layout: Layout,
) -> Result<BuildParts, WeightsError> {
    check_tensors(tensors, method, |checkpoint| build(checkpoint, method, layout))
}

/// Does something with a checkpoint and says what was wrong with it.
pub(super) fn check_tensors<T>(
    tensors: &NamedTensors,
    method: Method,
    read: impl FnOnce(&mut Checkpoint<'_>) -> T,
) -> Result<T, WeightsError> {
    let mut source = Checkpoint::new(tensors);
    let result = read(&mut source);
    let Checkpoint { seen, missing, misshaped, not_finite, .. } = source;
    let unexpected: Vec<String> =
        tensors.iter().map(|(n, _)| n).filter(|&n| !seen.contains(n)).map(str::to_string).collect();
    if missing.is_empty() && misshaped.is_empty() && not_finite.is_empty() && unexpected.is_empty() {
        return Ok(result);
    }
    let nearest =
        nearest_method(tensors).filter(|&(m, _)| m != method).map(|(m, share)| (m.to_string(), share));
    Err(WeightsError { network: method.to_string(), missing, unexpected, misshaped, not_finite, nearest })
}

/// The method most of whose names and shapes are among the tensors, and the share of them that is.
pub fn nearest_method(tensors: &NamedTensors) -> Option<(Method, f64)> {
    let fit = |method| {
        let expected = expected_tensors(method);
        let here =
            expected.iter().filter(|(name, shape)| tensors.get(name).is_some_and(|t| t.shape == *shape));
        (method, here.count() as f64 / expected.len().max(tensors.len()) as f64)
    };
    let best = Method::ALL.into_iter().map(fit).max_by(|a, b| a.1.total_cmp(&b.1))?;
    (best.1 > 0.25).then_some(best)
}

/// Lists names and shapes.
pub(super) struct Names(pub(super) Vec<(String, Vec<usize>)>);

impl Source for Names {
    fn binary(&mut self, name: &str, shape: [usize; 4], rule: Rule) -> Binary {
        let [outputs, inputs, side, _] = shape;
        let stored =
            if rule == Rule::ScaledColumn { vec![shape.iter().product(), 1] } else { shape.to_vec() };
        self.0.push((format!("{name}.weight"), stored));
        if rule == Rule::Gained {
            self.0.push((format!("{name}.gain"), vec![outputs, 1, 1, 1]));
        }
        let count = shape.iter().product();
        Binary { outputs, inputs, taps: side * side, signs: vec![1; count], scale: vec![1.0; outputs] }
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        self.0.push((name.to_string(), shape.to_vec()));
        vec![0.0; shape.iter().product()]
    }

    fn batch_norm(&mut self, prefix: &str, channels: usize) -> (Vec<f32>, Vec<f32>) {
        for name in ["weight", "bias", "running_mean", "running_var"] {
            self.0.push((format!("{prefix}.{name}"), vec![channels]));
        }
        (vec![1.0; channels], vec![0.0; channels])
    }

    fn unused(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_string(), shape.to_vec()));
    }
}

/// Names and shapes of the float tensors of a network's checkpoint (batch counters apart), in the order in which
/// they are read.
pub fn expected_tensors(method: Method) -> Vec<(String, Vec<usize>)> {
    let mut names = Names(vec![]);
    build(&mut names, method, Layout::Standard);
    names.0
}

/// Reproducible weights for tests and examples: each tensor is drawn from a generator seeded with the FNV-1a hash
/// of its name (`SplitMix64`), centred and scaled by its role, so that signals neither die nor explode.
pub fn rule_weights(method: Method) -> NamedTensors {
    expected_tensors(method)
        .into_iter()
        .map(|(name, shape)| (name.clone(), rule_tensor(&name, shape)))
        .collect()
}

fn rule_tensor(name: &str, shape: Vec<usize>) -> Tensor {
    let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let mut parts = name.rsplit('.');
    let (last, before) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (centre, half_width) = match (last, shape.as_slice()) {
        ("running_var", _) => (1.0, 0.5),
        ("running_mean" | "b" | "bias", _) => (0.0, 0.1),
        ("beta", _) => (2.0, 1.0),
        ("k" | "gain", _) => (1.0, 0.1),
        ("weight", [_]) if before.contains("prelu") => (0.25, 0.1),
        ("weight", [_]) => (1.0, 0.1),
        (_, [_, 1]) => (0.0, 0.1),
        (_, shape) => (0.0, (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt()),
    };
    let value = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let s = 2.0 * ((z >> 11) as f64 * 2f64.powi(-53)) - 1.0;
        (centre + half_width * s) as f32
    };
    let data = (1..=shape.iter().product::<usize>() as u64).map(value).collect();
    Tensor { shape, data }
}
