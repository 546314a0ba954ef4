//! Writing the whole report into a folder.

use std::path::{Path, PathBuf};

use cassi_core::colour::Renderer;
use cassi_io::write_bytes;
use rayon::prelude::*;

use crate::{
    CompareOptions, Comparison, ReportError, Row, Zoom,
    figures::{self, Drawing},
    page,
    picture::{Rendering, renderer},
    select, tables,
};

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Every file, figures first, in a fixed order.
    pub files: Vec<PathBuf>,
    /// The page, if it was asked for.
    pub page: Option<PathBuf>,
    /// The figures of every estimate of every scene.
    pub rows: Vec<Row>,
}

/// File names from titles: small letters, digits and dashes; equal ones are numbered.
fn stems(scenes: &[&Comparison]) -> Vec<String> {
    let mut stems: Vec<String> = Vec::new();
    for scene in scenes {
        let plain: String = scene
            .title
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let words: Vec<&str> = plain.split('-').filter(|w| !w.is_empty()).collect();
        let base = if words.is_empty() { "scene".to_string() } else { words.join("-") };
        let base: String = base.chars().take(60).collect();
        let free = (1..).map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") });
        let stem = free.into_iter().find(|s| !stems.contains(s)).expect("endless");
        stems.push(stem);
    }
    stems
}

struct Plan {
    renderer: Renderer,
    points: Vec<[usize; 2]>,
    bands: Vec<usize>,
    zoom: Zoom,
}

fn plan(scene: &Comparison, options: &CompareOptions) -> Plan {
    let reference = scene.reference();
    let rendering = Rendering { illuminant: options.illuminant, exposure: None };
    let points = if options.points.is_empty() { select::points(reference) } else { options.points.clone() };
    Plan {
        renderer: renderer(reference, rendering).expect("its own grid"),
        points,
        bands: select::bands(reference, options.bands_nm.as_deref()),
        zoom: options.zoom.unwrap_or_else(|| select::zoom(reference)),
    }
}

fn draw<D: Drawing>(
    stem: &Path,
    name: &str,
    drawing: &D,
    options: &CompareOptions,
) -> Result<Vec<PathBuf>, ReportError> {
    let mut files = Vec::new();
    let base = stem.as_os_str().to_string_lossy();
    if options.svg {
        let path = PathBuf::from(format!("{base}-{name}.svg"));
        write_bytes(&path, figures::to_svg(name, drawing)?.as_bytes())?;
        files.push(path);
    }
    if options.png {
        let path = PathBuf::from(format!("{base}-{name}.png"));
        write_bytes(&path, &figures::to_png(name, drawing)?)?;
        files.push(path);
    }
    Ok(files)
}

fn draw_scene(
    stem: &Path,
    scene: &Comparison,
    rows: &[Row],
    plan: &Plan,
    options: &CompareOptions,
) -> Result<Vec<PathBuf>, ReportError> {
    let renderings = figures::renderings(scene, rows, &plan.renderer, &plan.points);
    let mut files = draw(stem, "renderings", &renderings, options)?;
    files.extend(draw(stem, "bands", &figures::bands(scene, &plan.bands, plan.zoom), options)?);
    files.extend(draw(stem, "spectra", &figures::spectra(scene, &plan.renderer, &plan.points), options)?);
    if let Some(errors) = figures::errors(scene) {
        files.extend(draw(stem, "errors", &errors, options)?);
    }
    if let Some(curves) = figures::psnr_curves(scene, rows) {
        files.extend(draw(stem, "psnr", &curves, options)?);
    }
    Ok(files)
}

/// Draws and writes everything: `figures/SCENE-{renderings,bands,spectra,errors,psnr}.{svg,png}`,
/// `metrics.{md,csv,tex}` and `report.html`, into `folder`, which is made if it is missing.
///
/// Scenes without a truth get no error maps, no PSNR curves and no metrics but residual and time; tables are written
/// where there is anything to put into them.
///
/// # Errors
/// If a scene is empty, its cubes disagree in shape or wavelengths or hold numbers that are not finite (all found
/// before anything is written), or a file cannot be written.
pub fn write_comparison(
    folder: &Path,
    scenes: &[Comparison],
    options: &CompareOptions,
) -> Result<Written, ReportError> {
    if scenes.is_empty() {
        return Err(ReportError::Empty("the report".into()));
    }
    scenes.iter().try_for_each(|scene| scene.check(options))?;
    let drawings = folder.join("figures");
    let make = if options.svg || options.png { drawings.as_path() } else { folder };
    cassi_io::ensure_folder(make)?;

    let scaled: Vec<_> = scenes.par_iter().map(Comparison::on_one_scale).collect();
    let scenes: Vec<&Comparison> = scaled.iter().map(|scene| &**scene).collect();
    let rows: Vec<Vec<Row>> = scenes.iter().map(|scene| scene.rows()).collect();
    let plans: Vec<Plan> = scenes.par_iter().map(|scene| plan(scene, options)).collect();
    let stems = stems(&scenes);
    let drawn: Result<Vec<Vec<PathBuf>>, ReportError> = (0..scenes.len())
        .into_par_iter()
        .map(|i| draw_scene(&drawings.join(&stems[i]), scenes[i], &rows[i], &plans[i], options))
        .collect();
    let mut files = drawn?.concat();
    let rows = rows.concat();
    if !tables::metrics(&rows).is_empty() {
        for (name, content) in [
            ("metrics.md", tables::markdown(&rows)),
            ("metrics.csv", tables::csv(&rows)),
            ("metrics.tex", tables::latex(&rows)),
        ] {
            let path = folder.join(name);
            write_bytes(&path, content.as_bytes())?;
            files.push(path);
        }
    }
    let page = if options.page {
        let path = folder.join("report.html");
        let views: Vec<_> = plans.into_iter().map(|p| (p.renderer, p.points)).collect();
        write_bytes(&path, page::page(&scenes, &rows, &views).as_bytes())?;
        files.push(path.clone());
        Some(path)
    } else {
        None
    };
    Ok(Written { files, page, rows })
}
