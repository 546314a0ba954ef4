//! What the tests of the binarized family share: reference files, weights by the public rule, comparisons.
#![allow(dead_code)] // every test binary compiles this module and uses its own part

use std::path::{Path, PathBuf};

use cassi_core::NamedTensors;
use cassi_nets::arch::binary::BinaryNet;
use cassi_nets::arch::{Layout, Network, Options};
use cassi_nets::weights::to_torch;
use tch::{Device, Kind, Tensor, nn};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of files that are not in the repository, or `None` (and a line that says so).
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("CASSI_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => repository().join("../shared"),
    };
    let found = folder.join("golden").is_dir();
    if !found {
        eprintln!("skipped: {} has no reference files; set CASSI_SHARED", folder.display());
    }
    found.then_some(folder)
}

/// A reference file that ships with the repository.
pub(crate) fn golden_path(name: &str) -> PathBuf {
    repository().join("tests/golden").join(name)
}

/// Reads a file of named arrays.
pub(crate) fn read(path: &Path) -> NamedTensors {
    cassi_io::read_tensors(path).unwrap_or_else(|error| panic!("{error}"))
}

/// An array of a file as a tensor.
pub(crate) fn get(file: &NamedTensors, name: &str) -> Tensor {
    to_torch(file.get(name).unwrap_or_else(|| panic!("the file has no array `{name}`")))
}

/// The published name of a method in reference files.
pub(crate) fn published(method: &str) -> &str {
    match method {
        "bireal" => "birealnet",
        "bisrnet" => "bisrnet_rule",
        other => other,
    }
}

/// A network with its parameters as they were drawn. Tests run beside each other, so libtorch gets one thread: several
/// teams that wait for one another on the same cores are many times slower.
pub(crate) fn network(method: &str, layout: Layout) -> (nn::VarStore, BinaryNet) {
    let store = nn::VarStore::new(Device::Cpu);
    let network =
        BinaryNet::new(method, &Options::new(layout), &store.root()).expect("a method of the family");
    (store, network)
}

/// Uniform numbers in [−1, 1), seeded by a name: FNV-1a, then SplitMix64.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (1..=count as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            2.0 * ((z >> 11) as f64 * 2f64.powi(-53)) - 1.0
        })
        .collect()
}

/// Centre and half width of the weights of that name and shape under the rule that made the reference outputs.
fn range(name: &str, shape: &[i64]) -> (f64, f64) {
    let mut parts = name.rsplit('.');
    let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match last {
        "num_batches_tracked" => (0.0, 0.0),
        "running_var" => (1.0, 0.5),
        "running_mean" => (0.0, 0.1),
        "rescale" | "beta" => (2.0, 1.0),
        "k" | "gain" => (1.0, 0.1),
        "b" | "bias" => (0.0, 0.1),
        "weight" if shape.len() == 1 && before.contains("prelu") => (0.25, 0.1),
        "weight" if shape.len() == 1 => (1.0, 0.1),
        _ if matches!(shape, [_, 1]) => (0.0, 0.1),
        _ => (0.0, (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt()),
    }
}

/// Overwrites every parameter and buffer with the numbers of the rule.
pub(crate) fn fill_by_rule(store: &nn::VarStore) {
    for (name, mut variable) in store.variables() {
        let shape = variable.size();
        let (centre, half) = range(&name, &shape);
        let values: Vec<f32> =
            uniform(&name, variable.numel()).iter().map(|s| (centre + half * s) as f32).collect();
        tch::no_grad(|| variable.copy_(&Tensor::from_slice(&values).reshape(&shape)));
    }
}

/// A plane `[row, column]` repeated over 28 bands, `[1, 28, row, column]`.
pub(crate) fn repeated(mask: &Tensor) -> Tensor {
    mask.unsqueeze(0).expand([28, -1, -1], false).unsqueeze(0)
}

/// Forward in evaluation, without gradients.
pub(crate) fn evaluate(network: &dyn Network, features: &Tensor, mask: Option<&Tensor>) -> Tensor {
    tch::no_grad(|| network.forward(features, mask, false))
}

/// Largest absolute difference.
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "shapes");
    (a - b).abs().max().double_value(&[])
}

/// Asserts that no element differs by more than `tolerance` times the largest of `expected`.
pub(crate) fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let limit = tolerance * expected.abs().max().double_value(&[]);
    let gap = distance(found, expected);
    assert!(gap <= limit, "{what}: differs by {gap:e}, allowed {limit:e}");
}

/// `10 log₁₀(1 / mean square difference)`: peak 1.
pub(crate) fn psnr(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "shapes");
    -10.0 * (a - b).square().mean(Kind::Double).double_value(&[]).log10()
}

/// The module behind a name of the reference taps.
pub(crate) fn module(tap: &str) -> String {
    let level = |n: char| n.to_digit(10).expect("a level");
    let inner = match tap {
        "fution" | "conv_in" | "conv_out" => return tap.to_string(),
        "body" => return "body.0".to_string(),
        "embedding" | "bottleneck" | "mapping" => tap.to_string(),
        _ => {
            let n = level(tap.chars().nth(3).expect("enc0 or dec0"));
            let (side, rest) = (&tap[..3], &tap[4..]);
            match (side, rest) {
                ("enc", "") => format!("encoder_layers.{n}.0"),
                ("enc", "_down") => format!("encoder_layers.{n}.1"),
                ("enc", "_layernorm") => format!("encoder_layers.{n}.0.blocks.0.norm"),
                ("enc", "_ff") => format!("encoder_layers.{n}.0.blocks.0.fn"),
                ("dec", "_up") => format!("decoder_layers.{n}.0"),
                ("dec", "_fusion") => format!("decoder_layers.{n}.1"),
                ("dec", "") => format!("decoder_layers.{n}.2"),
                _ => panic!("no module for the tap `{tap}`"),
            }
        }
    };
    format!("body.0.{inner}")
}
