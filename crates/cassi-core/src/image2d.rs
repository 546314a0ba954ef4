//! The two planes of the camera: the snapshot on the detector and the mask in front of the scene.

use ndarray::{Array2, ArrayView2};

use crate::ShapeError;

/// What the detector recorded, `[row, column]`, e.g. `[256, 310]`: the **sum** over bands, in the unit of the cube.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    data: Array2<f32>,
}

/// Mask transmittance `[row, column]`, e.g. `[256, 256]`, every value in [0, 1]; grey values are normal.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    data: Array2<f32>,
}

macro_rules! plane {
    ($name:ident) => {
        impl $name {
            /// Number of rows.
            pub fn rows(&self) -> usize {
                self.data.nrows()
            }

            /// Number of columns.
            pub fn columns(&self) -> usize {
                self.data.ncols()
            }

            /// `[row, column]`.
            pub fn shape(&self) -> [usize; 2] {
                [self.rows(), self.columns()]
            }

            /// The values `[row, column]`.
            pub fn view(&self) -> ArrayView2<'_, f32> {
                self.data.view()
            }

            /// The values in C order.
            pub fn as_slice(&self) -> &[f32] {
                self.data.as_slice().expect("C order, by construction")
            }

            /// Gives the array away.
            pub fn into_data(self) -> Array2<f32> {
                self.data
            }

            /// Place and value of the first number that is not finite, if there is one.
            pub fn first_not_finite(&self) -> Option<([usize; 2], f32)> {
                let at = self.as_slice().iter().position(|v| !v.is_finite())?;
                Some(([at / self.columns(), at % self.columns()], self.as_slice()[at]))
            }
        }
    };
}

plane!(Snapshot);
plane!(Mask);

fn standard(data: Array2<f32>, what: &'static str) -> Result<Array2<f32>, ShapeError> {
    if data.is_empty() {
        return Err(ShapeError {
            what,
            found: data.shape().to_vec(),
            expected: "[at least 1, at least 1]".into(),
            axes: "(row, column)",
        });
    }
    Ok(if data.is_standard_layout() { data } else { data.as_standard_layout().into_owned() })
}

impl Snapshot {
    /// Takes detector values `[row, column]`.
    ///
    /// # Errors
    /// If an axis is empty.
    pub fn new(data: Array2<f32>) -> Result<Self, ShapeError> {
        Ok(Self { data: standard(data, "snapshot")? })
    }

    /// The values in C order, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        self.data.as_slice_mut().expect("C order, by construction")
    }
}

impl Mask {
    /// Takes transmittances `[row, column]`. Values are not checked against [0, 1] here: a measured mask may
    /// overshoot by its own noise.
    ///
    /// # Errors
    /// If an axis is empty.
    pub fn new(data: Array2<f32>) -> Result<Self, ShapeError> {
        Ok(Self { data: standard(data, "mask")? })
    }

    /// Mean transmittance.
    pub fn throughput(&self) -> f64 {
        self.data.iter().map(|&v| f64::from(v)).sum::<f64>() / self.data.len() as f64
    }

    /// The values as little-endian bytes, row by row: what a mask's SHA-256 is taken over.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.as_slice().iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}
