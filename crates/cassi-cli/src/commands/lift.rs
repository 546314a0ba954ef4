//! `cassi scene lift`: photographs to spectra, whole folders into one file, a few photographs in memory at a time.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context as _, bail};
use cassi_core::colour::Renderer;
use cassi_core::{Cube, Wavelengths};
use cassi_io::{CubePack, Metadata};
use cassi_scene::{Lift, middle_square};
use ndarray::Array3;
use rayon::prelude::*;

use super::Outcome;
use crate::context::Context;
use crate::inputs::{self, has_extension};
use crate::output;

/// Mean error of a rendered cube against its photograph, in code values of 255, from which on a lift has failed.
const WORST_ERROR: f64 = 2.0;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi scene lift holiday.jpg -o holiday.h5
  cassi scene lift photos --size 512 -o photos.h5
  cassi scene lift photos more/*.png --size 256 --metamers 0.7 --seed 3 -o photos.h5

Folders are searched with all folders in them for .png, .jpg and .jpeg. The file holds one cube a photograph under its
name (docs/formats.md); `cassi train` reads it as `path = \"photos.h5\"`. Exit code 1 if a photograph could not be
read, is smaller than --size, or its cube does not render to it within 2 of 255 code values in the mean.")]
pub(crate) struct Args {
    /// Photographs, or folders of them
    #[arg(required = true, value_name = "PHOTO|FOLDER")]
    photos: Vec<PathBuf>,
    /// Shrink each photograph and keep its middle square of N x N pixels [default: as they are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32768))]
    size: Option<u32>,
    /// The bands: `benchmark`, FIRST:LAST:COUNT or a list in nm
    #[arg(long, value_name = "NM", default_value = "benchmark")]
    bands: String,
    /// Give each photograph other spectra of the same colours, this many standard deviations from the likeliest
    #[arg(long, value_name = "STRENGTH", default_value_t = 0.0)]
    metamers: f64,
    /// Where to write the cubes (.h5)
    #[arg(short, long, value_name = "FILE.h5")]
    output: PathBuf,
}

/// A photograph as spectra.
struct Lifted {
    photo: PathBuf,
    sha256: String,
    cube: Cube,
    /// Mean absolute difference of the rendered cube and the photograph, in code values of 255.
    error: f64,
}

/// A photograph that is in the file.
struct Packed {
    photo: PathBuf,
    name: String,
    rows: usize,
    columns: usize,
    error: f64,
}

type Answer = Result<Lifted, (PathBuf, anyhow::Error)>;

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if !(args.metamers.is_finite() && (0.0..=3.0).contains(&args.metamers)) {
        bail!("--metamers {}: expected a number from 0 to 3", args.metamers);
    }
    let grid = inputs::parse_bands(&args.bands)?;
    let mut photos = Vec::new();
    for named in &args.photos {
        find(named, &mut photos)?;
    }
    if photos.is_empty() {
        let list: Vec<String> = args.photos.iter().map(|p| p.display().to_string()).collect();
        bail!("{}: no photographs there (.png, .jpg, .jpeg)", list.join(", "));
    }
    inputs::refuse_overwriting(&args.output, &photos.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let metadata = Metadata { provenance: Some(context.provenance(&[])?), ..Metadata::default() };
    let mut pack = CubePack::create(&args.output, &metadata)?;
    let studio = Studio { grid: &grid, renderer: Renderer::daylight(&grid), args, seed: context.seed };

    let mut packed: Vec<Packed> = Vec::new();
    let mut failed: Vec<(PathBuf, String)> = Vec::new();
    let mut progress = context.progress("lifting", photos.len());
    let threads = rayon::current_num_threads();
    // Lifting waits when packing falls behind, so that no more than three cubes a thread are in memory.
    let (done, finished) = sync_channel(threads);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        scope.spawn(|| studio.lift_all(&photos, threads, done));
        for answer in finished {
            match answer {
                Ok(lifted) => packed.push(add(&mut pack, lifted, context)?),
                Err((photo, error)) => {
                    let error = format!("{error:#}");
                    let place = photo.display().to_string();
                    output::message(format_args!(
                        "error: {}",
                        if error.contains(&place) { error.clone() } else { format!("{place}: {error}") }
                    ));
                    failed.push((photo, error));
                }
            }
            progress.at(packed.len() + failed.len(), photos.len(), "");
        }
        Ok(())
    })?;
    drop(progress);
    if packed.is_empty() {
        bail!("none of {} photographs could be lifted", photos.len());
    }
    pack.finish()?;
    report(args, &packed, &failed, context)
}

/// A photograph itself, or those in a folder and the folders in it, by name.
fn find(named: &Path, photos: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !named.is_dir() {
        photos.push(named.into());
        return Ok(());
    }
    for path in cassi_io::list_folder(named)? {
        if path.is_dir() && !path.is_symlink() || has_extension(&path, &["png", "jpg", "jpeg"]) {
            find(&path, photos)?;
        }
    }
    Ok(())
}

/// What every photograph is lifted with.
struct Studio<'a> {
    grid: &'a Wavelengths,
    renderer: Renderer,
    args: &'a Args,
    seed: u64,
}

impl Studio<'_> {
    /// Lifts photographs side by side and sends them in their order, until nobody listens any more.
    fn lift_all(&self, photos: &[PathBuf], threads: usize, done: SyncSender<Answer>) {
        let likeliest = (self.args.metamers == 0.0).then(|| Lift::new(self.grid));
        for (turn, batch) in photos.chunks(threads).enumerate() {
            let answers: Vec<Answer> = (batch.par_iter().enumerate())
                .map(|(i, photo)| {
                    let seed = self.seed.wrapping_add((turn * threads + i) as u64);
                    self.lift(photo, likeliest.as_ref(), seed).map_err(|error| (photo.clone(), error))
                })
                .collect();
            for answer in answers {
                if done.send(answer).is_err() {
                    return;
                }
            }
        }
    }

    fn lift(&self, photo: &Path, likeliest: Option<&Lift>, seed: u64) -> anyhow::Result<Lifted> {
        let sha256 = cassi_io::sha256_file(photo)?;
        let picture = cassi_io::read_rgb_image(photo)?.mapv(|v| (255.0 * v).round() as u8);
        let picture = match self.args.size.map(|size| size as usize) {
            None => picture,
            Some(size) => middle_square(picture.view(), size).with_context(|| {
                let (rows, columns, _) = picture.dim();
                format!("has {rows} x {columns} pixels, fewer than --size {size}; nothing is enlarged")
            })?,
        };
        let cube = match likeliest {
            Some(lift) => lift.image(picture.view())?,
            None => Lift::metameric(self.grid, seed, self.args.metamers).image(picture.view())?,
        };
        let error = difference(&self.renderer.render(&cube)?, &picture);
        Ok(Lifted { photo: photo.into(), sha256, cube, error })
    }
}

/// Mean absolute difference in code values.
fn difference(a: &Array3<u8>, b: &Array3<u8>) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x.abs_diff(y))).sum::<f64>() / a.len() as f64
}

fn add(pack: &mut CubePack, lifted: Lifted, context: &Context) -> anyhow::Result<Packed> {
    let Lifted { photo, sha256, cube, error } = lifted;
    let stem = photo.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let provenance = serde_json::json!({ "photo": photo, "sha256": sha256, "mean_error_of_255": error });
    let name = pack.add(&stem, &cube, &provenance)?;
    let [_, rows, columns] = cube.shape();
    context.say(format!("{}: {rows}x{columns}, mean error {error:.2} of 255", photo.display()));
    Ok(Packed { photo, name, rows, columns, error })
}

fn report(
    args: &Args,
    packed: &[Packed],
    failed: &[(PathBuf, String)],
    context: &Context,
) -> anyhow::Result<Outcome> {
    let mean = packed.iter().map(|p| p.error).sum::<f64>() / packed.len() as f64;
    let worst = packed.iter().max_by(|a, b| a.error.total_cmp(&b.error)).expect("some are packed");
    if context.json {
        let cubes: Vec<_> = (packed.iter())
            .map(|p| {
                serde_json::json!({
                    "name": p.name, "photo": p.photo, "rows": p.rows, "columns": p.columns,
                    "mean_error_of_255": p.error,
                })
            })
            .collect();
        let failures: Vec<_> = failed
            .iter()
            .map(|(photo, error)| serde_json::json!({ "photo": photo, "error": error }))
            .collect();
        context.print_json(&serde_json::json!({
            "output": args.output, "cubes": cubes, "failed": failures, "mean_error_of_255": mean,
        }))?;
    } else {
        context.say(format!(
            "{}: {} photograph{}, mean error {mean:.2} of 255, at most {:.2} ({})",
            args.output.display(),
            packed.len(),
            if packed.len() == 1 { "" } else { "s" },
            worst.error,
            worst.name
        ));
    }
    for p in packed.iter().filter(|p| p.error >= WORST_ERROR) {
        context.say(format!("{}: its cube does not render to it ({:.2} of 255)", p.photo.display(), p.error));
    }
    Ok(if failed.is_empty() && worst.error < WORST_ERROR { Outcome::Done } else { Outcome::CheckFailed })
}
