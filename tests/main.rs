//! Cross-crate tests: the binary `cassi` from outside, and the shape of the workspace.

mod bad_input;
mod crate_graph;
mod engines;
mod lift;
mod pipeline;
mod printing;
mod stream;
mod tools;
#[cfg(all(feature = "torch", unix))]
mod training;
mod util;
mod weights;
