//! Single-disperser CASSI: mask, shear along columns, sum over bands.
//!
//! `y[r, c] = Σ_b m[r, c − s·b] · x[b, r, c − s·b]`, a sum, not a mean.
//! Scene `[band, row, column]`, e.g. `[28, 256, 256]`; detector `[row, column + s·(band − 1)]`, `[256, 310]` at
//! s = 2 detector columns per band; x relative radiance in [0, 1]. Noise is in [`crate::detector`].
//! (Wagadarikar, John, Willett, Brady: Applied Optics 47(10), 2008, with integer dispersion.)

use cassi_core::{CodedShear, InstrumentDescription, LinearOperator, Mask, elements, shear};
use ndarray::{ArrayViewMut3, Axis};
use rayon::prelude::*;

use crate::kernels::{self, AHEAD_IN_CACHE, AHEAD_IN_MEMORY, GROUP, Kernel, Window};

/// Detector floats that one task works on: with its mask rows they stay in the first-level cache while the bands of the
/// forward pass go by.
const BLOCK: usize = 2560;

/// Pixels of a block for the adjoint of cubes above [`STREAM_ABOVE`]: long runs of stores past the caches are worth more
/// there than a mask in the first-level cache. 1024x1024x28 takes a sixth less time; 256x256x28, in the cache, would
/// take nearly twice as long.
const STREAM_BLOCK: usize = 32768;

/// Cubes of more bytes than this are taken to exceed the last-level cache: the forward pass then asks for their lines
/// earlier, and the adjoint streams past all caches, which spares reading those that it overwrites. Of those that fit,
/// the next pass finds the cube in the cache.
const STREAM_ABOVE: usize = 16 << 20;

/// A single-disperser camera with integer dispersion: the exact operator and its exact adjoint.
///
/// ```
/// use cassi_core::{LinearOperator, Mask};
/// use cassi_optics::SdCassi;
/// let mask = Mask::new(ndarray::arr2(&[[1.0, 0.0]]))?;
/// let camera = SdCassi::new(&mask, 2, 1); // two bands, one column a band
/// let mut y = [0.0; 3];
/// camera.forward(&[1.0, 2.0, 10.0, 20.0], &mut y);
/// assert_eq!(y, [1.0, 10.0, 0.0]);
/// # Ok::<(), cassi_core::ShapeError>(())
/// ```
#[derive(Clone)]
pub struct SdCassi {
    mask: Mask,
    step: usize,
    domain: [usize; 3],
    range: [usize; 2],
    gram: Vec<f32>,
    norm_bound: f32,
    kernel: &'static Kernel,
}

impl SdCassi {
    /// The camera with this mask `[row, column]`, which also fixes the size of its scene, and `step` detector columns
    /// from each of its `bands` bands to the next.
    ///
    /// # Panics
    /// If `bands` is 0.
    pub fn new(mask: &Mask, bands: usize, step: usize) -> Self {
        assert!(bands > 0, "a camera has at least one band");
        let [rows, columns] = mask.shape();
        let gram = shear::mask_energy(mask.view(), bands, step).into_raw_vec_and_offset().0;
        let norm_bound = gram.iter().copied().fold(0.0, f32::max).sqrt();
        Self {
            mask: mask.clone(),
            step,
            domain: [bands, rows, columns],
            range: [rows, shear::sheared_columns(columns, bands, step)],
            gram,
            norm_bound,
            kernel: kernels::best(),
        }
    }

    /// The camera of an instrument with this mask.
    pub fn for_instrument(instrument: &InstrumentDescription, mask: &Mask) -> Self {
        Self::new(mask, instrument.bands(), instrument.step())
    }

    /// Its mask `[row, column]`.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Detector columns from a band to the next.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The instruction set in use, e.g. `avx2`.
    pub fn kernel_name(&self) -> &'static str {
        self.kernel.name
    }

    fn window(&self, band: usize) -> Window {
        Window { columns: self.domain[2], width: self.range[1], offset: self.step * band }
    }

    /// Rows of one task.
    fn block_rows(&self, pixels: usize) -> usize {
        (pixels / self.range[1]).max(1)
    }

    fn assert_lengths(&self, x: usize, y: usize) {
        assert_eq!(x, elements(&self.domain), "a cube of shape {:?} is expected", self.domain);
        assert_eq!(y, elements(&self.range), "a snapshot of shape {:?} is expected", self.range);
    }
}

impl LinearOperator for SdCassi {
    fn domain(&self) -> &[usize] {
        &self.domain
    }

    fn range(&self) -> &[usize] {
        &self.range
    }

    fn forward(&self, x: &[f32], y: &mut [f32]) {
        self.assert_lengths(x.len(), y.len());
        let ([bands, rows, columns], width) = (self.domain, self.range[1]);
        let block = self.block_rows(BLOCK);
        let ahead = if size_of_val(x) > STREAM_ABOVE { AHEAD_IN_MEMORY } else { AHEAD_IN_CACHE };
        let masks = self.mask.as_slice().par_chunks(block * columns);
        y.par_chunks_mut(block * width).zip(masks).enumerate().for_each(|(task, (y, mask))| {
            y.fill(0.0);
            let plane = |band: usize| &x[(band * rows + task * block) * columns..][..mask.len()];
            let grouped = bands / GROUP * GROUP;
            for first in (0..grouped).step_by(GROUP) {
                let x = std::array::from_fn(|k| plane(first + k));
                (self.kernel.accumulate_group)(self.window(first), self.step, ahead, y, mask, x);
            }
            for band in grouped..bands {
                (self.kernel.accumulate)(self.window(band), y, mask, plane(band));
            }
        });
    }

    fn adjoint(&self, y: &[f32], x: &mut [f32]) {
        self.assert_lengths(x.len(), y.len());
        let ([_, _, columns], width) = (self.domain, self.range[1]);
        let streaming = size_of_val(x) > STREAM_ABOVE;
        let block = self.block_rows(if streaming { STREAM_BLOCK } else { BLOCK });
        let mut cube = ArrayViewMut3::from_shape(self.domain, x).expect("the length was checked");
        let masks = self.mask.as_slice().par_chunks(block * columns);
        let snapshots = y.par_chunks(block * width);
        (cube.axis_chunks_iter_mut(Axis(1), block).into_par_iter().zip(masks).zip(snapshots)).for_each(
            |((mut x, mask), y)| {
                if !streaming {
                    return (self.kernel.spread)(self.step, x, mask, y);
                }
                for (band, mut plane) in x.outer_iter_mut().enumerate() {
                    let x = plane.as_slice_mut().expect("whole rows of one band are contiguous");
                    (self.kernel.spread_streaming)(self.window(band), x, mask, y);
                }
            },
        );
    }

    fn gram_diagonal(&self) -> Option<&[f32]> {
        Some(&self.gram)
    }

    fn norm_bound(&self) -> f32 {
        self.norm_bound
    }

    fn as_coded_shear(&self) -> Option<CodedShear<'_>> {
        Some(CodedShear { mask: self.mask.as_slice(), step: self.step })
    }
}
