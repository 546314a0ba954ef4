//! Times GAP-TV without subspace on the made scene of `docs/benchmarks/gaptv_numpy.py`, whose mean and rms it must
//! repeat. Usage: `gaptv_speed [ITERATIONS [INNER [WEIGHT [SUBSPACE]]]]`; the best of three runs is printed.

use cassi_core::{LinearOperator, Mask, NoiseLevel, Problem, Reconstructor, Silent, Snapshot};
use cassi_optics::{SdCassi, builtin};
use cassi_solvers::GapTv;
use ndarray::{Array2, Array3};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let setting = |at: usize, key: &str, default: &str| {
        (key.to_string(), arguments.get(at).cloned().unwrap_or_else(|| default.to_string()))
    };
    let method = GapTv::from_settings(&[
        setting(0, "iterations", "100"),
        setting(1, "inner", "5"),
        setting(2, "weight", "0.2"),
        setting(3, "subspace", "none"),
    ])?;
    let instrument = builtin("standard").ok_or("no built-in instrument `standard`")?;
    let scene = Array3::from_shape_fn((28, 256, 256), |(b, r, c)| {
        let (b, r, c) = (b as f64, r as f64, c as f64);
        (0.5 + 0.4 * (0.07 * r + 0.2 * b).sin() * (0.05 * c).cos()) as f32
    });
    let mask = Mask::new(Array2::from_shape_fn((256, 256), |(r, c)| {
        (((r * 7919 + c * 104_729 + r * c) % 97) as f64 / 96.0) as f32
    }))?;
    let camera = SdCassi::for_instrument(&instrument, &mask);
    let mut y = Array2::zeros((256, 310));
    let slices = (scene.as_slice().expect("C order"), y.as_slice_mut().expect("C order"));
    camera.forward(slices.0, slices.1);
    let snapshot = Snapshot::new(y)?;
    let problem = Problem {
        snapshot: &snapshot,
        instrument: &instrument,
        operator: Some(&camera),
        mask: Some(&mask),
        noise: NoiseLevel::Known(0.0),
        warm_start: None,
    };
    let (mut seconds, mut cube) = (f64::INFINITY, None);
    for _ in 0..3 {
        let result = method.reconstruct(&problem, &mut Silent)?;
        seconds = seconds.min(result.elapsed.as_secs_f64());
        cube = Some(result.cube);
    }
    let cube = cube.ok_or("no run")?;
    let n = cube.as_slice().len() as f64;
    let sum = |f: fn(f64) -> f64| cube.as_slice().iter().map(|&v| f(f64::from(v))).sum::<f64>() / n;
    println!("cassi seconds={seconds:.4} mean={:.7} rms={:.7}", sum(|v| v), sum(|v| v * v).sqrt());
    eprintln!("kernels: {}", cassi_solvers::kernel_name());
    Ok(())
}
