//! Float networks on fused kernels: MST and MST++ without libtorch.
//!
//! The networks are those of Cai et al., *Mask-guided spectral-wise transformer* (CVPR 2022), with the layer names of
//! the published checkpoints. What is computed is the same; how, is not (docs/mst-engine.md):
//!
//! * attention needs only the channel Gram matrix `S = Σ x xᵀ` of the image: with `q = Q x` and `k = K x`, the scores
//!   `Σ k qᵀ` are `K S Qᵀ` and the norms are on the diagonals of `Q S Qᵀ` and `K S Kᵀ`, so q and k are never made;
//! * softmax and output projection fold into one matrix, so the second half is `x + M (v ⊙ m) + b + position(v)`;
//! * feed-forward blocks run in tiles whose hidden channels never leave the cache;
//! * up-sampling and fusion fold into four matrices.

mod attention;
mod body;
mod image;
mod kernels;
mod loader;
mod mask;
mod matrix;
mod network;
mod precision;
mod reconstructor;

pub use loader::WeightsError;
pub use mask::{MaskInput, MaskShift};
pub use network::{Layout, MstNetwork, PreparedMask, Variant, Workspace};
pub use precision::{Precision, PrecisionError};
pub use reconstructor::MstReconstructor;
