//! Every training configuration of the repository can be read, and the seven binarized baselines have one equal budget.
#![cfg(feature = "torch")]

use std::path::Path;

use cassi_nets::arch::binary::METHODS;
use cassi_nets::train::TrainConfig;

const FOLDER: &str = "../../experiments/train";

fn config(name: &str) -> TrainConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(name);
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

#[test]
fn every_configuration_can_be_read() {
    for folder in ["", "gpu/"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(folder);
        let files = cassi_io::list_folder(&path).expect("configurations");
        let names = files.iter().filter(|file| file.extension().is_some_and(|e| e == "toml"));
        let names = names.filter_map(|file| file.file_name()?.to_str());
        let read: Vec<_> = names.map(|name| (name, config(&format!("{folder}{name}")))).collect();
        assert!(
            read.iter().all(|(name, config)| name.starts_with(&config.name)),
            "named as the weights, or as what is done to them"
        );
        assert!(read.len() >= 5, "{folder}: {}", read.len());
    }
}
