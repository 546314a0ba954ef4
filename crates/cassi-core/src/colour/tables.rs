//! The tables of constants in `data/`: observer, illuminants, ColorChecker. All lie on 380 to 780 nm in steps of 5.

use std::{fmt, str::FromStr, sync::LazyLock};

/// First wavelength of the tables, nm.
pub(super) const FIRST_NM: f64 = 380.0;
/// Last wavelength of the tables, nm.
pub(super) const LAST_NM: f64 = 780.0;
const STEP_NM: f64 = 5.0;
const ROWS: usize = 81;

/// Columns of a table with their names, wavelength column left out.
struct Table {
    names: Vec<&'static str>,
    columns: Vec<[f64; ROWS]>,
}

fn parse(text: &'static str) -> Table {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().expect("a header line").split(',').skip(1).collect();
    let mut columns = vec![[0.0; ROWS]; names.len()];
    for (row, line) in lines.enumerate() {
        for (column, value) in columns.iter_mut().zip(line.split(',').skip(1)) {
            column[row] = value.parse().expect("a number in every cell");
        }
    }
    Table { names, columns }
}

static OBSERVER: LazyLock<Table> = LazyLock::new(|| parse(include_str!("../../data/cie1931_2deg_5nm.csv")));
static LAMPS: LazyLock<Table> = LazyLock::new(|| parse(include_str!("../../data/illuminants_5nm.csv")));
static CHART: LazyLock<Table> = LazyLock::new(|| parse(include_str!("../../data/colorchecker24_5nm.csv")));

/// Linear interpolation, constant beyond the ends.
fn interpolate(column: &[f64; ROWS], nm: f64) -> f64 {
    let place = ((nm - FIRST_NM) / STEP_NM).clamp(0.0, (ROWS - 1) as f64);
    let low = (place as usize).min(ROWS - 2);
    let weight = place - low as f64;
    column[low] * (1.0 - weight) + column[low + 1] * weight
}

/// The colour matching functions x, y, z of the CIE 1931 2-degree observer; 0 outside 380 to 780 nm.
pub fn observer(nm: f64) -> [f64; 3] {
    if !(FIRST_NM..=LAST_NM).contains(&nm) {
        return [0.0; 3];
    }
    std::array::from_fn(|i| interpolate(&OBSERVER.columns[i], nm))
}

/// A light by name. Its power is relative; only its shape matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illuminant {
    /// Average daylight, 6504 K.
    D65,
    /// Incandescent lamp, 2856 K.
    A,
    /// Cool white fluorescent lamp (also FL2).
    F2,
    /// Narrow-band fluorescent lamp (also FL11).
    F11,
    /// White LED, 4100 K class.
    LedB3,
    /// High-pressure sodium lamp.
    Hp1,
    /// Equal power: for cubes that hold radiance already.
    E,
}

/// A name that no illuminant has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no illuminant is called `{0}`, expected one of d65, a, f2, f11, led-b3, hp1, e")]
pub struct UnknownIlluminant(pub String);

impl Illuminant {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::D65, Self::A, Self::F2, Self::F11, Self::LedB3, Self::Hp1, Self::E];

    /// The name in commands and captions.
    pub fn name(self) -> &'static str {
        match self {
            Self::D65 => "D65",
            Self::A => "A",
            Self::F2 => "F2",
            Self::F11 => "F11",
            Self::LedB3 => "LED-B3",
            Self::Hp1 => "HP1",
            Self::E => "E",
        }
    }

    /// Relative power at a wavelength in nm; constant beyond 380 to 780 nm.
    pub fn power(self, nm: f64) -> f64 {
        if self == Self::E {
            return 1.0;
        }
        let column =
            LAMPS.names.iter().position(|&name| name == self.name()).expect("every lamp is in the table");
        interpolate(&LAMPS.columns[column], nm)
    }
}

impl fmt::Display for Illuminant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Illuminant {
    type Err = UnknownIlluminant;
    fn from_str(name: &str) -> Result<Self, UnknownIlluminant> {
        (Self::ALL.into_iter().find(|i| i.name().eq_ignore_ascii_case(name)))
            .ok_or_else(|| UnknownIlluminant(name.into()))
    }
}

/// One patch of the ColorChecker.
#[derive(Debug, Clone, Copy)]
pub struct Patch {
    column: usize,
}

impl Patch {
    /// Its name, e.g. `dark_skin`.
    pub fn name(self) -> &'static str {
        CHART.names[self.column]
    }

    /// Its reflectance at a wavelength in nm; constant beyond 380 to 780 nm.
    pub fn reflectance(self, nm: f64) -> f64 {
        interpolate(&CHART.columns[self.column], nm)
    }
}

/// The 24 patches of the ColorChecker in chart order: four rows of six, the last one grey from white to black.
pub fn colorchecker() -> impl ExactSizeIterator<Item = Patch> {
    (0..24).map(|column| Patch { column })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_complete() {
        for table in [&*OBSERVER, &LAMPS, &CHART] {
            assert!(table.columns.iter().flatten().all(|v| v.is_finite()));
        }
        assert_eq!((OBSERVER.columns.len(), LAMPS.columns.len(), CHART.columns.len()), (3, 6, 24));
        for illuminant in Illuminant::ALL {
            assert!(illuminant.power(560.0) > 0.0);
            assert_eq!(illuminant.name().to_lowercase().parse(), Ok(illuminant));
        }
        assert!("d66".parse::<Illuminant>().unwrap_err().to_string().contains("d66"));
    }

    #[test]
    fn values_of_the_standard() {
        // CIE 015: y is 1 at 555 nm (0.99495 at 550), A and D65 are 100 at 560 nm.
        assert_eq!(observer(550.0), [0.4334499, 0.9949501, 0.008749999]);
        assert_eq!(observer(379.0), [0.0; 3]);
        assert!((Illuminant::A.power(560.0) - 100.0).abs() < 1e-9);
        assert!((Illuminant::D65.power(560.0) - 100.0).abs() < 1e-9);
    }
}
