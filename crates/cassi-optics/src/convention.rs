//! What a mask file holds: a plain mask, one repeated over bands, one already sheared, or a measured stack.
//!
//! Public files use all four with nothing that says which. The rule here looks at the numbers: planes that agree as
//! they lie are repeated, planes that agree after un-shearing by the instrument's step are sheared, and what agrees
//! neither way is refused. The operator always takes the plain mask.

use std::fmt;

use cassi_core::{InstrumentDescription, Mask, Tensor, shear};
use ndarray::{Array2, Array3, ArrayView3, Axis, Ix2, Ix3};
use serde::Serialize;

use crate::OpticsError;

/// The convention of a mask file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskConvention {
    /// `[row, column]`.
    Plain,
    /// `[band, row, column]`, the same plane (or nearly) for every band.
    Repeated,
    /// `[band, row, column + step · (bands − 1)]`, band `b` moved `step · b` columns right, zero elsewhere.
    Shifted,
    /// As shifted, but with measured values: also where shearing leaves columns empty, or varying with the band.
    Measured,
}

impl fmt::Display for MaskConvention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Repeated => "repeated over bands",
            Self::Shifted => "shifted",
            Self::Measured => "measured 3-D",
        })
    }
}

/// A mask file that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct RecognisedMask {
    /// The plain mask `[row, column]` in it.
    pub mask: Mask,
    /// What the file holds.
    pub convention: MaskConvention,
    /// The same in a sentence with shapes and figures.
    pub sentence: String,
}

/// Differences that storage explains: 16-bit counts or f32 rounding of a copied plane.
const EXACT: f32 = 2e-5;

/// Deviation between bands, relative to the contrast of the mean plane, up to which planes show one mask. Planes of
/// unrelated masks have √(bands − 1) on average, planes that differ by a gain of 20 % have 0.2.
const ALIKE: f64 = 0.6;

/// Finds the plain mask in the values of a file, whatever convention they follow.
///
/// ```
/// use cassi_core::{Tensor, shear};
/// use cassi_optics::{MaskConvention, builtin, mask::shipped, recognise_mask};
/// let plain = shipped("cassi256")?;
/// let sheared = shear::shear_mask(plain.view(), 28, 2);
/// let file = Tensor::new(vec![28, 256, 310], sheared.into_raw_vec_and_offset().0)?;
/// let found = recognise_mask(&file, &builtin("standard").unwrap())?;
/// assert_eq!((found.convention, found.mask), (MaskConvention::Shifted, plain));
/// # Ok::<(), cassi_optics::OpticsError>(())
/// ```
///
/// # Errors
/// A shape or content that follows no convention of this instrument, numbers that are no transmittances.
pub fn recognise_mask(
    file: &Tensor,
    instrument: &InstrumentDescription,
) -> Result<RecognisedMask, OpticsError> {
    let leading = file.shape.iter().take(file.shape.len().saturating_sub(2)).take_while(|&&n| n == 1).count();
    let shape = &file.shape[leading..];
    let misfit = |reason: &str| misfit(&file.shape, instrument, reason);
    if shape.contains(&0) {
        return Err(misfit("it is empty"));
    }
    let (values, scale_note) = transmittances(&file.data, shape)?;
    let values = ndarray::ArrayD::from_shape_vec(shape, values).map_err(|_| misfit("it is damaged"))?;
    let mut found = match shape.len() {
        2 => {
            let plane = values.into_dimensionality::<Ix2>().expect("two axes");
            let sentence = format!("plain: {} values (row, column)", show(shape));
            Ok(RecognisedMask { mask: Mask::new(plane)?, convention: MaskConvention::Plain, sentence })
        }
        3 => {
            let stack = values.into_dimensionality::<Ix3>().expect("three axes");
            let (stack, order) = if shape[0] == instrument.bands() {
                (stack, "")
            } else if shape[2] == instrument.bands() {
                let moved = stack.permuted_axes([2, 0, 1]);
                (moved.as_standard_layout().into_owned(), ", stored with the band as the last axis")
            } else {
                return Err(misfit("no axis has as many planes as the instrument has bands"));
            };
            let mut found = from_stack(&stack, instrument).ok_or_else(|| {
                misfit("its planes show one mask neither as they lie nor after un-shearing by this step")
            })?;
            found.sentence += order;
            Ok(found)
        }
        _ => Err(misfit("a mask has two or three axes")),
    }?;
    found.sentence += &scale_note;
    Ok(found)
}

/// The values on a scale of 0 to 1, and what was done to bring them there.
fn transmittances(data: &[f32], shape: &[usize]) -> Result<(Vec<f32>, String), OpticsError> {
    let error = |at: usize, expected| {
        let mut rest = at;
        let mut place: Vec<usize> = shape.iter().rev().map(|&n| (rest % n, rest /= n).0).collect();
        place.reverse();
        OpticsError::Value { what: "mask", at: place, found: data[at], expected }
    };
    if let Some(at) = data.iter().position(|v| !v.is_finite()) {
        return Err(error(at, "finite numbers"));
    }
    let max = data.iter().copied().fold(0.0, f32::max);
    for full_scale in [255.0, 65535.0] {
        if max == full_scale {
            let scaled = data.iter().map(|v| v / full_scale).collect();
            return Ok((scaled, format!("; counts up to {full_scale} were divided by that")));
        }
    }
    // A calibrated photograph may leave [0, 1] by its noise and flat-field division, but not by much.
    match data.iter().position(|v| !(-0.1..=1.5).contains(v)) {
        Some(at) => Err(error(at, "transmittances in [0, 1]; divide the file by its full scale")),
        None => Ok((data.to_vec(), String::new())),
    }
}

fn from_stack(stack: &Array3<f32>, instrument: &InstrumentDescription) -> Option<RecognisedMask> {
    let step = instrument.step();
    let shape = show(stack.shape());
    let lying = Agreement::of(stack.view());
    let windows = shear::unsheared_columns(stack.dim().2, instrument.bands(), step)
        .map(|_| shear::unshear(stack.view(), step))
        .map(|windows| Agreement::of(windows.view()));
    match windows {
        Some(windows) if windows.relative < lying.relative && windows.relative <= ALIKE => {
            let outside = largest_outside(stack, step, windows.mean.ncols());
            let plain = show(windows.mean.shape());
            let (convention, sentence) = if windows.largest <= EXACT && outside <= EXACT {
                let sentence = format!(
                    "shifted: {shape} values (band, row, column) are a plain {plain} mask whose band b lies {step}b \
                     columns to the right, zero elsewhere"
                );
                (MaskConvention::Shifted, sentence)
            } else {
                let sentence = format!(
                    "measured 3-D: {shape} values (band, row, column) follow a plain {plain} mask whose band b lies \
                     {step}b columns to the right, but differ between bands by up to {:.3} and reach {outside:.3} in \
                     columns that shearing leaves empty; the mean over bands is taken as the plain mask",
                    windows.largest
                );
                (MaskConvention::Measured, sentence)
            };
            Some(RecognisedMask { mask: windows.into_mask(), convention, sentence })
        }
        _ if lying.relative <= ALIKE => {
            let plain = show(lying.mean.shape());
            let how = if lying.largest <= EXACT {
                "the same plane for every band".to_string()
            } else {
                format!("planes that differ by up to {:.3}; their mean is taken", lying.largest)
            };
            let sentence = format!(
                "repeated over bands: {shape} values (band, row, column), a plain {plain} mask, {how}"
            );
            Some(RecognisedMask { mask: lying.into_mask(), convention: MaskConvention::Repeated, sentence })
        }
        _ => None,
    }
}

/// How far the planes of a stack show the same mask.
struct Agreement {
    /// The mean plane, or the first where all are equal.
    mean: Array2<f32>,
    /// Largest difference to the first plane.
    largest: f32,
    /// Root-mean-square deviation from the mean plane, over the standard deviation of the mean plane.
    relative: f64,
}

impl Agreement {
    fn of(stack: ArrayView3<'_, f32>) -> Self {
        let first = stack.index_axis(Axis(0), 0);
        let largest = (stack.outer_iter())
            .flat_map(|plane| plane.iter().zip(first).map(|(a, b)| (a - b).abs()).fold(None, max_of))
            .fold(0.0, f32::max);
        if largest <= EXACT {
            return Self { mean: first.to_owned(), largest, relative: 0.0 };
        }
        let mean = stack.mean_axis(Axis(0)).expect("at least one band");
        let square = |v: f32| f64::from(v) * f64::from(v);
        let deviation: f64 = stack
            .outer_iter()
            .map(|plane| plane.iter().zip(&mean).map(|(a, b)| square(a - b)).sum::<f64>())
            .sum();
        let level = mean.iter().map(|&v| f64::from(v)).sum::<f64>() / mean.len() as f64;
        let contrast = mean.iter().map(|&v| (f64::from(v) - level).powi(2)).sum::<f64>() / mean.len() as f64;
        let relative = (deviation / stack.len() as f64 / contrast.max(f64::MIN_POSITIVE)).sqrt();
        Self { mean, largest, relative }
    }

    fn into_mask(self) -> Mask {
        Mask::new(self.mean).expect("a stack that is not empty")
    }
}

fn max_of(best: Option<f32>, value: f32) -> Option<f32> {
    Some(best.map_or(value, |best: f32| best.max(value)))
}

/// Largest magnitude in the columns of a sheared stack that shearing a plane of `columns` leaves empty.
fn largest_outside(stack: &Array3<f32>, step: usize, columns: usize) -> f32 {
    let mut largest = 0.0f32;
    for (band, plane) in stack.outer_iter().enumerate() {
        for (at, column) in plane.axis_iter(Axis(1)).enumerate() {
            if !(step * band..step * band + columns).contains(&at) {
                largest = column.iter().fold(largest, |best, v| best.max(v.abs()));
            }
        }
    }
    largest
}

fn show(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn misfit(shape: &[usize], instrument: &InstrumentDescription, reason: &str) -> OpticsError {
    let (rows, columns, bands) = (instrument.scene.rows, instrument.scene.columns, instrument.bands());
    let sheared = shear::sheared_columns(columns, bands, instrument.step());
    OpticsError::Fit {
        what: "the mask",
        found: shape.to_vec(),
        instrument: instrument.name.clone(),
        expected: format!(
            "expects [{rows}, {columns}] (row, column), [{bands}, {rows}, {columns}] repeated over bands or \
             [{bands}, {rows}, {sheared}] sheared, or another scene size alike: {reason}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{builtin, mask::bernoulli};

    fn camera() -> InstrumentDescription {
        builtin("standard").unwrap()
    }

    fn plain() -> Mask {
        bernoulli(16, 20, 0.5, 4)
    }

    fn tensor(data: Array3<f32>) -> Tensor {
        Tensor::new(data.shape().to_vec(), data.as_standard_layout().iter().copied().collect()).unwrap()
    }

    fn sheared() -> Array3<f32> {
        shear::shear_mask(plain().view(), 28, 2)
    }

    #[test]
    fn every_convention_gives_the_plain_mask_back() {
        let repeated = plain().view().broadcast((28, 16, 20)).unwrap().to_owned();
        let mut measured = sheared();
        measured[[0, 3, 73]] = 0.9; // light in a column that shearing leaves empty
        let two_axes = Tensor::new(vec![16, 20], plain().as_slice().to_vec()).unwrap();
        let one_plane = Tensor::new(vec![1, 1, 16, 20], plain().as_slice().to_vec()).unwrap();
        let band_last = tensor(sheared().permuted_axes([1, 2, 0]));
        for (file, convention, says) in [
            (two_axes, MaskConvention::Plain, "16x20"),
            (one_plane, MaskConvention::Plain, "16x20"),
            (tensor(repeated), MaskConvention::Repeated, "same plane"),
            (tensor(sheared()), MaskConvention::Shifted, "2b columns"),
            (tensor(measured), MaskConvention::Measured, "0.900 in columns"),
            (band_last, MaskConvention::Shifted, "last axis"),
        ] {
            let found = recognise_mask(&file, &camera()).unwrap();
            assert_eq!((found.convention, &found.mask), (convention, &plain()), "{}", found.sentence);
            assert!(found.sentence.contains(says), "{}", found.sentence);
        }
    }

    #[test]
    fn measured_planes_are_averaged() {
        let mut stack = sheared();
        for (band, mut plane) in stack.outer_iter_mut().enumerate() {
            plane *= 0.9 + 0.2 * band as f32 / 27.0;
        }
        let found = recognise_mask(&tensor(stack), &camera()).unwrap();
        assert_eq!(found.convention, MaskConvention::Measured);
        // The gains average to 1; 28 f32 terms round below 1e-6.
        for (found, truth) in found.mask.as_slice().iter().zip(plain().as_slice()) {
            assert!((found - truth).abs() < 1e-6);
        }
    }

    #[test]
    fn counts_become_transmittances() {
        let counts = plain().as_slice().iter().map(|v| v * 255.0).collect();
        let found = recognise_mask(&Tensor::new(vec![16, 20], counts).unwrap(), &camera()).unwrap();
        assert_eq!(found.mask, plain());
        assert!(found.sentence.contains("255"));
    }

    #[test]
    fn what_fits_nothing_is_refused_with_the_shapes_that_would() {
        let refused = |file: &Tensor| recognise_mask(file, &camera()).unwrap_err().to_string();
        let zeros = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![0.0; shape.iter().product()]).unwrap();
        for shape in [&[5][..], &[5, 16, 20], &[2, 28, 16, 20], &[0, 16], &[]] {
            let message = refused(&zeros(shape));
            assert!(message.contains("[28, 256, 310]") && message.contains("[256, 256]"), "{message}");
        }
        let unrelated = Array3::from_shape_fn((28, 16, 74), |(b, r, c)| {
            bernoulli(16, 74, 0.5, 100 + b as u64).view()[[r, c]]
        });
        assert!(refused(&tensor(unrelated)).contains("neither as they lie"));
        let wrong_step = shear::shear_mask(plain().view(), 28, 3);
        assert!(refused(&tensor(wrong_step)).contains("neither as they lie"));
        let value = |v: f32| {
            let mut file = zeros(&[16, 20]);
            file.data[45] = v;
            refused(&file)
        };
        assert!(value(f32::NAN).contains("mask[2, 5]"), "{}", value(f32::NAN));
        assert!(value(100.0).contains("full scale"), "{}", value(100.0));
    }
}
