//! Whole trainings: what is streamed, what stops them early, what they leave behind, lower precision.
#![cfg(feature = "torch")]

mod train_common;

use cassi_core::metrics::Scores;
use cassi_core::{
    Cube, InputConvention, InstrumentDescription, LinearOperator, NamedTensors, NoiseLevel, Problem,
    Reconstructor, Silent, Snapshot, Tensor as HostTensor, Wavelengths,
};
use cassi_nets::train::{Binarise, Event, Precision, TrainConfig, Validation, data, run};
use cassi_optics::SdCassi;
use cassi_solvers::GapTv;
use ndarray::Axis;
use train_common::*;

#[test]
fn streamed_scenes_resume_exactly_and_a_large_budget_changes_nothing() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let quiet = &mut |_: Event| ();
    let mut config = workshop(folder.path(), 9, 1e-3);
    // Twelve scenes of 20 KB in singles.
    config.data[1].procedural.as_mut().expect("procedural").count = 12;
    let whole = folder.path().join("whole");
    run(&config, &whole, &options(None), quiet).expect("trained");

    let roomy = folder.path().join("roomy");
    let budget = TrainConfig { cache_mb: Some(1.0), ..config.clone() };
    run(&budget, &roomy, &options(None), quiet).expect("trained");
    assert_eq!(weights_of(&roomy), weights_of(&whole), "what fits is in memory as without a budget");

    let budget = TrainConfig { cache_mb: Some(0.25), ..config.clone() };
    let streamed = folder.path().join("streamed");
    let mut notes = Vec::new();
    run(&budget, &streamed, &options(None), &mut |event| {
        if let Event::Note(text) = event {
            notes.push(text);
        }
    })
    .expect("trained");
    assert!(notes.iter().any(|n| n.contains("12 scenes, streamed: 3 in memory")), "{notes:?}");
    assert_ne!(weights_of(&streamed), weights_of(&whole), "other scenes come at other times");
    let killed = folder.path().join("killed");
    run(&budget, &killed, &options(Some(5)), quiet).expect("started");
    run(&budget, &killed, &options(None), quiet).expect("resumed");
    assert_eq!(weights_of(&killed), weights_of(&streamed));
}

#[test]
fn packed_files_hold_many_scenes() {
    let folder = tempfile::tempdir().expect("a folder");
    let _config = workshop(folder.path(), 1, 1e-3);
    let instrument = folder.path().join("tiny.toml");
    let instrument = cassi_optics::parse_instrument(&cassi_io::read_text(&instrument).expect("text"), "tiny")
        .expect("tiny");
    let singles = folder.path().join("scenes").display().to_string();
    let singles = data::read_scenes(&singles, &instrument).expect("four scenes");
    assert_eq!(singles.len(), 4);
    let cubes: Vec<&Cube> = singles.iter().map(|scene| &scene.cube).collect();
    let nm = Wavelengths::linspace(450.0, 650.0, 4);
    let nm = HostTensor::new(vec![4], nm.nm().iter().map(|&v| v as f32).collect()).expect("four bands");
    let same = |path: &std::path::Path| {
        let found = data::read_scenes(&path.display().to_string(), &instrument).expect("scenes");
        assert_eq!(found.len(), 4, "{}", path.display());
        for (found, expected) in found.iter().zip(&cubes) {
            // Wavelengths in singles are off by 3e-5 of the 67 nm between bands.
            let mut pairs = found.cube.as_slice().iter().zip(expected.as_slice());
            assert!(pairs.all(|(a, b)| (a - b).abs() < 2e-6), "{}", found.name);
        }
    };
    // One array [scene, band, row, column].
    let stacked: Vec<f32> = cubes.iter().flat_map(|cube| cube.as_slice().to_vec()).collect();
    let stack = NamedTensors::from_iter([
        ("cube".to_string(), HostTensor::new(vec![4, 4, 40, 36], stacked).expect("four scenes")),
        ("wavelengths_nm".to_string(), nm.clone()),
    ]);
    let path = folder.path().join("packs/stack.h5");
    cassi_io::write_arrays(&path, &stack, &cassi_io::Metadata::default()).expect("written");
    same(&path);
    same(path.parent().expect("a folder"));
    // A cube of its own for every scene.
    let named = cubes.iter().enumerate().map(|(i, cube)| {
        (format!("scene{i}"), HostTensor::new(vec![4, 40, 36], cube.as_slice().to_vec()).expect("a cube"))
    });
    let named = NamedTensors::from_iter(named.chain([("wavelengths_nm".to_string(), nm)]));
    let path = folder.path().join("named.h5");
    cassi_io::write_arrays(&path, &named, &cassi_io::Metadata::default()).expect("written");
    same(&path);
    // A number that is none is found, and named.
    let mut bad = cubes[2].clone();
    bad.as_mut_slice()[7] = f32::NAN;
    let values: Vec<f32> = [cubes[0], &bad].iter().flat_map(|cube| cube.as_slice().to_vec()).collect();
    let mut stack = stack;
    stack.insert("cube", HostTensor::new(vec![2, 4, 40, 36], values).expect("two scenes"));
    let path = folder.path().join("bad.h5");
    cassi_io::write_arrays(&path, &stack, &cassi_io::Metadata::default()).expect("written");
    let error = data::read_scenes(&path.display().to_string(), &instrument).err().expect("not a number");
    assert!(error.to_string().contains("bad[1]"), "{error}");
    assert_eq!(bad.view().len_of(Axis(0)), 4);
}

#[test]
fn validations_without_a_gain_end_a_training() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    // Steps so small that no weight moves.
    let mut config = workshop(folder.path(), 40, 1e-30);
    config.optimiser.weight_decay = 0.0;
    let validation = config.validation.take().expect("a validation");
    config.validation = Some(Validation { every: 2, patience: 3, ..validation });
    let (mut best, mut validations) = (0, 0);
    let report = run(&config, &folder.path().join("out"), &options(None), &mut |event| {
        if let Event::Validation { best: yes, .. } = event {
            validations += 1;
            best += u32::from(yes);
        }
    });
    let report = report.expect("trained");
    // The first is the best so far; after three more without a gain it ends.
    assert_eq!((report.steps, report.finished, validations, best), (8, true, 4, 1));
}

#[test]
fn a_network_that_is_not_binary_yet_is_not_kept() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = workshop(folder.path(), 12, 1e-3);
    config.method = "bisrnet".into();
    config.binarise = Some(Binarise { from: 0.25, until: 0.75 });
    let validation = config.validation.take().expect("a validation");
    config.validation = Some(Validation { every: 2, ..validation });
    let out = folder.path().join("out");
    let weights = out.join("tiny.safetensors");
    let (mut first_best, mut scores) = (None, Vec::new());
    run(&config, &out, &options(None), &mut |event| {
        if let Event::Validation { step, best, scores: found, .. } = event {
            assert_eq!(weights.exists(), step >= 10, "step {step}");
            scores.push((step, found[0].scores.psnr_unit_peak));
            first_best = first_best.or(best.then_some(step));
        }
    })
    .expect("trained");
    assert_eq!(first_best, Some(10), "from three quarters of twelve steps on it is binary");
    assert_eq!(scores.len(), 6);

    // Nothing but the hardness differs at first, and that shows.
    let hard = TrainConfig { binarise: None, ..config.clone() };
    let mut at_two = None;
    run(&hard, &folder.path().join("hard"), &options(None), &mut |event| {
        if let Event::Validation { step: 2, scores, .. } = event {
            at_two = Some(scores[0].scores.psnr_unit_peak);
        }
    })
    .expect("trained");
    assert_ne!(at_two, Some(scores[0].1));

    // A run that goes on exactly as one that was not interrupted, amid the change.
    let killed = folder.path().join("killed");
    run(&config, &killed, &options(Some(7)), &mut |_| ()).expect("started");
    run(&config, &killed, &options(None), &mut |_| ()).expect("resumed");
    assert_eq!(weights_of(&killed), weights_of(&out));
}

#[test]
fn a_training_leaves_tables_curves_and_pictures() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 8, 1e-3);
    let out = folder.path().join("out");
    let mut progress = Vec::new();
    run(&config, &out, &options(None), &mut |event| {
        if let Event::Progress { step, loss, samples_per_second, data_share, .. } = event {
            assert!(loss.is_finite() && samples_per_second > 0.0 && (0.0..=1.0).contains(&data_share));
            progress.push(step);
        }
    })
    .expect("trained");
    assert_eq!(progress.last(), Some(&8), "progress is reported to the end");
    let text = cassi_io::read_text(&out.join("metrics.csv")).expect("metrics");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["step", "seconds", "samples", "rate", "loss", "validation_psnr_unit_peak"]);
    let cell = |column: usize| rows[1..].iter().filter(move |row| !row[column].is_empty());
    assert!(cell(4).any(|row| row[0] == "8"), "the loss of the last step: {text}");
    assert_eq!(cell(5).map(|row| row[0]).collect::<Vec<_>>(), ["4", "8"], "validations: {text}");
    let svg = cassi_io::read_text(&out.join("loss.svg")).expect("a plot");
    assert_eq!(svg.matches("<polyline").count(), 2, "two curves: {svg}");
    let picture = cassi_io::read_rgb_image(&out.join("validation.png")).expect("a picture");
    assert_eq!(picture.dim(), (80, 36, 3), "one scene of 40 x 36, truth above estimate");
    let events = cassi_io::list_folder(&out).expect("files");
    let events = events.iter().find(|f| f.display().to_string().contains("tfevents")).expect("an event file");
    let tags = tags(&cassi_io::read_bytes(events).expect("events"));
    for tag in ["loss", "rate", "validation/psnr_unit_peak"] {
        assert!(tags.iter().any(|found| found == tag), "{tag} is missing: {tags:?}");
    }
}

/// The tags of a TensorBoard file: records of length, checksum, message, checksum; in the message the summary is field
/// 5, its value field 1, the tag of that field 1.
fn tags(bytes: &[u8]) -> Vec<String> {
    let mut at = 0;
    let mut tags = Vec::new();
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
        let message = &bytes[at + 12..at + 12 + length];
        // After the time of nine bytes and the step of two.
        if let [0x2a, _, 0x0a, _, 0x0a, name, rest @ ..] = &message[11..] {
            tags.push(String::from_utf8(rest[..*name as usize].to_vec()).expect("a tag"));
        }
        at += 16 + length;
    }
    assert_eq!(at, bytes.len(), "whole records");
    tags
}

#[test]
fn bfloat16_features_learn_as_singles_do() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let mut scores = Vec::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let mut config = workshop(folder.path(), 12, 2e-3);
        config.precision = precision;
        let out = folder.path().join(format!("{precision:?}"));
        let report = run(&config, &out, &options(None), &mut |_| ()).expect("trained");
        scores.push(report.scores[0].scores.psnr_unit_peak);
    }
    let [single, half] = scores[..] else { panic!("{scores:?}") };
    // Features rounded to 2⁻⁹ of their size move an error by about as much: 0.02 dB, in every step anew.
    assert!((half - single).abs() < 0.1 && half != single, "{single} and {half} dB");
}

#[test]
fn a_network_starts_from_what_the_solver_finds() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let plain = workshop(folder.path(), 2, 1e-3);
    let instrument = folder.path().join("tiny.toml");
    let instrument = cassi_optics::parse_instrument(&cassi_io::read_text(&instrument).expect("text"), "tiny")
        .expect("tiny");
    let scenes = data::read_scenes(&plain.validation.as_ref().expect("a validation").path, &instrument);
    let scene = &scenes.expect("scenes")[0].cube;
    let mask = data::read_mask("cassi256").expect("a mask");
    let (mask, _) = cassi_optics::mask::fit_to(&mask, scene.rows(), scene.columns());
    let operator = SdCassi::new(&mask, 4, instrument.step());
    let (rows, columns) = (scene.rows(), scene.columns() + 3 * instrument.step());
    let mut snapshot = vec![0.0; rows * columns];
    operator.forward(scene.as_slice(), &mut snapshot);
    let snapshot = ndarray::Array2::from_shape_vec((rows, columns), snapshot).expect("as many pixels");
    let problem = Problem {
        snapshot: &Snapshot::new(snapshot).expect("a snapshot"),
        instrument: &instrument,
        operator: Some(&operator),
        mask: Some(&mask),
        noise: NoiseLevel::Known(0.0),
        warm_start: None,
    };
    let found = GapTv::default().reconstruct(&problem, &mut Silent).expect("an estimate").cube;
    let expected = Scores::compute(scene, &found).expect("of one shape").psnr_unit_peak;

    // Snapshots of the real instrument come in a unit of their own, estimates do not.
    let real = folder.path().join("real.toml");
    let network_input = InputConvention::Normalised { peak: 0.8 };
    let text = cassi_optics::to_toml(&InstrumentDescription { network_input, ..instrument.clone() });
    cassi_io::write_bytes(&real, text.as_bytes()).expect("written");
    let real = real.display().to_string();

    for (method, name) in
        [("gap-tv+mst-s", &plain.instrument), ("gap-tv+mst-pp", &plain.instrument), ("gap-tv+mst-s", &real)]
    {
        let mut config = TrainConfig { method: method.into(), instrument: name.clone(), ..plain.clone() };
        // Steps that move nothing.
        config.optimiser.rate = 1e-30;
        config.optimiser.weight_decay = 0.0;
        let out = tempfile::tempdir_in(folder.path()).expect("a folder");
        let out = out.path();
        let mut psnr = f64::NAN;
        run(&config, out, &options(None), &mut |event| {
            if let Event::Validation { scores, .. } = event {
                psnr = scores[0].scores.psnr_unit_peak;
            }
        })
        .expect("trained");
        // Two float32 routes to one snapshot.
        assert!((psnr - expected).abs() < 0.01, "{method}: {psnr} dB, and {expected} by the solver alone");
        let card = cassi_io::read_text(&out.join("tiny.toml")).expect("a card");
        assert!(card.contains(&format!("method = \"{method}\"")), "{card}");
    }
}

#[test]
fn what_cannot_be_refined_is_refused() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let plain = workshop(folder.path(), 2, 1e-3);
    let refused = |config: TrainConfig| {
        let result = run(&config, &folder.path().join("out"), &options(None), &mut |_| ());
        result.expect_err("refused").to_string()
    };
    let other = refused(TrainConfig { method: "twist+mst-s".into(), ..plain.clone() });
    assert!(other.contains("`twist`") && other.contains("gap-tv"), "{other}");
    let nothing = refused(TrainConfig { method: "gap-tv+mst".into(), ..plain });
    assert!(nothing.contains("`mst`") && nothing.contains("mst-s"), "{nothing}");
}
