//! What the test files share: where goldens lie, how differences are measured.
#![allow(dead_code)] // every test file uses its own part

use std::path::{Path, PathBuf};

use cassi_core::{NamedTensors, Tensor};
use cassi_infer::binary::{BinaryNetwork, Input, Layout, StageObserver, Workspace};

/// Goldens that may be shipped, in the repository's `tests/golden`.
pub(crate) fn golden(name: &str) -> NamedTensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    cassi_io::read_tensors(&path).unwrap()
}

/// The folder of data that may not be shipped.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("CASSI_SHARED").map_or(beside, PathBuf::from);
    if folder.join("golden").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no shared data ({} and CASSI_SHARED)", folder.display());
    None
}

pub(crate) fn get<'a>(tensors: &'a NamedTensors, name: &str) -> &'a Tensor {
    tensors
        .get(name)
        .unwrap_or_else(|| panic!("no `{name}` among {:?}", tensors.iter().map(|t| t.0).collect::<Vec<_>>()))
}

/// Runs a network on an image `[1, 28, rows, columns]` with a mask `[rows, columns]`, or on a snapshot.
pub(crate) fn run(network: &BinaryNetwork, image: &Tensor, mask: Option<&Tensor>) -> Vec<f32> {
    run_observed(network, image, mask, &())
}

/// The same with somebody watching.
pub(crate) fn run_observed(
    network: &BinaryNetwork,
    image: &Tensor,
    mask: Option<&Tensor>,
    observer: &dyn StageObserver,
) -> Vec<f32> {
    let [.., rows, columns] = image.shape[..] else { panic!("an image has rows and columns") };
    let (input, columns) = match network.layout() {
        Layout::Standard => {
            let mask = &mask.expect("a mask for the standard layout").data;
            (Input::Standard { features: &image.data, mask, rows, columns }, columns)
        }
        Layout::TsaReal => (Input::Real { snapshot: &image.data, rows, columns: columns - 54 }, columns - 54),
    };
    let mut cube = vec![f32::NAN; 28 * rows * columns];
    network.run_observed(input, &mut Workspace::default(), &mut cube, observer).unwrap();
    cube
}

pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub(crate) fn largest(a: &[f32]) -> f32 {
    a.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Peak signal-to-noise ratio with peak 1, over everything.
pub(crate) fn psnr(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    -10.0 * (sum / a.len() as f64).log10()
}

/// A rectangle of every band of a cube `[band, row, column]`.
pub(crate) fn crop(cube: &[f32], (rows, columns): (usize, usize), from: usize, side: usize) -> Vec<f32> {
    let bands = cube.len() / (rows * columns);
    (0..bands)
        .flat_map(|b| (from..from + side).map(move |r| (b * rows + r) * columns + from))
        .flat_map(|start| cube[start..start + side].iter().copied())
        .collect()
}

pub(crate) fn band_means(cube: &[f32], bands: usize) -> Vec<f64> {
    cube.chunks_exact(cube.len() / bands)
        .map(|b| b.iter().map(|&v| f64::from(v)).sum::<f64>() / b.len() as f64)
        .collect()
}
