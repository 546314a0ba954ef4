//! The published iteration against the PSNR traces of `golden/gaptv_256.json`, on the cube they were made on.

mod common;

use cassi_core::{
    Control, Cube, LinearOperator, Mask, NoiseLevel, Observer, Problem, Progress, Reconstructor, Snapshot,
};
use cassi_io::read_tensors;
use cassi_optics::{SdCassi, builtin};
use common::{method, psnr_clamped, shared};
use ndarray::{Array2, Array3};

/// Takes PSNRs down at the checkpoints.
struct Checkpoints<'a> {
    truth: &'a Cube,
    at: Vec<(usize, f64)>,
    found: Vec<f64>,
}

impl Observer for Checkpoints<'_> {
    fn observe(&mut self, progress: &Progress<'_>) -> Control {
        if self.at.iter().any(|&(iteration, _)| iteration == progress.iteration) {
            let estimate = progress.estimate.expect("it was asked for").to_owned();
            let cube = Cube::new(estimate, self.truth.wavelengths().clone()).unwrap();
            self.found.push(psnr_clamped(&cube, self.truth));
        }
        Control::Continue
    }
    fn wants_estimate(&self) -> bool {
        true
    }
}

#[test]
fn every_run_follows_its_trace() {
    let inputs = shared().map(|folder| folder.join("golden/inputs_256.npz")).filter(|path| path.is_file());
    let Some(inputs) = inputs else {
        eprintln!("skipped: golden/inputs_256.npz is not at hand (set CASSI_SHARED)");
        return;
    };
    let tensors = read_tensors(&inputs).unwrap();
    let plane = |name: &str, columns: usize| {
        Array2::from_shape_vec((256, columns), tensors.get(name).unwrap().data.clone()).unwrap()
    };
    let instrument = builtin("standard").unwrap();
    let truth =
        Array3::from_shape_vec((28, 256, 256), tensors.get("truth_f16").unwrap().data.clone()).unwrap();
    let truth = Cube::new(truth, instrument.wavelengths_nm.clone()).unwrap();
    let mask = Mask::new(plane("mask", 256)).unwrap();
    let snapshot = Snapshot::new(plane("meas_Y", 310)).unwrap();
    let camera = SdCassi::for_instrument(&instrument, &mask);
    let problem = Problem {
        snapshot: &snapshot,
        instrument: &instrument,
        operator: Some(&camera as &dyn LinearOperator),
        mask: Some(&mask),
        noise: NoiseLevel::Known(0.0),
        warm_start: None,
    };

    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/golden/gaptv_256.json")).unwrap();
    let runs = golden["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 16);
    for run in runs {
        let joint = run["joint_bands"].as_bool().unwrap();
        // The joint runs go through whole-cube passes: half of them is enough to tell.
        let last = if joint { 50 } else { 100 };
        let at: Vec<(usize, f64)> = (run["psnr_at"].as_object().unwrap().iter())
            .map(|(iteration, psnr)| (iteration.parse().unwrap(), psnr.as_f64().unwrap()))
            .filter(|&(iteration, _)| iteration <= last)
            .collect();
        let settings = format!(
            "subspace=none iterations={last} inner={} weight={} accelerated={} joint={joint}",
            run["inner"], run["weight"], run["accelerated"]
        );
        let mut observer = Checkpoints { truth: &truth, at, found: Vec::new() };
        method(&settings).reconstruct(&problem, &mut observer).unwrap();
        assert!(observer.found.len() == observer.at.len() && observer.at.len() >= 3, "{settings}");
        for ((iteration, expected), found) in observer.at.iter().zip(&observer.found) {
            // What golden/README.md calls fair for the same algorithm in f32.
            assert!(
                (found - expected).abs() < 0.02,
                "{settings}, {iteration}: {found:.4} dB, expected {expected}"
            );
        }
    }

    // The default setting, and the bar of the plain one.
    let score = |settings: &str| {
        let result = method(settings).reconstruct(&problem, &mut cassi_core::Silent).unwrap();
        psnr_clamped(&result.cube, &truth)
    };
    let (plain, default) = (score("subspace=none weight=0.2"), score(""));
    println!("golden cube: plain {plain:.2} dB, default {default:.2} dB");
    assert!(plain >= 22.3 && default >= 22.3, "plain {plain:.2} dB, default {default:.2} dB");
}
