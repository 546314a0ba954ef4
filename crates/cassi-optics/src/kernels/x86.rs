//! The kernels for AVX2 and AVX-512: the portable loops compiled for wider vectors, and a streaming adjoint.

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm_sfence, _mm_stream_si32, _mm256_loadu_ps,
    _mm256_mul_ps, _mm256_stream_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_cmplt_epu32_mask,
    _mm512_load_ps, _mm512_loadu_ps, _mm512_mask_add_ps, _mm512_mask_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_permutex2var_ps, _mm512_set1_epi32, _mm512_setr_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};
use std::mem::MaybeUninit;

use ndarray::{ArrayViewMut3, Axis};

use super::{GROUP, Kernel, Window, portable};

/// Singles of an AVX-512 vector, which is a cache line long.
const LANES: usize = 16;

pub(crate) const AVX2: Kernel = Kernel {
    name: "avx2",
    available: || is_x86_feature_detected!("avx2"),
    // SAFETY (all four): dispatch enters a kernel only after `available` said that the CPU has AVX2.
    accumulate: |window, y, mask, x| unsafe { accumulate_avx2(window, y, mask, x) },
    accumulate_group: |window, step, ahead, y, mask, x| unsafe {
        accumulate_group_avx2(window, step, ahead, y, mask, x)
    },
    spread: |step, x, mask, y| unsafe { spread_avx2(step, x, mask, y) },
    spread_streaming: |window, x, mask, y| unsafe { spread_streaming_avx2(window, x, mask, y) },
};

pub(crate) const AVX512: Kernel = Kernel {
    name: "avx512",
    available: || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2"),
    // SAFETY (all four): dispatch enters a kernel only after `available` said that the CPU has both sets.
    accumulate: |window, y, mask, x| unsafe { accumulate_avx512(window, y, mask, x) },
    accumulate_group: |window, step, ahead, y, mask, x| unsafe {
        accumulate_group_avx512(window, step, ahead, y, mask, x)
    },
    spread: |step, x, mask, y| unsafe { spread_avx512(step, x, mask, y) },
    // Streaming is bound by the write-combining buffers, which 32-byte stores already fill.
    spread_streaming: |window, x, mask, y| unsafe { spread_streaming_avx2(window, x, mask, y) },
};

#[target_feature(enable = "avx2")]
fn accumulate_avx2(window: Window, y: &mut [f32], mask: &[f32], x: &[f32]) {
    portable::accumulate(window, y, mask, x);
}

#[target_feature(enable = "avx2")]
fn accumulate_group_avx2(
    window: Window,
    step: usize,
    ahead: usize,
    y: &mut [f32],
    mask: &[f32],
    x: [&[f32]; GROUP],
) {
    portable::accumulate_group(window, step, ahead, y, mask, x);
}

#[target_feature(enable = "avx2")]
fn spread_avx2(step: usize, x: ArrayViewMut3<'_, f32>, mask: &[f32], y: &[f32]) {
    portable::spread_all(step, x, mask, y);
}

#[target_feature(enable = "avx512f")]
fn accumulate_avx512(window: Window, y: &mut [f32], mask: &[f32], x: &[f32]) {
    portable::accumulate(window, y, mask, x);
}

/// All bands of the group a vector at a time. Cube and mask are loaded where the cube's cache lines begin, and the
/// products shifted to their detector columns in registers: one load of the mask serves all bands, and none but the
/// detector's reaches over two lines, each of which would cost as much as two loads. Vectors at the ends of a row go
/// through masks.
#[target_feature(enable = "avx512f")]
fn accumulate_group_avx512(
    window: Window,
    step: usize,
    ahead: usize,
    y: &mut [f32],
    mask: &[f32],
    x: [&[f32]; GROUP],
) {
    let Window { columns, width, offset } = window;
    let span = (GROUP - 1) * step;
    // A shifted vector is made of two neighbours.
    if span > LANES {
        return portable::accumulate_group(window, step, ahead, y, mask, x);
    }
    let reach = columns + span;
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let moved = |from: __m512i, by: isize| _mm512_add_epi32(from, _mm512_set1_epi32(by as i32));
    // Lanes of the pair (before, here) that band k brings to the detector vector here.
    let pick: [__m512i; GROUP] = std::array::from_fn(|k| moved(lane, (LANES - k * step) as isize));
    // Places from 0 to below an end; negative ones are large without their sign.
    let below = |place: __m512i, end: usize| -> __mmask16 {
        _mm512_cmplt_epu32_mask(place, _mm512_set1_epi32(end as i32))
    };
    let rows = y.chunks_exact_mut(width).zip(mask.chunks_exact(columns)).enumerate();
    for (row, (y, mask)) in rows {
        let y = y[offset..offset + reach].as_mut_ptr();
        let mask = mask.as_ptr();
        let x = x.map(|x| x[row * columns..][..columns].as_ptr());
        let mut before = [_mm512_setzero_ps(); GROUP];
        let end_of_row = |at: isize, before: &mut [__m512; GROUP]| {
            let column = moved(lane, at);
            let (read, written) = (below(column, columns), below(column, reach));
            // SAFETY: lanes outside of `mask`, `x` and `y` are masked off and not touched, so their addresses need not
            // exist. Prefetches touch nothing.
            unsafe {
                let m = _mm512_maskz_loadu_ps(read, mask.wrapping_offset(at));
                let mut sum = _mm512_maskz_loadu_ps(written, y.wrapping_offset(at));
                for k in 0..GROUP {
                    let x = x[k].wrapping_offset(at);
                    _mm_prefetch::<_MM_HINT_T0>(x.wrapping_add(ahead).cast());
                    let here = _mm512_mul_ps(m, _mm512_maskz_loadu_ps(read, x));
                    let reached = below(moved(column, -((k * step) as isize)), columns);
                    let shifted = _mm512_permutex2var_ps(before[k], pick[k], here);
                    sum = _mm512_mask_add_ps(sum, reached, sum, shifted);
                    before[k] = here;
                }
                _mm512_mask_storeu_ps(y.wrapping_offset(at), written, sum);
            }
        };
        let mut at = -((x[0] as usize % (4 * LANES) / 4) as isize);
        while at < span as isize {
            end_of_row(at, &mut before);
            at += LANES as isize;
        }
        while at + LANES as isize <= columns as isize {
            // SAFETY: `at` is at least `span` and `at + LANES` at most `columns`, the length of `mask` and `x` and no more
            // than `reach`, that of `y`. Prefetches touch nothing.
            unsafe {
                let (m, mut sum) = (_mm512_loadu_ps(mask.offset(at)), _mm512_loadu_ps(y.offset(at)));
                for k in 0..GROUP {
                    let x = x[k].offset(at);
                    _mm_prefetch::<_MM_HINT_T0>(x.wrapping_add(ahead).cast());
                    let here = _mm512_mul_ps(m, _mm512_loadu_ps(x));
                    sum = _mm512_add_ps(sum, _mm512_permutex2var_ps(before[k], pick[k], here));
                    before[k] = here;
                }
                _mm512_storeu_ps(y.offset(at), sum);
            }
            at += LANES as isize;
        }
        while at < reach as isize {
            end_of_row(at, &mut before);
            at += LANES as isize;
        }
    }
}

/// One row of all bands after the other: on a Zen 4 the stores of 28 short runs far apart take half the time of the same
/// stores in runs of sixteen rows and more. All are of whole cache lines, also where a row ends and the next begins
/// within one: a store that reaches over two lines, or fills a part of one, costs as much as two. So do loads, hence
/// mask and detector are copied once a row, the mask to lie as the cube does, and the detector's vectors are made of
/// neighbours in registers.
#[target_feature(enable = "avx512f")]
fn spread_avx512(step: usize, mut x: ArrayViewMut3<'_, f32>, mask: &[f32], y: &[f32]) {
    const LONGEST: usize = 2048;
    #[repr(align(64))]
    struct Row([MaybeUninit<f32>; LONGEST + 2 * LANES]);
    let (bands, rows, columns) = x.dim();
    let width = columns + step * (bands - 1);
    // Of narrower rows a line may hold more than two.
    if width > LONGEST || columns < LANES {
        return portable::spread_all(step, x, mask, y);
    }
    assert!(mask.len() == rows * columns && y.len() == rows * width);
    let (between_bands, between_rows) = (x.stride_of(Axis(0)), x.stride_of(Axis(1)));
    assert!(x.stride_of(Axis(2)) == 1, "rows are contiguous");
    let cube = x.as_mut_ptr();
    let before_line = |x: *const f32| x.align_offset(4 * LANES).min(columns);
    let in_step = between_bands % LANES as isize == 0;
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let first = |lanes: usize| ((1u32 << lanes) - 1) as __mmask16;
    let mut mask_row = Row([MaybeUninit::uninit(); LONGEST + 2 * LANES]);
    let mut detector_row = Row([MaybeUninit::uninit(); LONGEST + 2 * LANES]);
    for row in 0..rows {
        // Whether the next row follows in the same line.
        let follows = between_rows == columns as isize && row + 1 < rows;
        let follows_another = between_rows == columns as isize && row > 0;
        // SAFETY: `x` is the first element of a row of the cube, of which `columns` follow in every band. Rows of mask
        // and detector are copied as far as they go, the mask's a vector further where there is a next one; both have
        // room for two vectors beside the longest row, and a zero vector follows the detector's. Every access below
        // stays within these or, where `follows` says so, within the next row: whole vectors by the loop's condition,
        // others by their mask.
        unsafe {
            let x = cube.offset(row as isize * between_rows);
            let head = before_line(x);
            let kept = mask_row.0.as_mut_ptr().cast::<f32>();
            let detector = detector_row.0.as_mut_ptr().cast::<f32>();
            let kept = kept.add((LANES - head % LANES) % LANES);
            let length = if follows { columns + LANES } else { columns };
            mask.as_ptr().add(row * columns).copy_to_nonoverlapping(kept, length);
            let y = y.as_ptr().add(row * width);
            y.copy_to_nonoverlapping(detector, width);
            _mm512_storeu_ps(detector.add(width), _mm512_setzero_ps());
            for band in 0..bands {
                let x = x.offset(band as isize * between_bands);
                let y = y.add(step * band);
                let some = |at: usize, lanes: usize| {
                    let m = _mm512_maskz_loadu_ps(first(lanes), kept.add(at));
                    let y = _mm512_maskz_loadu_ps(first(lanes), y.add(at));
                    _mm512_mask_storeu_ps(x.add(at), first(lanes), _mm512_mul_ps(m, y));
                };
                // Known before the band is, it does not hold up the first store.
                let head = if in_step { head } else { before_line(x) };
                if head > 0 && !follows_another {
                    some(0, head);
                }
                let from = step * band + head;
                let pick = _mm512_add_epi32(lane, _mm512_set1_epi32((from % LANES) as i32));
                let mut line = detector.add(from / LANES * LANES);
                let mut before = _mm512_load_ps(line);
                let mut at = head;
                while at + LANES <= columns {
                    line = line.add(LANES);
                    let here = _mm512_load_ps(line);
                    let y = _mm512_permutex2var_ps(before, pick, here);
                    _mm512_storeu_ps(x.add(at), _mm512_mul_ps(_mm512_loadu_ps(kept.add(at)), y));
                    before = here;
                    at += LANES;
                }
                let left = columns - at;
                if left > 0 && follows {
                    let here = _mm512_maskz_loadu_ps(first(left), y.add(at));
                    let y = _mm512_mask_loadu_ps(here, !first(left), y.add(width).wrapping_sub(left));
                    _mm512_storeu_ps(x.add(at), _mm512_mul_ps(_mm512_loadu_ps(kept.add(at)), y));
                } else if left > 0 {
                    some(at, left);
                }
            }
        }
    }
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
