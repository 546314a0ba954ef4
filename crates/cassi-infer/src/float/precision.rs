//! In which numbers the products of a network are computed.

use super::kernels::best;

/// Numbers that matrix products take their factors in; sums are f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Single precision: any CPU.
    #[default]
    F32,
    /// bfloat16, eight significant bits: about twice as fast on a CPU with AVX-512 BF16 and refused elsewhere.
    Bf16,
}

impl Precision {
    /// Whether this CPU has instructions for it.
    pub fn available(self) -> bool {
        best(self).is_some()
    }
}

/// This CPU has no instructions for the precision asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this CPU has no bf16 instructions (AVX-512 BF16: Intel from Cooper Lake, AMD from Zen 4); use f32")]
pub struct PrecisionError;
