//! A small training that uses every ingredient, for the tests of several files.
#![allow(dead_code)] // not every file uses all of it

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use cassi_core::{Cube, NamedTensors, Wavelengths};
use cassi_nets::train::{RunOptions, TrainConfig};

/// libtorch's generator belongs to the whole process, so tests that seed it take turns; and one thread for each
/// operation, as many teams on the same cores would wait for one another.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let guard = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    tch::set_num_threads(1);
    guard
}

/// Four small scenes, an instrument of four bands, and a configuration that uses every random ingredient.
pub(crate) fn workshop(folder: &Path, steps: u64, rate: f64) -> TrainConfig {
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
        [[masks]]
        kind = "blue-noise"
        count = 1
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

pub(crate) fn options(die_at: Option<u64>) -> RunOptions {
    RunOptions { threads: 2, die_at, ..RunOptions::default() }
}

pub(crate) fn weights_of(folder: &Path) -> NamedTensors {
    cassi_io::read_tensors(&folder.join("checkpoint.safetensors")).expect("a checkpoint")
}
