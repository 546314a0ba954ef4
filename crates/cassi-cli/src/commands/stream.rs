//! `cassi reconstruct --stream`: a sequence of snapshots through one method, and how fast that goes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use cassi_core::{InstrumentDescription, Mask, Problem, Reconstructor, Silent, Snapshot};
use cassi_io::Metadata;
use cassi_optics::SdCassi;

use super::Outcome;
use super::reconstruct::{Args, noise_level};
use crate::context::{self, Context};
use crate::frames::{Frame, Frames, Unreadable};
use crate::inputs;
use crate::output;
use crate::registry::{self, Built, Request};

/// What every frame goes through.
struct Line<'a> {
    args: &'a Args,
    instrument: &'a InstrumentDescription,
    operator: Option<SdCassi>,
    mask: Option<Mask>,
    shape: [usize; 2],
    method: Box<dyn Reconstructor>,
    metadata: Metadata,
}

/// A frame that did not become a cube.
struct Failure {
    index: usize,
    name: String,
    error: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let weights = args.open_weights()?;
    let mut frames = Frames::open(&args.snapshot)?;
    let count = frames.expected();
    let mut failures = Vec::new();
    let mut index = 0;
    // The first good frame says what camera it is, unless frames are bare numbers.
    let mut first: Option<Frame> = None;
    while first.is_none() && !frames.is_raw() {
        match frames.next() {
            None => break,
            Some(Ok(frame)) => first = Some(frame),
            Some(Err(unreadable)) => {
                fail(&mut failures, index, &unreadable);
                index += 1;
            }
        }
    }
    if first.is_none() && !frames.is_raw() {
        bail!("none of {} frames could be read", failures.len());
    }
    let metadata = first.as_ref().map(|frame| frame.metadata.clone()).unwrap_or_default();
    let instrument = args.choose_instrument(&metadata, weights.as_ref(), context)?;
    let scene = match (&first, &args.mask) {
        (Some(frame), _) => inputs::scene_shape(&frame.snapshot, &instrument)?,
        (None, Some(file)) => inputs::mask_file(file, &instrument, context)?.0.mask.shape(),
        (None, None) => [instrument.scene.rows, instrument.scene.columns],
    };
    let shape = instrument.snapshot_shape(scene[0], scene[1]);
    frames.set_shape(shape);
    let (mask, mask_path) = inputs::mask(args.mask.as_deref(), &instrument, scene, context)?;
    let (name, settings, engine) = (args.method.as_str(), args.settings.as_slice(), &args.engine);
    let request = Request { name, settings, weights, engine, instrument: &instrument, mask: mask.as_ref() };
    let Built { method, weights, notes } = registry::make(request)?;
    context.say_all(&notes);
    let files: Vec<&Path> = mask_path.as_deref().into_iter().chain(weights.as_deref()).collect();
    let mut provenance = context.provenance(&files)?;
    if let Some(label) = &method.describe().weights {
        provenance["weights"] = label.as_str().into();
    }
    let line = Line {
        args,
        operator: mask.as_ref().map(|mask| SdCassi::new(mask, instrument.bands(), instrument.step())),
        mask,
        shape,
        method,
        metadata: Metadata {
            instrument: Some(cassi_optics::to_toml(&instrument)),
            provenance: Some(provenance),
            ..Metadata::default()
        },
        instrument: &instrument,
    };

    let started = Instant::now();
    let mut progress = context.progress(name, count.unwrap_or(1));
    let mut latencies = Vec::new();
    if let Some(frame) = &first {
        context.say_all(&frame.notes);
    }
    let mut pending = first.map(Ok);
    while let Some(next) = pending.take().or_else(|| frames.next()) {
        match next {
            Ok(frame) => match line.frame(index, &frame) {
                Ok(seconds) => latencies.push(seconds),
                Err(error) => {
                    fail(&mut failures, index, &Unreadable { name: frame.name, error, last: false })
                }
            },
            Err(unreadable) => {
                fail(&mut failures, index, &unreadable);
                if unreadable.last {
                    break;
                }
            }
        }
        index += 1;
        progress.at(index, count.unwrap_or(index), "");
    }
    drop(progress);
    let seconds = started.elapsed().as_secs_f64();
    if latencies.is_empty() {
        bail!("none of {} frames could be reconstructed", failures.len());
    }
    report(&line, latencies, seconds, &failures, context)?;
    Ok(if failures.is_empty() { Outcome::Done } else { Outcome::CheckFailed })
}

/// Says at once which frame failed and why, even when quiet, and remembers it.
fn fail(failures: &mut Vec<Failure>, index: usize, unreadable: &Unreadable) {
    let Unreadable { name, error, .. } = unreadable;
    let error = format!("{error:#}");
    // Errors of files name the file themselves.
    let place = if error.contains(name) { String::new() } else { format!(" ({name})") };
    output::message(format_args!("error: frame {index}{place}: {error}"));
    failures.push(Failure { index, name: name.clone(), error });
}

impl Line<'_> {
    /// Reconstructs and writes one frame; returns the seconds from snapshot to cube, both in memory.
    fn frame(&self, index: usize, frame: &Frame) -> anyhow::Result<f64> {
        let snapshot: &Snapshot = &frame.snapshot;
        if snapshot.shape() != self.shape {
            bail!("has shape {:?}, expected {:?} (row, column) as the others", snapshot.shape(), self.shape);
        }
        let problem = Problem {
            snapshot,
            instrument: self.instrument,
            operator: self.operator.as_ref().map(|operator| operator as _),
            mask: self.mask.as_ref(),
            noise: noise_level(self.args.noise_level, &frame.metadata, snapshot, self.instrument)?,
            warm_start: None,
        };
        let result = self.method.reconstruct(&problem, &mut Silent)?;
        if let Some(output) = &self.args.output {
            let cube = if self.args.clip { result.cube.clamped() } else { result.cube };
            let mut metadata = self.metadata.clone();
            if let Some(provenance) = &mut metadata.provenance {
                provenance["frame"] = serde_json::json!({ "index": index, "name": frame.name });
            }
            cassi_io::write_cube(&numbered(output, index), &cube, &metadata)?;
        }
        Ok(result.elapsed.as_secs_f64())
    }
}

/// `cubes` becomes `cubes/frame-00012.h5`, `cubes/x.npy` becomes `cubes/x-00012.npy`.
fn numbered(output: &Path, index: usize) -> PathBuf {
    match (output.extension(), output.file_stem()) {
        (Some(extension), Some(stem)) => output.with_file_name(format!(
            "{}-{index:05}.{}",
            stem.to_string_lossy(),
            extension.to_string_lossy()
        )),
        _ => output.join(format!("frame-{index:05}.h5")),
    }
}

/// The value that a fraction of a sorted list does not exceed (nearest rank).
fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn report(
    line: &Line<'_>,
    mut latencies: Vec<f64>,
    seconds: f64,
    failures: &[Failure],
    context: &Context,
) -> anyhow::Result<()> {
    latencies.sort_by(f64::total_cmp);
    let frames = latencies.len();
    let rate = frames as f64 / seconds.max(f64::MIN_POSITIVE);
    let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|fraction| 1e3 * percentile(&latencies, fraction));
    let method = line.method.describe();
    if context.json {
        let failed: Vec<_> = (failures.iter())
            .map(|f| serde_json::json!({ "index": f.index, "name": f.name, "error": f.error }))
            .collect();
        context.print_json(&serde_json::json!({
            "method": method.name,
            "weights": method.weights,
            "instrument": line.instrument.name,
            "output": line.args.output,
            "frames": frames,
            "failed": failed,
            "seconds": seconds,
            "frames_per_second": rate,
            "latency_ms": { "p50": p50, "p90": p90, "p99": p99, "max": max },
            "peak_memory_mb": context::peak_memory_mb(),
        }))?;
        return Ok(());
    }
    context.say(format!(
        "{}: {frames} frames in {seconds:.2} s, {rate:.2} frames a second with reading and writing",
        method.name
    ));
    context.say(format!(
        "latency from snapshot to cube: p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
    ));
    if !failures.is_empty() {
        context.say(format!("{} frames failed", failures.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let sorted: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!([0.5, 0.9, 0.99, 1.0].map(|f| percentile(&sorted, f)), [5.0, 9.0, 10.0, 10.0]);
        assert_eq!(percentile(&[3.0], 0.5), 3.0);
    }

    #[test]
    fn outputs_are_numbered() {
        assert_eq!(numbered(Path::new("a/cubes"), 12), Path::new("a/cubes/frame-00012.h5"));
        assert_eq!(numbered(Path::new("a/x.npy"), 3), Path::new("a/x-00003.npy"));
    }
}
