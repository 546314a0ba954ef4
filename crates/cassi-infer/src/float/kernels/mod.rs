//! The passes over an image that make up a network, each compiled for every instruction set, chosen at run time.
//!
//! A pass works on one strip of rows and touches nothing outside its output rows and its scratch memory, so strips
//! run in parallel, and the fixed partition into strips makes results independent of the number of threads.

mod lanes;
mod passes;
mod primitives;

use super::Precision;
pub(crate) use lanes::LANES;
pub(crate) use passes::{After, ConvJob, FeedForwardJob, GramJob, MixJob, UpJob};

/// The passes for one instruction set.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its name, as in `CASSI_REQUIRE_ISA`.
    pub(crate) name: &'static str,
    /// What its products are computed in.
    pub(crate) precision: Precision,
    /// Whether this CPU has it.
    pub(crate) available: fn() -> bool,
    /// Dense convolution of a strip.
    pub(crate) conv: fn(&ConvJob<'_>, &mut [f32], &mut Vec<f32>),
    /// Feed-forward block of a strip, with its layer norm and residual.
    pub(crate) feed_forward: fn(&FeedForwardJob<'_>, &mut [f32], &mut Vec<f32>),
    /// Second half of the spectral attention of a strip, with its residual.
    pub(crate) mix: fn(&MixJob<'_>, &mut [f32], &mut Vec<f32>),
    /// Channel Gram matrix of a strip.
    pub(crate) gram: fn(&GramJob<'_>, &mut [f64]),
    /// Up-sampling and fusion with the skip connection.
    pub(crate) up: fn(&UpJob<'_>, &mut [f32]),
}

/// All kernels, best first. Tests and benches walk this list; only `available` looks at the CPU.
pub(crate) static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    passes::AVX2,
    passes::PORTABLE,
];

/// The best kernel of this CPU for a precision, if it has one.
pub(crate) fn best(precision: Precision) -> Option<&'static Kernel> {
    KERNELS.iter().find(|kernel| kernel.precision == precision && (kernel.available)())
}
