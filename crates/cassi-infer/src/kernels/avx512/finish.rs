//! Epilogues on sums in their registers: the same operations in the same order as `portable` has, so the same bits.

use std::arch::x86_64::*;

use crate::kernels::epilogue::Form;
use crate::kernels::{CHUNK, Finish, Shortcut, Target, portable};

// Forms as parameters of a function.
const STEPS: u8 = Form::Steps as u8;
const AFFINE: u8 = Form::Affine as u8;
const AVERAGE: u8 = Form::PreluAverage as u8;
const TAIL: u8 = Form::PreluTail as u8;

/// Calls a function whose first parameter is the form.
macro_rules! for_form {
    ($form:expr, $function:ident, ($($arguments:expr),*) $(, $parameter:tt)*) => {{
        use $crate::kernels::epilogue::Form;
        match $form {
            Form::Steps => $function::<{ Form::Steps as u8 }, $($parameter),*>($($arguments),*),
            Form::Affine => $function::<{ Form::Affine as u8 }, $($parameter),*>($($arguments),*),
            Form::Prelu => $function::<{ Form::Prelu as u8 }, $($parameter),*>($($arguments),*),
            Form::PreluAverage => $function::<{ Form::PreluAverage as u8 }, $($parameter),*>($($arguments),*),
            Form::PreluTail => $function::<{ Form::PreluTail as u8 }, $($parameter),*>($($arguments),*),
        }
    }};
}
pub(super) use for_form;

/// Where finished rows go; everything that is read or written has been checked.
pub(super) struct Output<'a> {
    finish: &'a Finish,
    target: Target<'a>,
}

impl<'a> Output<'a> {
    /// For results of `outputs` channels and `pixels` pixels.
    pub(super) fn new(finish: &'a Finish, mut target: Target<'a>, outputs: usize, pixels: usize) -> Self {
        assert!(finish.channels.len() >= outputs);
        assert!((outputs - 1) * target.stride + pixels <= target.output.len());
        if finish.epilogue.shortcut == Shortcut::None {
            target.shortcut = None;
        } else {
            let (shortcut, stride) = target.shortcut.expect("a shortcut for an epilogue that adds one");
            assert!((outputs - 1) * stride + pixels <= shortcut.len());
        }
        Self { finish, target }
    }

    /// The form to give as `FORM`.
    pub(super) fn form(&self) -> Form {
        self.finish.form
    }

    /// Finishes `16·VECTORS` sums of one channel.
    ///
    /// # Safety
    /// `FORM` is this output's form, `channel` and the pixels lie below the numbers given to `new`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
    pub(super) unsafe fn row<const FORM: u8, const VECTORS: usize>(
        &mut self,
        sums: [__m512; VECTORS],
        channel: usize,
    ) {
        if FORM == STEPS {
            let mut row = [0f32; CHUNK];
            for v in 0..VECTORS {
                // SAFETY: VECTORS is at most 4.
                unsafe { _mm512_storeu_ps(row.as_mut_ptr().add(16 * v), sums[v]) };
            }
            return portable::finish_row(&row[..16 * VECTORS], self.finish, channel, &mut self.target);
        }
        // SAFETY: as the caller promises, and `new` has checked.
        unsafe {
            let [scale, shift, slope, after, before, slope2, after2, _] =
                self.finish.channels.get_unchecked(channel);
            let (scale, shift) = (_mm512_set1_ps(*scale), _mm512_set1_ps(*shift));
            let output = self.target.output.as_mut_ptr().add(channel * self.target.stride);
            if FORM == AFFINE {
                for v in 0..VECTORS {
                    let y = _mm512_add_ps(_mm512_mul_ps(sums[v], scale), shift);
                    _mm512_storeu_ps(output.add(16 * v), y);
                }
                return;
            }
            let (slope, after) = (_mm512_set1_ps(*slope), _mm512_set1_ps(*after));
            let (before, slope2) = (_mm512_set1_ps(*before), _mm512_set1_ps(*slope2));
            let after2 = _mm512_set1_ps(*after2);
            let (shortcut, stride) = self.target.shortcut.unwrap_unchecked();
            let shortcut = shortcut.as_ptr().add(channel * stride);
            for v in 0..VECTORS {
                let y = _mm512_add_ps(_mm512_mul_ps(sums[v], scale), shift);
                let y = _mm512_add_ps(prelu(y, slope), after);
                let mut y = _mm512_add_ps(y, _mm512_loadu_ps(shortcut.add(16 * v)));
                if FORM == TAIL {
                    y = _mm512_add_ps(prelu(_mm512_add_ps(y, before), slope2), after2);
                }
                if FORM == AVERAGE {
                    y = _mm512_add_ps(_mm512_loadu_ps(output.add(16 * v)), y);
                    y = _mm512_mul_ps(y, _mm512_set1_ps(0.5));
                }
                _mm512_storeu_ps(output.add(16 * v), y);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,fma")]
fn prelu(v: __m512, slope: __m512) -> __m512 {
    let negative = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(v, _mm512_setzero_ps());
    _mm512_mask_mul_ps(v, negative, v, slope)
}
