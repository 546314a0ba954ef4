//! GAP-TV against the reference traces, against itself without fusion, and at its edges.

mod common;

use cassi_core::check::dot;
use cassi_core::{
    Control, Cube, InstrumentDescription, LinearOperator, Mask, NoiseLevel, Observer, Problem, Progress,
    ReconstructError, Reconstruction, Reconstructor, Silent, Snapshot, Wavelengths,
};
use cassi_optics::SdCassi;
use cassi_solvers::GapTv;
use common::{Setup, Veiled, method, psnr_clamped, small};
use ndarray::{Array2, Array3};

/// The largest difference over the root mean square of the second.
fn relative_gap(a: &Cube, b: &Cube) -> f64 {
    let rms = (dot(b.as_slice(), b.as_slice()) / b.as_slice().len() as f64).sqrt();
    let gap = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    f64::from(gap) / rms
}

fn run(setup: &Setup, settings: &str) -> Reconstruction {
    method(settings).reconstruct(&setup.problem(&setup.camera), &mut Silent).unwrap()
}

const BANDS: &str = "subspace=none iterations=12 weight=0.2";
const SUBSPACE: &str = "iterations=12 weight=0.2";

#[test]
fn fused_and_general_passes_agree() {
    let setup = small(21, 40);
    for (settings, tolerance) in [
        // Only the order of sums differs: rounding, grown a little over a dozen steps.
        (BANDS, 1e-4),
        ("subspace=none iterations=12 weight=0.2 accelerated=false inner=2", 1e-4),
        // The factored data step is exact, conjugate gradients stop short of it.
        (SUBSPACE, 2e-2),
        ("iterations=6 weight=0.2 subspace=3 accelerated=false", 2e-2),
    ] {
        // Noise of 5 % of the mean makes the data step well conditioned.
        let noise = NoiseLevel::Known(0.2);
        let solve = |operator: &dyn LinearOperator| {
            let problem = Problem { noise, ..setup.problem(operator) };
            method(settings).reconstruct(&problem, &mut Silent).unwrap()
        };
        let (fused, general) = (solve(&setup.camera), solve(&Veiled { inner: &setup.camera, gram: true }));
        let gap = relative_gap(&general.cube, &fused.cube);
        assert!(gap < tolerance, "{settings}: {gap}");
    }
}

#[test]
fn an_operator_without_a_gram_diagonal_is_solved_by_conjugate_gradients() {
    let setup = small(16, 24);
    let exact = run(&setup, BANDS);
    let veiled = Veiled { inner: &setup.camera, gram: false };
    let solved = method(BANDS).reconstruct(&setup.problem(&veiled), &mut Silent).unwrap();
    // Ten steps of conjugate gradients on a diagonal of spread about 3.
    let gap = relative_gap(&solved.cube, &exact.cube);
    assert!(gap < 0.05, "{gap}");
}

#[test]
fn thread_count_changes_no_bit() {
    let setup = small(19, 33);
    for settings in [BANDS, SUBSPACE, "subspace=none joint=true iterations=4 weight=0.2"] {
        let cubes: Vec<Cube> = [1, 2, 5]
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(&setup, settings).cube)
            })
            .into();
        assert!(cubes.windows(2).all(|pair| pair[0] == pair[1]), "{settings}");
    }
}

#[test]
fn the_unit_of_the_snapshot_does_not_matter() {
    let setup = small(24, 40);
    for settings in ["subspace=none iterations=10", "iterations=20"] {
        for noise in [NoiseLevel::Unknown, NoiseLevel::Known(0.0)] {
            let problem = Problem { noise, ..setup.problem(&setup.camera) };
            let scaled = Snapshot::new(setup.snapshot.view().mapv(|v| v / 1024.0)).unwrap();
            let small = Problem { snapshot: &scaled, ..problem };
            let solve = |p: &Problem<'_>| method(settings).reconstruct(p, &mut Silent).unwrap().cube;
            let (one, other) = (solve(&problem), solve(&small));
            let brought_back =
                Cube::new(other.view().mapv(|v| v * 1024.0), other.wavelengths().clone()).unwrap();
            // A power of two: only the approximate square root near its floor may differ.
            let gap = relative_gap(&brought_back, &one);
            assert!(gap < 1e-4, "{settings}: {gap}");
        }
    }
}

#[test]
fn the_residual_falls_without_noise() {
    let setup = small(32, 48);
    let problem = Problem { noise: NoiseLevel::Known(0.0), ..setup.problem(&setup.camera) };
    for settings in ["subspace=none iterations=60 weight=0.1", "iterations=60"] {
        let result = method(settings).reconstruct(&problem, &mut Silent).unwrap();
        let at = |i: usize| result.trace[i].residual.unwrap();
        assert!(at(59) < 0.3 * at(4), "{settings}: {} after {}", at(59), at(4));
        assert_eq!(result.residual, result.trace[59].residual);
        assert_eq!((result.iterations, result.trace.len()), (60, 60));
        // The residual that is reported is the residual of what is returned.
        let mut y = vec![0.0; setup.snapshot.as_slice().len()];
        setup.camera.forward(result.cube.as_slice(), &mut y);
        let gap: Vec<f32> = y.iter().zip(setup.snapshot.as_slice()).map(|(a, b)| a - b).collect();
        let norm = |v: &[f32]| dot(v, v).sqrt();
        let residual = norm(&gap) / norm(setup.snapshot.as_slice());
        assert!((residual - at(59)).abs() < 1e-5, "{residual} was reported as {}", at(59));
    }
}

#[test]
fn the_subspace_beats_the_bands() {
    let setup = small(64, 64);
    let score = |settings: &str| psnr_clamped(&run(&setup, settings).cube, &setup.truth);
    let (bands, subspace) = (score("subspace=none"), score("subspace=auto"));
    // 4 to 7 dB on measured scenes; the made one is at least half as far.
    assert!(subspace > bands + 2.0, "{subspace} dB after {bands} dB");
}

#[test]
fn noise_is_not_fitted() {
    let mut setup = small(64, 64);
    setup.add_noise(0.15);
    let score = |noise: NoiseLevel| {
        let problem = Problem { noise, ..setup.problem(&setup.camera) };
        psnr_clamped(&method("").reconstruct(&problem, &mut Silent).unwrap().cube, &setup.truth)
    };
    let (blind, known, denied) =
        (score(NoiseLevel::Unknown), score(NoiseLevel::Known(0.15)), score(NoiseLevel::Known(0.0)));
    assert!(known > denied + 3.0, "{known} dB against {denied} dB where noise is denied");
    assert!(blind > known - 1.0, "{blind} dB with an estimated level, {known} dB with the known one");
}

#[test]
fn detector_pixels_without_light_are_harmless() {
    let mut mask = Array2::from_shape_fn((12, 20), |(r, c)| ((r * 5 + c * 3) % 7) as f32 / 6.0);
    mask.slice_mut(ndarray::s![.., ..3]).fill(0.0);
    mask.slice_mut(ndarray::s![4, ..]).fill(0.0);
    let setup = Setup::new(mask);
    assert!(setup.camera.gram_diagonal().unwrap().contains(&0.0));
    for settings in [BANDS, SUBSPACE] {
        let cube = run(&setup, settings).cube;
        assert!(cube.as_slice().iter().all(|v| v.is_finite() && v.abs() < 10.0));
    }
    // A snapshot of zeros is a cube of zeros.
    let dark = Snapshot::new(Array2::zeros(setup.snapshot.view().dim())).unwrap();
    let problem = Problem { snapshot: &dark, ..setup.problem(&setup.camera) };
    for settings in ["subspace=none", ""] {
        let result = method(settings).reconstruct(&problem, &mut Silent).unwrap();
        assert!(result.cube.as_slice().iter().all(|&v| v == 0.0));
    }
}

#[test]
fn a_warm_start_continues() {
    let setup = small(24, 32);
    for settings in ["subspace=none iterations=30 weight=0.05 accelerated=false", "iterations=3 subspace=12"]
    {
        let cold = run(&setup, settings);
        let problem = Problem { warm_start: Some(&setup.truth), ..setup.problem(&setup.camera) };
        let warm = method(settings).reconstruct(&problem, &mut Silent).unwrap();
        assert!(
            psnr_clamped(&warm.cube, &setup.truth) > psnr_clamped(&cold.cube, &setup.truth),
            "{settings}"
        );
    }
}

struct Counting {
    seen: Vec<usize>,
    stop_at: usize,
}

impl Observer for Counting {
    fn observe(&mut self, progress: &Progress<'_>) -> Control {
        assert_eq!(progress.estimate.unwrap().shape(), [28, 16, 24]);
        assert!(progress.residual.unwrap() > 0.0 && progress.change.unwrap() > 0.0);
        self.seen.push(progress.iteration);
        if progress.iteration == self.stop_at { Control::Stop } else { Control::Continue }
    }
    fn wants_estimate(&self) -> bool {
        true
    }
}

#[test]
fn observers_see_every_step_and_may_stop() {
    let setup = small(16, 24);
    for settings in ["subspace=none", ""] {
        let mut observer = Counting { seen: Vec::new(), stop_at: 7 };
        let result = method(settings).reconstruct(&setup.problem(&setup.camera), &mut observer).unwrap();
        assert_eq!(observer.seen, (1..=7).collect::<Vec<_>>());
        assert_eq!(result.iterations, 7);
        assert!(result.notes.iter().any(|note| note.contains("stopped by the observer")));
    }
}

#[test]
fn watching_changes_nothing() {
    let setup = small(16, 24);
    for settings in ["subspace=none iterations=8", "iterations=8"] {
        let mut observer = Counting { seen: Vec::new(), stop_at: 0 };
        let watched = method(settings).reconstruct(&setup.problem(&setup.camera), &mut observer).unwrap();
        assert_eq!(watched.cube, run(&setup, settings).cube);
    }
}

#[test]
fn a_tolerance_stops_early() {
    let setup = small(16, 24);
    let result = run(&setup, "subspace=none tolerance=0.02 iterations=500");
    assert!(result.iterations < 500);
    assert!(result.trace.last().unwrap().change.unwrap() < 0.02);
    assert!(result.notes.iter().any(|note| note.contains("tolerance")));
}

#[test]
fn what_does_not_fit_is_said() {
    let setup = small(16, 24);
    let good = setup.problem(&setup.camera);
    let fails = |problem: &Problem<'_>| method("").reconstruct(problem, &mut Silent).unwrap_err();

    let blind = Problem { operator: None, ..good };
    assert!(matches!(fails(&blind), ReconstructError::NeedsMask { .. }));

    let narrow = Snapshot::new(Array2::zeros((16, 77))).unwrap();
    let message = fails(&Problem { snapshot: &narrow, ..good }).to_string();
    assert!(message.contains("[16, 77]") && message.contains("[16, 78]"), "{message}");

    let mut broken = setup.snapshot.clone();
    broken.as_mut_slice()[78 + 5] = f32::NAN;
    let error = fails(&Problem { snapshot: &broken, ..good });
    assert!(matches!(error, ReconstructError::NotFinite { row: 1, column: 5, .. }));

    let small = Cube::zeros([28, 16, 23], Wavelengths::benchmark());
    let message = fails(&Problem { warm_start: Some(&small), ..good }).to_string();
    assert!(message.contains("warm start"), "{message}");

    let instrument = InstrumentDescription {
        wavelengths_nm: Wavelengths::linspace(450.0, 650.0, 27),
        ..setup.instrument.clone()
    };
    assert!(matches!(fails(&Problem { instrument: &instrument, ..good }), ReconstructError::Shape(_)));
}

#[test]
fn settings_say_what_they_take() {
    let parse = |key: &str, value: &str| GapTv::from_settings(&[(key.into(), value.into())]);
    for (key, value) in [
        ("iterations", "1"),
        ("inner", "auto"),
        ("inner", "7"),
        ("weight", "auto"),
        ("weight", "0.05"),
        ("accelerated", "no"),
        ("tolerance", "0"),
        ("tolerance", "1e-4"),
        ("subspace", "none"),
        ("subspace", "20"),
        ("joint", "false"),
    ] {
        assert!(parse(key, value).is_ok(), "{key}={value}");
    }
    for (key, value, hint) in [
        ("iterations", "0", "from 1"),
        ("iterations", "many", "whole number"),
        ("weight", "-1", "positive"),
        ("weight", "nan", "positive"),
        ("weight", "1e-60", "positive"),
        ("tolerance", "1", "below 1"),
        ("subspace", "21", "to 20"),
        ("accelerated", "maybe", "true or false"),
        ("joint", "true", "subspace=none"),
        ("wieght", "1", "did you mean `weight`"),
        ("banana", "1", "this method takes iterations, inner"),
    ] {
        let message = parse(key, value).unwrap_err().to_string();
        assert!(message.contains(hint) && message.contains(key), "{key}={value}: {message}");
    }
    let card = GapTv::default();
    assert_eq!(card.describe().name, "gap-tv");
    assert_eq!(card.describe().parameters.len(), 7);
}

#[test]
fn other_numbers_of_bands_and_steps_work() {
    let mask =
        Mask::new(Array2::from_shape_fn((18, 22), |(r, c)| ((r * 5 + c * 3) % 7) as f32 / 6.0)).unwrap();
    let setup = small(18, 22);
    for (bands, step) in [(1, 2), (3, 1), (9, 3), (31, 1), (4, 0)] {
        let wavelengths = Wavelengths::linspace(420.0, 690.0, bands);
        let instrument =
            InstrumentDescription { wavelengths_nm: wavelengths.clone(), ..setup.instrument.clone() };
        let camera = SdCassi::new(&mask, bands, step);
        let truth = Cube::new(
            Array3::from_shape_fn((bands, 18, 22), |(b, r, c)| {
                0.2 + 0.3 * ((r > 8) as u8 as f32) + 0.01 * (b + c) as f32
            }),
            wavelengths,
        )
        .unwrap();
        let mut y = Array2::zeros((camera.range()[0], camera.range()[1]));
        camera.forward(truth.as_slice(), y.as_slice_mut().unwrap());
        let snapshot = Snapshot::new(y).unwrap();
        let problem = Problem {
            snapshot: &snapshot,
            instrument: &instrument,
            operator: Some(&camera),
            mask: Some(&mask),
            noise: NoiseLevel::Known(0.0),
            warm_start: None,
        };
        for settings in ["subspace=none", ""] {
            let result = method(settings).reconstruct(&problem, &mut Silent).unwrap();
            assert_eq!(result.cube.shape(), [bands, 18, 22]);
            assert!(
                result.residual.unwrap() < 0.2,
                "{bands} bands, step {step}, `{settings}`: {:?}",
                result.residual
            );
        }
    }
}
