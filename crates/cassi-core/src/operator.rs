//! Linear operators: what a camera does to a cube, as the solvers see it.

/// A linear map and its adjoint: `⟨A x, y⟩ = ⟨x, Aᵀ y⟩`.
///
/// Arrays are flat slices in C order; `forward` and `adjoint` allocate nothing, run in parallel, and give the same
/// bits at any thread count.
pub trait LinearOperator: Sync {
    /// Shape of `x`, e.g. `[28, 256, 256]` (band, row, column).
    fn domain(&self) -> &[usize];

    /// Shape of `A x`, e.g. `[256, 310]` (row, column).
    fn range(&self) -> &[usize];

    /// Overwrites `y` with `A x`.
    ///
    /// # Panics
    /// If a slice has not the length of its shape.
    fn forward(&self, x: &[f32], y: &mut [f32]);

    /// Overwrites `x` with `Aᵀ y`; not an inverse.
    ///
    /// # Panics
    /// If a slice has not the length of its shape.
    fn adjoint(&self, y: &[f32], x: &mut [f32]);

    /// The diagonal of `A Aᵀ` where `A Aᵀ` is diagonal (integer shear, no blur), shaped as the range; else `None`.
    fn gram_diagonal(&self) -> Option<&[f32]> {
        None
    }

    /// An upper bound of the largest singular value of `A`.
    fn norm_bound(&self) -> f32;

    /// The mask and step of a single-disperser camera with integer dispersion, where this operator is one: solvers
    /// use it to fuse their passes over the cube. What they compute must equal what they would without it.
    fn as_coded_shear(&self) -> Option<CodedShear<'_>> {
        None
    }
}

/// `y[r, c] = Σ_b m[r, c − step·b] · x[b, r, c − step·b]`: the whole of a single-disperser camera with integer
/// dispersion (`crate::shear` has the geometry).
#[derive(Debug, Clone, Copy)]
pub struct CodedShear<'a> {
    /// Mask `[row, column]` of the scene's size, in C order.
    pub mask: &'a [f32],
    /// Columns that each band moves to the right of the band before it.
    pub step: usize,
}

/// Number of elements of a shape.
pub fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}
