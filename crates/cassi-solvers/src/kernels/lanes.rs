//! A vector register as the loops of the kernels see it: each instruction set brings its own, the loops are written
//! once.
//!
//! Implementations are `#[inline(always)]`, so that a loop compiled inside a function with a target feature consists
//! of that feature's instructions.
#![allow(unsafe_code)] // the contract of every method is stated at the trait

/// A vector of [`Lanes::WIDTH`] floats.
///
/// # Safety
/// Every method needs a CPU with the instruction set of its implementation. Pointers need not be aligned; they must
/// be valid for [`Lanes::WIDTH`] floats, those of the `_first` methods for `count` of them, `count` at least 1.
pub(crate) trait Lanes: Copy {
    /// Floats of one vector.
    const WIDTH: usize;

    /// Asks for the cache line at an address, which may be any.
    unsafe fn prefetch(at: *const f32);
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    /// The first `count` floats, or a whole vector if there are more; zeros in the other lanes.
    unsafe fn load_first(at: *const f32, count: usize) -> Self;
    /// Stores the first `count` lanes, or all if there are no more.
    unsafe fn store_first(self, at: *mut f32, count: usize);
    /// The first `count` lanes, zeros in the others.
    unsafe fn first(self, count: usize) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self · factor + addend`.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `1 / (1 + 2 √(x² + y²))` of `N` pairs, good to 3e-7: the factor 2 saves the approximations by Newton a
    /// multiplication. It is a chain of a dozen dependent steps; the vectors take them side by side, because a CPU that
    /// waits for one vector does not look far enough ahead to begin the next.
    unsafe fn shrinkage<const N: usize>(x: [Self; N], y: [Self; N]) -> [Self; N];
    /// The sum over all lanes.
    unsafe fn total(self) -> f32;
}
