//! The nevers of docs/ARCHITECTURE.md: which crate must not use which, checked over `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// (crate, what it must never depend on outside its tests, directly or through the workspace).
const NEVERS: &[(&str, &[&str])] = &[
    ("cassi-core", &["clap", "tch", "hdf5-metno", "hdf5-pure", "image", "cassi-io"]),
    ("cassi-io", &["cassi-optics", "cassi-solvers", "tch"]),
    ("cassi-optics", &["cassi-io", "cassi-solvers", "tch"]),
    ("cassi-scene", &["cassi-optics", "tch"]),
    ("cassi-solvers", &["cassi-optics", "cassi-io", "tch"]),
    ("cassi-infer", &["tch", "cassi-io"]),
    ("cassi-nets", &["cassi-cli", "cassi-experiment"]),
    ("cassi-report", &["cassi-solvers", "cassi-nets", "tch"]),
];

/// Workspace crates and their normal and build dependencies, optional ones included.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut graph = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let dependencies = (package["dependencies"].as_array().expect("dependencies").iter())
            .filter(|d| d["kind"] != "dev")
            .map(|d| d["name"].as_str().expect("a name").to_string())
            .collect();
        graph.insert(package["name"].as_str().expect("a name").to_string(), dependencies);
    }
    graph
}

fn reachable(graph: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_string()]);
    while let Some(name) = open.pop() {
        for next in graph.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn crates_keep_to_their_nevers() {
    let graph = graph();
    for (name, never) in NEVERS {
        assert!(graph.contains_key(*name), "no crate {name} in the workspace");
        let used = reachable(&graph, name);
        for banned in *never {
            assert!(!used.contains(*banned), "{name} must never use {banned}");
        }
    }
}

#[test]
fn nothing_depends_on_the_command() {
    for (name, dependencies) in graph() {
        assert!(!dependencies.contains("cassi-cli"), "{name} depends on cassi-cli");
    }
}

#[test]
fn every_library_has_its_nevers() {
    for name in graph().keys().filter(|name| *name != "cassi-cli") {
        assert!(NEVERS.iter().any(|(listed, _)| listed == name), "{name} has no line in NEVERS");
    }
}
