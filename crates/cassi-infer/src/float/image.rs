//! Channels-last images with padded channels.

use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

use super::matrix::padded;

/// An image `[row][column][channel]`, channels padded with zeros to a multiple of eight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Channels with their padding.
    pub(crate) channels: usize,
    pub(crate) data: Vec<f32>,
}

/// A borrowed image.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) channels: usize,
    pub(crate) data: &'a [f32],
}

impl<'a> View<'a> {
    /// One row, all columns and channels.
    pub(crate) fn row(self, row: usize) -> &'a [f32] {
        let width = self.columns * self.channels;
        &self.data[row * width..(row + 1) * width]
    }
}

impl Image {
    /// Makes it this size, keeping its memory; the contents are whatever they were.
    pub(crate) fn resize(&mut self, rows: usize, columns: usize, channels: usize) {
        (self.rows, self.columns, self.channels) = (rows, columns, padded(channels));
        self.data.resize(rows * columns * self.channels, 0.0);
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { rows: self.rows, columns: self.columns, channels: self.channels, data: &self.data }
    }

    /// Takes bands `[band, row, column]`, reflected at the bottom and right up to `rows` x `columns`.
    pub(crate) fn load_reflected(&mut self, bands: ArrayView3<'_, f32>, rows: usize, columns: usize) {
        let (count, height, width) = bands.dim();
        self.resize(rows, columns, count);
        let channels = self.channels;
        self.data.par_chunks_mut(columns * channels).enumerate().for_each(|(row, out)| {
            out.fill(0.0);
            let source = reflected(row, height);
            for band in 0..count {
                for column in 0..columns {
                    out[column * channels + band] = bands[[band, source, reflected(column, width)]];
                }
            }
        });
    }

    /// The first `bands` channels of the first `rows` x `columns` pixels, as `[band, row, column]`.
    pub(crate) fn to_bands(&self, bands: usize, rows: usize, columns: usize) -> Array3<f32> {
        let mut out = Array3::zeros((bands, rows, columns));
        out.as_slice_mut().expect("C order").par_chunks_mut(rows * columns).enumerate().for_each(
            |(band, plane)| {
                for row in 0..rows {
                    for column in 0..columns {
                        plane[row * columns + column] =
                            self.data[(row * self.columns + column) * self.channels + band];
                    }
                }
            },
        );
        out
    }
}

/// Index `i` reflected at the end of `n` without repeating the last.
pub(crate) fn reflected(i: usize, n: usize) -> usize {
    if i < n { i } else { 2 * (n - 1) - i }
}
