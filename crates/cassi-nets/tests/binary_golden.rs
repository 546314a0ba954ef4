//! The eight networks with weights by rule against the published code: names, outputs, every stage.
#![cfg(feature = "torch")]

mod binary_common;

use std::collections::HashMap;

use binary_common::*;
use cassi_nets::arch::binary::METHODS;
use cassi_nets::arch::{Layout, Network};
use cassi_nets::weights;

/// Of the largest value. Rounding changes move the published code by 5e-7; a wrong layer shows at 1e-2 and above.
const TOLERANCE: f64 = 1e-4;

#[test]
fn names_and_shapes_are_those_of_the_published_checkpoints() {
    for method in METHODS {
        let path = golden_path(&format!("{}_sim_names.json", published(method)));
        let text = cassi_io::read_text(&path).expect("a list of names");
        let list: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        let expected: HashMap<String, Vec<usize>> = (list.iter())
            .map(|entry| {
                let shape = serde_json::from_value(entry["shape"].clone()).expect("a shape");
                (entry["name"].as_str().expect("a name").to_string(), shape)
            })
            .collect();
        // One list serves both layouts: the unused fusion stays in the checkpoint of the real instrument.
        for layout in [Layout::Standard, Layout::TsaReal] {
            let (store, _network) = network(method, layout);
            assert_eq!(weights::names(&store).into_iter().collect::<HashMap<_, _>>(), expected, "{method}");
        }
    }
}

#[test]
fn outputs_and_stages_on_the_simulated_benchmark() {
    let inputs = read(&golden_path("net_inputs.npz"));
    for method in METHODS {
        let golden = read(&golden_path(&format!("{}_sim_small.npz", published(method))));
        let (store, network) = network(method, Layout::Standard);
        fill_by_rule(&store);
        for size in ["16", "30x36"] {
            let mask = repeated(&get(&inputs, &format!("mask2d_{size}")));
            network.record_taps();
            let out = evaluate(&network, &get(&inputs, &format!("x_{size}")), Some(&mask));
            let taps: HashMap<_, _> = network.take_taps().into_iter().collect();
            assert_close(&out, &get(&golden, &format!("out_{size}")), TOLERANCE, &format!("{method} {size}"));
            if size == "16" {
                let names = golden.iter().filter_map(|(name, _)| name.strip_prefix("tap16_"));
                let mut compared = 0;
                for name in names {
                    let expected = get(&golden, &format!("tap16_{name}"));
                    // The published hook sits on `mapping` itself, ours too: before the residual of the body.
                    assert_close(&taps[&module(name)], &expected, TOLERANCE, &format!("{method} {name}"));
                    compared += 1;
                }
                assert_eq!(compared, 14, "{method}: stages in the reference file");
            }
        }
    }
}

#[test]
fn outputs_for_the_real_instrument() {
    let inputs = read(&golden_path("net_inputs.npz"));
    for method in METHODS {
        let golden = read(&golden_path(&format!("{}_real_small.npz", published(method))));
        let (store, network) = network(method, Layout::TsaReal);
        fill_by_rule(&store);
        for size in ["16", "30"] {
            let out = evaluate(&network, &get(&inputs, &format!("y_real_{size}")), None);
            assert_close(&out, &get(&golden, &format!("out_{size}")), TOLERANCE, &format!("{method} {size}"));
        }
    }
}

#[test]
fn a_batch_is_its_items() {
    let inputs = read(&golden_path("net_inputs.npz"));
    let x = get(&inputs, "x_16");
    let mask = repeated(&get(&inputs, "mask2d_16"));
    let other = x.flip([3]);
    for method in METHODS {
        let (store, network) = network(method, Layout::Standard);
        fill_by_rule(&store);
        let batch = tch::Tensor::cat(&[&x, &other], 0);
        let together = evaluate(&network, &batch, Some(&mask));
        let alone = evaluate(&network, &other, Some(&mask));
        assert_close(&together.narrow(0, 1, 1), &alone, TOLERANCE, method);
    }
}
