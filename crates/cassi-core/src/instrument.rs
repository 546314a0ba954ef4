//! What an instrument is, as plain data: scene size, bands, dispersion, detector, and how networks made for it want
//! their input. Reading and writing it as TOML, and building its operator, is the work of `cassi-optics`.

use serde::{Deserialize, Serialize};

use crate::{Snapshot, Wavelengths, shear};

/// A single-disperser CASSI camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentDescription {
    /// Its name, e.g. `standard`.
    pub name: String,
    /// One line that says what it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The size it is made for. Operators follow the mask, so scenes of other sizes work.
    pub scene: SceneSize,
    /// Band centres in nm.
    pub wavelengths_nm: Wavelengths,
    /// What the disperser does.
    pub dispersion: Dispersion,
    /// The shipped mask it uses unless told otherwise, by name; none where its mask belongs to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_mask: Option<String>,
    /// Detector and noise.
    #[serde(default)]
    pub camera: Camera,
    /// What the networks made for it take.
    pub network_input: InputConvention,
}

/// Rows and columns of the scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneSize {
    /// Rows of the scene and of the snapshot.
    pub rows: usize,
    /// Columns of the scene; the snapshot is wider by the dispersion.
    pub columns: usize,
}

/// Integer dispersion along columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispersion {
    /// Detector columns that a band lies to the right of the band before it.
    pub columns_per_band: usize,
}

/// The detector.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// The noise that `simulate` adds unless told otherwise.
    #[serde(default)]
    pub noise: NoiseModel,
}

/// Noise of a snapshot. Written `none`, `gaussian:SIGMA` and `binomial[:QE,LEVELS]` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NoiseModel {
    /// No noise.
    #[default]
    None,
    /// White Gaussian noise, in the unit of the snapshot.
    Gaussian {
        /// Standard deviation.
        sigma: f64,
    },
    /// The benchmark's shot noise, on the network's scale `v = 1.2 · 2 · y / bands`:
    /// `Binomial(⌊v · levels / qe⌋, qe) / levels`, brought back to the unit of the snapshot.
    Binomial {
        /// Quantum efficiency in (0, 1], 0.4 in the benchmark.
        qe: f64,
        /// Counts at `v = 1`, 2048 in the benchmark.
        levels: f64,
    },
}

/// How a snapshot becomes the input of the networks trained for an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum InputConvention {
    /// `H[b, r, c] = (y[r, c + step·b] / bands) · gain` with the mask as a second input (the simulated benchmark).
    Unsheared {
        /// 2 in the benchmark.
        gain: f32,
    },
    /// The snapshot itself, clipped to [0, 1], divided by its maximum, times `peak`; no mask; the output is clamped
    /// to [0, 1] (the real instrument).
    Normalised {
        /// 0.8 in the published code.
        peak: f32,
    },
}

/// A description that no camera can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("instrument `{name}`: {field} is {found}, expected {expected}")]
pub struct InstrumentError {
    /// The instrument's name.
    pub name: String,
    /// The field at fault, as written in the file.
    pub field: &'static str,
    /// What it holds.
    pub found: String,
    /// What it may hold.
    pub expected: &'static str,
}

impl InstrumentDescription {
    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.wavelengths_nm.len()
    }

    /// Columns per band.
    pub fn step(&self) -> usize {
        self.dispersion.columns_per_band
    }

    /// Shape of the snapshot of a scene of `rows` x `columns`.
    pub fn snapshot_shape(&self, rows: usize, columns: usize) -> [usize; 2] {
        [rows, shear::sheared_columns(columns, self.bands(), self.step())]
    }

    /// Shape `[row, column]` of the scene behind a snapshot of shape `[row, column]`, or `None` if the snapshot is
    /// too narrow for this instrument.
    pub fn scene_shape(&self, snapshot: [usize; 2]) -> Option<[usize; 2]> {
        shear::unsheared_columns(snapshot[1], self.bands(), self.step()).map(|columns| [snapshot[0], columns])
    }

    /// Factor from the unit of a snapshot to the one that networks for this instrument work in, for networks that take a
    /// solver's estimate of the cube: 1 where a snapshot is the sum that the camera forms of a cube in 0..1. Snapshots of
    /// the real instrument have a unit of their own; there a network of the published kind takes them at a maximum of `peak`,
    /// as pictures of cubes in 0..1 on the scale `1.2 · 2 · y / bands`, and so does this.
    pub fn estimate_scale(&self, snapshot: &Snapshot) -> f32 {
        match self.network_input {
            InputConvention::Unsheared { .. } => 1.0,
            InputConvention::Normalised { peak } => {
                let largest = snapshot.as_slice().iter().copied().fold(0.0, f32::max);
                if largest > 0.0 { peak * self.bands() as f32 / (1.2 * 2.0 * largest) } else { 1.0 }
            }
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// An empty scene, a negative noise level, a quantum efficiency outside (0, 1], a gain or peak that is not
    /// positive.
    pub fn validate(&self) -> Result<(), InstrumentError> {
        let error = |field, found: String, expected| {
            Err(InstrumentError { name: self.name.clone(), field, found, expected })
        };
        if self.scene.rows == 0 || self.scene.columns == 0 {
            return error("scene", format!("{}x{}", self.scene.rows, self.scene.columns), "at least 1x1");
        }
        match self.camera.noise {
            NoiseModel::Gaussian { sigma } if !(sigma.is_finite() && sigma >= 0.0) => {
                return error("camera.noise.gaussian.sigma", sigma.to_string(), "a number of at least 0");
            }
            NoiseModel::Binomial { qe, .. } if !(qe > 0.0 && qe <= 1.0) => {
                return error("camera.noise.binomial.qe", qe.to_string(), "a number in (0, 1]");
            }
            NoiseModel::Binomial { levels, .. } if !(levels.is_finite() && levels >= 1.0) => {
                return error("camera.noise.binomial.levels", levels.to_string(), "a number of at least 1");
            }
            _ => {}
        }
        let (InputConvention::Unsheared { gain: scale } | InputConvention::Normalised { peak: scale }) =
            self.network_input;
        if !(scale.is_finite() && scale > 0.0) {
            return error("network_input", scale.to_string(), "a positive gain or peak");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn an_estimate_reaches_a_network_in_the_unit_it_was_trained_with() {
        let mut instrument = InstrumentDescription {
            name: "tiny".into(),
            summary: String::new(),
            wavelengths_nm: Wavelengths::linspace(450.0, 650.0, 28),
            default_mask: None,
            scene: SceneSize { rows: 2, columns: 3 },
            dispersion: Dispersion { columns_per_band: 2 },
            camera: Camera::default(),
            network_input: InputConvention::Unsheared { gain: 2.0 },
        };
        let snapshot = |largest: f32| {
            let mut y = Array2::zeros((2, 57));
            y[[1, 20]] = largest;
            Snapshot::new(y).unwrap()
        };
        assert_eq!(instrument.estimate_scale(&snapshot(0.25)), 1.0);
        instrument.network_input = InputConvention::Normalised { peak: 0.8 };
        // 1.2 · 2 · y / 28 is 0.8 at y = 28 / 3.
        let scale = instrument.estimate_scale(&snapshot(0.25));
        assert!((scale - 4.0 * 28.0 / 3.0).abs() < 1e-4, "{scale}");
        assert_eq!(instrument.estimate_scale(&snapshot(0.0)), 1.0, "no light, no unit");
    }
}
