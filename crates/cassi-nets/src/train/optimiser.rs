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
