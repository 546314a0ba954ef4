//! From a scene to a snapshot: bands resampled if need be, the operator, the detector's noise.

use cassi_core::{Cube, InstrumentDescription, LinearOperator, Mask, NoiseModel, Snapshot};
use ndarray::Array2;

use crate::{OpticsError, SdCassi, detector};

/// A simulated snapshot and what had to be done for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The snapshot `[row, column]`, in the unit of the cube.
    pub snapshot: Snapshot,
    /// Sentences for the user, e.g. that bands were resampled.
    pub notes: Vec<String>,
}

/// Largest difference between band centres that count as the same, in nm: below any calibration.
const SAME_NM: f64 = 1e-6;

/// Takes the snapshot of a cube `[band, row, column]` through a mask of its size.
///
/// ```
/// use cassi_core::{Cube, NoiseModel, Wavelengths};
/// use cassi_optics::{builtin, mask, simulate};
/// let camera = builtin("standard").unwrap();
/// let scene = Cube::zeros([31, 64, 48], Wavelengths::linspace(400.0, 700.0, 31));
/// let (mask, _) = mask::fit_to(&mask::shipped("cassi256")?, 64, 48);
/// let simulation = simulate(&scene, &camera, &mask, NoiseModel::None, 0)?;
/// assert_eq!(simulation.snapshot.shape(), [64, 102]);
/// assert!(simulation.notes[0].contains("resampled"));
/// # Ok::<(), cassi_optics::OpticsError>(())
/// ```
///
/// # Errors
/// If the mask has another size than the scene, or either holds a number that is not finite.
pub fn simulate(
    cube: &Cube,
    instrument: &InstrumentDescription,
    mask: &Mask,
    noise: NoiseModel,
    seed: u64,
) -> Result<Simulation, OpticsError> {
    if mask.shape() != [cube.rows(), cube.columns()] {
        return Err(OpticsError::Fit {
            what: "the mask",
            found: mask.shape().to_vec(),
            instrument: instrument.name.clone(),
            expected: format!("expects [{}, {}] (row, column), as the scene", cube.rows(), cube.columns()),
        });
    }
    if let Some((at, found)) = mask.first_not_finite() {
        return Err(OpticsError::Value { what: "mask", at: at.to_vec(), found, expected: "finite numbers" });
    }
    if let Some((at, found)) = cube.first_not_finite() {
        return Err(OpticsError::Value { what: "cube", at: at.to_vec(), found, expected: "finite numbers" });
    }
    let mut notes = Vec::new();
    let resampled = (!cube.wavelengths().matches(&instrument.wavelengths_nm, SAME_NM)).then(|| {
        notes.push(resampling_note(cube, instrument));
        cube.resample(&instrument.wavelengths_nm)
    });
    let camera = SdCassi::for_instrument(instrument, mask);
    let mut snapshot = Array2::zeros((camera.range()[0], camera.range()[1]));
    let y = snapshot.as_slice_mut().expect("made in C order");
    camera.forward(resampled.as_ref().unwrap_or(cube).as_slice(), y);
    let mut snapshot = Snapshot::new(snapshot)?;
    detector::add_noise(&mut snapshot, noise, instrument.bands(), seed);
    Ok(Simulation { snapshot, notes })
}

fn resampling_note(cube: &Cube, instrument: &InstrumentDescription) -> String {
    let describe = |nm: &[f64]| format!("{} bands, {} to {} nm", nm.len(), nm[0], nm[nm.len() - 1]);
    format!(
        "the scene ({}) is resampled linearly to the bands of `{}` ({})",
        describe(cube.wavelengths().nm()),
        instrument.name,
        describe(instrument.wavelengths_nm.nm()),
    )
}

#[cfg(test)]
mod tests {
    use cassi_core::Wavelengths;
    use ndarray::Array3;

    use super::*;
    use crate::builtin;

    #[test]
    fn a_cube_on_the_instruments_grid_is_taken_as_it_is() {
        let mut camera = builtin("standard").unwrap();
        camera.wavelengths_nm = Wavelengths::linspace(500.0, 600.0, 2);
        camera.dispersion.columns_per_band = 1;
        let data = Array3::from_shape_vec((2, 1, 2), vec![1.0, 2.0, 10.0, 20.0]).unwrap();
        let cube = Cube::new(data, camera.wavelengths_nm.clone()).unwrap();
        let mask = Mask::new(ndarray::arr2(&[[1.0, 0.0]])).unwrap();
        let simulation = simulate(&cube, &camera, &mask, NoiseModel::None, 0).unwrap();
        assert_eq!(simulation.snapshot.as_slice(), [1.0, 10.0, 0.0]);
        assert!(simulation.notes.is_empty());
    }

    #[test]
    fn misfits_and_bad_numbers_are_refused() {
        let camera = builtin("standard").unwrap();
        let mut cube = Cube::zeros([28, 4, 5], Wavelengths::benchmark());
        let mask = |shape, value| Mask::new(Array2::from_elem(shape, value)).unwrap();
        let refused = |cube: &Cube, mask: &Mask| {
            simulate(cube, &camera, mask, NoiseModel::None, 0).unwrap_err().to_string()
        };
        assert!(refused(&cube, &mask((4, 6), 0.5)).contains("[4, 5]"));
        assert!(refused(&cube, &mask((4, 5), f32::NAN)).contains("mask[0, 0]"));
        cube.as_mut_slice()[20 + 5 + 2] = f32::INFINITY;
        assert!(refused(&cube, &mask((4, 5), 0.5)).contains("cube[1, 1, 2]"));
    }
}
