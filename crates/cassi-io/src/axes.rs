//! Which axis of a stored cube is which: by option, by the file's own word, by the number of bands, or by rule.

use std::fmt;
use std::str::FromStr;

/// The meaning of the three axes of a stored cube, e.g. `row,column,band`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes {
    /// Which stored axis runs over bands, rows and columns.
    band: usize,
    row: usize,
    column: usize,
}

/// A text that does not name the three axes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("axes `{found}`: expected `band`, `row` and `column` in the order of the file, e.g. row,column,band")]
pub struct AxesError {
    /// The text met.
    pub found: String,
}

impl Axes {
    /// `[band, row, column]`, as this crate writes cubes.
    pub const BAND_FIRST: Self = Self { band: 0, row: 1, column: 2 };
    /// `[row, column, band]`, as MATLAB files of the field have them.
    pub const BAND_LAST: Self = Self { band: 2, row: 0, column: 1 };

    /// The order with this axis over bands and the other two over rows and columns, in this order.
    fn with_band(axis: usize) -> Self {
        match axis {
            0 => Self::BAND_FIRST,
            1 => Self { band: 1, row: 0, column: 2 },
            _ => Self::BAND_LAST,
        }
    }

    /// Stored axes in the order band, row, column: what `permuted_axes` takes.
    pub fn permutation(self) -> [usize; 3] {
        [self.band, self.row, self.column]
    }
}

impl FromStr for Axes {
    type Err = AxesError;

    fn from_str(text: &str) -> Result<Self, AxesError> {
        let names: Vec<String> = text
            .split([',', ' '])
            .map(|name| name.trim().to_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        match (
            find(&["band", "bands", "b"]),
            find(&["row", "rows", "r", "y"]),
            find(&["column", "columns", "col", "c", "x"]),
        ) {
            (Some(band), Some(row), Some(column)) if names.len() == 3 => Ok(Self { band, row, column }),
            _ => Err(AxesError { found: text.into() }),
        }
    }
}

impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = [""; 3];
        (names[self.band], names[self.row], names[self.column]) = ("band", "row", "column");
        write!(f, "{}", names.join(","))
    }
}

/// What is known when the order of axes is to be told.
pub(crate) struct Hints<'a> {
    pub(crate) given: Option<Axes>,
    /// The dataset's own attribute.
    pub(crate) stated: Option<&'a str>,
    /// Number of wavelengths given or stored.
    pub(crate) bands: Option<usize>,
    /// Indexed as MATLAB does, whose cubes of the field end with the band.
    pub(crate) matlab: bool,
}

/// Band counts that the field's sets have: the benchmark's 28, and CAVE's and KAIST's 31.
const USUAL_BANDS: [usize; 2] = [28, 31];

/// The order of the axes of a cube of this shape, and a note on how it was told where it was not given or stated.
pub(crate) fn resolve(shape: [usize; 3], hints: &Hints<'_>) -> (Axes, Option<String>) {
    if let Some(axes) = hints.given {
        return (axes, None);
    }
    if let Some(axes) = hints.stated.and_then(|text| text.parse().ok()) {
        return (axes, None);
    }
    let noted = |band: usize, why: String| {
        let axes = Axes::with_band(band);
        (axes, Some(format!("axes taken as {axes}: {why}")))
    };
    let of_length = |n: usize| {
        let fitting: Vec<usize> = (0..3).filter(|&axis| shape[axis] == n).collect();
        // Of several axes that fit, the one where the format has its bands.
        if hints.matlab { fitting.last().copied() } else { fitting.first().copied() }
    };
    if let Some(n) = hints.bands
        && let Some(axis) = of_length(n)
    {
        return noted(axis, format!("{n} wavelengths"));
    }
    for n in USUAL_BANDS {
        if let Some(axis) = of_length(n) {
            return noted(axis, format!("an axis of {n}"));
        }
    }
    let smallest = (0..3).find(|&axis| (0..3).all(|other| other == axis || 2 * shape[axis] <= shape[other]));
    match smallest {
        Some(axis) => noted(axis, format!("the clearly smallest axis, {}", shape[axis])),
        None if hints.matlab => noted(2, "the custom of MAT files".into()),
        None => noted(0, "the order of this program".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(bands: Option<usize>, matlab: bool) -> Hints<'static> {
        Hints { given: None, stated: None, bands, matlab }
    }

    #[test]
    fn names_and_their_order() {
        assert_eq!("band,row,column".parse(), Ok(Axes::BAND_FIRST));
        assert_eq!("Row, Col, Bands".parse(), Ok(Axes::BAND_LAST));
        let odd: Axes = "column,band,row".parse().unwrap();
        assert_eq!((odd.permutation(), odd.to_string()), ([1, 2, 0], "column,band,row".to_string()));
        for wrong in ["", "band,row", "band,band,row", "band,row,column,time"] {
            assert!(wrong.parse::<Axes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_in_their_order() {
        for (shape, hints, band) in [
            ([256, 256, 28], hints(None, true), 2),
            ([28, 256, 256], hints(None, true), 0),
            ([28, 256, 28], hints(None, true), 2),
            ([28, 256, 28], hints(None, false), 0),
            ([10, 20, 12], hints(Some(12), false), 2),
            ([10, 20, 12], hints(None, true), 2),
            ([10, 20, 12], hints(None, false), 0),
            ([64, 8, 64], hints(None, false), 1),
            ([31, 28, 200], hints(Some(31), true), 0),
        ] {
            let (axes, note) = resolve(shape, &hints);
            assert_eq!(axes.permutation()[0], band, "{shape:?}");
            assert!(note.is_some());
        }
        let given = Hints {
            given: Some(Axes::BAND_LAST),
            stated: Some("band,row,column"),
            bands: None,
            matlab: false,
        };
        assert_eq!(resolve([28, 5, 5], &given), (Axes::BAND_LAST, None));
        let stated = Hints { given: None, ..given };
        assert_eq!(resolve([5, 5, 28], &stated), (Axes::BAND_FIRST, None));
    }
}
