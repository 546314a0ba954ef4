//! Figures, tables and the offline HTML page of a CASSI evaluation.
//!
//! A [`Comparison`] is one scene: its truth where there is one, its snapshot, and estimates by name.
//! [`write_comparison`] draws one or several of them into a folder: colour renderings, bands with enlarged insets,
//! spectra with their correlation, error maps and PSNR curves (each as SVG and PNG), tables in Markdown, CSV and
//! LaTeX, and `report.html`, one file that works from a disk. [`colour_picture`], [`band_picture`], [`montage`] and
//! [`plane_picture`] make single pictures.
//!
//! ```
//! use cassi_core::{Cube, Wavelengths};
//! use cassi_report::{CompareOptions, Comparison, Estimate, write_comparison};
//! let mut truth = Cube::zeros([4, 24, 32], Wavelengths::linspace(450.0, 650.0, 4));
//! truth.as_mut_slice().iter_mut().enumerate().for_each(|(i, v)| *v = (i % 32) as f32 / 32.0);
//! let mut estimate = truth.clone();
//! estimate.as_mut_slice().iter_mut().for_each(|v| *v += 0.1);
//! let scene = Comparison {
//!     title: "ramp".into(),
//!     truth: Some(truth),
//!     snapshot: None,
//!     estimates: vec![Estimate::new("offset", estimate)],
//!     provenance: vec![],
//! };
//! let folder = std::env::temp_dir().join("cassi-report-example");
//! let written = write_comparison(&folder, &[scene], &CompareOptions { svg: false, ..Default::default() })?;
//! assert!((written.rows[0].scores.as_ref().unwrap().psnr_unit_peak - 20.0).abs() < 1e-3);
//! # std::fs::remove_dir_all(folder).unwrap();
//! # Ok::<(), cassi_report::ReportError>(())
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // files are opened by cassi-io alone

mod codec;
mod error;
mod figures;
mod model;
mod page;
mod picture;
mod select;
mod tables;
mod write;

pub use error::ReportError;
pub use model::{CompareOptions, Comparison, Estimate, Row, Zoom};
pub use picture::{Picture, Rendering, band_picture, colour_picture, montage, plane_picture};
pub use tables::{csv, latex, markdown};
pub use write::{Written, write_comparison};
