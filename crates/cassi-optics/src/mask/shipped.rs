//! The masks that ship: cards are built in, values are made again from the recipe and checked against the hash.

use cassi_core::Mask;

use super::{MaskCard, parse_card};
use crate::{OpticsError, instrument::nearest};

/// Name and card of every shipped mask; the folder `masks` holds the same values as NumPy files.
const SHIPPED: [(&str, &str); 4] = [
    ("cassi256", include_str!("../../../../masks/cassi256.toml")),
    ("bernoulli256", include_str!("../../../../masks/bernoulli256.toml")),
    ("bluenoise256", include_str!("../../../../masks/bluenoise256.toml")),
    ("cassi660", include_str!("../../../../masks/cassi660.toml")),
];

/// Names of the shipped masks, the default of the `standard` instrument first.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The card of a shipped mask.
///
/// # Errors
/// If no shipped mask has this name.
pub fn shipped_card(name: &str) -> Result<MaskCard, OpticsError> {
    let card = SHIPPED.iter().find(|(known, _)| *known == name).ok_or_else(|| OpticsError::UnknownMask {
        name: name.into(),
        known: shipped_names().collect::<Vec<_>>().join(", "),
        nearest: nearest(name, shipped_names()).map(str::to_string),
    })?;
    parse_card(card.1, name)
}

/// A shipped mask.
///
/// # Errors
/// If no shipped mask has this name, or this machine computes other values than the card's hash stands for.
pub fn shipped(name: &str) -> Result<Mask, OpticsError> {
    let card = shipped_card(name)?;
    let mask = card.recipe.generate(card.rows, card.columns, card.seed)?;
    card.verify(&mask)?;
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_mask_equals_its_file_and_its_card() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../masks");
        for name in shipped_names() {
            let mask = shipped(name).unwrap();
            let card = shipped_card(name).unwrap();
            assert_eq!(card.name, name);
            assert!((card.throughput - mask.throughput()).abs() < 1e-12);
            // An NPY file ends with its values.
            let file = std::fs::read(folder.join(name).with_extension("npy")).unwrap();
            let values = mask.to_le_bytes();
            assert_eq!(file.len() - values.len(), 128, "{name}: one header of 128 bytes");
            assert!(file.ends_with(&values), "{name}.npy is not what its recipe gives");
        }
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "npy"));
        assert_eq!(files.len(), SHIPPED.len(), "a file in masks/ is not listed here");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = shipped("casi256").unwrap_err().to_string();
        assert!(error.contains("did you mean `cassi256`"), "{error}");
    }
}
