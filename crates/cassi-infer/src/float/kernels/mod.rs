//! The passes over an image that make up a network, each compiled for every instruction set, chosen at run time.
//!
//! A pass works on one strip of rows and touches nothing outside its output rows and its scratch memory, so strips
//! run in parallel, and the fixed partition into strips makes results independent of the number of threads.

#![allow(unsafe_code)] // kernels: calls into code compiled for one instruction set; see each SAFETY line

mod block;
mod convolution;
mod feed;
mod fold;
mod lanes;
mod mask;
mod pointwise;
mod product;
mod source;
#[cfg(target_arch = "x86_64")]
mod table;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use block::BlockJob;
pub(crate) use convolution::{ConvJob, Sink, UpJob};
pub(crate) use fold::{FoldJob, FoldMemory};
pub(crate) use mask::MaskJob;
pub(crate) use source::Source;

use super::Precision;
use super::image::View;
use super::memory::{CHUNK, Scratch};
use lanes::{Lanes, Portable};

/// The passes for one instruction set and precision.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its name; instruction sets as in `CASSI_REQUIRE_ISA`.
    pub(crate) name: &'static str,
    /// What its products are computed in.
    pub(crate) precision: Precision,
    /// Whether this CPU has it.
    pub(crate) available: fn() -> bool,
    /// Dense convolution of a strip.
    pub(crate) convolve: fn(&ConvJob<'_>, Sink<'_, '_>, &mut Scratch),
    /// An attention block of a strip, once its attention matrix is known.
    pub(crate) block: fn(&BlockJob<'_>, &mut [f32], &mut Scratch),
    /// Up-sampling and fusion with the skip connection.
    pub(crate) up: fn(&UpJob<'_>, &mut [f32], &mut Scratch),
    /// Adds the channel Gram matrix of rows to `[channel][channel]`, both padded; its lower triangle of chunks is left.
    pub(crate) gram: fn(View<'_>, std::ops::Range<usize>, &mut [f64]),
    /// Mask features of a strip.
    pub(crate) mask_features: fn(&MaskJob<'_>, &mut [f32], &mut Scratch),
    /// The matrix that attention is.
    pub(crate) fold: fn(&FoldJob<'_>, &mut FoldMemory),
}

/// All kernels, best first. Tests and benches walk this list; only `available` looks at the CPU.
pub(crate) static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512_bf16::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    portable::KERNEL,
];

/// The best kernel of this CPU for a precision, if it has one.
pub(crate) fn best(precision: Precision) -> Option<&'static Kernel> {
    KERNELS.iter().find(|kernel| kernel.precision == precision && (kernel.available)())
}

/// # Safety
/// As [`Lanes`] for `V`.
#[inline(always)]
unsafe fn gram<V: Lanes>(x: View<'_>, rows: std::ops::Range<usize>, sums: &mut [f64]) {
    assert_eq!(sums.len(), (x.chunks * CHUNK).pow(2));
    for row in rows {
        // SAFETY: whole rows of the image, and sums of its channels.
        unsafe {
            let pixels = block::image_row(x, row, 0);
            pointwise::gram::<V>(pixels, x.columns, x.chunks, sums.as_mut_ptr());
        }
    }
}

/// The safe functions of one instruction set and precision, compiled with its features, and its table.
macro_rules! compiled {
    ($module:ident, $lanes:ty, $feed:ty, $name:literal, $precision:expr, $available:expr $(, $feature:literal)?) => {
        mod $module {
            use super::*;
            $(#[target_feature(enable = $feature)])?
            unsafe fn convolve_on(job: &ConvJob<'_>, sink: Sink<'_, '_>, scratch: &mut Scratch) {
                // SAFETY: the features are enabled here.
                unsafe { convolution::convolve::<$lanes, $feed>(job, sink, scratch) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn block_on(job: &BlockJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
                // SAFETY: the features are enabled here.
                unsafe { block::block::<$lanes, $feed>(job, out, scratch) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn up_on(job: &UpJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
                // SAFETY: the features are enabled here.
                unsafe { convolution::up::<$lanes, $feed>(job, out, scratch) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn gram_on(x: View<'_>, rows: std::ops::Range<usize>, sums: &mut [f64]) {
                // SAFETY: the features are enabled here.
                unsafe { super::gram::<$lanes>(x, rows, sums) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn mask_features_on(job: &MaskJob<'_>, out: &mut [f32], scratch: &mut Scratch) {
                // SAFETY: the features are enabled here.
                unsafe { mask::mask_features::<$lanes>(job, out, scratch) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn fold_on(job: &FoldJob<'_>, memory: &mut FoldMemory) {
                fold::fold(job, memory);
            }
            // SAFETY of the calls: a kernel is used only where `available` has said yes.
            pub(super) const KERNEL: Kernel = Kernel {
                name: $name,
                precision: $precision,
                available: $available,
                convolve: |job, sink, scratch| unsafe { convolve_on(job, sink, scratch) },
                block: |job, out, scratch| unsafe { block_on(job, out, scratch) },
                up: |job, out, scratch| unsafe { up_on(job, out, scratch) },
                gram: |x, rows, sums| unsafe { gram_on(x, rows, sums) },
                mask_features: |job, out, scratch| unsafe { mask_features_on(job, out, scratch) },
                fold: |job, memory| unsafe { fold_on(job, memory) },
            };
        }
    };
}

compiled!(portable, Portable, f32, "portable", Precision::F32, || true);
// What bf16 means, for tests; too slow to be of use.
#[cfg(test)]
compiled!(portable_bf16, Portable, u16, "portable bf16", Precision::Bf16, || true);
#[cfg(test)]
pub(crate) static PORTABLE_BF16: &Kernel = &portable_bf16::KERNEL;

#[cfg(target_arch = "x86_64")]
compiled!(
    avx2,
    x86::Avx2,
    f32,
    "avx2",
    Precision::F32,
    || std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
    "avx2,fma"
);
#[cfg(target_arch = "x86_64")]
compiled!(
    avx512,
    x86::Avx512,
    f32,
    "avx512",
    Precision::F32,
    || std::is_x86_feature_detected!("avx512f") && (avx2::KERNEL.available)(),
    "avx512f,avx2,fma"
);
#[cfg(target_arch = "x86_64")]
compiled!(
    avx512_bf16,
    x86::Avx512,
    u16,
    "avx512bf16",
    Precision::Bf16,
    || (avx512::KERNEL.available)() && std::is_x86_feature_detected!("avx512bf16"),
    "avx512f,avx512bf16,avx2,fma"
);
