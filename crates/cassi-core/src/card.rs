//! The card that travels with a network's weights: what they are for, where they come from, how good they are.
//!
//! Plain data; files are the business of others. A card lies beside its weights as `NAME.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::InputConvention;

/// What has to be known of weights before they are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsCard {
    /// Their name, e.g. `mst-s`.
    pub name: String,
    /// The method they belong to, e.g. `mst-s`.
    pub method: String,
    /// Bands of the cube.
    pub bands: usize,
    /// Channels at full resolution.
    pub width: usize,
    /// Columns of dispersion per band.
    pub columns_per_band: usize,
    /// The instrument they were trained for.
    pub instrument: String,
    /// SHA-256 of the weights file, in lower-case hexadecimal.
    pub sha256: String,
    /// Terms of use.
    pub licence: String,
    /// Which masks they are for.
    pub mask: MaskPolicy,
    /// What the network takes.
    pub network_input: InputConvention,
    /// How they were made, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<CardTraining>,
    /// How good they are on the fixed validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<CardMetrics>,
}

/// Which masks weights are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MaskPolicy {
    /// Trained over many: any mask of the instrument's scale.
    Any,
    /// One mask alone, by the SHA-256 of its values (`f32`, little-endian, row by row).
    Only(String),
}

/// How weights were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardTraining {
    /// Scenes they were trained on.
    pub data: Vec<String>,
    /// The command.
    pub command: String,
    /// Its seed.
    pub seed: u64,
    /// Optimiser steps up to these weights.
    pub steps: u64,
    /// Samples seen.
    pub samples: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Version of the program.
    pub version: String,
}

/// Scores on the fixed validation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardMetrics {
    /// Name of the metric, which says its convention.
    pub convention: String,
    /// SHA-256 of the mask used.
    pub mask_sha256: String,
    /// Mean over the scenes.
    pub mean: f64,
    /// Scene by scene.
    pub scenes: BTreeMap<String, f64>,
}
