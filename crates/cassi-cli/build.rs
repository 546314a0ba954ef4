//! Which default weights lie in `weights/` and are put into the binary; and with feature `torch`, where executables of
//! this package find libtorch.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The networks that work without a file, where their weights and card are there.
const EMBEDDED: [&str; 3] = ["gap-tv-mst-s", "mst-s", "bisrnet"];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch,--as-needed");
    }
    embed_weights();
}

/// Writes the list that `src/weights/embedded.rs` includes: name, card, weights.
fn embed_weights() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).expect("set by cargo"));
    let folder = variable("CARGO_MANIFEST_DIR").join("../../weights");
    // The folder itself, so that weights that come or go are noticed.
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut list = String::from("[\n");
    for name in EMBEDDED {
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        let (weights, card) = (file("safetensors"), file("toml"));
        if !(weights.is_file() && card.is_file()) {
            continue;
        }
        let quoted = |path: &Path| format!("{:?}", path.to_str().expect("a path in UTF-8"));
        writeln!(
            list,
            "    ({name:?}, include_str!({}), include_bytes!({}).as_slice()),",
            quoted(&card),
            quoted(&weights)
        )
        .expect("a string grows");
    }
    list.push_str("]\n");
    #[allow(clippy::disallowed_methods)] // build scripts write their own output
    std::fs::write(variable("OUT_DIR").join("embedded_weights.rs"), list).expect("OUT_DIR can be written");
}
