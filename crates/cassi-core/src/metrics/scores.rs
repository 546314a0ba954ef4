//! All figures of one pair, under their published names.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::Pair;
use crate::{Cube, ShapeError};

/// Every figure of one pair of cubes. Serialised in this order under these names, which are those of
/// `cassi evaluate --json`; a figure that is infinite (PSNR of equal cubes) is written as the string `"inf"`, one that
/// does not exist (SSIM of a picture below 11x11) as `null`, since JSON has numbers for neither.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// [`Pair::psnr_unit_peak`], dB.
    #[serde(serialize_with = "number")]
    pub psnr_unit_peak: f64,
    /// [`Pair::psnr_unit_peak_per_band`], dB.
    #[serde(serialize_with = "numbers")]
    pub psnr_unit_peak_per_band: Vec<f64>,
    /// [`Pair::psnr_mst`], dB.
    #[serde(serialize_with = "number")]
    pub psnr_mst: f64,
    /// [`Pair::ssim_mst`].
    #[serde(serialize_with = "number")]
    pub ssim_mst: f64,
    /// [`Pair::psnr_matlab`], dB.
    #[serde(serialize_with = "number")]
    pub psnr_matlab: f64,
    /// [`Pair::ssim_matlab`].
    #[serde(serialize_with = "number")]
    pub ssim_matlab: f64,
    /// [`Pair::sam_matlab_deg`], degrees.
    #[serde(serialize_with = "number")]
    pub sam_matlab_deg: f64,
    /// [`Pair::ergas_matlab`].
    #[serde(serialize_with = "number")]
    pub ergas_matlab: f64,
    /// [`Pair::sam_deg`], degrees.
    #[serde(serialize_with = "number")]
    pub sam_deg: f64,
    /// [`Pair::rmse`].
    #[serde(serialize_with = "number")]
    pub rmse: f64,
    /// [`Pair::ergas`].
    #[serde(serialize_with = "number")]
    pub ergas: f64,
    /// [`Pair::mrae`].
    #[serde(serialize_with = "number")]
    pub mrae: f64,
    /// [`Pair::ssim_unit_peak`].
    #[serde(serialize_with = "number")]
    pub ssim_unit_peak: f64,
    /// [`Pair::ssim_unit_peak_per_band`].
    #[serde(serialize_with = "numbers")]
    pub ssim_unit_peak_per_band: Vec<f64>,
    /// [`Pair::rmse_per_band`].
    #[serde(serialize_with = "numbers")]
    pub rmse_per_band: Vec<f64>,
}

impl Scores {
    /// Computes every figure of an estimate against the truth.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn compute(truth: &Cube, estimate: &Cube) -> Result<Self, ShapeError> {
        let pair = Pair::new(truth, estimate)?;
        let ssim_unit_peak_per_band = pair.ssim_unit_peak_per_band();
        Ok(Self {
            psnr_unit_peak: pair.psnr_unit_peak(),
            psnr_unit_peak_per_band: pair.psnr_unit_peak_per_band(),
            psnr_mst: pair.psnr_mst(),
            ssim_mst: pair.ssim_mst(),
            psnr_matlab: pair.psnr_matlab(),
            ssim_matlab: pair.ssim_matlab(),
            sam_matlab_deg: pair.sam_matlab_deg(),
            ergas_matlab: pair.ergas_matlab(),
            sam_deg: pair.sam_deg(),
            rmse: pair.rmse(),
            ergas: pair.ergas(),
            mrae: pair.mrae(),
            ssim_unit_peak: super::mean(&ssim_unit_peak_per_band),
            ssim_unit_peak_per_band,
            rmse_per_band: pair.rmse_per_band(),
        })
    }
}

/// A figure as JSON can hold it.
struct Figure(f64);

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            v if v.is_nan() => serializer.serialize_none(),
            v if v.is_infinite() => serializer.serialize_str(if v > 0.0 { "inf" } else { "-inf" }),
            v => serializer.serialize_f64(v),
        }
    }
}

fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Figure(*value).serialize(serializer)
}

fn numbers<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(values.len()))?;
    for &value in values {
        sequence.serialize_element(&Figure(value))?;
    }
    sequence.end()
}
