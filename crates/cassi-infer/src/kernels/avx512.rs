//! 512-bit kernels. Dense layers of signs count differing bits with VPOPCNTDQ on words of 32 channels, 16 pixels a
//! register; grouped layers and weights with zeros look sums up by byte shuffle, 64 pixels a register. Epilogues are
//! applied to the sums in their registers.
#![allow(unsafe_code)] // std::arch: every function is reached only after `available` has found its features

mod double;
mod finish;
mod floats;
mod look_up;
mod norm;
mod pack;
mod winograd;
mod words;

use super::{Kernel, Rows, avx2};

super::rows::compile_rows!("avx512f,avx512bw,avx512vpopcntdq,avx2,fma");

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx512",
    available: || {
        (avx2::KERNEL.available)()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("avx512vbmi2")
    },
    words: true,
    // SAFETY: these pointers are called only when `available` has said yes, so all features named are there.
    pack: |p, out, stride| unsafe { pack::pack(p, out, stride) },
    pack_words: |p, positive, nonzero, stride| unsafe { pack::pack_words(p, positive, nonzero, stride) },
    conv_bits: |c, f, t| unsafe { look_up::conv_bits(c, f, t) },
    conv_words: |c, f, t| unsafe { words::conv_words(c, f, t) },
    conv_float: |c, f, t| unsafe { floats::conv_float(c, f, t) },
    rows: Rows {
        layer_norm: |n, out, stride| unsafe { norm::layer_norm(n, out, stride) },
        double: |r, s, out, out_stride, w, _| unsafe { double::double(r, s, out, out_stride, w) },
        transform: |r, p, stride| unsafe { winograd::transform(r, p, stride) },
        combine: |p, stride, s, r| unsafe { winograd::combine(p, stride, s, r) },
        ..ROWS
    },
};
