//! What matrix products read: f32, or bf16 in pairs of channels.

#![allow(unsafe_code)] // kernels: unchecked pointers; see each SAFETY line

use super::lanes::{Bf16Lanes, Lanes};
use crate::float::matrix::Packed;
use crate::float::memory::CHUNK;

/// A factor of a matrix product.
///
/// # Safety
/// As [`Lanes`].
pub(super) trait Feed<V: Lanes>: bytemuck::Pod {
    /// Channels that one step of a product takes.
    const STEP: usize;
    /// Whether rows of an image can be read as they are.
    const DIRECT: bool;
    /// The packed weights in this form.
    fn weights(packed: &Packed) -> &[Self];
    /// `STEP` values, the same in every lane.
    unsafe fn splat(from: *const Self) -> V;
    /// `STEP · N` weights.
    unsafe fn load(from: *const Self) -> V;
    /// Adds the products of one step to `sum`.
    unsafe fn dot(a: V, b: V, sum: V) -> V;
    /// Rounds and stores `N` values.
    unsafe fn put(value: V, to: *mut Self);
}

// SAFETY (all methods): by contract.
impl<V: Lanes> Feed<V> for f32 {
    const STEP: usize = 1;
    const DIRECT: bool = true;
    #[inline(always)]
    fn weights(packed: &Packed) -> &[Self] {
        packed.single()
    }
    #[inline(always)]
    unsafe fn splat(from: *const Self) -> V {
        unsafe { V::splat(*from) }
    }
    #[inline(always)]
    unsafe fn load(from: *const Self) -> V {
        unsafe { V::load(from) }
    }
    #[inline(always)]
    unsafe fn dot(a: V, b: V, sum: V) -> V {
        unsafe { a.mul_add(b, sum) }
    }
    #[inline(always)]
    unsafe fn put(value: V, to: *mut Self) {
        unsafe { value.store(to) }
    }
}

// SAFETY (all methods): by contract; pairs start at even channels of chunks that start at cache lines.
impl<V: Bf16Lanes> Feed<V> for u16 {
    const STEP: usize = 2;
    const DIRECT: bool = false;
    #[inline(always)]
    fn weights(packed: &Packed) -> &[Self] {
        packed.half()
    }
    #[inline(always)]
    unsafe fn splat(from: *const Self) -> V {
        unsafe { V::splat(*from.cast::<f32>()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const Self) -> V {
        unsafe { V::load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(a: V, b: V, sum: V) -> V {
        unsafe { a.dot_bf16(b, sum) }
    }
    #[inline(always)]
    unsafe fn put(value: V, to: *mut Self) {
        unsafe { value.store_bf16(to) }
    }
}

/// Pixels to be read: channel chunk `c` of pixel `p` starts at `base + c · chunk + 16 p`.
#[derive(Clone, Copy)]
pub(super) struct Pixels<T> {
    pub(super) base: *const T,
    pub(super) chunk: usize,
}

impl<T> Pixels<T> {
    /// The same from pixel `p` on.
    ///
    /// # Safety
    /// The pixels reach that far.
    #[inline(always)]
    pub(super) unsafe fn skip(self, p: usize) -> Self {
        // SAFETY: by contract.
        Self { base: unsafe { self.base.add(p * CHUNK) }, chunk: self.chunk }
    }
}

/// Pixels to be written, `step` floats apart: 16, or 32 for every second pixel.
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    pub(super) base: *mut T,
    pub(super) chunk: usize,
    pub(super) step: usize,
}

impl<T> Target<T> {
    /// Where `channel`, a multiple of the lanes, of `pixel` is.
    ///
    /// # Safety
    /// The pixels reach that far.
    #[inline(always)]
    pub(super) unsafe fn at(self, pixel: usize, channel: usize) -> *mut T {
        // SAFETY: by contract.
        unsafe { self.base.add(channel / CHUNK * self.chunk + pixel * self.step + channel % CHUNK) }
    }
}

/// What happens to `N` sums before they are stored.
///
/// # Safety
/// As [`Lanes`]; the pixel and channels are ones that the target has. The same call may come twice.
pub(super) trait Finish<V: Lanes>: Copy {
    /// Whether it takes more than a few instructions.
    const LONG: bool = false;
    unsafe fn finish(self, sum: V, pixel: usize, channel: usize);
}

/// Stores.
#[derive(Clone, Copy)]
pub(super) struct Store(pub(super) Target<f32>);
/// Leaky ReLU of slope 0.1, then stores.
#[derive(Clone, Copy)]
pub(super) struct LeakyRelu(pub(super) Target<f32>);
/// GELU, then stores.
#[derive(Clone, Copy)]
pub(super) struct Gelu<T>(pub(super) Target<T>);
/// Adds other pixels, then stores.
#[derive(Clone, Copy)]
pub(super) struct Plus(pub(super) Target<f32>, pub(super) Pixels<f32>);

// SAFETY (all methods): by contract.
impl<V: Lanes> Finish<V> for Store {
    #[inline(always)]
    unsafe fn finish(self, sum: V, pixel: usize, channel: usize) {
        unsafe { sum.store(self.0.at(pixel, channel)) }
    }
}
impl<V: Lanes> Finish<V> for LeakyRelu {
    #[inline(always)]
    unsafe fn finish(self, sum: V, pixel: usize, channel: usize) {
        unsafe { sum.max(sum.mul(V::splat(0.1))).store(self.0.at(pixel, channel)) }
    }
}
impl<V: Lanes, T: Feed<V>> Finish<V> for Gelu<T> {
    const LONG: bool = true;
    #[inline(always)]
    unsafe fn finish(self, sum: V, pixel: usize, channel: usize) {
        unsafe { T::put(sum.gelu(), self.0.at(pixel, channel)) }
    }
}
impl<V: Lanes> Finish<V> for Plus {
    #[inline(always)]
    unsafe fn finish(self, sum: V, pixel: usize, channel: usize) {
        unsafe {
            let other = self.1.base.add(channel / CHUNK * self.1.chunk + pixel * CHUNK + channel % CHUNK);
            sum.add(V::load(other)).store(self.0.at(pixel, channel));
        }
    }
}
