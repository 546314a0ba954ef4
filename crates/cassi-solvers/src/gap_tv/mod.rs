//! GAP-TV: generalised alternating projection with total variation, plain and accelerated, in bands or in a spectral
//! subspace (X. Yuan, "Generalized alternating projection based total variation minimization for compressive
//! sensing", 2016; the method is that paper's, the subspace form below is ours).
//!
//! Every step moves the estimate onto the snapshots that explain `y`, then denoises it by a few steps of Chambolle's
//! iteration (`crate::tv`):
//!
//! * without subspace: `y₁ += y − A x` (accelerated only), `x += Aᵀ (A Aᵀ)⁻¹ (y₁ − A x)`, TV on every band;
//! * in a subspace `x = T z`, where the columns of `T` are spectra scaled by how much of them scenes hold
//!   (`crate::spectra`): `z += Tᵀ Aᵀ (A T Tᵀ Aᵀ + ρ)⁻¹ (y₁ − A T z)`, TV on every coefficient, its dual kept from step
//!   to step.
//!
//! With `y₁` accumulating what is missing, the fit becomes exact over the iterations: right without noise. With noise
//! of level σ the accumulation fades out, tile by tile, as the misfit nears `σ √pixels` (the discrepancy principle).

mod bands;
mod data;
mod method;
mod monitor;
mod subspace;

pub(crate) use data::Camera;
pub(crate) use method::MARGIN;
pub use method::{GapTv, Subspace, Weight};
