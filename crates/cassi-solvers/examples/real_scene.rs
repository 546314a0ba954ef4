//! Reconstructs a snapshot of the real instrument and draws the mean over bands and the bands nearest to 620, 540 and
//! 470 nm. Usage: `real_scene SNAPSHOT MASK OUT.png [key=value ...]`.

use cassi_core::{NoiseLevel, Problem, Reconstructor, Silent};
use cassi_io::{Source, png_bytes, read_plain_mask, read_snapshot};
use cassi_optics::{SdCassi, builtin};
use cassi_solvers::GapTv;
use ndarray::{ArrayView2, Axis, concatenate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [snapshot, mask, out, settings @ ..] = &arguments[..] else {
        return Err("usage: real_scene SNAPSHOT MASK OUT.png [key=value ...]".into());
    };
    let settings: Vec<(String, String)> = (settings.iter())
        .map(|text| {
            text.split_once('=').map(|(k, v)| (k.to_string(), v.to_string())).ok_or("settings are key=value")
        })
        .collect::<Result<_, _>>()?;
    let snapshot = read_snapshot(&Source::parse(snapshot))?.value;
    let mask = read_plain_mask(&Source::parse(mask))?.value;
    let instrument = builtin("tsa-real").ok_or("no built-in instrument `tsa-real`")?;
    let camera = SdCassi::for_instrument(&instrument, &mask);
    let problem = Problem {
        snapshot: &snapshot,
        instrument: &instrument,
        operator: Some(&camera),
        mask: Some(&mask),
        noise: NoiseLevel::Unknown,
        warm_start: None,
    };
    let result = GapTv::from_settings(&settings)?.reconstruct(&problem, &mut Silent)?;
    println!("{:.2} s, residual {:.4}", result.elapsed.as_secs_f64(), result.residual.unwrap_or(f64::NAN));
    result.notes.iter().for_each(|note| println!("{note}"));

    let cube = result.cube.view();
    let mean = cube.mean_axis(Axis(0)).ok_or("a cube without bands")?;
    let mut sorted: Vec<f32> = mean.iter().copied().collect();
    sorted.sort_by(f32::total_cmp);
    let white = 1.5 * sorted[sorted.len() * 99 / 100].max(f32::MIN_POSITIVE);
    let tone = |plane: ArrayView2<'_, f32>| plane.mapv(|v| (v / white).clamp(0.0, 1.0).powf(1.0 / 2.2));
    let band = |nm: f64| tone(result.cube.band(result.cube.wavelengths().nearest(nm)));
    let top = concatenate(Axis(1), &[tone(mean.view()).view(), band(620.0).view()])?;
    let bottom = concatenate(Axis(1), &[band(540.0).view(), band(470.0).view()])?;
    std::fs::write(out, png_bytes(concatenate(Axis(0), &[top.view(), bottom.view()])?.view())?)?;
    Ok(())
}
