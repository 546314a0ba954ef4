//! The masks of a training and how they are used.

use serde::{Deserialize, Serialize};

use super::one;

/// Masks of one kind. Samples take random windows of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MaskSource {
    /// A mask file, or a shipped mask by name.
    Given {
        /// File or name.
        path: String,
        /// Relative frequency.
        #[serde(default = "one")]
        weight: f64,
    },
    /// Binary masks whose pixels are open independently.
    Bernoulli {
        /// Open fraction, drawn for every mask.
        #[serde(default = "density")]
        open: [f64; 2],
        /// Relative frequency.
        #[serde(default = "one")]
        weight: f64,
        /// How many different masks are made.
        #[serde(default = "count")]
        count: usize,
    },
    /// Binary masks whose open pixels keep away from each other.
    BlueNoise {
        /// Open fraction, drawn for every mask.
        #[serde(default = "density")]
        open: [f64; 2],
        /// Relative frequency.
        #[serde(default = "one")]
        weight: f64,
        /// How many different masks are made.
        #[serde(default = "count")]
        count: usize,
    },
    /// Binary masks as a camera photographs them; every property is drawn for every mask.
    Grey {
        /// Open fraction.
        #[serde(default = "density")]
        open: [f64; 2],
        /// Side of a cell in pixels.
        #[serde(default = "cell")]
        cell: [f64; 2],
        /// Blur in pixels.
        #[serde(default = "blur")]
        blur: [f64; 2],
        /// Exposure; above 1 open cells saturate.
        #[serde(default = "exposure")]
        exposure: [f64; 2],
        /// Black level.
        #[serde(default = "black")]
        black: [f64; 2],
        /// Relative frequency.
        #[serde(default = "one")]
        weight: f64,
        /// How many different masks are made.
        #[serde(default = "count")]
        count: usize,
    },
}

fn density() -> [f64; 2] {
    [0.3, 0.7]
}
fn cell() -> [f64; 2] {
    [1.6, 2.4]
}
fn blur() -> [f64; 2] {
    [0.2, 0.6]
}
fn exposure() -> [f64; 2] {
    [0.9, 1.5]
}
fn black() -> [f64; 2] {
    [0.0, 0.08]
}
fn count() -> usize {
    32
}

impl MaskSource {
    pub(in crate::train) fn weight(&self) -> f64 {
        match self {
            Self::Given { weight, .. }
            | Self::Bernoulli { weight, .. }
            | Self::BlueNoise { weight, .. }
            | Self::Grey { weight, .. } => *weight,
        }
    }
}

/// How masks are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskUse {
    /// One mask for all samples of a batch: the mask branch of MST then runs once a batch.
    pub shared: bool,
    /// Mirror and turn windows.
    pub flip: bool,
    /// Up to so many pixels that the mask in the light path lies beside the one the network is told.
    pub shift: f64,
    /// Up to so many degrees between the two.
    pub rotation_deg: f64,
    /// Up to this relative difference in size, e.g. 0.002.
    pub scale: f64,
}

impl Default for MaskUse {
    fn default() -> Self {
        Self { shared: true, flip: true, shift: 0.0, rotation_deg: 0.0, scale: 0.0 }
    }
}

impl MaskUse {
    pub(in crate::train) fn perturbs(&self) -> bool {
        self.shift > 0.0 || self.rotation_deg > 0.0 || self.scale > 0.0
    }
}
