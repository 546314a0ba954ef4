//! The card of a mask: what its file holds and how it was made, as TOML beside it.

use cassi_core::Mask;
use serde::{Deserialize, Serialize};

use super::{MaskRecipe, sha256};
use crate::{OpticsError, instrument::parse_toml};

/// What a mask file is. The values are `f32`, axes (row, column).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskCard {
    /// Its name, e.g. `cassi256`.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The order of the axes.
    pub axes: String,
    /// What the values mean.
    pub polarity: String,
    /// Mean transmittance.
    pub throughput: f64,
    /// SHA-256 of the values as little-endian `f32`, row by row.
    pub sha256: String,
    /// Where it comes from, in words.
    pub origin: String,
    /// Width of a pixel in µm, where it stands for a physical mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pitch_um: Option<f64>,
    /// Under which terms it may be used.
    pub licence: String,
    /// Seed of the recipe.
    pub seed: u64,
    /// How it is made; recipe, size and seed give it bit for bit.
    pub recipe: MaskRecipe,
}

impl MaskCard {
    /// Makes a mask and its card.
    ///
    /// ```
    /// use cassi_optics::mask::{MaskCard, MaskRecipe, sha256};
    /// let (mask, card) = MaskCard::make("mine", MaskRecipe::Bernoulli { open_fraction: 0.5 }, 32, 48, 7)?;
    /// assert_eq!((mask.shape(), sha256(&mask)), ([32, 48], card.sha256));
    /// # Ok::<(), cassi_optics::OpticsError>(())
    /// ```
    ///
    /// # Errors
    /// An empty size, or a parameter out of its range.
    pub fn make(
        name: &str,
        recipe: MaskRecipe,
        rows: usize,
        columns: usize,
        seed: u64,
    ) -> Result<(Mask, Self), OpticsError> {
        let mask = recipe.generate(rows, columns, seed)?;
        let card = Self {
            name: name.into(),
            rows,
            columns,
            axes: "row, column".into(),
            polarity: "1 = open, 0 = shut".into(),
            throughput: mask.throughput(),
            sha256: sha256(&mask),
            origin: "computed from the recipe below, not photographed".into(),
            pitch_um: None,
            licence: "MIT OR Apache-2.0".into(),
            seed,
            recipe,
        };
        Ok((mask, card))
    }

    /// The card as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a card is a table of plain values")
    }

    /// Whether a mask is the one that this card describes.
    ///
    /// # Errors
    /// Names the shape or hash that differs.
    pub fn verify(&self, mask: &Mask) -> Result<(), OpticsError> {
        let found = if mask.shape() == [self.rows, self.columns] {
            sha256(mask)
        } else {
            format!("{}x{} values", mask.rows(), mask.columns())
        };
        if found == self.sha256 {
            return Ok(());
        }
        let expected = format!("{}x{} values of SHA-256 {}", self.rows, self.columns, self.sha256);
        Err(OpticsError::Card { name: self.name.clone(), found, expected })
    }
}

/// Reads a card; `origin` is what messages call its source, e.g. the path of the file.
///
/// # Errors
/// Text that is not TOML, unknown or missing keys, wrong types: with origin and line.
pub fn parse_card(text: &str, origin: &str) -> Result<MaskCard, OpticsError> {
    parse_toml(text, origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Grey;

    #[test]
    fn cards_come_back_and_know_their_mask() {
        for recipe in [
            MaskRecipe::Bernoulli { open_fraction: 0.5 },
            MaskRecipe::BlueNoise { open_fraction: 0.25 },
            MaskRecipe::Grey(Grey::default()),
        ] {
            let (mask, card) = MaskCard::make("test", recipe, 12, 10, 9).unwrap();
            assert_eq!(parse_card(&card.to_toml(), "test").unwrap(), card);
            card.verify(&mask).unwrap();
            let mut data = mask.into_data();
            data[[3, 4]] += 0.25;
            let error = card.verify(&Mask::new(data.clone()).unwrap()).unwrap_err().to_string();
            assert!(error.contains(&card.sha256), "{error}");
            let narrow = Mask::new(data.slice(ndarray::s![.., ..9]).to_owned()).unwrap();
            assert!(card.verify(&narrow).unwrap_err().to_string().contains("12x9"));
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let (_, card) = MaskCard::make("t", MaskRecipe::Bernoulli { open_fraction: 0.5 }, 2, 2, 0).unwrap();
        let text = card.to_toml().replace("polarity", "polarty");
        let error = parse_card(&text, "cards/t.toml").unwrap_err().to_string();
        assert!(error.starts_with("cards/t.toml:5:"), "{error}");
        assert!(error.contains("did you mean `polarity`"), "{error}");
    }
}
