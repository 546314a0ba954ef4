//! The noise level of a snapshot, estimated.
use cassi_core::Wavelengths;
use crate::gap_tv::Camera;
pub(crate) fn estimate_noise(_camera: &Camera<'_>, _w: &Wavelengths, _y: &[f32]) -> f64 { 0.0 }
