//! What can be wrong with weights and inputs.

use std::fmt;

/// Why tensors are not the weights of a network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct WeightsError {
    /// The network that was asked for.
    pub network: String,
    /// Names that the network has and the tensors lack.
    pub missing: Vec<String>,
    /// Names that the network does not know.
    pub unexpected: Vec<String>,
    /// Name, shape found and shape expected.
    pub misshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Names of tensors with a number that is not finite.
    pub not_finite: Vec<String>,
    /// The network whose names and shapes fit best, with the share of its tensors that are there, if another fits
    /// better.
    pub nearest: Option<(String, f64)>,
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these are not weights of {}", self.network)?;
        let mut separator = ": ";
        let mut list = |f: &mut fmt::Formatter<'_>, what: &str, names: &[String]| -> fmt::Result {
            if let Some(first) = names.first() {
                write!(f, "{separator}{} {what} (`{first}`", names.len())?;
                names.get(1).map_or(Ok(()), |second| write!(f, ", `{second}`"))?;
                f.write_str(if names.len() > 2 { ", ...)" } else { ")" })?;
                separator = "; ";
            }
            Ok(())
        };
        list(f, "missing", &self.missing)?;
        list(f, "unexpected", &self.unexpected)?;
        list(f, "with numbers that are not finite", &self.not_finite)?;
        if let Some((name, found, expected)) = self.misshaped.first() {
            let count = self.misshaped.len();
            write!(f, "{separator}{count} mis-shaped (`{name}` has shape {found:?}, expected {expected:?})")?;
        }
        match &self.nearest {
            Some((name, share)) => {
                write!(f, "; they look like weights of {name} ({:.0} % fit)", 100.0 * share)
            }
            None => Ok(()),
        }
    }
}

/// Why a network could not be run on an input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The network takes the other kind of input.
    #[error("weights of layout `{found}` take {expected}")]
    Layout {
        /// The layout of the weights.
        found: &'static str,
        /// What they take.
        expected: &'static str,
    },
    /// A slice has the wrong length.
    #[error("{what} has {found} values, expected {expected} {shape:?} {axes}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
        /// The shape that fits.
        shape: Vec<usize>,
        /// The meaning of the axes.
        axes: &'static str,
    },
    /// Too small to be padded by reflection to a multiple of 8.
    #[error(
        "an image of {rows} x {columns} cannot be reflected to multiples of 8; both must exceed the padding"
    )]
    TooSmall {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
}
