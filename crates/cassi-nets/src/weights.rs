//! Parameters of a network as named tensors, strictly in and out.

use cassi_core::{NamedTensors, Tensor as HostTensor};
use tch::{Kind, Tensor, nn};

use crate::error::{NetsError, WeightsMismatch};

/// Names and shapes of all parameters and buffers, sorted by name with numbers in their order.
pub fn names(store: &nn::VarStore) -> Vec<(String, Vec<usize>)> {
    let mut names: Vec<_> =
        store.variables().iter().map(|(name, tensor)| (name.clone(), shape(tensor))).collect();
    names.sort_by_cached_key(|(name, _)| sort_key(name));
    names
}

fn sort_key(name: &str) -> Vec<(u64, String)> {
    name.split('.').map(|part| (part.parse().unwrap_or(u64::MAX), part.to_string())).collect()
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().into_iter().map(|length| length as usize).collect()
}

/// Copies a checkpoint into the network. A common prefix `module.` is taken off.
///
/// # Errors
/// [`NetsError::Weights`] with every missing, unexpected and mis-shaped tensor; then nothing is changed.
pub fn load(store: &nn::VarStore, weights: &NamedTensors) -> Result<(), NetsError> {
    let variables = store.variables();
    let weights = weights.clone().without_common_prefix("module.");
    let mut mismatch = WeightsMismatch::default();
    for (name, found) in weights.iter() {
        match variables.get(name) {
            None => mismatch.unexpected.push(name.to_string()),
            Some(variable) if shape(variable) != found.shape => {
                mismatch.misshaped.push((name.to_string(), found.shape.clone(), shape(variable)));
            }
            Some(_) => {}
        }
    }
    let missing = names(store).into_iter().map(|(name, _)| name).filter(|name| weights.get(name).is_none());
    mismatch.missing.extend(missing);
    if !mismatch.is_empty() {
        return Err(NetsError::Weights(mismatch));
    }
    tch::no_grad(|| {
        for (name, found) in weights.iter() {
            let mut variable = variables[name].shallow_clone();
            variable.copy_(&to_torch(found));
        }
    });
    Ok(())
}

/// All parameters and buffers of the network, in the order of [`names`].
pub fn save(store: &nn::VarStore) -> NamedTensors {
    let variables = store.variables();
    names(store).into_iter().map(|(name, _)| (name.clone(), to_host(&variables[&name]))).collect()
}

/// A tensor on the CPU in the shape of its host copy.
pub fn to_torch(tensor: &HostTensor) -> Tensor {
    let shape: Vec<i64> = tensor.shape.iter().map(|&length| length as i64).collect();
    Tensor::from_slice(&tensor.data).reshape(shape)
}

/// A host copy in single precision.
pub fn to_host(tensor: &Tensor) -> HostTensor {
    let flat = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    let data = Vec::<f32>::try_from(&flat).expect("a flat tensor of singles on the CPU");
    HostTensor::new(shape(tensor), data).expect("as many values as the shape says")
}
