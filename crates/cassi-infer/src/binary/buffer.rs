//! Buffers that begin at a cache line: a 64-byte vector load from an unaligned one would touch two lines every time.

use std::ops::{Deref, DerefMut};

use bytemuck::{AnyBitPattern, NoUninit, Pod, Zeroable};

/// One cache line.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A slice of fixed length, aligned to a cache line.
#[derive(Debug, Default)]
pub(super) struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    of: std::marker::PhantomData<T>,
}

impl<T: AnyBitPattern + NoUninit> Buffer<T> {
    /// `len` times `value`.
    pub(super) fn new(value: T, len: usize) -> Self {
        let lines = vec![Line::zeroed(); (len * size_of::<T>()).div_ceil(64)];
        let mut buffer = Self { lines, len, of: std::marker::PhantomData };
        buffer.fill(value);
        buffer
    }
}

impl<T: AnyBitPattern + NoUninit> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: AnyBitPattern + NoUninit> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn begins_at_a_line_and_keeps_its_length() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let buffer = Buffer::new(2.5f32, len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().addr() % 64, 0);
            assert!(buffer.iter().all(|&v| v == 2.5));
        }
    }
}
