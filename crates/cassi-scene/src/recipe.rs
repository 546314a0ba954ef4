//! Recipes: the few numbers a procedural scene is made from.

use std::{fmt, str::FromStr};

use cassi_core::{Cube, Wavelengths};
use serde::{Deserialize, Serialize};

use crate::{
    compose::compose,
    paint::{SHORT_SIDE, paint},
};

/// What a scene shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Balls, boxes, blobs and beads on a table or on black felt: shading, highlights, shadows, occlusion.
    StillLife,
    /// The ColorChecker and a chart of drawn reflectances on a bench.
    Chart,
    /// Tartan and printed cloth in folds.
    Fabric,
    /// Print on paper: thin strokes and blocks of colour.
    Letters,
    /// Leaves, flowers and berries.
    Garden,
}

/// A name that no kind has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no kind of scene is called `{0}`, expected one of still-life, chart, fabric, letters, garden")]
pub struct UnknownKind(pub String);

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::StillLife, Self::Chart, Self::Fabric, Self::Letters, Self::Garden];

    /// The name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::StillLife => "still-life",
            Self::Chart => "chart",
            Self::Fabric => "fabric",
            Self::Letters => "letters",
            Self::Garden => "garden",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind(name.into()))
    }
}

/// A procedural scene: same recipe, same bytes, on any number of threads. Seed and kind say what is in it (for one
/// ratio of sides); size and wavelength grid only say how finely it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SceneRecipe {
    /// Which one of its kind.
    pub seed: u64,
    /// Height in pixels.
    pub rows: usize,
    /// Width in pixels.
    pub columns: usize,
    /// What it shows.
    pub kind: Kind,
}

impl SceneRecipe {
    /// A scene of the benchmark's size, 256 by 256.
    pub fn new(kind: Kind, seed: u64) -> Self {
        Self { seed, rows: 256, columns: 256, kind }
    }

    /// Of another size in pixels.
    pub fn with_size(self, rows: usize, columns: usize) -> Self {
        Self { rows, columns, ..self }
    }

    /// Renders the scene: radiance `[band, row, column]` in [0, 1], where about 1 is a white surface in full light.
    ///
    /// # Panics
    /// If rows or columns is 0.
    pub fn render(&self, wavelengths: &Wavelengths) -> Cube {
        assert!(self.rows > 0 && self.columns > 0, "a scene of at least one pixel");
        let unit = SHORT_SIDE / self.rows.min(self.columns) as f32;
        let size = (self.rows as f32 * unit, self.columns as f32 * unit);
        let composition = compose(self.kind, self.seed, size, wavelengths);
        paint(&composition.objects, &composition.light, self.rows, self.columns, wavelengths)
    }
}
