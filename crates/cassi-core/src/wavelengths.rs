//! Band centres in nanometres, and linear resampling between two grids of them.

use serde::{Deserialize, Serialize};

/// Band centres in nm: finite, positive, strictly increasing, at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Wavelengths(Vec<f64>);

/// A list of band centres that cannot be one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WavelengthsError {
    /// No band at all.
    #[error("the list of wavelengths is empty, expected at least one band centre in nm")]
    Empty,
    /// A value that is not a positive finite number.
    #[error("wavelength {index} is {value} nm, expected a positive finite number")]
    Value {
        /// Place in the list, from 0.
        index: usize,
        /// The value met.
        value: f64,
    },
    /// A value that does not exceed the one before it.
    #[error("wavelength {index} is {value} nm after {before} nm, expected strictly increasing values")]
    Order {
        /// Place in the list, from 0.
        index: usize,
        /// The value met.
        value: f64,
        /// The value before it.
        before: f64,
    },
}

/// The band centres of the 256x256x28 benchmark (facts of the MST toolbox, `visualization/show_real.m`).
const BENCHMARK_NM: [f64; 28] = [
    453.5, 457.5, 462.0, 466.0, 471.5, 476.5, 481.5, 487.0, 492.5, 498.0, 504.0, 510.0, 516.0, 522.5, 529.5,
    536.5, 544.0, 551.5, 558.5, 567.5, 575.5, 584.5, 594.5, 604.0, 614.5, 625.0, 636.5, 648.0,
];

impl Wavelengths {
    /// Checks and takes a list of band centres in nm.
    pub fn new(nm: Vec<f64>) -> Result<Self, WavelengthsError> {
        if nm.is_empty() {
            return Err(WavelengthsError::Empty);
        }
        for (index, &value) in nm.iter().enumerate() {
            if !(value.is_finite() && value > 0.0) {
                return Err(WavelengthsError::Value { index, value });
            }
            if index > 0 && value <= nm[index - 1] {
                return Err(WavelengthsError::Order { index, value, before: nm[index - 1] });
            }
        }
        Ok(Self(nm))
    }

    /// The 28 bands of the benchmark, 453.5 to 648.0 nm.
    pub fn benchmark() -> Self {
        Self(BENCHMARK_NM.to_vec())
    }

    /// `bands` equally spaced centres from `first` to `last` nm, both included (one band: `first`).
    ///
    /// # Panics
    /// If `bands` is 0, or the range is not positive, finite and increasing.
    pub fn linspace(first: f64, last: f64, bands: usize) -> Self {
        let step = if bands > 1 { (last - first) / (bands - 1) as f64 } else { 0.0 };
        Self::new((0..bands).map(|b| first + step * b as f64).collect())
            .expect("an increasing range of wavelengths")
    }

    /// Number of bands.
    #[allow(clippy::len_without_is_empty)] // never empty, by construction
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The band centres in nm.
    pub fn nm(&self) -> &[f64] {
        &self.0
    }

    /// Index of the band whose centre is nearest to `nm`.
    pub fn nearest(&self, nm: f64) -> usize {
        let distance = |b: &usize| (self.0[*b] - nm).abs();
        (0..self.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).expect("at least one band")
    }

    /// Whether both grids have the same centres to within `tolerance_nm`.
    pub fn matches(&self, other: &Self, tolerance_nm: f64) -> bool {
        self.len() == other.len() && self.0.iter().zip(&other.0).all(|(a, b)| (a - b).abs() <= tolerance_nm)
    }

    /// Linear-interpolation weights onto `target`: for each target band, the lower source band and the weight of
    /// the band above it. Targets outside the source range take the nearest end (constant extrapolation).
    pub fn interpolation_onto(&self, target: &Self) -> Vec<(usize, f64)> {
        let last = self.len() - 1;
        (target.0.iter())
            .map(|&nm| {
                let above = self.0.partition_point(|&source| source <= nm);
                if above == 0 {
                    (0, 0.0)
                } else if above > last {
                    (last, 0.0)
                } else {
                    let (low, high) = (self.0[above - 1], self.0[above]);
                    (above - 1, (nm - low) / (high - low))
                }
            })
            .collect()
    }
}

impl TryFrom<Vec<f64>> for Wavelengths {
    type Error = WavelengthsError;
    fn try_from(nm: Vec<f64>) -> Result<Self, WavelengthsError> {
        Self::new(nm)
    }
}

impl From<Wavelengths> for Vec<f64> {
    fn from(wavelengths: Wavelengths) -> Self {
        wavelengths.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_grid() {
        assert_eq!(Wavelengths::new(vec![]), Err(WavelengthsError::Empty));
        assert!(matches!(Wavelengths::new(vec![f64::NAN]), Err(WavelengthsError::Value { index: 0, .. })));
        assert!(matches!(
            Wavelengths::new(vec![500.0, 500.0]),
            Err(WavelengthsError::Order { index: 1, .. })
        ));
    }

    #[test]
    fn interpolates_inside_and_holds_outside() {
        let source = Wavelengths::linspace(400.0, 700.0, 31);
        let target = Wavelengths::new(vec![390.0, 400.0, 453.5, 700.0, 710.0]).unwrap();
        let weights = source.interpolation_onto(&target);
        assert_eq!(weights[0], (0, 0.0));
        assert_eq!(weights[1], (0, 0.0));
        assert_eq!(weights[2].0, 5);
        assert!((weights[2].1 - 0.35).abs() < 1e-12);
        assert_eq!(weights[3], (30, 0.0));
        assert_eq!(weights[4], (30, 0.0));
    }

    #[test]
    fn nearest_band_of_the_benchmark() {
        assert_eq!(Wavelengths::benchmark().nearest(550.0), 17);
        assert_eq!(Wavelengths::benchmark().len(), 28);
    }
}
