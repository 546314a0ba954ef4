//! Writes the shipped masks and their cards into the folder given, e.g.
//! `cargo run --release -p cassi-optics --example ship_masks -- masks`.

use std::{error::Error, fs, path::PathBuf};

use cassi_core::Mask;
use cassi_optics::mask::{Grey, MaskCard, MaskRecipe};

/// NPY 1.0: magic, version, a header padded with spaces to 128 bytes, the values.
fn npy(mask: &Mask) -> Vec<u8> {
    let shape = format!("({}, {})", mask.rows(), mask.columns());
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(mask.to_le_bytes());
    bytes
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: ship_masks FOLDER")?);
    let photographed = MaskRecipe::Grey(Grey::default());
    let recipes = [
        ("cassi256", photographed, 256),
        ("bernoulli256", MaskRecipe::Bernoulli { open_fraction: 0.5 }, 256),
        ("bluenoise256", MaskRecipe::BlueNoise { open_fraction: 0.5 }, 256),
        ("cassi660", photographed, 660),
    ];
    for (seed, (name, recipe, side)) in (1..).zip(recipes) {
        let (mask, card) = MaskCard::make(name, recipe, side, side, seed)?;
        fs::write(folder.join(format!("{name}.npy")), npy(&mask))?;
        fs::write(folder.join(format!("{name}.toml")), card.to_toml())?;
        println!("{name}: {side}x{side}, mean {:.4}, {}", card.throughput, card.sha256);
    }
    Ok(())
}
