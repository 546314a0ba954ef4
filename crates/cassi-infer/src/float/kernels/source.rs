//! Where the rows of a convolution come from: images, bands as callers have them, or a fusion of two of those that is
//! computed on the way.

#![allow(unsafe_code)] // kernels: pointers into arrays and scratch memory; see each SAFETY line

use std::ops::Range;

use super::block::{image_row, readable};
use super::feed::{Feed, Pixels, Store, Target};
use super::lanes::Lanes;
use super::product::product;
use crate::float::image::{Bands, View, reflected};
use crate::float::matrix::{Packed, chunks};
use crate::float::memory::{Aligned, CHUNK};

/// Something with rows of pixels.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Image(View<'a>),
    Bands(Bands<'a>),
    /// `W (first, second) + b`, 1x1.
    Fused {
        first: Bands<'a>,
        second: Option<Bands<'a>>,
        weights: &'a Packed,
        bias: &'a Aligned,
    },
}

impl Source<'_> {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Image(view) => view.rows,
            Self::Bands(bands) | Self::Fused { first: bands, .. } => bands.rows,
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Image(view) => view.columns,
            Self::Bands(bands) | Self::Fused { first: bands, .. } => bands.columns,
        }
    }

    pub(crate) fn chunks(&self) -> usize {
        match self {
            Self::Image(view) => view.chunks,
            Self::Bands(bands) => chunks(bands.view.dim().0),
            Self::Fused { weights, .. } => weights.panels(),
        }
    }

    /// How many rows of scratch memory [`Self::load`] needs beside the one that it gives.
    pub(super) fn staging(&self) -> usize {
        if matches!(self, Self::Fused { .. }) { 4 } else { 0 }
    }

    /// Pixels of a row; in `stage` if they are not in memory as they are.
    ///
    /// # Safety
    /// As [`Lanes`]; row and columns are within the source; `stage` holds 1 + [`Self::staging`] rows as wide.
    #[inline(always)]
    pub(super) unsafe fn load<V: Lanes, F: Feed<V>>(
        &self,
        row: usize,
        columns: Range<usize>,
        stage: &mut [f32],
    ) -> Pixels<f32> {
        let (n, chunk) = (columns.len(), columns.len() * CHUNK);
        // SAFETY: pieces of `stage` of n pixels each; the rest by contract.
        unsafe {
            match self {
                Self::Image(view) => image_row(*view, row, columns.start),
                Self::Bands(bands) => {
                    gather(bands, row, columns, stage);
                    Pixels { base: stage.as_ptr(), chunk }
                }
                Self::Fused { first, second, weights, bias } => {
                    let each = chunks(first.view.dim().0) * chunk;
                    let (result, mut rest) = stage.split_at_mut(weights.panels() * chunk);
                    let mut x = [Pixels { base: std::ptr::null::<F>(), chunk: 0 }; 2];
                    let mut inputs = 0;
                    for bands in [Some(first), second.as_ref()].into_iter().flatten() {
                        let (plain, left) = rest.split_at_mut(each);
                        let (fed, left) = left.split_at_mut(each);
                        rest = left;
                        gather(bands, row, columns.clone(), plain);
                        let from = Pixels { base: plain.as_ptr(), chunk };
                        x[inputs] = readable::<V, F>(from, n, each / chunk, fed.as_mut_ptr().cast(), n);
                        inputs += 1;
                    }
                    let to = Target { base: result.as_mut_ptr(), chunk, step: CHUNK };
                    product::<V, F, _>(&x[..inputs], n, weights, Some(bias), Store(to));
                    Pixels { base: result.as_ptr(), chunk }
                }
            }
        }
    }
}

/// Pixels of a row of bands, as `[chunk][pixel][channel of the chunk]` in `to`.
fn gather(bands: &Bands<'_>, row: usize, columns: Range<usize>, to: &mut [f32]) {
    let (count, height, width) = bands.view.dim();
    let n = columns.len();
    let row = reflected(row, height);
    let to = &mut to[..chunks(count) * n * CHUNK];
    for lane in count..chunks(count) * CHUNK {
        for value in to[lane / CHUNK * n * CHUNK + lane % CHUNK..].iter_mut().step_by(CHUNK).take(n) {
            *value = 0.0;
        }
    }
    for band in 0..count {
        let plane = bands.view.index_axis(ndarray::Axis(0), band);
        let line = plane.row(row);
        let mut out = to[band / CHUNK * n * CHUNK + band % CHUNK..].iter_mut().step_by(CHUNK).take(n);
        if bands.shear > 0 {
            for (value, column) in out.zip(columns.clone()) {
                *value = match column.checked_sub(bands.shear * band) {
                    Some(column) if column < width => line[column],
                    _ => 0.0,
                };
            }
        } else {
            // What lies in the view, then what is reflected. (`out` stands second: zip asks it only for what is used.)
            let inside = columns.start.min(width)..columns.end.min(width);
            let beyond = columns.start.max(width)..columns.end.max(width);
            let plain = line.slice(ndarray::s![inside]);
            match plain.as_slice() {
                Some(plain) => plain.iter().zip(out.by_ref()).for_each(|(v, value)| *value = *v),
                None => plain.iter().zip(out.by_ref()).for_each(|(v, value)| *value = *v),
            }
            for (value, column) in out.zip(beyond) {
                *value = line[reflected(column, width)];
            }
        }
    }
}
