//! Memory aligned to cache lines, so that no register of sixteen floats straddles two of them, and the scratch memory
//! that threads keep between calls.

use std::sync::Mutex;

use bytemuck::{Pod, Zeroable};

/// Floats of a cache line: also the channels of a chunk of an image.
pub(crate) const CHUNK: usize = 16;

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; CHUNK]);

/// Values that start at a cache line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    /// Zeros, `n` floats of them, a multiple of sixteen.
    pub(crate) fn zeros(n: usize) -> Self {
        debug_assert_eq!(n % CHUNK, 0);
        Self(vec![Line::zeroed(); n / CHUNK])
    }

    /// Makes room for at least `n` floats, a multiple of sixteen; the contents are whatever they were.
    pub(crate) fn reserve(&mut self, n: usize) {
        debug_assert_eq!(n % CHUNK, 0);
        if self.0.len() < n / CHUNK {
            // Fresh zeros come from the system without being written, and nothing old is worth copying.
            *self = Self::default();
            *self = Self::zeros(n);
        }
    }

    /// All of it as floats, or as halves, twice as many.
    pub(crate) fn values<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&self.0)
    }

    /// All of it as floats, or as halves, twice as many.
    pub(crate) fn values_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Scratch memory of one thread, handed out piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Aligned);

impl Scratch {
    /// Starts handing out up to `bytes` in `pieces` pieces.
    pub(crate) fn open(&mut self, bytes: usize, pieces: usize) -> Pieces<'_> {
        let lines = bytes.div_ceil(size_of::<Line>()) + pieces;
        self.0.reserve(lines * CHUNK);
        Pieces(&mut self.0.0)
    }
}

/// What is left of a scratch memory.
pub(crate) struct Pieces<'a>(&'a mut [Line]);

impl<'a> Pieces<'a> {
    /// The next `n` values, from a cache line on; they hold whatever was there.
    pub(crate) fn take<T: Pod>(&mut self, n: usize) -> &'a mut [T] {
        let lines = (n * size_of::<T>()).div_ceil(size_of::<Line>());
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(lines);
        self.0 = rest;
        &mut bytemuck::cast_slice_mut(piece)[..n]
    }
}

/// One scratch memory for each thread of a pool.
#[derive(Debug)]
pub(crate) struct Threads(Vec<Mutex<Scratch>>);

impl Default for Threads {
    fn default() -> Self {
        Self((0..=rayon::current_num_threads()).map(|_| Mutex::default()).collect())
    }
}

impl Threads {
    /// Lends the memory of this thread.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let index = rayon::current_thread_index().map_or(0, |index| index + 1) % self.0.len();
        // A poisoned memory holds no state that matters: every pass writes what it reads.
        work(&mut self.0[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
