//! Training: gradients, one batch by heart, strict loading, exact resume, and what happens when things go wrong.
#![cfg(feature = "torch")]

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use cassi_core::{Cube, NamedTensors, Tensor as HostTensor, Wavelengths, card::WeightsCard};
use cassi_nets::arch::{Layout, Options, Shape, build};
use cassi_nets::train::{Crop, Event, RunOptions, TrainConfig, TrainError, run};
use cassi_nets::{NetsError, weights};
use tch::{Device, Kind, Tensor, nn};

/// libtorch's generator belongs to the whole process, so tests that seed it take turns; and one thread for each
/// operation, as many teams on the same cores would wait for one another.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let guard = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    tch::set_num_threads(1);
    guard
}

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

/// Four small scenes, an instrument of four bands, and a configuration that uses every random ingredient.
fn workshop(folder: &Path, steps: u64, rate: f64) -> TrainConfig {
    let wavelengths = Wavelengths::linspace(450.0, 650.0, 4);
    for i in 0..4 {
        let data = ndarray::Array3::from_shape_fn((4, 40, 36), |(b, r, c)| {
            0.5 + 0.4 * ((b + 1) as f32 * 0.3 + (r * (i + 1)) as f32 * 0.1 + c as f32 * 0.17).sin()
        });
        let cube = Cube::new(data, wavelengths.clone()).expect("four bands");
        let path = folder.join(format!("scenes/scene{i}.h5"));
        cassi_io::write_cube(&path, &cube, &cassi_io::Metadata::default()).expect("written");
    }
    let mut instrument = cassi_optics::builtin("standard").expect("built in");
    instrument.name = "tiny".into();
    instrument.wavelengths_nm = wavelengths;
    instrument.default_mask = None;
    let path = folder.join("tiny.toml");
    cassi_io::write_bytes(&path, cassi_optics::to_toml(&instrument).as_bytes()).expect("written");
    let text = format!(
        r#"
        name = "tiny"
        method = "mst-s"
        instrument = "{instrument}"
        seed = 5
        steps = {steps}
        checkpoint_every = 2
        [[data]]
        path = "{scenes}"
        weight = 0.7
        [[data]]
        procedural = {{ kinds = ["still-life", "fabric"], count = 2, size = [32, 40] }}
        weight = 0.3
        [augmentation]
        stitch = 0.5
        scale = [0.8, 1.25]
        gain = [0.5, 1.0]
        spectral = 0.1
        [[masks]]
        kind = "grey"
        count = 3
        [[masks]]
        kind = "bernoulli"
        count = 2
        [mask_use]
        shared = false
        shift = 0.5
        rotation_deg = 0.2
        scale = 0.002
        [noise]
        gaussian = [0.0, 0.02]
        binomial = {{ levels = [500.0, 2000.0], probability = 0.5 }}
        [loss]
        kind = "charbonnier"
        spectral_angle = 0.1
        [optimiser]
        rate = {rate:e}
        weight_decay = 0.01
        clip = 1.0
        average = 0.9
        [schedule]
        warm_up = 2
        [[stages]]
        until = 0.5
        crop = 16
        batch = 4
        part = 1
        [[stages]]
        until = 1.0
        crop = 24
        batch = 3
        [validation]
        path = "{scenes}/scene0.h5"
        mask = "cassi256"
        every = 4
        "#,
        instrument = path.display(),
        scenes = folder.join("scenes").display(),
    );
    TrainConfig::parse(&text, "the test's configuration").expect("a configuration")
}

fn options(die_at: Option<u64>) -> RunOptions {
    RunOptions { threads: 2, die_at, ..RunOptions::default() }
}

fn weights_of(folder: &Path) -> NamedTensors {
    cassi_io::read_tensors(&folder.join("checkpoint.safetensors")).expect("a checkpoint")
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

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_good_state() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = workshop(folder.path(), 40, 1e30);
    config.optimiser.clip = 0.0;
    config.schedule.warm_up = 0;
    let out = folder.path().join("out");
    let error = run(&config, &out, &options(None), &mut |_| ()).expect_err("it must diverge");
    let TrainError::NotFinite { step, .. } = error else { panic!("{error}") };
    assert!(step < 40 && error.to_string().contains(&format!("step {step}")), "{error}");
    let checkpoint = out.join("checkpoint.safetensors");
    if checkpoint.exists() {
        let tensors = weights_of(&out);
        assert!(tensors.iter().all(|(_, t)| t.data.iter().all(|v| v.is_finite())), "a good state is kept");
    }
}

#[test]
fn bad_input_is_named() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let config = workshop(folder.path(), 1, 1e-3);
    let out = folder.path().join("out");
    let error = run(&config, &out, &RunOptions { device: "cuda".into(), ..options(None) }, &mut |_| ());
    // On a machine with a GPU this trains.
    if let Err(error) = error {
        assert!(error.to_string().contains("no device `cuda`"), "{error}");
    }
    let mut missing = config.clone();
    missing.data[0].path = Some(folder.path().join("nothing.h5").display().to_string());
    assert!(matches!(run(&missing, &out, &options(None), &mut |_| ()), Err(TrainError::Io(_))));
    let mut large = config.clone();
    large.stages[0].crop = Crop::Rectangle([16, 64]);
    let error = run(&large, &out, &options(None), &mut |_| ()).expect_err("scenes are smaller");
    assert!(error.to_string().contains("40 x 36 pixels"), "{error}");
    // A truncated checkpoint.
    cassi_io::write_bytes(&out.join("checkpoint.safetensors"), &[1, 2, 3]).expect("written");
    let error = run(&config, &out, &options(None), &mut |_| ()).expect_err("damaged");
    assert!(error.to_string().contains("checkpoint.safetensors"), "{error}");
    let unknown = TrainConfig::parse("name = \"a\"\nmethods = \"mst-s\"", "a.toml").expect_err("unknown key");
    assert!(unknown.to_string().contains("methods"), "{unknown}");
}
