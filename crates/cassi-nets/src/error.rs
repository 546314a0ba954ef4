//! What can go wrong with networks and their weights.

use std::fmt;

/// A network that cannot be built, weights that do not fit it, or a device that is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetsError {
    /// No such method.
    #[error("no network is called `{found}`; there are {expected}")]
    Method {
        /// The name given.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// Sizes that no network can have.
    #[error(
        "`{method}` cannot have {bands} bands and {width} channels; both must be at least 1, and equal in the \
             binarized family"
    )]
    Sizes {
        /// The method.
        method: String,
        /// Bands asked for.
        bands: usize,
        /// Channels asked for.
        width: usize,
    },
    /// Weights of another network.
    #[error("these weights do not fit the network: {0}")]
    Weights(WeightsMismatch),
    /// A device that this machine or this build does not offer.
    #[error("no device `{found}`: {reason}")]
    Device {
        /// The device asked for.
        found: String,
        /// Why it cannot be had and what to do.
        reason: String,
    },
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// The tensors in which a checkpoint and a network differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WeightsMismatch {
    /// Names the network has and the checkpoint lacks.
    pub missing: Vec<String>,
    /// Names the checkpoint has and the network lacks.
    pub unexpected: Vec<String>,
    /// Names with their shape in the checkpoint and in the network.
    pub misshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl WeightsMismatch {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshaped.is_empty()
    }
}

impl fmt::Display for WeightsMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("{} missing ({})", self.missing.len(), some(&self.missing)));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("{} unexpected ({})", self.unexpected.len(), some(&self.unexpected)));
        }
        if !self.misshaped.is_empty() {
            let shapes: Vec<String> = self
                .misshaped
                .iter()
                .map(|(name, found, expected)| format!("{name} is {found:?}, expected {expected:?}"))
                .collect();
            parts.push(format!("{} of another shape ({})", shapes.len(), some(&shapes)));
        }
        f.write_str(&parts.join("; "))
    }
}

/// The first few, and how many more.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
