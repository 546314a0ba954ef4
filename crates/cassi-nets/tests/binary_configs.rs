//! The training configurations of the binarized family can be read, and the seven baselines have one equal budget.
#![cfg(feature = "torch")]

use std::path::Path;

use cassi_nets::arch::binary::METHODS;
use cassi_nets::train::TrainConfig;

fn config(name: &str) -> TrainConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/train").join(name);
    let text = cassi_io::read_text(&path).unwrap_or_else(|error| panic!("{error}"));
    TrainConfig::parse(&text, name).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_method_has_a_configuration() {
    for method in METHODS {
        let config = config(&format!("{method}.toml"));
        assert_eq!((config.method.as_str(), config.name.as_str()), (*method, *method));
    }
    for variant in ["bisrnet-mask256", "bisrnet-tsa-real"] {
        let config = config(&format!("{variant}.toml"));
        assert_eq!((config.method.as_str(), config.name.as_str()), ("bisrnet", variant));
    }
    assert_eq!(config("bisrnet-tsa-real.toml").instrument, "tsa-real");
}

#[test]
fn the_baselines_are_trained_alike() {
    let mut baselines = METHODS.iter().filter(|method| **method != "bisrnet").map(|method| {
        let config = config(&format!("{method}.toml"));
        TrainConfig { name: String::new(), method: String::new(), ..config }
    });
    let first = baselines.next().expect("baselines");
    assert!(baselines.all(|other| other == first));
}
