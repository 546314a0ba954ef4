//! What is compared: scenes with their estimates, and the choices of the figures.

use std::borrow::Cow;

use cassi_core::{
    Cube, Snapshot,
    colour::Illuminant,
    metrics::{Pair, Scores},
};

use crate::ReportError;

/// One estimate of a scene.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Name in figures and tables, e.g. `gap-tv`.
    pub name: String,
    /// The estimate `[band, row, column]`.
    pub cube: Cube,
    /// Time of the reconstruction in seconds, where it was measured.
    pub seconds: Option<f64>,
    /// Relative residual ‖y − A x‖ / ‖y‖, where it is known: the one figure that needs no truth.
    pub residual: Option<f64>,
    /// Anything worth a line below the table, e.g. parameters or weights.
    pub note: Option<String>,
}

impl Estimate {
    /// An estimate of which nothing but its values is known.
    pub fn new(name: impl Into<String>, cube: Cube) -> Self {
        Self { name: name.into(), cube, seconds: None, residual: None, note: None }
    }
}

/// One scene: the truth where there is one, the snapshot where it is at hand, and the estimates.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Name of the scene.
    pub title: String,
    /// The true cube; without it no figure that needs one is drawn.
    pub truth: Option<Cube>,
    /// What the camera recorded.
    pub snapshot: Option<Snapshot>,
    /// The estimates, in the order in which they are shown.
    pub estimates: Vec<Estimate>,
    /// Lines on where it all comes from: commands, files, seeds.
    pub provenance: Vec<String>,
}

/// A window of the picture that is shown enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zoom {
    /// First row.
    pub row: usize,
    /// First column.
    pub column: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
}

/// The choices of the figures; whatever is left out is chosen from the data.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Bands to draw, in nm (the nearest band of the cube is taken); default four, well spread.
    pub bands_nm: Option<Vec<f64>>,
    /// Points `[row, column]` whose spectra are drawn; default two to four bright, smooth places of distinct spectra.
    pub points: Vec<[usize; 2]>,
    /// The enlarged window; default the one of most detail.
    pub zoom: Option<Zoom>,
    /// The light under which cubes are rendered.
    pub illuminant: Illuminant,
    /// Write figures as SVG.
    pub svg: bool,
    /// Write figures as PNG.
    pub png: bool,
    /// Write `report.html`.
    pub page: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            bands_nm: None,
            points: Vec::new(),
            zoom: None,
            illuminant: Illuminant::D65,
            svg: true,
            png: true,
            page: true,
        }
    }
}

/// The figures of one estimate of one scene.
#[derive(Debug, Clone)]
pub struct Row {
    /// Title of the scene.
    pub scene: String,
    /// Name of the estimate.
    pub method: String,
    /// Every metric, where there is a truth.
    pub scores: Option<Scores>,
    /// Seconds of the reconstruction.
    pub seconds: Option<f64>,
    /// Relative residual.
    pub residual: Option<f64>,
}

impl Comparison {
    /// Cubes with their names, the truth first.
    pub(crate) fn cubes(&self) -> impl Iterator<Item = (&str, &Cube)> {
        let truth = self.truth.iter().map(|cube| ("truth", cube));
        truth.chain(self.estimates.iter().map(|e| (e.name.as_str(), &e.cube)))
    }

    /// The cube that others are measured against: the truth, else the first estimate.
    pub(crate) fn reference(&self) -> &Cube {
        self.cubes().next().expect("checked: at least one cube").1
    }

    /// Finds what could not be drawn, before anything is written.
    pub(crate) fn check(&self, options: &CompareOptions) -> Result<(), ReportError> {
        let scene = || self.title.clone();
        let Some((reference, first)) = self.cubes().next() else {
            return Err(ReportError::Empty(scene()));
        };
        for (name, cube) in self.cubes() {
            Pair::new(first, cube).map_err(|source| ReportError::Shape {
                scene: scene(),
                name: name.into(),
                source,
            })?;
            // Grids written with few digits differ by hundredths; bands themselves are nanometres wide.
            if !cube.wavelengths().matches(first.wavelengths(), 0.05) {
                let (name, reference) = (name.to_string(), reference.to_string());
                return Err(ReportError::Wavelengths { scene: scene(), name, reference });
            }
            if let Some((at, value)) = cube.first_not_finite() {
                return Err(ReportError::NotFinite {
                    scene: scene(),
                    name: name.into(),
                    at: at.to_vec(),
                    value,
                });
            }
        }
        if let Some((at, value)) = self.snapshot.as_ref().and_then(Snapshot::first_not_finite) {
            let name = "snapshot".to_string();
            return Err(ReportError::NotFinite { scene: scene(), name, at: at.to_vec(), value });
        }
        let (rows, columns) = (first.rows(), first.columns());
        let outside =
            |what, found| Err(ReportError::Outside { scene: self.title.clone(), what, found, rows, columns });
        if let Some(point) = options.points.iter().find(|p| p[0] >= rows || p[1] >= columns) {
            return outside("point", point.to_vec());
        }
        match options.zoom {
            Some(z)
                if z.rows == 0
                    || z.columns == 0
                    || z.row.saturating_add(z.rows) > rows
                    || z.column.saturating_add(z.columns) > columns =>
            {
                outside("zoom", vec![z.row, z.column, z.rows, z.columns])
            }
            _ => Ok(()),
        }
    }

    /// Without a truth, the estimates on the scale of the first: networks for a real instrument answer on a scale of
    /// their own, and pictures and spectra are compared by their shape. Each is multiplied by the factor that brings it
    /// nearest to the first (least squares), and its note says so; what is within a twentieth stays as it is.
    pub(crate) fn on_one_scale(&self) -> Cow<'_, Self> {
        let factors: Vec<f32> = match (&self.truth, self.estimates.as_slice()) {
            (None, [first, rest @ ..]) => rest.iter().map(|e| scale_to(&first.cube, &e.cube)).collect(),
            _ => vec![],
        };
        if factors.iter().all(|factor| (factor - 1.0).abs() <= 0.05) {
            return Cow::Borrowed(self);
        }
        let mut scaled = self.clone();
        let first = scaled.estimates[0].name.clone();
        for (estimate, factor) in scaled.estimates[1..].iter_mut().zip(factors) {
            if (factor - 1.0).abs() > 0.05 {
                estimate.cube.as_mut_slice().iter_mut().for_each(|v| *v *= factor);
                let note = format!("shown times {factor:.3}, on the scale of {first}");
                estimate.note =
                    Some(estimate.note.take().map_or(note.clone(), |old| format!("{old}; {note}")));
            }
        }
        Cow::Owned(scaled)
    }

    /// The figures of every estimate.
    pub(crate) fn rows(&self) -> Vec<Row> {
        (self.estimates.iter())
            .map(|e| Row {
                scene: self.title.clone(),
                method: e.name.clone(),
                scores: self
                    .truth
                    .as_ref()
                    .map(|t| Scores::compute(t, &e.cube).expect("shapes were checked")),
                seconds: e.seconds,
                residual: e.residual,
            })
            .collect()
    }
}

/// The factor that brings `cube` nearest to `reference`; 1 if none that is positive does.
fn scale_to(reference: &Cube, cube: &Cube) -> f32 {
    let pairs =
        || reference.as_slice().iter().zip(cube.as_slice()).map(|(&r, &c)| (f64::from(r), f64::from(c)));
    let (product, square) = pairs().fold((0.0, 0.0), |(p, s), (r, c)| (p + r * c, s + c * c));
    let factor = (product / square) as f32;
    if factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
}
