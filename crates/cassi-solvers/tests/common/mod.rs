//! A made scene, its camera and its snapshot; and an operator that hides what it is.
#![allow(dead_code)] // every test file uses its own part

use std::path::PathBuf;

use cassi_core::random::Stream;
use cassi_core::{
    Cube, InstrumentDescription, LinearOperator, Mask, NoiseLevel, Problem, Snapshot, Wavelengths,
};
use cassi_optics::{SdCassi, builtin};
use cassi_solvers::GapTv;
use ndarray::{Array2, Array3};

/// The folder of shared data, if there is one.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("CASSI_SHARED").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The method with settings written as `key=value`, separated by spaces.
pub(crate) fn method(settings: &str) -> GapTv {
    let pair = |text: &str| {
        let (key, value) = text.split_once('=').unwrap();
        (key.to_string(), value.to_string())
    };
    GapTv::from_settings(&settings.split_whitespace().map(pair).collect::<Vec<_>>()).unwrap()
}

pub(crate) struct Setup {
    pub(crate) instrument: InstrumentDescription,
    pub(crate) mask: Mask,
    pub(crate) camera: SdCassi,
    pub(crate) truth: Cube,
    pub(crate) snapshot: Snapshot,
}

impl Setup {
    /// Three smooth reflectances in discs and bars before a shaded ground, 28 bands.
    pub(crate) fn new(mask: Array2<f32>) -> Self {
        let (rows, columns) = mask.dim();
        let instrument = builtin("standard").unwrap();
        let mask = Mask::new(mask).unwrap();
        let camera = SdCassi::for_instrument(&instrument, &mask);
        let peak = |nm: f64, centre: f64, width: f64| (-((nm - centre) / width).powi(2)).exp();
        let truth = Array3::from_shape_fn((28, rows, columns), |(b, r, c)| {
            let nm = Wavelengths::benchmark().nm()[b];
            let (y, x) = (r as f64 / rows as f64 - 0.5, c as f64 / columns as f64 - 0.5);
            let value = if y.hypot(x) < 0.25 {
                0.1 + 0.7 * peak(nm, 620.0, 60.0)
            } else if (c / 6) % 2 == 0 && r * 2 > rows {
                0.1 + 0.5 * peak(nm, 530.0, 40.0)
            } else {
                (0.35 + 0.2 * y) * (0.4 + 0.6 * peak(nm, 470.0, 90.0))
            };
            value as f32
        });
        let truth = Cube::new(truth, Wavelengths::benchmark()).unwrap();
        let mut y = Array2::zeros((camera.range()[0], camera.range()[1]));
        camera.forward(truth.as_slice(), y.as_slice_mut().unwrap());
        Self { instrument, mask, camera, truth, snapshot: Snapshot::new(y).unwrap() }
    }

    pub(crate) fn add_noise(&mut self, sigma: f64) {
        let mut stream = Stream::new(9, "noise", 0);
        self.snapshot.as_mut_slice().iter_mut().for_each(|v| *v += (sigma * stream.normal()) as f32);
    }

    pub(crate) fn problem<'a>(&'a self, operator: &'a dyn LinearOperator) -> Problem<'a> {
        Problem {
            snapshot: &self.snapshot,
            instrument: &self.instrument,
            operator: Some(operator),
            mask: Some(&self.mask),
            noise: NoiseLevel::Unknown,
            warm_start: None,
        }
    }
}

/// A made scene behind a random grey mask.
pub(crate) fn small(rows: usize, columns: usize) -> Setup {
    let mut stream = Stream::new(4, "mask", 0);
    Setup::new(Array2::from_shape_fn((rows, columns), |_| stream.uniform_in(0.05, 1.0) as f32))
}

/// The same map with nothing known of it but forward and adjoint.
pub(crate) struct Veiled<'a> {
    pub(crate) inner: &'a SdCassi,
    /// Whether the diagonal of `A Aᵀ` is still told.
    pub(crate) gram: bool,
}

impl LinearOperator for Veiled<'_> {
    fn domain(&self) -> &[usize] {
        self.inner.domain()
    }
    fn range(&self) -> &[usize] {
        self.inner.range()
    }
    fn forward(&self, x: &[f32], y: &mut [f32]) {
        self.inner.forward(x, y);
    }
    fn adjoint(&self, y: &[f32], x: &mut [f32]) {
        self.inner.adjoint(y, x);
    }
    fn gram_diagonal(&self) -> Option<&[f32]> {
        if self.gram { self.inner.gram_diagonal() } else { None }
    }
    fn norm_bound(&self) -> f32 {
        self.inner.norm_bound()
    }
}

/// Whole-cube PSNR in dB, peak 1, the estimate clamped to [0, 1].
pub(crate) fn psnr_clamped(estimate: &Cube, truth: &Cube) -> f64 {
    let squares = (estimate.as_slice().iter().zip(truth.as_slice()))
        .map(|(e, t)| (f64::from(e.clamp(0.0, 1.0)) - f64::from(*t)).powi(2));
    -10.0 * (squares.sum::<f64>() / truth.as_slice().len() as f64).log10()
}
