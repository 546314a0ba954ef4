//! Trained CASSI networks on the CPU without libtorch: binary layers on real bits, fused float kernels.
pub mod float;
