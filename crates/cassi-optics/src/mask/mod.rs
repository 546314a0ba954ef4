//! Masks: recipes that make them, cards that describe them, the ones that ship, and fitting one to another size.
//!
//! A mask is transmittance `[row, column]` in [0, 1], 1 = open. Every generator is a pure function of recipe, size
//! and seed, made of arithmetic that IEEE 754 fixes to the last bit (no `exp`, no `sin`), so that a recipe and a
//! hash stand for a file on every machine.

mod blue_noise;
mod card;
mod grey;
mod shipped;

use cassi_core::{Mask, random::Stream};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::OpticsError;
pub use blue_noise::blue_noise;
pub use card::{MaskCard, parse_card};
pub use grey::{Grey, grey};
pub use shipped::{shipped, shipped_card, shipped_names};

/// How a mask is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MaskRecipe {
    /// Every pixel open or shut on its own: see [`bernoulli`].
    Bernoulli {
        /// Probability of an open pixel.
        open_fraction: f64,
    },
    /// Open pixels spread evenly, without low frequencies: see [`blue_noise`].
    BlueNoise {
        /// Fraction of open pixels.
        open_fraction: f64,
    },
    /// As a camera photographs a binary mask: see [`grey`].
    Grey(Grey),
}

impl MaskRecipe {
    /// Makes the mask.
    ///
    /// # Errors
    /// An empty size, or a parameter out of its range.
    pub fn generate(&self, rows: usize, columns: usize, seed: u64) -> Result<Mask, OpticsError> {
        if rows == 0 || columns == 0 {
            return Err(OpticsError::recipe("size", format!("{rows}x{columns}"), "at least 1x1"));
        }
        match *self {
            Self::Bernoulli { open_fraction } | Self::BlueNoise { open_fraction } => {
                if !(0.0..=1.0).contains(&open_fraction) {
                    return Err(OpticsError::recipe("open_fraction", open_fraction, "a number in [0, 1]"));
                }
            }
            Self::Grey(parameters) => parameters.validate()?,
        }
        Ok(match *self {
            Self::Bernoulli { open_fraction } => bernoulli(rows, columns, open_fraction, seed),
            Self::BlueNoise { open_fraction } => blue_noise(rows, columns, open_fraction, seed),
            Self::Grey(parameters) => grey(rows, columns, &parameters, seed),
        })
    }
}

/// A binary mask whose pixels are open with probability `open_fraction`, each on its own.
///
/// # Panics
/// If a side is 0.
pub fn bernoulli(rows: usize, columns: usize, open_fraction: f64, seed: u64) -> Mask {
    from_rows(rows, columns, |row| {
        let mut stream = Stream::new(seed, "mask/bernoulli", row as u64);
        (0..columns).map(|_| f32::from(stream.chance(open_fraction))).collect()
    })
}

fn from_rows(rows: usize, columns: usize, row: impl Fn(usize) -> Vec<f32>) -> Mask {
    let data: Vec<f32> = (0..rows).flat_map(row).collect();
    Mask::new(Array2::from_shape_vec((rows, columns), data).expect("rows of equal length"))
        .expect("not empty")
}

/// SHA-256 of the values as little-endian `f32`, row by row, in hexadecimal: the identity of a mask.
pub fn sha256(mask: &Mask) -> String {
    Sha256::digest(mask.to_le_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The mask for a scene of `rows` x `columns`: itself, its upper left part, or repeated like tiles; with a sentence
/// that says so unless it fits as it is.
///
/// ```
/// use cassi_optics::mask::{fit_to, shipped};
/// let (mask, note) = fit_to(&shipped("cassi256")?, 100, 300);
/// assert_eq!(mask.shape(), [100, 300]);
/// assert!(note.unwrap().contains("repeated"));
/// # Ok::<(), cassi_optics::OpticsError>(())
/// ```
///
/// # Panics
/// If a side is 0.
pub fn fit_to(mask: &Mask, rows: usize, columns: usize) -> (Mask, Option<String>) {
    let [own_rows, own_columns] = mask.shape();
    if [rows, columns] == mask.shape() {
        return (mask.clone(), None);
    }
    let how =
        if rows <= own_rows && columns <= own_columns { "cut to its upper left" } else { "repeated to" };
    let note = format!("the {own_rows}x{own_columns} mask is {how} {rows}x{columns}");
    let view = mask.view();
    let data = Array2::from_shape_fn((rows, columns), |(r, c)| view[[r % own_rows, c % own_columns]]);
    (Mask::new(data).expect("a size of at least 1x1"), Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_fraction_and_seed_are_kept() {
        let mask = bernoulli(256, 256, 0.37, 1);
        // Five standard deviations of a fraction over 65536 draws: 5 √(0.37 · 0.63 / 65536) = 0.0094.
        assert!((mask.throughput() - 0.37).abs() < 0.0094);
        assert!(mask.as_slice().iter().all(|&v| v == 0.0 || v == 1.0));
        assert_eq!(mask, bernoulli(256, 256, 0.37, 1));
        assert_ne!(mask, bernoulli(256, 256, 0.37, 2));
        assert_eq!(bernoulli(3, 4, 0.0, 1).throughput(), 0.0);
        assert_eq!(bernoulli(3, 4, 1.0, 1).throughput(), 1.0);
    }

    #[test]
    fn fitting_crops_or_repeats() {
        let mask = Mask::new(ndarray::arr2(&[[0.0, 0.1, 0.2], [1.0, 1.1, 1.2]])).unwrap();
        assert_eq!(fit_to(&mask, 2, 3), (mask.clone(), None));
        let (cut, note) = fit_to(&mask, 1, 2);
        assert_eq!(cut.as_slice(), [0.0, 0.1]);
        assert_eq!(note.unwrap(), "the 2x3 mask is cut to its upper left 1x2");
        let (tiled, note) = fit_to(&mask, 3, 4);
        assert_eq!(tiled.as_slice(), [0.0, 0.1, 0.2, 0.0, 1.0, 1.1, 1.2, 1.0, 0.0, 0.1, 0.2, 0.0]);
        assert_eq!(note.unwrap(), "the 2x3 mask is repeated to 3x4");
    }

    #[test]
    fn impossible_recipes_are_refused_by_name() {
        let refused = |recipe: MaskRecipe, size: usize| recipe.generate(size, 8, 0).unwrap_err().to_string();
        assert!(refused(MaskRecipe::Bernoulli { open_fraction: 1.5 }, 8).contains("open_fraction"));
        assert!(refused(MaskRecipe::BlueNoise { open_fraction: f64::NAN }, 8).contains("open_fraction"));
        assert!(refused(MaskRecipe::Grey(Grey { cell: 0.0, ..Grey::default() }), 8).contains("cell"));
        assert!(refused(MaskRecipe::Bernoulli { open_fraction: 0.5 }, 0).contains("0x8"));
    }

    #[test]
    fn the_hash_is_over_little_endian_floats() {
        // sha256 of the 8 bytes 00 00 00 00 00 00 80 3f, by coreutils.
        let mask = Mask::new(ndarray::arr2(&[[0.0, 1.0]])).unwrap();
        assert_eq!(sha256(&mask), "22b6f43bd8d27738d3213f29e96b62d01d9d6c0ab4f9732aaae803186f51eab7");
    }
}
