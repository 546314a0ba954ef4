//! `cassi compare`: figures, tables and the offline page that set methods side by side.

use std::path::PathBuf;

use anyhow::bail;
use cassi_core::colour::Illuminant;
use cassi_report::{CompareOptions, Comparison, Estimate, Zoom, write_comparison};

use super::Outcome;
use super::instrument::parse_numbers;
use crate::context::Context;
use crate::inputs::{self, AxisOptions};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi compare --truth scene.h5 --estimate gap-tv=x.h5 --estimate mst-s=z.h5 --snapshot y.h5 -o report
  cassi compare --estimate gap-tv=real.h5 --snapshot scene1.mat -o report        (a real snapshot has no truth)
  cassi compare --truth t.h5 --estimate a=a.h5 --bands 480,550,620 --point 100,60 --zoom 40,60,48,48 -o report

Writes renderings, bands, spectra, error maps and curves as SVG and PNG, the table of metrics as Markdown, CSV and
LaTeX, and report.html, one file that works offline.")]
pub(crate) struct Args {
    /// The true cube, if it is known
    #[arg(long, value_name = "FILE")]
    truth: Option<String>,
    /// An estimate with its name; repeat for each method
    #[arg(long = "estimate", value_name = "NAME=FILE", required = true)]
    estimates: Vec<String>,
    /// The snapshot they come from
    #[arg(long, value_name = "FILE")]
    snapshot: Option<String>,
    /// Title of the scene
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Bands to draw, in nm, separated by commas [default: four, well spread]
    #[arg(long, value_name = "NM", value_delimiter = ',')]
    bands: Vec<f64>,
    /// A point whose spectra are drawn; may be repeated [default: chosen from the scene]
    #[arg(long = "point", value_name = "ROW,COLUMN", value_parser = parse_numbers::<2>)]
    points: Vec<[usize; 2]>,
    /// The window that is shown enlarged [default: the most detailed]
    #[arg(long, value_name = "ROW,COLUMN,ROWS,COLUMNS", value_parser = parse_numbers::<4>)]
    zoom: Option<[usize; 4]>,
    /// The light on the scene: d65, a, f2, f11, led-b3, hp1, or e for cubes that hold radiance
    #[arg(long, value_name = "NAME", default_value = "d65")]
    light: String,
    /// The folder to write into; files of the same names in it are replaced
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    #[command(flatten)]
    axes: AxisOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    let illuminant: Illuminant = args.light.parse()?;
    let mut estimates: Vec<Estimate> = Vec::new();
    let mut provenance = Vec::new();
    for text in &args.estimates {
        let Some((name, file)) =
            text.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty())
        else {
            bail!("--estimate {text}: expected NAME=FILE, e.g. gap-tv=x.h5");
        };
        if estimates.iter().any(|estimate| estimate.name == name) {
            bail!("--estimate: the name `{name}` is given twice");
        }
        let (cube, _, path) = inputs::cube(file, &args.axes, context)?;
        provenance.push(format!("{name}: {} (SHA-256 {})", path.display(), cassi_io::sha256_file(&path)?));
        estimates.push(Estimate::new(name, cube));
    }
    let truth = match &args.truth {
        Some(text) => {
            let (cube, _, path) = inputs::cube(text, &args.axes, context)?;
            provenance.push(format!("truth: {} (SHA-256 {})", path.display(), cassi_io::sha256_file(&path)?));
            Some(inputs::on_the_grid_of(cube, &estimates[0].cube, context))
        }
        None => None,
    };
    let snapshot = match &args.snapshot {
        Some(text) => {
            let (snapshot, _, path) = inputs::snapshot(text, context)?;
            provenance.push(format!(
                "snapshot: {} (SHA-256 {})",
                path.display(),
                cassi_io::sha256_file(&path)?
            ));
            Some(snapshot)
        }
        None => None,
    };
    let title = args.title.unwrap_or_else(|| {
        let named = args.truth.as_ref().or(args.snapshot.as_ref()).unwrap_or(&args.estimates[0]);
        let file = named.rsplit('=').next().unwrap_or(named);
        cassi_io::Source::parse(file)
            .path
            .file_stem()
            .map_or("scene".into(), |s| s.to_string_lossy().into_owned())
    });
    let comparison = Comparison { title, truth, snapshot, estimates, provenance };
    let options = CompareOptions {
        bands_nm: (!args.bands.is_empty()).then_some(args.bands),
        points: args.points,
        zoom: args.zoom.map(|[row, column, rows, columns]| Zoom { row, column, rows, columns }),
        illuminant,
        ..CompareOptions::default()
    };
    let written = write_comparison(&args.output, &[comparison], &options)?;
    if context.json {
        let rows: Vec<_> = (written.rows.iter())
            .map(|row| serde_json::json!({ "scene": row.scene, "method": row.method, "scores": row.scores }))
            .collect();
        context.print_json(&serde_json::json!({ "files": written.files, "rows": rows }))?;
    } else {
        context.say(format!("{}: {} files, open report.html", args.output.display(), written.files.len()));
    }
    Ok(Outcome::Done)
}
