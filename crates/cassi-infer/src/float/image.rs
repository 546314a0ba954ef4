//! Images in chunks of channels, and the arrays `[band, row, column]` that networks take and give.

use ndarray::ArrayView3;

use super::matrix::chunks;
use super::memory::{Aligned, CHUNK};

/// An image `[row][chunk][column][channel of the chunk]`: sixteen channels of a pixel are one cache line, and the next
/// pixel is the next line. Channels are padded with zeros to whole chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) chunks: usize,
    data: Aligned,
}

/// A borrowed image, or some rows of one.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Rows of the image.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) chunks: usize,
    /// The first row that `data` holds.
    pub(crate) first: usize,
    pub(crate) data: &'a [f32],
}

impl<'a> View<'a> {
    /// One row, all chunks and columns.
    pub(crate) fn row(self, row: usize) -> &'a [f32] {
        let width = self.chunks * self.columns * CHUNK;
        &self.data[(row - self.first) * width..][..width]
    }
}

impl Image {
    /// Makes it this size, keeping its memory; the contents are whatever they were.
    pub(crate) fn resize(&mut self, rows: usize, columns: usize, channels: usize) {
        (self.rows, self.columns, self.chunks) = (rows, columns, chunks(channels));
        self.data.reserve(self.floats());
    }

    /// Floats of the image.
    pub(crate) fn floats(&self) -> usize {
        self.rows * self.row_floats()
    }

    /// Floats of a row.
    pub(crate) fn row_floats(&self) -> usize {
        self.chunks * self.columns * CHUNK
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            rows: self.rows,
            columns: self.columns,
            chunks: self.chunks,
            first: 0,
            data: &self.data.values()[..self.floats()],
        }
    }

    /// Takes the size and the contents of another image.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        (self.rows, self.columns, self.chunks) = (other.rows, other.columns, other.chunks);
        self.data.reserve(self.floats());
        self.floats_mut().copy_from_slice(other.view().data);
    }

    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        let floats = self.floats();
        &mut self.data.values_mut()[..floats]
    }
}

/// Bands `[band, row, column]`, in whatever strides, read as an image of `rows` x `columns`.
#[derive(Clone, Copy)]
pub(crate) struct Bands<'a> {
    pub(crate) view: ArrayView3<'a, f32>,
    /// At least the rows of the view; those beyond are reflected.
    pub(crate) rows: usize,
    /// At least the columns of the view; those beyond are reflected, or zero in a sheared image.
    pub(crate) columns: usize,
    /// Columns by which each band lies to the right of the one before.
    pub(crate) shear: usize,
}

/// Index `i` reflected at the end of `n` without repeating the last.
pub(crate) fn reflected(i: usize, n: usize) -> usize {
    if i < n { i } else { 2 * (n - 1) - i }
}
