//! Weights of networks: opened by name of a file and checked against their card, or chosen by what they are for.

mod catalogue;
mod known;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cassi_core::card::{MaskPolicy, WeightsCard};
use cassi_core::{InstrumentDescription, Mask, NamedTensors, Tensor};
use cassi_infer::binary::{self, BinaryNetwork};

pub(crate) use catalogue::{Entry, Place, entries, read_card};

use crate::inputs::has_extension;

/// Weights in memory, with what is known of them.
pub(crate) struct Weights {
    /// The file, or `built in`.
    pub(crate) place: String,
    /// The file, where there is one.
    pub(crate) path: Option<PathBuf>,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    /// What they are for; absent for checkpoints that nothing is known of.
    pub(crate) card: Option<WeightsCard>,
    /// The numbers.
    pub(crate) content: Content,
}

/// What a weights file holds.
pub(crate) enum Content {
    /// Named tensors.
    Tensors(NamedTensors),
    /// A network that `cassi compile` packed.
    Packed(Box<BinaryNetwork>),
}

impl Weights {
    /// Opens the weights that the user named: a file, or the name of weights that ship. A file's card, where one lies
    /// beside it, must be about this file.
    ///
    /// # Errors
    /// If there is no such file, it is damaged, or its hash is not the card's.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.exists()
            && let Some(name) = path.to_str().filter(|name| !name.contains(['/', '.']))
        {
            let (entries, _) = entries()?;
            if let Some(entry) = entries.into_iter().find(|entry| entry.card.name == name) {
                return Self::of_entry(entry);
            }
        }
        if has_extension(path, &["cbin"]) {
            let bytes = cassi_io::read_bytes(path)?;
            let network = binary::parse_cbin(&bytes).with_context(|| path.display().to_string())?;
            return Ok(Self {
                place: path.display().to_string(),
                path: Some(path.into()),
                sha256: cassi_io::sha256_hex(&bytes),
                card: None,
                content: Content::Packed(Box::new(network)),
            });
        }
        let card_path = path.with_extension("toml");
        let card = match card_path != path && card_path.is_file() {
            true => Some(read_card(&card_path)?),
            false => None,
        };
        Self::of_file(path, card)
    }

    fn of_file(path: &Path, card: Option<WeightsCard>) -> anyhow::Result<Self> {
        let sha256 = cassi_io::sha256_file(path)?;
        if let Some(card) = &card {
            card.check_sha256(&sha256).with_context(|| path.display().to_string())?;
        }
        Ok(Self {
            place: path.display().to_string(),
            path: Some(path.into()),
            card: card.or_else(|| known::card(&sha256)),
            sha256,
            content: Content::Tensors(cassi_io::read_tensors(path)?.without_common_prefix("module.")),
        })
    }

    fn of_entry(entry: Entry) -> anyhow::Result<Self> {
        match entry.place {
            Place::File(path) => Self::of_file(&path, Some(entry.card)),
            Place::Embedded(bytes) => {
                let sha256 = cassi_io::sha256_hex(bytes);
                entry.card.check_sha256(&sha256).with_context(|| format!("built-in {}", entry.card.name))?;
                Ok(Self {
                    place: format!("{} (built in)", entry.card.name),
                    path: None,
                    sha256,
                    card: Some(entry.card),
                    content: Content::Tensors(tensors(bytes)?),
                })
            }
        }
    }

    /// Name and hash, for the card of the method.
    pub(crate) fn label(&self) -> String {
        let name = match &self.path {
            Some(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            None => self.place.clone(),
        };
        format!("{name} (SHA-256 {})", self.sha256)
    }

    /// The name of the instrument that they are known to be for.
    pub(crate) fn instrument(&self) -> Option<&str> {
        match (&self.card, &self.content) {
            (Some(card), _) => Some(&card.instrument),
            (None, Content::Packed(network)) => Some(network.layout().name()),
            (None, Content::Tensors(_)) => None,
        }
    }

    /// Refuses a method or an instrument that the card is not about.
    ///
    /// # Errors
    /// With both values.
    pub(crate) fn check(&self, method: &str, instrument: &InstrumentDescription) -> anyhow::Result<()> {
        let Some(card) = &self.card else { return Ok(()) };
        card.check_method(method)
            .and_then(|()| {
                card.check_instrument(instrument, cassi_optics::builtin(&card.instrument).as_ref())
            })
            .with_context(|| self.place.clone())
    }

    /// A sentence for the user if they were trained for another mask than this.
    pub(crate) fn mask_note(&self, mask: Option<&Mask>) -> Option<String> {
        let (card, mask) = (self.card.as_ref()?, mask?);
        suits(&card.mask, Some(&cassi_optics::mask::sha256(mask))).is_none().then(|| {
            format!(
                "{} was trained for {}, and the snapshot's mask is another: expect less of it",
                self.place, card.mask
            )
        })
    }

    /// What their card says not to expect of them, as a sentence for the user.
    pub(crate) fn limits_note(&self) -> Option<String> {
        let limits = self.card.as_ref()?.limits.as_ref()?;
        Some(format!("{}: {limits}", self.place))
    }

    /// The tensors.
    ///
    /// # Errors
    /// If these are packed bits.
    pub(crate) fn tensors(&self) -> anyhow::Result<&NamedTensors> {
        match &self.content {
            Content::Tensors(tensors) => Ok(tensors),
            Content::Packed(_) => {
                bail!("{}: packed bits run on the native engine alone; pass the float checkpoint", self.place)
            }
        }
    }
}

/// The tensors of a safetensors file in memory.
fn tensors(bytes: &[u8]) -> anyhow::Result<NamedTensors> {
    let contents = cassi_io::parse_safetensors(bytes)?;
    let tensor = |variable: &cassi_io::Variable| {
        let array = variable.to_array()?;
        let shape = array.shape().to_vec();
        let tensor = Tensor::new(shape, array.into_raw_vec_and_offset().0).expect("as long as its shape");
        Some((variable.name.clone(), tensor))
    };
    Ok(contents.variables.iter().filter_map(tensor).collect())
}

/// How well weights suit a mask; smaller is better, none is not at all.
fn suits(policy: &MaskPolicy, mask: Option<&str>) -> Option<u8> {
    match (policy, mask) {
        (MaskPolicy::Only(stated), Some(found)) if stated == found => Some(0),
        (MaskPolicy::Any, _) => Some(1),
        // Networks for a real instrument are not told the mask, so that it may be unknown.
        (MaskPolicy::Only(_), None) => Some(2),
        (MaskPolicy::Only(_), Some(_)) => None,
    }
}

/// The weights of a method for an instrument and the mask of its snapshot, if there are some: those made for this
/// mask, else those for any. Cards that cannot be read become notes.
///
/// # Errors
/// If the chosen file is not what its card says, or a folder of weights is not there.
pub(crate) fn find(
    method: &str,
    instrument: &InstrumentDescription,
    mask: Option<&Mask>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Option<Weights>> {
    let (entries, unreadable) = entries()?;
    notes.extend(unreadable);
    let hash = mask.map(cassi_optics::mask::sha256);
    let rank = |entry: &Entry| {
        let card = &entry.card;
        card.check_method(method).ok()?;
        card.check_instrument(instrument, cassi_optics::builtin(&card.instrument).as_ref()).ok()?;
        suits(&card.mask, hash.as_deref())
    };
    let ranked = entries.into_iter().filter_map(|entry| Some((rank(&entry)?, entry)));
    // The first of equals: places come in their order.
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| Weights::of_entry(entry)).transpose()
}

/// As [`find`], where there have to be some.
///
/// # Errors
/// As [`find`]; if none fit: which there are, and for what.
pub(crate) fn choose(
    method: &str,
    instrument: &InstrumentDescription,
    mask: Option<&Mask>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Weights> {
    if let Some(weights) = find(method, instrument, mask, notes)? {
        return Ok(weights);
    }
    let there: Vec<String> = (entries()?.0.iter())
        .filter(|entry| entry.card.method == method)
        .map(|Entry { card, place }| {
            format!("{} for instrument `{}` and {} ({place})", card.name, card.instrument, card.mask)
        })
        .collect();
    if there.is_empty() {
        bail!(
            "there are no weights of {method}; pass a checkpoint with --weights FILE, or train some \
             (docs/training.md)"
        );
    }
    let with = match mask {
        Some(mask) => {
            let hash = cassi_optics::mask::sha256(mask);
            format!(" and the mask {}", &hash[..12])
        }
        None => String::new(),
    };
    bail!(
        "no weights of {method} fit instrument `{}`{with}; there are {}; pass others with --weights FILE",
        instrument.name,
        there.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_for_the_mask_come_before_those_for_any() {
        let only = MaskPolicy::Only("a".into());
        assert!(suits(&only, Some("a")) < suits(&MaskPolicy::Any, Some("a")));
        assert_eq!(suits(&only, Some("b")), None);
        assert!(suits(&MaskPolicy::Any, None) < suits(&only, None));
    }

    #[test]
    fn what_is_built_in_is_what_its_card_says() {
        for entry in entries().unwrap().0 {
            if matches!(entry.place, Place::Embedded(_)) {
                let name = entry.card.name.clone();
                let weights = Weights::of_entry(entry).unwrap();
                assert!(!weights.tensors().unwrap().is_empty(), "{name}");
            }
        }
    }
}
