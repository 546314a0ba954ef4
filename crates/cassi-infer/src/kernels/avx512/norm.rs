//! Layer normalisation over channels, 64 pixels in four registers: the operations of the portable pass in its order.

use std::arch::x86_64::*;

use crate::kernels::{CHUNK, LayerNorm};

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
pub(super) fn layer_norm(norm: &LayerNorm<'_>, output: &mut [f32], output_stride: usize) {
    assert!(norm.pixels == 32 || norm.pixels == CHUNK);
    let channels = norm.gain.len();
    assert!(norm.bias.len() == channels && (channels - 1) * norm.stride + norm.pixels <= norm.input.len());
    assert!((channels - 1) * output_stride + norm.pixels <= output.len());
    // SAFETY: the last channel's last pixel lies in input and output.
    unsafe {
        match norm.pixels {
            32 => normalise::<2>(norm, output.as_mut_ptr(), output_stride),
            _ => normalise::<4>(norm, output.as_mut_ptr(), output_stride),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
unsafe fn normalise<const VECTORS: usize>(norm: &LayerNorm<'_>, output: *mut f32, output_stride: usize) {
    let channels = norm.gain.len();
    let share = _mm512_set1_ps(1.0 / channels as f32);
    let (input, stride) = (norm.input.as_ptr(), norm.stride);
    let mut mean = [_mm512_setzero_ps(); VECTORS];
    let mut inverse = [_mm512_setzero_ps(); VECTORS];
    // SAFETY: the caller has checked the last pixel of the last channel.
    unsafe {
        for c in 0..channels {
            for v in 0..VECTORS {
                mean[v] = _mm512_add_ps(mean[v], _mm512_loadu_ps(input.add(c * stride + 16 * v)));
            }
        }
        for v in 0..VECTORS {
            mean[v] = _mm512_mul_ps(mean[v], share);
        }
        for c in 0..channels {
            for v in 0..VECTORS {
                let d = _mm512_sub_ps(_mm512_loadu_ps(input.add(c * stride + 16 * v)), mean[v]);
                inverse[v] = _mm512_add_ps(inverse[v], _mm512_mul_ps(d, d));
            }
        }
        for v in 0..VECTORS {
            let variance = _mm512_add_ps(_mm512_mul_ps(inverse[v], share), _mm512_set1_ps(1e-5));
            inverse[v] = _mm512_div_ps(_mm512_set1_ps(1.0), _mm512_sqrt_ps(variance));
        }
        for c in 0..channels {
            let (gain, bias) = (_mm512_set1_ps(norm.gain[c]), _mm512_set1_ps(norm.bias[c]));
            for v in 0..VECTORS {
                let d = _mm512_sub_ps(_mm512_loadu_ps(input.add(c * stride + 16 * v)), mean[v]);
                let y = _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(d, inverse[v]), gain), bias);
                _mm512_storeu_ps(output.add(c * output_stride + 16 * v), y);
            }
        }
    }
}
