//! Adam on one flat buffer that holds all parameters, with the averaged weights beside it.
//!
//! The parameters of the network become views of the buffer, so a step is a handful of operations whatever the number
//! of layers, and the whole state is four tensors that can be stored.

use cassi_core::{NamedTensors, Tensor as HostTensor};
use tch::{Kind, Tensor, nn, no_grad};

use super::config::Optimiser as Settings;
use crate::weights::{to_host, to_torch};

/// Makes the trainable parameters of a store views of one flat buffer, in the order of their creation.
pub(crate) fn bind(store: &nn::VarStore, values: &Tensor) -> Vec<Tensor> {
    let mut at = 0;
    let parameters = store.trainable_variables().into_iter().map(|mut parameter| {
        let count = parameter.numel() as i64;
        parameter.set_data(&values.narrow(0, at, count).view_as(&parameter));
        at += count;
        parameter
    });
    parameters.collect()
}

/// Gradients in the order of the buffer, and none left behind; zero where a parameter took no part.
pub(crate) fn take_gradient(parameters: &mut [Tensor]) -> Tensor {
    let flat = parameters.iter().map(|parameter| {
        let gradient = parameter.grad();
        if gradient.defined() {
            gradient.reshape([-1])
        } else {
            parameter.detach().zeros_like().reshape([-1])
        }
    });
    let flat = no_grad(|| Tensor::cat(&flat.collect::<Vec<_>>(), 0));
    parameters.iter_mut().for_each(Tensor::zero_grad);
    flat
}

/// The flat state of a training.
#[derive(Debug)]
pub(crate) struct Optimiser {
    settings: Settings,
    values: Tensor,
    first: Tensor,
    second: Tensor,
    average: Tensor,
}

impl Optimiser {
    /// Takes over the trainable parameters of a store.
    pub(crate) fn new(store: &nn::VarStore, settings: &Settings) -> Self {
        let flat: Vec<Tensor> =
            store.trainable_variables().iter().map(|p| p.detach().reshape([-1])).collect();
        let values = Tensor::cat(&flat, 0);
        bind(store, &values);
        let (first, second, average) = (values.zeros_like(), values.zeros_like(), values.copy());
        Self { settings: settings.clone(), values, first, second, average }
    }

    /// The buffer that holds all parameters.
    pub(crate) fn values(&self) -> &Tensor {
        &self.values
    }

    /// One step at learning rate `rate`; `step` counts from 0.
    pub(crate) fn step(&mut self, mut gradient: Tensor, step: u64, rate: f64) {
        let Settings { betas: [beta1, beta2], weight_decay, clip, average, .. } = self.settings;
        no_grad(|| {
            if clip > 0.0 {
                let norm = gradient.square().sum(Kind::Float).sqrt();
                let factor = (clip / (norm + 1e-6)).clamp_max(1.0);
                gradient *= factor;
            }
            let count = (step + 1).min(1 << 30) as i32;
            let _ = self.first.lerp_(&gradient, 1.0 - beta1);
            let _ = self.second.g_mul_scalar_(beta2).addcmul_(&(&gradient * (1.0 - beta2)), &gradient);
            let root = (1.0 - beta2.powi(count)).sqrt();
            let denominator = self.second.sqrt().g_div_scalar_(root).g_add_scalar_(1e-8);
            if weight_decay > 0.0 {
                let _ = self.values.g_mul_scalar_(1.0 - rate * weight_decay);
            }
            let update = self.first.g_div(&denominator) * (rate / (1.0 - beta1.powi(count)));
            self.values -= update;
            // The average follows closely at first, so that it never remembers the random start.
            let decay = average.min((1 + step) as f64 / (10 + step) as f64);
            let _ = self.average.lerp_(&self.values, 1.0 - decay);
        });
    }

    /// Runs `f` with the averaged weights in the network's place.
    pub(crate) fn with_average<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let current = self.values.copy();
        no_grad(|| self.values.copy_(&self.average));
        let result = f();
        no_grad(|| self.values.copy_(&current));
        result
    }

    /// The state beside the weights, by name.
    pub(crate) fn state(&self) -> Vec<(String, HostTensor)> {
        let named = [("adam.first", &self.first), ("adam.second", &self.second), ("average", &self.average)];
        named.into_iter().map(|(name, tensor)| (name.to_string(), to_host(tensor))).collect()
    }

    /// Takes the state up again; the weights are loaded apart. Gives the name of the first tensor that is missing or
    /// of another size.
    pub(crate) fn restore(&mut self, state: &NamedTensors) -> Result<(), &'static str> {
        let named = [
            ("adam.first", &mut self.first),
            ("adam.second", &mut self.second),
            ("average", &mut self.average),
        ];
        for (name, tensor) in named {
            let stored = state.get(name).filter(|t| t.data.len() == tensor.numel()).ok_or(name)?;
            no_grad(|| tensor.copy_(&to_torch(stored)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::OptimizerConfig;

    use super::*;

    fn settings() -> Settings {
        Settings { rate: 1e-2, weight_decay: 0.1, ..Settings::default() }
    }

    /// A store of two parameters, of which a quadratic is the loss.
    fn store() -> (nn::VarStore, Tensor, Tensor) {
        let store = nn::VarStore::new(Device::Cpu);
        let a = store.root().var_copy("a", &Tensor::from_slice(&[1.0f32, -2.0, 0.5]));
        let b = store.root().var_copy("b", &Tensor::from_slice(&[3.0f32, -0.1]).view([2, 1]));
        (store, a, b)
    }

    fn loss(a: &Tensor, b: &Tensor) -> Tensor {
        (a - 0.3).square().sum(Kind::Float) + b.square().sum(Kind::Float) * 2.0
    }

    #[test]
    fn steps_are_those_of_the_library() {
        let (ours, a, b) = store();
        let mut optimiser = Optimiser::new(&ours, &settings());
        let mut parameters = ours.trainable_variables();
        let (theirs, c, d) = store();
        let decoupled = nn::AdamW { wd: 0.1, ..nn::AdamW::default() };
        let mut reference = decoupled.build(&theirs, 1e-2).expect("AdamW");
        for step in 0..50 {
            loss(&a, &b).backward();
            optimiser.step(take_gradient(&mut parameters), step, 1e-2);
            reference.backward_step(&loss(&c, &d));
        }
        for (found, expected) in [(&a, &c), (&b, &d)] {
            // Fifty steps of at most 1e-2, each rounded to some 1e-7 of it.
            assert!((found - expected).abs().max().double_value(&[]) < 1e-6, "{found} and {expected}");
        }
    }

    #[test]
    fn the_average_follows_and_changes_place() {
        let (store, a, b) = store();
        let mut optimiser = Optimiser::new(&store, &Settings { average: 0.5, ..settings() });
        let mut parameters = store.trainable_variables();
        let mut expected = optimiser.values().copy();
        for step in 0..12u64 {
            loss(&a, &b).backward();
            optimiser.step(take_gradient(&mut parameters), step, 1e-2);
            let decay = 0.5f64.min((1 + step) as f64 / (10 + step) as f64);
            expected = expected * decay + optimiser.values() * (1.0 - decay);
        }
        let now = a.copy();
        let seen = optimiser.with_average(|| a.copy());
        // Averages of numbers of size one in single precision.
        assert!((&seen - expected.narrow(0, 0, 3)).abs().max().double_value(&[]) < 1e-6);
        assert!((&seen - &now).abs().max().double_value(&[]) > 1e-3, "it is another one");
        assert_eq!(a, now, "and is taken out again");
    }

    #[test]
    fn a_long_gradient_is_shortened_and_a_short_one_is_not() {
        for (length, expected) in [(30.0f32, 2.0), (1.0, 1.0)] {
            let (store, ..) = store();
            let mut optimiser = Optimiser::new(&store, &Settings { clip: 2.0, ..settings() });
            let gradient = Tensor::from_slice(&[0.0f32, 0.6, 0.0, 0.0, 0.8]) * f64::from(length);
            optimiser.step(gradient, 0, 1e-2);
            // The first moment after one step is a tenth of the gradient.
            let seen = 10.0 * optimiser.first.norm().double_value(&[]);
            assert!((seen - expected).abs() < 1e-5, "{length} became {seen}");
        }
    }
}
