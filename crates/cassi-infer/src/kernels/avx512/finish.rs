//! Epilogues on sums in their registers: the same operations in the same order as `portable` has, so the same bits.

use std::arch::x86_64::*;

use crate::kernels::epilogue::{Form, Fused};
use crate::kernels::{CHUNK, Finish, Shortcut, Target, portable};

// Forms as parameters of a function.
const STEPS: u8 = Form::Steps as u8;
const AFFINE: u8 = Form::Affine as u8;
const AVERAGE: u8 = Form::PreluAverage as u8;
const TAIL: u8 = Form::PreluTail as u8;
/// `Form::PreluAverage` and an addend.
pub(super) const AVERAGE_ADD: u8 = 5;

/// Calls a function whose first parameter is the form.
macro_rules! for_form {
    ($form:expr, $function:ident, ($($arguments:expr),*) $(, $parameter:tt)*) => {{
        use $crate::kernels::{avx512::finish::AVERAGE_ADD, epilogue::Form};
        const AFFINE: u8 = Form::Affine as u8;
        const PRELU: u8 = Form::Prelu as u8;
        const AVERAGE: u8 = Form::PreluAverage as u8;
        const TAIL: u8 = Form::PreluTail as u8;
        match $form {
            AFFINE => $function::<AFFINE, $($parameter),*>($($arguments),*),
            PRELU => $function::<PRELU, $($parameter),*>($($arguments),*),
            AVERAGE => $function::<AVERAGE, $($parameter),*>($($arguments),*),
            AVERAGE_ADD => $function::<AVERAGE_ADD, $($parameter),*>($($arguments),*),
            TAIL => $function::<TAIL, $($parameter),*>($($arguments),*),
            _ => $function::<{ Form::Steps as u8 }, $($parameter),*>($($arguments),*),
        }
    }};
}
pub(super) use for_form;

/// Rows that are read, `[channel][stride]`, as checked by [`Output::new`].
#[derive(Clone, Copy)]
struct Plane<'a> {
    first: *const f32,
    stride: usize,
    rows: Option<(&'a [f32], usize)>,
}

impl<'a> Plane<'a> {
    fn new(rows: Option<(&'a [f32], usize)>) -> Self {
        let (first, stride) = rows.map_or((std::ptr::null(), 0), |(rows, stride)| (rows.as_ptr(), stride));
        Self { first, stride, rows }
    }
}

/// Where finished rows go; everything that is read or written has been checked. A copy, so that its parts stay in
/// registers while results are stored.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    finish: &'a Finish,
    shortcut: Plane<'a>,
    addend: Plane<'a>,
    output: *mut f32,
    len: usize,
    stride: usize,
}

impl<'a> Output<'a> {
    /// For results of `outputs` channels and `pixels` pixels.
    #[inline(always)]
    pub(super) fn new(finish: &'a Finish, target: &'a mut Target<'_>, outputs: usize, pixels: usize) -> Self {
        let fits = |len: usize, stride: usize| (outputs - 1) * stride + pixels <= len;
        assert!(finish.channels.len() >= outputs);
        assert!(fits(target.output.len(), target.stride));
        let adds = finish.epilogue.shortcut != Shortcut::None;
        assert!(!adds || target.shortcut.is_some(), "a shortcut for an epilogue that adds one");
        let shortcut = target.shortcut.filter(|_| adds);
        for (rows, stride) in [shortcut, target.addend].into_iter().flatten() {
            assert!(fits(rows.len(), stride));
        }
        let (output, len) = (target.output.as_mut_ptr(), target.output.len());
        let (shortcut, addend) = (Plane::new(shortcut), Plane::new(target.addend));
        Self { finish, shortcut, addend, output, len, stride: target.stride }
    }

    /// The form to give as `FORM`.
    pub(super) fn form(&self) -> u8 {
        match (self.finish.form, self.addend.rows) {
            (form, None) => form as u8,
            (Form::PreluAverage, Some(_)) => AVERAGE_ADD,
            (_, Some(_)) => STEPS,
        }
    }

    /// Finishes `16·VECTORS` sums of one channel; `HALVES` are half the sums with the opposite sign.
    ///
    /// # Safety
    /// `FORM` is this output's form, `channel` and the pixels lie below the numbers given to `new`, and nothing else
    /// holds its target.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
    pub(super) unsafe fn row<const FORM: u8, const VECTORS: usize, const HALVES: bool>(
        self,
        mut sums: [__m512; VECTORS],
        channel: usize,
    ) {
        let factor = _mm512_set1_ps(-2.0);
        if HALVES && (FORM == STEPS || FORM == AFFINE) {
            for v in 0..VECTORS {
                sums[v] = _mm512_mul_ps(sums[v], factor);
            }
        }
        if FORM == STEPS {
            // SAFETY: as the caller promises.
            return unsafe { self.steps(sums, channel) };
        }
        // SAFETY: as the caller promises, and `new` has checked.
        unsafe {
            let numbers = self.finish.channels.get_unchecked(channel);
            let [mut scale, shift, slope, after, ..] = numbers.map(|number| _mm512_set1_ps(number));
            if FORM == AFFINE {
                let output = self.output.add(channel * self.stride);
                for v in 0..VECTORS {
                    let y = _mm512_fmadd_ps(sums[v], scale, shift);
                    _mm512_storeu_ps(output.add(16 * v), y);
                }
                return;
            }
            if HALVES {
                // Exact, so that the product is that of the sum.
                scale = _mm512_mul_ps(scale, factor);
            }
            let shortcut = self.shortcut.first.add(channel * self.shortcut.stride);
            for v in 0..VECTORS {
                let y = _mm512_fmadd_ps(sums[v], scale, shift);
                let y = _mm512_add_ps(prelu(y, slope), after);
                sums[v] = _mm512_add_ps(y, _mm512_loadu_ps(shortcut.add(16 * v)));
            }
            self.store::<FORM, VECTORS>(sums, channel);
        }
    }

    /// Finishes what the activation makes of `16·VECTORS` sums of one channel.
    ///
    /// # Safety
    /// As for `row`; the form is one with a PReLU.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
    pub(super) unsafe fn activated<const FORM: u8, const VECTORS: usize>(
        self,
        mut values: [__m512; VECTORS],
        channel: usize,
    ) {
        // SAFETY: as the caller promises, and `new` has checked.
        unsafe {
            let shortcut = self.shortcut.first.add(channel * self.shortcut.stride);
            for v in 0..VECTORS {
                values[v] = _mm512_add_ps(values[v], _mm512_loadu_ps(shortcut.add(16 * v)));
            }
            self.store::<FORM, VECTORS>(values, channel);
        }
    }

    /// What follows the shortcut.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
    unsafe fn store<const FORM: u8, const VECTORS: usize>(self, values: [__m512; VECTORS], channel: usize) {
        // SAFETY: as the caller promises, and `new` has checked.
        unsafe {
            let numbers = self.finish.channels.get_unchecked(channel);
            let [.., before, slope, after, _] = numbers.map(|number| _mm512_set1_ps(number));
            let output = self.output.add(channel * self.stride);
            let addend = self.addend.first.wrapping_add(channel * self.addend.stride);
            for v in 0..VECTORS {
                let mut y = values[v];
                if FORM == TAIL {
                    y = _mm512_add_ps(prelu(_mm512_add_ps(y, before), slope), after);
                }
                if FORM == AVERAGE || FORM == AVERAGE_ADD {
                    y = _mm512_add_ps(_mm512_loadu_ps(output.add(16 * v)), y);
                    y = _mm512_mul_ps(y, _mm512_set1_ps(0.5));
                }
                if FORM == AVERAGE_ADD {
                    y = _mm512_add_ps(y, _mm512_loadu_ps(addend.add(16 * v)));
                }
                _mm512_storeu_ps(output.add(16 * v), y);
            }
        }
    }

    /// Any epilogue, step by step.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
    unsafe fn steps<const VECTORS: usize>(self, sums: [__m512; VECTORS], channel: usize) {
        let mut row = [0f32; CHUNK];
        for v in 0..VECTORS {
            // SAFETY: VECTORS is at most 4.
            unsafe { _mm512_storeu_ps(row.as_mut_ptr().add(16 * v), sums[v]) };
        }
        // SAFETY: the slice that `new` was given, which nobody else holds.
        let output = unsafe { std::slice::from_raw_parts_mut(self.output, self.len) };
        let (shortcut, addend) = (self.shortcut.rows, self.addend.rows);
        let mut target = Target { shortcut, addend, output, stride: self.stride };
        portable::finish_row::<_, Fused>(&row[..16 * VECTORS], self.finish, channel, &mut target);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn prelu(v: __m512, slope: __m512) -> __m512 {
    let negative = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(v, _mm512_setzero_ps());
    _mm512_mask_mul_ps(v, negative, v, slope)
}
