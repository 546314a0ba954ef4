//! What networks take instead of a snapshot, by the instrument's declared convention.

use cassi_core::{InputConvention, InstrumentDescription, Snapshot, shear};
use ndarray::{Array3, Axis};

use crate::OpticsError;

/// The input of the networks made for this instrument, from a snapshot `[row, column]` such as `[256, 310]`.
///
/// * `unsheared`: `H [band, row, column]`, e.g. `[28, 256, 256]`; `H[b, r, c] = (y[r, c + step·b] / bands) · gain`,
///   divided first, in f32, as the published code does it.
/// * `normalised`: `[1, row, column]`, e.g. `[1, 660, 714]`; the snapshot clipped to [0, 1], divided by its maximum,
///   times `peak`. A snapshot without light stays zero.
///
/// ```
/// use cassi_core::Snapshot;
/// let instrument = cassi_optics::builtin("standard").unwrap();
/// let snapshot = Snapshot::new(ndarray::Array2::from_elem((256, 310), 14.0))?;
/// let input = cassi_optics::network_input(&snapshot, &instrument)?;
/// assert_eq!(input.dim(), (28, 256, 256));
/// assert_eq!(input[[27, 255, 255]], 1.0);
/// # Ok::<(), cassi_optics::OpticsError>(())
/// ```
///
/// # Errors
/// If the snapshot is too narrow for the instrument.
pub fn network_input(
    snapshot: &Snapshot,
    instrument: &InstrumentDescription,
) -> Result<Array3<f32>, OpticsError> {
    require_width(snapshot, instrument)?;
    Ok(match instrument.network_input {
        InputConvention::Unsheared { gain } => {
            let bands = instrument.bands() as f32;
            let scaled = snapshot.view().mapv(|y| y / bands * gain);
            shear::unshear_snapshot(scaled.view(), instrument.bands(), instrument.step())
        }
        InputConvention::Normalised { peak } => {
            let clipped = snapshot.view().mapv(|y| y.clamp(0.0, 1.0));
            let max = clipped.iter().copied().fold(0.0, f32::max);
            let scaled = if max > 0.0 { clipped.mapv(|y| y / max * peak) } else { clipped };
            scaled.insert_axis(Axis(0))
        }
    })
}

/// Shape `[row, column]` of the scene behind a snapshot.
pub(crate) fn require_width(
    snapshot: &Snapshot,
    instrument: &InstrumentDescription,
) -> Result<[usize; 2], OpticsError> {
    instrument.scene_shape(snapshot.shape()).ok_or_else(|| OpticsError::Fit {
        what: "the snapshot",
        found: snapshot.shape().to_vec(),
        instrument: instrument.name.clone(),
        expected: format!(
            "disperses {} bands over {} columns: it expects [rows, more than {1}], {:?} at its own size (row, column)",
            instrument.bands(),
            instrument.step() * (instrument.bands() - 1),
            instrument.snapshot_shape(instrument.scene.rows, instrument.scene.columns),
        ),
    })
}

/// Checks that a mask and a snapshot belong to one scene of this instrument.
///
/// # Errors
/// If the snapshot is too narrow, or the mask has not the shape of the scene behind it.
pub fn check_fit(
    mask: &cassi_core::Mask,
    snapshot: &Snapshot,
    instrument: &InstrumentDescription,
) -> Result<(), OpticsError> {
    let scene = require_width(snapshot, instrument)?;
    if mask.shape() == scene {
        return Ok(());
    }
    Err(OpticsError::Fit {
        what: "the mask",
        found: mask.shape().to_vec(),
        instrument: instrument.name.clone(),
        expected: format!("expects {scene:?} (row, column) for a snapshot of {:?}", snapshot.shape()),
    })
}

#[cfg(test)]
mod tests {
    use cassi_core::Mask;
    use ndarray::Array2;

    use super::*;
    use crate::builtin;

    #[test]
    fn windows_start_at_their_band() {
        let y = Array2::from_shape_fn((2, 60), |(r, c)| (100 * r + c) as f32);
        let input = network_input(&Snapshot::new(y).unwrap(), &builtin("standard").unwrap()).unwrap();
        assert_eq!(input.dim(), (28, 2, 6));
        assert_eq!(input[[3, 1, 2]], 108.0 / 28.0 * 2.0);
    }

    #[test]
    fn the_real_camera_is_clipped_and_normalised() {
        let mut y = Array2::from_elem((1, 60), 0.25);
        y[[0, 0]] = -1.0;
        y[[0, 1]] = 0.5;
        let real = builtin("tsa-real").unwrap();
        let input = network_input(&Snapshot::new(y.clone()).unwrap(), &real).unwrap();
        assert_eq!(input.as_slice().unwrap()[..3], [0.0, 0.8, 0.4]);
        y[[0, 1]] = 3.0;
        let input = network_input(&Snapshot::new(y).unwrap(), &real).unwrap();
        assert_eq!(input.as_slice().unwrap()[..3], [0.0, 0.8, 0.2]);
        let dark = network_input(&Snapshot::new(Array2::zeros((1, 60))).unwrap(), &real).unwrap();
        assert!(dark.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn misfits_name_the_expected_shape() {
        let standard = builtin("standard").unwrap();
        let narrow = Snapshot::new(Array2::zeros((256, 54))).unwrap();
        let message = network_input(&narrow, &standard).unwrap_err().to_string();
        assert!(message.contains("[256, 54]") && message.contains("[256, 310]"), "{message}");
        let snapshot = Snapshot::new(Array2::zeros((256, 310))).unwrap();
        let mask = |columns| Mask::new(Array2::zeros((256, columns))).unwrap();
        check_fit(&mask(256), &snapshot, &standard).unwrap();
        let message = check_fit(&mask(310), &snapshot, &standard).unwrap_err().to_string();
        assert!(message.contains("[256, 310]") && message.contains("[256, 256]"), "{message}");
    }
}
