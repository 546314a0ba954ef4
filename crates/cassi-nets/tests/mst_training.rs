//! Training: gradients, one batch by heart, strict loading, exact resume.
#![cfg(feature = "torch")]

mod train_common;

use std::sync::atomic::Ordering;

use cassi_core::{NamedTensors, Tensor as HostTensor, card::WeightsCard};
use cassi_nets::arch::{Layout, Options, Shape, build};
use cassi_nets::train::{Event, RunOptions, TrainConfig, TrainError, run};
use cassi_nets::{NetsError, weights};
use tch::{Device, Kind, Tensor, nn};
use train_common::*;

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::rand(shape, (kind, Device::Cpu))
}

/// A network of four channels with levels, attention and mask branch, in double precision.
fn tiny() -> (nn::VarStore, Box<dyn cassi_nets::arch::Network>) {
    tch::manual_seed(3);
    let mut store = nn::VarStore::new(Device::Cpu);
    let options = Options { shape: Shape { bands: 4, width: 4, step: 1 }, ..Options::new(Layout::Standard) };
    let network = build("mst-s", &options, &store.root()).expect("a tiny network");
    store.double();
    // The published start is so near to zero that the attention would hardly matter.
    for (name, mut variable) in store.variables() {
        if name.contains(".to_") || name.contains("proj.weight") {
            tch::no_grad(|| variable.copy_(&(random(&variable.size(), Kind::Double) * 2.0 - 1.0)));
        }
    }
    (store, network)
}

#[test]
fn gradients_equal_finite_differences() {
    let _turn = turn();
    let (store, network) = tiny();
    let x = random(&[2, 4, 8, 8], Kind::Double).set_requires_grad(true);
    let mask = random(&[1, 4, 8, 11], Kind::Double);
    let weight = random(&[2, 4, 8, 8], Kind::Double);
    let value = || (network.forward(&x, Some(&mask), true) * &weight).sum(Kind::Double);
    value().backward();
    let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
    variables.push(("input".into(), x.shallow_clone()));
    let mut checked = 0;
    for (name, variable) in variables {
        let gradient = variable.grad().reshape([-1]);
        let flat = variable.detach().view([-1]);
        for at in [0, flat.numel() as i64 / 2] {
            // Central differences in double precision of values of some tens: 1e-8 of rounding, and h² of curvature,
            // which layer normalisation over four channels makes large.
            let h = 1e-6;
            let element = flat.narrow(0, at, 1);
            let shifted = |by: f64| {
                tch::no_grad(|| {
                    let _ = element.shallow_clone().g_add_scalar_(by);
                    let shifted = value().double_value(&[]);
                    let _ = element.shallow_clone().g_add_scalar_(-by);
                    shifted
                })
            };
            let numeric = (shifted(h) - shifted(-h)) / (2.0 * h);
            let exact = gradient.double_value(&[at]);
            assert!(
                (numeric - exact).abs() < 1e-5 * exact.abs().max(1.0),
                "{name}[{at}]: {exact} and {numeric}"
            );
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked} derivatives");
}

#[test]
fn a_few_steps_learn_one_batch_by_heart() {
    let _turn = turn();
    tch::manual_seed(4);
    let store = nn::VarStore::new(Device::Cpu);
    let options = Options { shape: Shape { bands: 6, width: 6, step: 2 }, ..Options::new(Layout::Standard) };
    let network = build("mst-s", &options, &store.root()).expect("a small network");
    let (x, mask) = (random(&[1, 6, 16, 16], Kind::Float), random(&[1, 6, 16, 26], Kind::Float));
    let truth = random(&[1, 6, 1, 1], Kind::Float) * x.flip([1]);
    use nn::OptimizerConfig;
    let mut optimizer = nn::Adam::default().build(&store, 5e-3).expect("Adam");
    let mut losses = Vec::new();
    for _ in 0..150 {
        let loss = (network.forward(&x, Some(&mask), true) - &truth).square().mean(Kind::Float);
        losses.push(loss.double_value(&[]));
        optimizer.backward_step(&loss);
    }
    let (first, last) = (losses[0], losses[149]);
    assert!(last < 0.02 * first, "loss {first} became {last}");
}

#[test]
fn loading_is_strict_and_names_what_differs() {
    let _turn = turn();
    let (store, _network) = tiny();
    let good = weights::save(&store);
    let (other, _network) = tiny();
    let prefixed: NamedTensors =
        good.iter().map(|(name, tensor)| (format!("module.{name}"), tensor.clone())).collect();
    weights::load(&other, &prefixed).expect("the prefix of data-parallel training is taken off");
    assert_eq!(weights::save(&other), good);

    let mut bad: NamedTensors = good
        .iter()
        .filter(|(name, _)| *name != "embedding.weight")
        .map(|(name, tensor)| (name.to_string(), tensor.clone()))
        .collect();
    bad.insert("embedding.wieght", HostTensor::new(vec![1], vec![0.0]).expect("one value"));
    bad.insert("mapping.weight", HostTensor::new(vec![3], vec![0.0; 3]).expect("three values"));
    let Err(NetsError::Weights(mismatch)) = weights::load(&other, &bad) else { panic!("must be refused") };
    assert_eq!(mismatch.missing, ["embedding.weight"]);
    assert_eq!(mismatch.unexpected, ["embedding.wieght"]);
    assert_eq!(mismatch.misshaped, [("mapping.weight".to_string(), vec![3], vec![4, 4, 3, 3])]);
    let text = NetsError::Weights(mismatch).to_string();
    assert!(text.contains("embedding.weight") && text.contains("[3], expected [4, 4, 3, 3]"), "{text}");
    assert_eq!(weights::save(&other), good, "a refused checkpoint changes nothing");
}

#[test]
fn a_killed_training_ends_with_the_same_weights() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 11, 1e-3);
    let quiet = &mut |_: Event| ();
    let whole = folder.path().join("whole");
    let report = run(&config, &whole, &options(None), quiet).expect("trained");
    assert_eq!((report.steps, report.finished, report.scores.len()), (11, true, 1));
    // Killed after an odd step, between two checkpoints, in each of the stages.
    for at in [3, 7] {
        let killed = folder.path().join(format!("killed{at}"));
        let report = run(&config, &killed, &options(Some(at)), quiet).expect("started");
        assert_eq!((report.steps, report.finished), (at, false));
        let mut resumed_at = None;
        let report = run(&config, &killed, &options(None), &mut |event| {
            if let Event::Note(text) = event {
                resumed_at = resumed_at.take().or(text.strip_prefix("resumed at step ").map(str::to_string));
            }
        });
        assert_eq!(report.expect("resumed").steps, 11);
        assert_eq!(resumed_at.expect("a note"), format!("{} of 11", at - 1));
        // Weights, both moments and the average, to the last bit.
        assert_eq!(weights_of(&killed), weights_of(&whole));
        assert_eq!(
            cassi_io::read_tensors(&killed.join("tiny.safetensors")).expect("weights"),
            cassi_io::read_tensors(&whole.join("tiny.safetensors")).expect("weights")
        );
    }
    // Interrupted once step 2 is written: the step under way is finished and written, too.
    let interrupted = folder.path().join("interrupted");
    let interruptible = options(None);
    let report = run(&config, &interrupted, &interruptible, &mut |event| {
        if let Event::Checkpoint { .. } = event {
            interruptible.interrupt.store(true, Ordering::Relaxed);
        }
    });
    let report = report.expect("started");
    assert_eq!((report.steps, report.finished), (3, false));
    let mut resumed = false;
    let report = run(&config, &interrupted, &options(None), &mut |event| {
        resumed |= matches!(event, Event::Note(text) if text == "resumed at step 3 of 11");
    });
    assert_eq!((report.expect("resumed").finished, resumed), (true, true));
    assert_eq!(weights_of(&interrupted), weights_of(&whole));
    let card = cassi_io::read_text(&whole.join("tiny.toml")).expect("a card");
    let card: WeightsCard = toml::from_str(&card).expect("a card");
    assert_eq!(card.sha256, cassi_io::sha256_file(&whole.join("tiny.safetensors")).expect("hashed"));
    assert_eq!((card.bands, card.method.as_str(), card.instrument.as_str()), (4, "mst-s", "tiny"));
    let rows = cassi_io::read_text(&whole.join("metrics.csv")).expect("metrics");
    assert!(rows.starts_with("step,seconds") && rows.lines().count() >= 3, "{rows}");

    let changed = TrainConfig { seed: 6, ..config };
    let error = run(&changed, &whole, &options(None), quiet).expect_err("another seed is another training");
    assert!(
        matches!(error, TrainError::Checkpoint { .. }) && error.to_string().contains("`seed`"),
        "{error}"
    );
}

#[test]
fn weights_of_one_training_start_another() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 2, 1e-3);
    let quiet = &mut |_: Event| ();
    let first = run(&config, &folder.path().join("first"), &options(None), quiet).expect("trained");
    // A rate so small that the second training ends where the first did.
    let config = workshop(folder.path(), 1, 1e-12);
    let options = RunOptions { continue_from: Some(first.weights.clone()), ..options(None) };
    let second = run(&config, &folder.path().join("second"), &options, quiet).expect("trained");
    let (first, second) = (cassi_io::read_tensors(&first.weights), cassi_io::read_tensors(&second.weights));
    let (first, second) = (first.expect("weights"), second.expect("weights"));
    for (name, tensor) in first.iter() {
        let other = &second.get(name).expect("the same names").data;
        assert!(tensor.data.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
    }
}
