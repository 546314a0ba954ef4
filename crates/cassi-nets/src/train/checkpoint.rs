//! Everything a training needs to go on as if it had never stopped, in one file that is there whole or not at all.
//!
//! Weights under `weights.`, the flat moments and averages, and as metadata the step, the configuration and the
//! running figures. Random state needs no place: batches follow from seed and step.

use std::collections::BTreeMap;
use std::path::Path;

use cassi_core::NamedTensors;
use cassi_io::{TensorPrecision, read_tensors_with_metadata, write_tensors};
use serde::{Deserialize, Serialize};
use tch::nn;

use super::TrainError;
use super::config::TrainConfig;
use super::optimiser::Optimiser;
use crate::weights;

/// Name of the file in the output folder.
pub(crate) const FILE: &str = "checkpoint.safetensors";

/// The running figures of a training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) step: u64,
    /// Seconds of training so far, all sittings together.
    pub(crate) seconds: f64,
    /// Samples seen.
    pub(crate) samples: u64,
    /// Best validation mean so far and its step.
    pub(crate) best: Option<(f64, u64)>,
    /// Validations since the best.
    pub(crate) stale: u64,
}

/// Writes the state of a training.
pub(crate) fn write(
    path: &Path,
    store: &nn::VarStore,
    optimiser: &Optimiser,
    progress: &Progress,
    config: &TrainConfig,
) -> Result<(), TrainError> {
    let weights = weights::save(store);
    let mut tensors: NamedTensors =
        weights.iter().map(|(name, tensor)| (format!("weights.{name}"), tensor.clone())).collect();
    for (name, tensor) in optimiser.state() {
        tensors.insert(name, tensor);
    }
    let json = |value: Result<String, serde_json::Error>| value.expect("plain data");
    let metadata = BTreeMap::from([
        ("cassi_train".to_string(), json(serde_json::to_string(progress))),
        ("config".to_string(), json(serde_json::to_string(config))),
    ]);
    Ok(write_tensors(path, &tensors, TensorPrecision::F32, &metadata)?)
}

/// Takes up the state of a training with the same configuration.
///
/// Only `minutes`, `steps` of the validation and checkpoints may differ: they do not change what is learnt.
pub(crate) fn read(
    path: &Path,
    store: &nn::VarStore,
    optimiser: &mut Optimiser,
    config: &TrainConfig,
) -> Result<Progress, TrainError> {
    let refuse = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
    let (tensors, metadata) = read_tensors_with_metadata(path)?;
    let text = |key: &str| {
        metadata
            .get(key)
            .ok_or_else(|| refuse(format!("no `{key}` in its metadata: not written by `cassi train`")))
    };
    let progress: Progress = serde_json::from_str(text("cassi_train")?).map_err(|e| refuse(e.to_string()))?;
    let before: TrainConfig = serde_json::from_str(text("config")?).map_err(|e| refuse(e.to_string()))?;
    if let Some(key) = difference(&before, config) {
        return Err(refuse(format!(
            "it was made with another `{key}`; resume with the configuration it was made with, or start a new output \
             folder from its weights with `--continue`"
        )));
    }
    let weights: NamedTensors = tensors
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("weights.")?.to_string(), tensor.clone())))
        .collect();
    weights::load(store, &weights)?;
    optimiser.restore(&tensors).map_err(|name| refuse(format!("`{name}` is missing or of another size")))?;
    Ok(progress)
}

/// The first key in which two configurations learn differently.
fn difference(a: &TrainConfig, b: &TrainConfig) -> Option<String> {
    let learnt = |config: &TrainConfig| {
        let mut config = config.clone();
        config.minutes = None;
        config.validation = None;
        config.checkpoint_every = 1;
        serde_json::to_value(config).expect("plain data")
    };
    let (a, b) = (learnt(a), learnt(b));
    let (a, b) = (a.as_object()?, b.as_object()?);
    a.keys().chain(b.keys()).find(|&key| a.get(key) != b.get(key)).cloned()
}
