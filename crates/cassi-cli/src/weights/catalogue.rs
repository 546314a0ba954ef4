//! The weights that can be had without naming a file: where they are looked for, and what their cards say.
//!
//! In this order: the folders of `CASSI_WEIGHTS`, `share/cassi/weights` beside the binary's folder, `weights/` of the
//! repository that the binary lies in, and those inside the binary.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cassi_core::card::WeightsCard;

use crate::inputs::has_extension;

/// Name, card and weights of the defaults that are part of the binary.
const EMBEDDED: &[(&str, &str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/embedded_weights.rs"));

/// Folders with weights, separated as in `PATH`.
pub(crate) const VARIABLE: &str = "CASSI_WEIGHTS";

/// Weights with a card.
pub(crate) struct Entry {
    pub(crate) card: WeightsCard,
    pub(crate) place: Place,
}

/// Where weights lie.
pub(crate) enum Place {
    /// A file, with its card beside it.
    File(PathBuf),
    /// In the binary.
    Embedded(&'static [u8]),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Embedded(_) => f.write_str("built in"),
        }
    }
}

/// All weights there are, best place first, and notes on cards that cannot be read. Files are not opened, their cards
/// are.
///
/// # Errors
/// If a folder that the user named is not there.
pub(crate) fn entries() -> anyhow::Result<(Vec<Entry>, Vec<String>)> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut notes = Vec::new();
    for folder in folders()? {
        for file in cassi_io::list_folder(&folder)? {
            if !has_extension(&file, &["toml"]) {
                continue;
            }
            let Some(weights) = weights_beside(&file) else { continue };
            match read_card(&file) {
                Ok(card) => entries.push(Entry { card, place: Place::File(weights) }),
                Err(error) => notes.push(format!("{error:#}")),
            }
        }
    }
    for (name, card, weights) in EMBEDDED {
        let card = toml::from_str(card).with_context(|| format!("built-in weights {name}: their card"))?;
        entries.push(Entry { card, place: Place::Embedded(weights) });
    }
    // The same weights in two places are one.
    let mut seen: Vec<String> = Vec::new();
    entries.retain(|entry| {
        let new = !seen.contains(&entry.card.sha256);
        seen.push(entry.card.sha256.clone());
        new
    });
    Ok((entries, notes))
}

/// A card from its file.
///
/// # Errors
/// If it cannot be read, or is no card.
pub(crate) fn read_card(path: &Path) -> anyhow::Result<WeightsCard> {
    let text = cassi_io::read_text(path)?;
    toml::from_str(&text).with_context(|| format!("{}: no card of weights", path.display()))
}

/// The weights file of a card: the same name with another extension.
fn weights_beside(card: &Path) -> Option<PathBuf> {
    ["safetensors", "pth", "pt"].iter().map(|e| card.with_extension(e)).find(|path| path.is_file())
}

fn folders() -> anyhow::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        for folder in std::env::split_paths(&named).filter(|folder| !folder.as_os_str().is_empty()) {
            if !folder.is_dir() {
                bail!("{VARIABLE}: there is no folder {}", folder.display());
            }
            folders.push(folder);
        }
    }
    let Some(beside) = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_path_buf())) else {
        return Ok(folders);
    };
    folders.extend(beside.parent().map(|prefix| prefix.join("share/cassi/weights")).filter(|f| f.is_dir()));
    let repository = |folder: &&Path| folder.join("crates/cassi-cli/Cargo.toml").is_file();
    folders
        .extend(beside.ancestors().find(repository).map(|root| root.join("weights")).filter(|f| f.is_dir()));
    Ok(folders)
}
