//! Training of the eight networks: every binary weight can change its sign, statistics are learned, sizes are free.
#![cfg(feature = "torch")]

mod binary_common;

use binary_common::*;
use cassi_nets::arch::binary::METHODS;
use cassi_nets::arch::{Layout, Network, Options, Phase, Shape, binary::BinaryNet, build};
use cassi_nets::{NetsError, weights};
use tch::{Device, Kind, Tensor, nn, nn::OptimizerConfig};

fn random(shape: &[i64]) -> Tensor {
    Tensor::rand(shape, (Kind::Float, Device::Cpu))
}

#[test]
fn binary_weights_change_their_signs() {
    for method in METHODS {
        tch::manual_seed(1);
        let (store, network) = network(method, Layout::Standard);
        let (x, mask, truth) = (random(&[2, 28, 16, 16]), random(&[1, 28, 16, 16]), random(&[2, 28, 16, 16]));
        let variables = store.variables();
        let signs = |name: &String| variables[name].detach().sign();
        let before: Vec<Tensor> = network.binary_weights().iter().map(signs).collect();
        for (name, signs) in network.binary_weights().iter().zip(&before) {
            let positive = signs.gt(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!((0.3..0.7).contains(&positive), "{method} {name} starts with {positive} positive");
        }
        let mut optimizer = nn::Adam::default().build(&store, 1e-2).expect("Adam");
        for _ in 0..5 {
            let loss = (network.forward(&x, Some(&mask), true) - &truth).square().mean(Kind::Float);
            optimizer.backward_step(&loss);
        }
        // Signs as the network sees them after a reload: what is saved is the weight that was trained.
        let saved = weights::save(&store);
        for (name, before) in network.binary_weights().iter().zip(&before) {
            let after = weights::to_torch(saved.get(name).expect("saved")).sign();
            let flipped = after.ne_tensor(before).sum(Kind::Int64).int64_value(&[]);
            assert!(flipped > 0, "{method} {name}: no sign changed");
        }
    }
}

#[test]
fn a_few_steps_fit_one_sample() {
    for method in METHODS {
        tch::manual_seed(2);
        let (store, network) = network(method, Layout::Standard);
        let (x, mask) = (random(&[1, 28, 16, 16]), random(&[1, 28, 16, 16]));
        let truth = &x * 0.5 + 0.2;
        let mut optimizer = nn::Adam::default().build(&store, 5e-3).expect("Adam");
        let mut losses = Vec::new();
        for _ in 0..16 {
            let loss = (network.forward(&x, Some(&mask), true) - &truth).square().mean(Kind::Float);
            losses.push(loss.double_value(&[]));
            optimizer.backward_step(&loss);
        }
        assert!(losses[15] < 0.5 * losses[0], "{method}: loss {} became {}", losses[0], losses[15]);
    }
}

#[test]
fn training_starts_near_the_unsheared_snapshot() {
    for method in METHODS {
        tch::manual_seed(6);
        let (_store, network) = network(method, Layout::Standard);
        let (x, mask) = (random(&[1, 28, 16, 16]), random(&[1, 28, 16, 16]));
        let error = |estimate: Tensor| (estimate - &x).square().mean(Kind::Float).sqrt().double_value(&[]);
        let before = error(evaluate(&network, &x, Some(&mask)));
        network.start_training(false);
        let after = error(evaluate(&network, &x, Some(&mask)));
        // Of what the body adds only one direction in the space of 28 bands passes, a share of 1/√28 if it has none of
        // its own; the mask itself is taken off.
        assert!(after < 0.5 * before, "{method}: {before} became {after}");
    }
}

#[test]
fn latent_weights_without_a_scale_stay_within_one() {
    for method in ["bnn", "biconnect"] {
        tch::manual_seed(3);
        let (store, network) = network(method, Layout::Standard);
        let variables = store.variables();
        for name in network.binary_weights() {
            let _ = tch::no_grad(|| variables[name].shallow_clone().g_mul_scalar_(100.0));
        }
        let (x, mask) = (random(&[1, 28, 16, 16]), random(&[1, 28, 16, 16]));
        let _ = evaluate(&network, &x, Some(&mask));
        let largest = |name: &String| variables[name].abs().max().double_value(&[]);
        assert!(
            network.binary_weights().iter().any(|name| largest(name) > 1.0),
            "evaluation changes nothing"
        );
        let _ = network.forward(&x, Some(&mask), true);
        assert!(network.binary_weights().iter().all(|name| largest(name) <= 1.0), "{method}");
    }
}

#[test]
fn batch_statistics_are_learned_in_training_and_used_in_evaluation() {
    for method in ["bnn", "bireal", "irnet", "reactnet", "biconnect"] {
        tch::manual_seed(4);
        let (store, network) = network(method, Layout::Standard);
        let (x, mask) = (random(&[2, 28, 16, 16]), random(&[1, 28, 16, 16]));
        let mean = store.variables()["body.0.bottleneck.blocks.0.fn.net.1.bn1.running_mean"].shallow_clone();
        let first = evaluate(&network, &x, Some(&mask));
        assert_eq!(mean, Tensor::zeros_like(&mean), "{method}: evaluation leaves the statistics alone");
        let trained = tch::no_grad(|| network.forward(&x, Some(&mask), true));
        assert!(distance(&first, &trained) > 1e-3, "{method}: training normalises by the batch");
        assert!(mean.abs().max().double_value(&[]) > 0.0, "{method}");
        let count = &store.variables()["body.0.bottleneck.blocks.0.fn.net.1.bn1.num_batches_tracked"];
        assert_eq!(count.double_value(&[]), 1.0);
    }
}

#[test]
fn the_gradient_of_irnet_sharpens_with_progress() {
    tch::manual_seed(5);
    let (store, network) = network("irnet", Layout::Standard);
    let (x, mask) = (random(&[1, 28, 16, 16]), random(&[1, 28, 16, 16]));
    let gradient = |progress: f64| {
        network.set_phase(Phase { done: progress, ..Phase::default() });
        network.forward(&x, Some(&mask), false).square().mean(Kind::Float).backward();
        let mut weight =
            store.variables()["body.0.bottleneck.blocks.0.fn.net.1.conv1.weight"].shallow_clone();
        let gradient = weight.grad().copy();
        weight.zero_grad();
        gradient
    };
    let (start, end) = (gradient(0.0), gradient(1.0));
    let small = |g: &Tensor| (g.abs().lt(1e-12)).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
    // At t = 10, weights half a deviation from zero already get 2e-4 of the gradient of those at zero.
    assert!(small(&start) < small(&end), "{} and {}", small(&start), small(&end));
}

#[test]
fn any_size_and_any_number_of_bands() {
    for method in METHODS {
        let (_store, network) = network(method, Layout::Standard);
        for (rows, columns) in [(5, 5), (16, 16), (17, 23), (8, 41)] {
            let (x, mask) = (random(&[1, 28, rows, columns]), random(&[1, 28, rows, columns]));
            assert_eq!(evaluate(&network, &x, Some(&mask)).size(), [1, 28, rows, columns], "{method}");
        }
    }
    let store = nn::VarStore::new(Device::Cpu);
    let shape = Shape { bands: 6, width: 6, step: 3 };
    let options = Options { shape, ..Options::new(Layout::TsaReal) };
    let network = build("bisrnet", &options, &store.root()).expect("six bands");
    assert_eq!(evaluate(&*network, &random(&[2, 13, 24]), None).size(), [2, 6, 13, 9]);
}

#[test]
fn impossible_networks_are_refused() {
    let store = nn::VarStore::new(Device::Cpu);
    let unequal =
        Options { shape: Shape { bands: 28, width: 32, step: 2 }, ..Options::new(Layout::Standard) };
    assert!(matches!(build("bnn", &unequal, &store.root()), Err(NetsError::Sizes { width: 32, .. })));
    let error =
        BinaryNet::new("bisr", &Options::new(Layout::Standard), &store.root()).err().expect("refused");
    assert!(error.to_string().contains("bisrnet"), "{error}");
    assert!(store.is_empty(), "a refusal leaves no parameters behind");
}
