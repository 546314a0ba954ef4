//! Reconstructs every scene of a folder from its snapshot and prints a table of unit-peak PSNRs.
//!
//! Usage: `validation_table [train|validation] [key=value ...]`, the settings as `--set` takes them; besides,
//! `noise=MODEL` adds noise (`gaussian:0.01`, `binomial`), `known=SIGMA` tells the method a level (it is told nothing
//! otherwise), `crop=SIDE` takes the middle of scenes and mask, `only=NAME,NAME` some of the scenes, and `mask=FILE`
//! replaces the benchmark's. The scenes lie in `$CASSI_SHARED/scenes`.

use std::path::{Path, PathBuf};

use cassi_core::{
    Cube, LinearOperator, Mask, NoiseLevel, NoiseModel, Problem, Reconstructor, Silent, Snapshot, Wavelengths,
};
use cassi_io::{ReadOptions, Source, read_cube, read_plain_mask};
use cassi_optics::detector::{add_noise, parse_noise};
use cassi_optics::{SdCassi, builtin};
use cassi_solvers::GapTv;
use ndarray::{Array2, s};

type Error = Box<dyn std::error::Error>;

fn source(path: &Path) -> Source {
    Source { path: path.to_path_buf(), variable: None }
}

fn snapshot_of(cube: &Cube, camera: &SdCassi, noise: NoiseModel) -> Result<Snapshot, Error> {
    let mut y = Array2::zeros((camera.range()[0], camera.range()[1]));
    camera.forward(cube.as_slice(), y.as_slice_mut().expect("C order"));
    let mut snapshot = Snapshot::new(y)?;
    add_noise(&mut snapshot, noise, cube.shape()[0], 0);
    Ok(snapshot)
}

/// The middle `side` of `length` rows or columns.
fn middle(length: usize, side: usize) -> std::ops::Range<usize> {
    let side = side.min(length);
    (length - side) / 2..(length - side) / 2 + side
}

fn psnr_unit_peak(truth: &Cube, estimate: &Cube) -> f64 {
    let squares = truth.as_slice().iter().zip(estimate.as_slice()).map(|(t, e)| f64::from(t - e).powi(2));
    -10.0 * (squares.sum::<f64>() / truth.as_slice().len() as f64).log10()
}

fn main() -> Result<(), Error> {
    let shared =
        PathBuf::from(std::env::var("CASSI_SHARED").map_err(|_| "set CASSI_SHARED to the data folder")?);
    let (mut folder, mut model, mut settings) = ("validation".to_string(), NoiseModel::None, Vec::new());
    let (mut side, mut only) = (usize::MAX, String::new());
    let mut noise = NoiseLevel::Unknown;
    let mut mask_path = shared.join("masks/mask256.mat");
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("noise", value)) => model = parse_noise(value)?,
            Some(("crop", value)) => side = value.parse()?,
            Some(("only", value)) => only = value.into(),
            Some(("known", value)) => noise = NoiseLevel::Known(value.parse()?),
            Some(("mask", value)) => mask_path = value.into(),
            Some((key, value)) => settings.push((key.to_string(), value.to_string())),
            None => folder = argument,
        }
    }
    let method = GapTv::from_settings(&settings)?;
    let mask = read_plain_mask(&source(&mask_path))?.value;
    let [rows, columns] = mask.shape().map(|length| middle(length, side));
    let mask = Mask::new(mask.view().slice(s![rows, columns]).to_owned())?;
    let instrument = builtin("standard").ok_or("no built-in instrument `standard`")?;
    let camera = SdCassi::for_instrument(&instrument, &mask);
    let mut scenes: Vec<PathBuf> = std::fs::read_dir(shared.join("scenes").join(&folder))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    scenes.sort();
    let name_of = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    scenes.retain(|path| only.is_empty() || only.split(',').any(|name| name == name_of(path)));
    println!("| scene | psnr_unit_peak, dB | seconds | residual |\n|---|---|---|---|");
    let (mut total, mut kaist, mut seconds) = (0.0, Vec::new(), 0.0);
    for path in &scenes {
        let truth =
            read_cube(&source(path), &ReadOptions::default())?.value.resample(&Wavelengths::benchmark());
        let [_, rows, columns] = truth.shape().map(|length| middle(length, side));
        let cropped = truth.view().slice(s![.., rows, columns]).to_owned();
        let truth = Cube::new(cropped, Wavelengths::benchmark())?;
        let snapshot = snapshot_of(&truth, &camera, model)?;
        let problem = Problem {
            snapshot: &snapshot,
            instrument: &instrument,
            operator: Some(&camera),
            mask: Some(&mask),
            noise,
            warm_start: None,
        };
        let result = method.reconstruct(&problem, &mut Silent)?;
        let name = name_of(path);
        let psnr = psnr_unit_peak(&truth, &result.cube);
        let (time, residual) = (result.elapsed.as_secs_f64(), result.residual.unwrap_or(f64::NAN));
        println!("| {name} | {psnr:.2} | {time:.2} | {residual:.4} |");
        result.notes.iter().for_each(|note| eprintln!("{name}: {note}"));
        total += psnr;
        seconds += time;
        if name.starts_with("kaist") {
            kaist.push(psnr);
        }
    }
    let n = scenes.len() as f64;
    println!("| mean | {:.2} | {:.2} | |", total / n, seconds / n);
    if !kaist.is_empty() {
        println!("| mean of kaist_* | {:.2} | | |", kaist.iter().sum::<f64>() / kaist.len() as f64);
    }
    Ok(())
}
