//! The spectral cube.

use ndarray::{Array3, ArrayView2, ArrayView3, Axis, Zip};

use crate::{ShapeError, Wavelengths};

/// A spectral cube `[band, row, column]`, e.g. `[28, 256, 256]`: relative radiance, nominally in [0, 1] (estimates
/// may leave it), with a wavelength for every band. Always contiguous in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    data: Array3<f32>,
    wavelengths: Wavelengths,
}

impl Cube {
    /// Joins data and wavelengths; the data is brought into C order if it is not.
    ///
    /// # Errors
    /// If the number of bands differs from the number of wavelengths, or an axis is empty.
    pub fn new(data: Array3<f32>, wavelengths: Wavelengths) -> Result<Self, ShapeError> {
        let shape = data.shape();
        if shape[0] != wavelengths.len() || shape.contains(&0) {
            return Err(ShapeError {
                what: "cube",
                found: shape.to_vec(),
                expected: format!("[{}, at least 1, at least 1]", wavelengths.len()),
                axes: "(band, row, column)",
            });
        }
        let data = if data.is_standard_layout() { data } else { data.as_standard_layout().into_owned() };
        Ok(Self { data, wavelengths })
    }

    /// A cube of zeros of shape `[band, row, column]`.
    ///
    /// # Panics
    /// If the number of bands differs from the number of wavelengths.
    pub fn zeros(shape: [usize; 3], wavelengths: Wavelengths) -> Self {
        Self::new(Array3::zeros(shape), wavelengths).expect("one wavelength a band")
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.data.shape()[0]
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.shape()[1]
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.data.shape()[2]
    }

    /// `[band, row, column]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.bands(), self.rows(), self.columns()]
    }

    /// Band centres in nm.
    pub fn wavelengths(&self) -> &Wavelengths {
        &self.wavelengths
    }

    /// The values `[band, row, column]`.
    pub fn view(&self) -> ArrayView3<'_, f32> {
        self.data.view()
    }

    /// One band `[row, column]`.
    pub fn band(&self, band: usize) -> ArrayView2<'_, f32> {
        self.data.index_axis(Axis(0), band)
    }

    /// The values in C order.
    pub fn as_slice(&self) -> &[f32] {
        self.data.as_slice().expect("C order, by construction")
    }

    /// The values in C order, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        self.data.as_slice_mut().expect("C order, by construction")
    }

    /// Gives the array away.
    pub fn into_data(self) -> Array3<f32> {
        self.data
    }

    /// The spectrum at one pixel, band by band.
    pub fn spectrum(&self, row: usize, column: usize) -> Vec<f32> {
        self.data.slice(ndarray::s![.., row, column]).to_vec()
    }

    /// The same scene on another wavelength grid, by linear interpolation between band centres (constant beyond
    /// the ends).
    pub fn resample(&self, target: &Wavelengths) -> Self {
        if self.wavelengths == *target {
            return self.clone();
        }
        let mut data = Array3::zeros((target.len(), self.rows(), self.columns()));
        for (mut out, (low, weight)) in data.outer_iter_mut().zip(self.wavelengths.interpolation_onto(target))
        {
            let high = (low + 1).min(self.bands() - 1);
            let (above, below) = (weight as f32, (1.0 - weight) as f32);
            Zip::from(&mut out)
                .and(self.band(low))
                .and(self.band(high))
                .for_each(|o, &a, &b| *o = below * a + if above == 0.0 { 0.0 } else { above * b });
        }
        Self { data, wavelengths: target.clone() }
    }

    /// The same cube with every value limited to [0, 1].
    pub fn clamped(&self) -> Self {
        Self { data: self.data.mapv(|v| v.clamp(0.0, 1.0)), wavelengths: self.wavelengths.clone() }
    }

    /// Rows `rows` and columns `columns` of every band.
    ///
    /// # Panics
    /// If a range is empty or leaves the cube.
    pub fn crop(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Self {
        let data = self.data.slice(ndarray::s![.., rows, columns]).as_standard_layout().into_owned();
        Self::new(data, self.wavelengths.clone()).expect("a crop that is not empty")
    }

    /// Place and value of the first number that is not finite, if there is one.
    pub fn first_not_finite(&self) -> Option<([usize; 3], f32)> {
        let (rows, columns) = (self.rows(), self.columns());
        let at = self.as_slice().iter().position(|v| !v.is_finite())?;
        Some(([at / (rows * columns), at / columns % rows, at % columns], self.as_slice()[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_too_many_is_refused() {
        let error = Cube::new(Array3::zeros((3, 2, 2)), Wavelengths::linspace(450.0, 650.0, 2)).unwrap_err();
        assert_eq!(error.found, vec![3, 2, 2]);
    }

    #[test]
    fn column_major_input_becomes_c_order() {
        let data = Array3::from_shape_fn((2, 3, 4), |(b, r, c)| (100 * b + 10 * r + c) as f32);
        let fortran = data.t().as_standard_layout().into_owned().reversed_axes();
        assert!(!fortran.is_standard_layout());
        let cube = Cube::new(fortran, Wavelengths::linspace(450.0, 650.0, 2)).unwrap();
        assert_eq!(cube.as_slice()[12 + 4 + 2], 112.0);
    }

    #[test]
    fn resampling_a_linear_spectrum_is_exact() {
        let source = Wavelengths::linspace(400.0, 700.0, 31);
        let data = Array3::from_shape_fn((31, 1, 2), |(b, _, _)| source.nm()[b] as f32 / 1000.0);
        let cube = Cube::new(data, source).unwrap().resample(&Wavelengths::benchmark());
        for (value, nm) in cube.spectrum(0, 1).iter().zip(Wavelengths::benchmark().nm()) {
            assert!((f64::from(*value) - nm / 1000.0).abs() < 1e-6);
        }
    }

    #[test]
    fn finds_the_first_nan() {
        let mut cube = Cube::zeros([2, 3, 4], Wavelengths::linspace(450.0, 650.0, 2));
        assert_eq!(cube.first_not_finite(), None);
        cube.as_mut_slice()[12 + 4 + 2] = f32::NAN;
        assert_eq!(cube.first_not_finite().unwrap().0, [1, 1, 2]);
    }
}
