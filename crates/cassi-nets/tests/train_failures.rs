//! Trainings that go wrong: each says what, where and what to do, and keeps what was good.
#![cfg(feature = "torch")]

mod train_common;

use cassi_nets::train::{Binarise, Crop, RunOptions, TrainConfig, TrainError, run};
use train_common::*;

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_good_state() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = workshop(folder.path(), 40, 1e30);
    config.optimiser.clip = 0.0;
    config.schedule.warm_up = 0;
    config.checkpoint_every = 1;
    let out = folder.path().join("out");
    let error = run(&config, &out, &options(None), &mut |_| ()).expect_err("it must diverge");
    let TrainError::NotFinite { step, seed: 5, .. } = error else { panic!("{error}") };
    let text = error.to_string();
    assert!(0 < step && step < 40, "{text}");
    assert!(text.contains(&format!("step {step}")) && text.contains("seed 5"), "the batch is named: {text}");
    assert!(text.contains("checkpoint.safetensors"), "and where the good state lies: {text}");
    // The state before the step that failed.
    let (tensors, metadata) =
        cassi_io::read_tensors_with_metadata(&out.join("checkpoint.safetensors")).expect("a checkpoint");
    assert!(tensors.iter().all(|(_, t)| t.data.iter().all(|v| v.is_finite())), "a good state is kept");
    assert!(metadata["cassi_train"].contains(&format!("\"step\":{step},")), "{}", metadata["cassi_train"]);
}

#[test]
fn a_gpu_that_is_not_there() {
    let _turn = turn();
    if tch::Cuda::is_available() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 1, 1e-3);
    for (device, words) in
        [("cuda", "no device `cuda`"), ("cuda:1", "CASSI_TORCH_LIB"), ("gpu", "expected `cpu`")]
    {
        let options = RunOptions { device: device.into(), ..options(None) };
        let error = run(&config, &folder.path().join("out"), &options, &mut |_| ()).expect_err("no GPU");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn data_that_does_not_suffice() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 1, 1e-3);
    let out = folder.path().join("out");
    let mut missing = config.clone();
    missing.data[0].path = Some(folder.path().join("nothing.h5").display().to_string());
    let error = run(&missing, &out, &options(None), &mut |_| ()).expect_err("no such file");
    assert!(error.to_string().contains("nothing.h5"), "{error}");
    let mut large = config.clone();
    large.stages[0].crop = Crop::Rectangle([16, 64]);
    for cache_mb in [None, Some(1.0)] {
        large.cache_mb = cache_mb;
        let error = run(&large, &out, &options(None), &mut |_| ()).expect_err("scenes are smaller");
        assert!(error.to_string().contains("40 x 36 pixels"), "{error}");
    }
    // Two sources of 92 and 41 KB: a share of 25 KB streams less than the five scenes that it takes.
    let mut tight = config.clone();
    tight.cache_mb = Some(0.05);
    let error = run(&tight, &out, &options(None), &mut |_| ()).expect_err("too little memory");
    assert!(error.to_string().contains("cache_mb"), "{error}");
    let unknown = TrainConfig::parse("name = \"a\"\nmethods = \"mst-s\"", "a.toml").expect_err("unknown key");
    assert!(unknown.to_string().contains("methods"), "{unknown}");
    for (method, from) in [("mst-s", 0.2), ("bisrnet", 0.9)] {
        let binarise = Some(Binarise { from, until: 0.5 });
        let text = toml::to_string(&TrainConfig { method: method.into(), binarise, ..config.clone() });
        let error =
            TrainConfig::parse(&text.expect("plain data"), "b.toml").expect_err("not binary, or too late");
        assert!(error.to_string().contains("binarise"), "{error}");
    }
}

#[test]
fn checkpoints_that_are_damaged_or_of_another_training() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 2, 1e-3);
    let out = folder.path().join("out");
    run(&config, &out, &options(None), &mut |_| ()).expect("trained");
    let file = out.join("checkpoint.safetensors");
    let good = cassi_io::read_bytes(&file).expect("a checkpoint");

    // Another network of the same sizes.
    let other = TrainConfig { method: "mst-m".into(), ..config.clone() };
    let error = run(&other, &out, &options(None), &mut |_| ()).expect_err("another network");
    assert!(error.to_string().contains("`method`") && error.to_string().contains("--continue"), "{error}");

    // Cut short in the header, in the tensors, and by one byte.
    for length in [3, good.len() / 2, good.len() - 1] {
        cassi_io::write_bytes(&file, &good[..length]).expect("written");
        let error = run(&config, &out, &options(None), &mut |_| ()).expect_err("damaged");
        assert!(error.to_string().contains("checkpoint.safetensors"), "{length} bytes: {error}");
    }

    // Weights are no checkpoint, and a checkpoint is no weights.
    let weights = cassi_io::read_bytes(&out.join("tiny.safetensors")).expect("weights");
    cassi_io::write_bytes(&file, &weights).expect("written");
    let error = run(&config, &out, &options(None), &mut |_| ()).expect_err("no checkpoint");
    assert!(matches!(error, TrainError::Checkpoint { .. }), "{error}");
    cassi_io::write_bytes(&file, &good).expect("written");
    let options = RunOptions { continue_from: Some(file), ..options(None) };
    let error = run(&config, &folder.path().join("next"), &options, &mut |_| ()).expect_err("no weights");
    let text = error.to_string();
    assert!(text.contains("missing") && text.contains("unexpected (weights."), "{text}");
}
