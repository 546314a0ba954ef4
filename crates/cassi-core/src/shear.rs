//! Shear and un-shear: band `b` moves `step·b` columns to the right, and back.
//!
//! This is geometry alone, with no mask and no adjoint in it. What public CASSI code calls `shift` and `shift_back`
//! is here and nowhere else.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, s};

/// Columns of a sheared frame: `columns + step · (bands − 1)`, e.g. 256 → 310 at 28 bands and step 2.
pub fn sheared_columns(columns: usize, bands: usize, step: usize) -> usize {
    columns + step * (bands.max(1) - 1)
}

/// Columns of the scene behind a sheared frame, or `None` if the frame is too narrow.
pub fn unsheared_columns(sheared: usize, bands: usize, step: usize) -> Option<usize> {
    sheared.checked_sub(step * (bands.max(1) - 1)).filter(|&columns| columns > 0)
}

/// Moves band `b` of `cube [band, row, column]` right by `step·b`; the frame `[band, row, sheared column]` is zero
/// elsewhere.
pub fn shear(cube: ArrayView3<'_, f32>, step: usize) -> Array3<f32> {
    let (bands, rows, columns) = cube.dim();
    let mut frame = Array3::zeros((bands, rows, sheared_columns(columns, bands, step)));
    for (b, band) in cube.outer_iter().enumerate() {
        frame.slice_mut(s![b, .., step * b..step * b + columns]).assign(&band);
    }
    frame
}

/// Cuts window `b` of a sheared frame `[band, row, sheared column]`: the inverse of [`shear`] on its image.
///
/// # Panics
/// If the frame is narrower than `step · (bands − 1) + 1` columns.
pub fn unshear(frame: ArrayView3<'_, f32>, step: usize) -> Array3<f32> {
    let (bands, rows, sheared) = frame.dim();
    let columns = unsheared_columns(sheared, bands, step).expect("a frame as wide as the shear");
    let mut cube = Array3::zeros((bands, rows, columns));
    for (b, mut band) in cube.outer_iter_mut().enumerate() {
        band.assign(&frame.slice(s![b, .., step * b..step * b + columns]));
    }
    cube
}

/// Cuts `bands` windows of a snapshot `[row, sheared column]`, window `b` starting at column `step·b`: the cube
/// `[band, row, column]` that networks start from.
///
/// # Panics
/// If the snapshot is narrower than `step · (bands − 1) + 1` columns.
pub fn unshear_snapshot(snapshot: ArrayView2<'_, f32>, bands: usize, step: usize) -> Array3<f32> {
    let (rows, sheared) = snapshot.dim();
    unshear(snapshot.broadcast((bands, rows, sheared)).expect("a plane repeats over bands"), step)
}

/// The mask repeated over bands and sheared: Φ `[band, row, sheared column]`.
pub fn shear_mask(mask: ArrayView2<'_, f32>, bands: usize, step: usize) -> Array3<f32> {
    let (rows, columns) = mask.dim();
    shear(mask.broadcast((bands, rows, columns)).expect("a plane repeats over bands"), step)
}

/// Σ_b Φ² `[row, sheared column]`, which is diag(A Aᵀ) of the camera (zeros left as they are).
pub fn mask_energy(mask: ArrayView2<'_, f32>, bands: usize, step: usize) -> Array2<f32> {
    let (rows, columns) = mask.dim();
    let mut energy = Array2::zeros((rows, sheared_columns(columns, bands, step)));
    for b in 0..bands {
        let mut window = energy.slice_mut(s![.., step * b..step * b + columns]);
        window.zip_mut_with(&mask, |e, &m| *e += m * m);
    }
    energy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn band_one_moves_right_and_comes_back() {
        let cube = Array3::from_shape_vec((2, 1, 2), vec![1.0, 2.0, 10.0, 20.0]).unwrap();
        let frame = shear(cube.view(), 1);
        assert_eq!(frame.as_slice().unwrap(), [1.0, 2.0, 0.0, 0.0, 10.0, 20.0]);
        assert_eq!(unshear(frame.view(), 1), cube);
    }

    #[test]
    fn windows_of_a_snapshot() {
        let snapshot = Array2::from_shape_vec((1, 4), vec![0.0, 1.0, 2.0, 3.0]).unwrap();
        let windows = unshear_snapshot(snapshot.view(), 2, 2);
        assert_eq!(windows.as_slice().unwrap(), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn energy_counts_each_open_band() {
        let mask = Array2::from_shape_vec((1, 2), vec![1.0, 0.5]).unwrap();
        assert_eq!(mask_energy(mask.view(), 2, 1).as_slice().unwrap(), [1.0, 1.25, 0.25]);
    }

    #[test]
    fn widths() {
        assert_eq!(sheared_columns(660, 28, 2), 714);
        assert_eq!(unsheared_columns(714, 28, 2), Some(660));
        assert_eq!(unsheared_columns(54, 28, 2), None);
    }
}
