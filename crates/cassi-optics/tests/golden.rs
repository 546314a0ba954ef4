//! Operators and network inputs against the published reference code.
//!
//! `operators_small` ships; `inputs_256` (another's mask) is read from the shared data folder where there is one.

use std::path::{Path, PathBuf};

use cassi_core::{InputConvention, LinearOperator, Mask, NamedTensors, Snapshot, Tensor, Wavelengths, shear};
use cassi_io::read_tensors;
use cassi_optics::{SdCassi, builtin, network_input, recognise_mask};
use ndarray::{Array2, ArrayD, Axis, Ix2, Ix3};

fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("CASSI_SHARED").map(PathBuf::from).into_iter().chain([beside]).find(|path| path.is_dir())
}

fn array(tensor: &Tensor) -> ArrayD<f32> {
    ArrayD::from_shape_vec(tensor.shape.clone(), tensor.data.clone()).unwrap()
}

fn plane(tensor: &Tensor) -> Array2<f32> {
    let mut array = array(tensor);
    while array.ndim() > 2 {
        array = array.index_axis_move(Axis(0), 0);
    }
    array.into_dimensionality::<Ix2>().unwrap()
}

fn largest_gap(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn ulps(a: f32, b: f32) -> u32 {
    (a.to_bits() as i32).abs_diff(b.to_bits() as i32)
}

#[test]
fn small_operators() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/operators_small.npz");
    let golden = read_tensors(&path).unwrap();
    for (case, bands, step) in [("s2", 28, 2), ("s1", 5, 1), ("s3", 5, 3), ("zero", 5, 2)] {
        check_case(&golden, case, bands, step);
    }
}

fn check_case(golden: &NamedTensors, case: &str, bands: usize, step: usize) {
    let get = |name: &str| golden.get(&format!("{case}_{name}")).unwrap_or_else(|| panic!("{case}_{name}"));
    assert_eq!(get("step").data, [step as f32]);
    let mask = Mask::new(plane(get("mask"))).unwrap();
    let camera = SdCassi::new(&mask, bands, step);
    let forward = |x: &[f32]| {
        let mut y = vec![f32::NAN; get("y").data.len()];
        camera.forward(x, &mut y);
        y
    };
    let adjoint = |y: &[f32]| {
        let mut x = vec![f32::NAN; get("x").data.len()];
        camera.adjoint(y, &mut x);
        x
    };
    // 28-term f32 sums in another order: the reference's own tolerance.
    const SUMS: f32 = 2e-6;
    let y = forward(&get("x").data);
    assert!(largest_gap(&y, &get("y").data) <= SUMS, "{case}: y");
    let random = &get("y_rand").data;
    // One product each: no sum, no tolerance.
    assert_eq!(adjoint(random), get("adjoint_y_rand").data, "{case}: Aᵀ y");
    assert!(largest_gap(&adjoint(&y), &get("normal_x").data) <= SUMS, "{case}: Aᵀ A x");
    assert!(largest_gap(&forward(&adjoint(random)), &get("AAt_y_rand").data) <= SUMS, "{case}: A Aᵀ y");
    let phi = shear::shear_mask(mask.view(), bands, step);
    assert_eq!(phi.as_slice().unwrap(), get("Phi").data, "{case}: Phi");
    let gram = camera.gram_diagonal().unwrap();
    // Sums of 28 squares reach about 20: relative to that.
    assert!(largest_gap(gram, &get("Phi_s_raw").data) <= 10.0 * SUMS, "{case}: Phi_s");
    let zeros = |values: &[f32]| values.iter().map(|&v| v == 0.0).collect::<Vec<_>>();
    assert_eq!(zeros(gram), zeros(&get("Phi_s_raw").data), "{case}: zeros of Phi_s");
    let quotient: Vec<f32> = get("y").data.iter().zip(&get("Phi_s").data).map(|(y, s)| y / s).collect();
    assert!(largest_gap(&adjoint(&quotient), &get("At_y_over_Phi_s").data) <= SUMS, "{case}: Aᵀ (y / Phi_s)");

    let mut instrument = builtin("standard").unwrap();
    instrument.wavelengths_nm = Wavelengths::linspace(450.0, 650.0, bands);
    instrument.dispersion.columns_per_band = step;
    instrument.network_input = InputConvention::Unsheared { gain: 2.0 };
    let input = network_input(&Snapshot::new(plane(get("y"))).unwrap(), &instrument).unwrap();
    // (y / B) · 2 in this order; PyTorch may multiply by 1 / B, one unit in the last place away.
    assert!(input.iter().zip(&get("H").data).all(|(&a, &b)| ulps(a, b) <= 1), "{case}: H");
    let masked: Vec<f32> = input.outer_iter().flat_map(|band| (&band * &mask.view()).into_iter()).collect();
    assert!(masked.iter().zip(&get("HM").data).all(|(&a, &b)| ulps(a, b) <= 2), "{case}: HM");
}

#[test]
fn the_simulation_mask_and_snapshot_of_the_benchmark() {
    let Some(path) = shared().map(|folder| folder.join("golden/inputs_256.npz")).filter(|path| path.exists())
    else {
        println!("skipped: no shared data folder (set CASSI_SHARED) with golden/inputs_256.npz");
        return;
    };
    let golden = read_tensors(&path).unwrap();
    let get = |name: &str| golden.get(name).unwrap();
    let instrument = builtin("standard").unwrap();
    assert!(
        instrument.wavelengths_nm.nm().iter().zip(&get("wavelengths_nm").data).all(|(&a, &b)| a as f32 == b)
    );
    let mask = recognise_mask(get("mask"), &instrument).unwrap().mask;
    let camera = SdCassi::for_instrument(&instrument, &mask);
    let mut y = vec![f32::NAN; 256 * 310];
    camera.forward(&get("truth_f16").data, &mut y);
    let expected = &get("meas_Y").data;
    let max = expected.iter().copied().fold(0.0, f32::max);
    assert!(largest_gap(&y, expected) <= 2e-6 * max, "the snapshot, 28-term sums relative to its maximum");
    assert!(largest_gap(camera.gram_diagonal().unwrap(), &get("Phi_s").data) <= 2e-6 * 28.0);

    let input = network_input(&Snapshot::new(plane(get("meas_Y"))).unwrap(), &instrument).unwrap();
    let crop = input.slice(ndarray::s![.., 96..160, 96..160]);
    assert!(crop.iter().zip(&get("H_crop").data).all(|(&a, &b)| ulps(a, b) <= 1), "H");
    let phi = shear::shear_mask(mask.view(), 28, 2);
    let expected = array(get("Phi_crop")).index_axis_move(Axis(0), 0).into_dimensionality::<Ix3>().unwrap();
    assert_eq!(phi.slice(ndarray::s![.., 96..128, 128..192]), expected);
}
