//! The kernels for AVX2 and AVX-512: the portable loops compiled for wider vectors, and a streaming adjoint.

use std::arch::x86_64::{
    __mmask16, _MM_HINT_T0, _mm_prefetch, _mm_sfence, _mm_stream_si32, _mm256_loadu_ps, _mm256_mul_ps,
    _mm256_stream_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_mask_add_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_storeu_ps,
};

use super::{AHEAD, GROUP, Kernel, Window, portable};

pub(crate) const AVX2: Kernel = Kernel {
    name: "avx2",
    available: || is_x86_feature_detected!("avx2"),
    // SAFETY (all four): dispatch enters a kernel only after `available` said that the CPU has AVX2.
    accumulate: |window, y, mask, x| unsafe { accumulate_avx2(window, y, mask, x) },
    accumulate_group: |window, step, y, mask, x| unsafe { accumulate_group_avx2(window, step, y, mask, x) },
    spread: |window, x, mask, y| unsafe { spread_avx2(window, x, mask, y) },
    spread_streaming: |window, x, mask, y| unsafe { spread_streaming_avx2(window, x, mask, y) },
};

pub(crate) const AVX512: Kernel = Kernel {
    name: "avx512",
    available: || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2"),
    // SAFETY (all four): dispatch enters a kernel only after `available` said that the CPU has both sets.
    accumulate: |window, y, mask, x| unsafe { accumulate_avx512(window, y, mask, x) },
    accumulate_group: |window, step, y, mask, x| unsafe { accumulate_group_avx512(window, step, y, mask, x) },
    spread: |window, x, mask, y| unsafe { spread_avx512(window, x, mask, y) },
    // Streaming is bound by the write-combining buffers, which 32-byte stores already fill.
    spread_streaming: |window, x, mask, y| unsafe { spread_streaming_avx2(window, x, mask, y) },
};

#[target_feature(enable = "avx2")]
fn accumulate_avx2(window: Window, y: &mut [f32], mask: &[f32], x: &[f32]) {
    portable::accumulate(window, y, mask, x);
}

#[target_feature(enable = "avx2")]
fn accumulate_group_avx2(window: Window, step: usize, y: &mut [f32], mask: &[f32], x: [&[f32]; GROUP]) {
    portable::accumulate_group(window, step, y, mask, x);
}

#[target_feature(enable = "avx2")]
fn spread_avx2(window: Window, x: &mut [f32], mask: &[f32], y: &[f32]) {
    portable::spread(window, x, mask, y);
}

#[target_feature(enable = "avx512f")]
fn accumulate_avx512(window: Window, y: &mut [f32], mask: &[f32], x: &[f32]) {
    portable::accumulate(window, y, mask, x);
}

/// All bands of the group a vector at a time, those that do not reach over the whole vector through masks: the portable
/// loop adds their edges one band after another, which for 256 columns takes as long as the rest.
#[target_feature(enable = "avx512f")]
fn accumulate_group_avx512(window: Window, step: usize, y: &mut [f32], mask: &[f32], x: [&[f32]; GROUP]) {
    const LANES: usize = 16;
    let Window { columns, width, offset } = window;
    let reach = columns + (GROUP - 1) * step;
    let rows = y.chunks_exact_mut(width).zip(mask.chunks_exact(columns)).enumerate();
    for (row, (y, mask)) in rows {
        let y = &mut y[offset..offset + reach];
        let x = x.map(|x| &x[row * columns..][..columns]);
        // Vectors that all bands of the group cover whole; those before and after reach over an edge of some band.
        let whole = ((GROUP - 1) * step).next_multiple_of(LANES)..(columns + 1).saturating_sub(LANES);
        for at in (0..reach).step_by(LANES) {
            // SAFETY: only lanes below the length of `y` are read and written, and below that of `mask` and `x` read;
            // masked lanes are not touched, so their addresses need not exist. Prefetches touch nothing.
            unsafe {
                let place = y.as_mut_ptr().add(at);
                if whole.contains(&at) {
                    let mut sum = _mm512_loadu_ps(place);
                    for (k, x) in x.iter().enumerate() {
                        let start = at - k * step;
                        _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(start + AHEAD).cast());
                        let (m, x) = (mask.as_ptr().add(start), x.as_ptr().add(start));
                        sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(m), _mm512_loadu_ps(x)));
                    }
                    _mm512_storeu_ps(place, sum);
                    continue;
                }
                let inside = lanes_of(0, reach, at as isize);
                let mut sum = _mm512_maskz_loadu_ps(inside, place);
                for (k, x) in x.iter().enumerate() {
                    let start = at as isize - (k * step) as isize;
                    let lanes = lanes_of(0, columns, start);
                    let (m, x) = (mask.as_ptr().wrapping_offset(start), x.as_ptr().wrapping_offset(start));
                    _mm_prefetch::<_MM_HINT_T0>(x.wrapping_add(AHEAD).cast());
                    let product =
                        _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, m), _mm512_maskz_loadu_ps(lanes, x));
                    sum = _mm512_mask_add_ps(sum, lanes, sum, product);
                }
                _mm512_mask_storeu_ps(place, inside, sum);
            }
        }
    }
}

/// The lanes of a vector at `at` that lie from `from` to below `to`.
#[inline(always)]
fn lanes_of(from: isize, to: usize, at: isize) -> __mmask16 {
    let below = |end: isize| -> u32 { (1 << (end - at).clamp(0, 16)) - 1 };
    (below(to as isize) & !below(from)) as __mmask16
}

#[target_feature(enable = "avx512f")]
fn spread_avx512(window: Window, x: &mut [f32], mask: &[f32], y: &[f32]) {
    portable::spread(window, x, mask, y);
}

/// Every store bypasses the caches, head and tail of a row included: a cache line shared by two rows is then still
/// filled by stores of one kind, and leaves in one piece.
#[target_feature(enable = "avx2")]
fn spread_streaming_avx2(window: Window, x: &mut [f32], mask: &[f32], y: &[f32]) {
    let Window { columns, width, offset } = window;
    let rows = x.chunks_exact_mut(columns).zip(mask.chunks_exact(columns)).zip(y.chunks_exact(width));
    for ((x, mask), y) in rows {
        let y = &y[offset..offset + columns];
        let head = x.as_ptr().align_offset(32).min(columns);
        let body_end = head + (columns - head) / 8 * 8;
        for c in (0..head).chain(body_end..columns) {
            // SAFETY: `x[c]` is a whole, aligned 4-byte element.
            unsafe { _mm_stream_si32((&raw mut x[c]).cast(), (mask[c] * y[c]).to_bits().cast_signed()) };
        }
        for c in (head..body_end).step_by(8) {
            // SAFETY: c + 8 <= columns, the length of all three; `x` is 32-byte aligned at `head` and every 8 after.
            unsafe {
                let product =
                    _mm256_mul_ps(_mm256_loadu_ps(mask.as_ptr().add(c)), _mm256_loadu_ps(y.as_ptr().add(c)));
                _mm256_stream_ps(x.as_mut_ptr().add(c), product);
            }
        }
    }
    // Streaming stores are weakly ordered: whoever reads the cube next must see them.
    _mm_sfence();
}
