//! `validate METHOD WEIGHTS SCENES MASK [INSTRUMENT]`: per-scene unit-peak PSNR of a network, noise-free.

use cassi_core::refinement;
use cassi_nets::arch::{Layout, Options, Shape, build};
use cassi_nets::train::first::First;
use cassi_nets::train::{data, validate};
use cassi_nets::weights;
use tch::{Device, nn};

fn main() {
    if let Err(error) = start() {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}

fn start() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [method, file, scenes, mask, rest @ ..] = &arguments[..] else {
        return Err("expected METHOD WEIGHTS SCENES MASK [INSTRUMENT]".into());
    };
    let name = rest.first().map_or("standard", String::as_str);
    let instrument = cassi_optics::builtin(name).ok_or(format!("no instrument `{name}`"))?;
    let layout = Layout::of(method, &instrument);
    let shape = Shape { bands: instrument.bands(), width: instrument.bands(), step: instrument.step() };
    let store = nn::VarStore::new(Device::Cpu);
    let first = First::of(method, &instrument)?;
    let network = build(refinement(method).1, &Options { shape, ..Options::new(layout) }, &store.root())?;
    weights::load(&store, &cassi_io::read_tensors(file.as_ref())?)?;
    let scenes = data::read_scenes(scenes, &instrument)?;
    let mask = data::read_mask(mask)?;
    let scores =
        validate::validate(&*network, &scenes, &mask, &instrument, first.as_ref(), Device::Cpu, |_, _, _| ());
    for score in &scores {
        println!("{:32} {:6.2} dB", score.name, score.scores.psnr_unit_peak);
    }
    println!("{:32} {:6.2} dB", "mean", validate::mean(&scores).psnr_unit_peak);
    Ok(())
}
