//! Cross-crate tests: the binary `cassi` from outside, and the shape of the workspace.

mod bad_input;
mod crate_graph;
mod pipeline;
mod tools;
mod util;
