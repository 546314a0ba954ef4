//! `cassi bench`: operators against the speed of a copy, and GAP-TV against a plain numpy version of the same
//! iteration, each with its reference in the same run; and the quality of methods on a folder of scenes.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use cassi_core::{LinearOperator, NoiseLevel, Problem, Silent, Snapshot, random::Stream};
use cassi_optics::{SdCassi, mask};

use super::{Outcome, quality};
use crate::context::Context;
use crate::output::print_line;
use crate::registry;

/// The plain reference, timed by the same run where Python has numpy.
const GAPTV_NUMPY: &str = include_str!("../../../../docs/benchmarks/gaptv_numpy.py");

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cassi bench --threads 2
  cassi bench operators --json
  cassi bench gap-tv --python venv/bin/python3      (an interpreter that has numpy)
  cassi bench quality --scenes validation --method gap-tv --method mst-s -o results.md
  cassi bench quality --scenes validation --mask mask.mat --method mst-s=mine.safetensors --json

Run it on an idle machine: what else runs is measured too.")]
pub(crate) struct Args {
    /// What to measure [default: all speeds]
    what: Option<What>,
    /// Repetitions; the median counts
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat: u32,
    /// The Python that times the numpy reference of GAP-TV
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
    #[command(flatten)]
    quality: quality::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum What {
    /// Forward and adjoint against a copy of the cube
    Operators,
    /// 100 iterations of GAP-TV against plain numpy
    GapTv,
    /// Every figure of merit of methods on true cubes
    Quality,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<Outcome> {
    if args.what == Some(What::Quality) {
        quality::run(&args.quality, context)?;
        return Ok(Outcome::Done);
    }
    let mut rows = Vec::new();
    if args.what != Some(What::GapTv) {
        for side in [256, 1024] {
            // Inside the pool: to wake its threads takes as long as the work, for a copy and for an operator.
            rows.extend(rayon::scope(|_| operators(side, args.repeat)));
        }
    }
    if args.what != Some(What::Operators) {
        rows.extend(gap_tv(&args.python, args.repeat.min(5), context)?);
    }
    if context.json {
        context.print_json(&serde_json::json!({ "threads": rayon::current_num_threads(), "rows": rows }))?;
    } else {
        print_line!("{} threads", rayon::current_num_threads())?;
        for row in &rows {
            print_line!("{:<34} {:>10.3} ms   {}", row.name, row.milliseconds, row.comparison)?;
        }
    }
    Ok(Outcome::Done)
}

#[derive(serde::Serialize)]
struct Row {
    name: String,
    milliseconds: f64,
    /// The figure that the comparison states: share of copy speed, or times faster than the reference.
    ratio: Option<f64>,
    comparison: String,
}

/// Seconds of the second of two runs: the first leaves the caches as this work leaves them.
fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn uniform(purpose: &str, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(0, purpose, 0);
    (0..n).map(|_| stream.uniform() as f32).collect()
}

/// Forward and adjoint of the standard camera at `side` x `side` x 28, as a share of what a copy of the cube moves. The
/// three take turns, so that all meet the same machine.
fn operators(side: usize, repeat: u32) -> Vec<Row> {
    use rayon::prelude::*;
    let (plane, _) = mask::fit_to(&standard_mask(), side, side);
    let operator = SdCassi::new(&plane, 28, 2);
    let cube = uniform("bench/cube", 28 * side * side);
    let mut snapshot = vec![0f32; side * (side + 54)];
    let mut other = vec![0f32; cube.len()];
    // In parallel like the operators; finer and coarser parts make the copy no faster.
    let chunk = cube.len().div_ceil(4 * rayon::current_num_threads());
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..repeat {
        let round_times = [
            seconds(|| {
                let parts = other.par_chunks_mut(chunk).zip(cube.par_chunks(chunk));
                parts.for_each(|(to, from)| to.copy_from_slice(from));
            }),
            seconds(|| operator.forward(&cube, &mut snapshot)),
            seconds(|| operator.adjoint(&snapshot, &mut other)),
        ];
        times.iter_mut().zip(round_times).for_each(|(all, time)| all.push(time));
    }
    let [copy_seconds, forward, adjoint] = times.map(median);
    let copy_rate = 2.0 * 4.0 * cube.len() as f64 / copy_seconds;
    let bytes = 4.0 * (cube.len() + side * side + snapshot.len()) as f64;
    let row = |name: &str, seconds: f64| {
        let share = bytes / seconds / copy_rate;
        Row {
            name: format!("{name} {side}x{side}x28"),
            milliseconds: 1e3 * seconds,
            ratio: Some(share),
            comparison: format!("{:.0} % of copy bandwidth ({:.1} GB/s)", 100.0 * share, copy_rate / 1e9),
        }
    };
    vec![
        Row {
            name: format!("copy {side}x{side}x28"),
            milliseconds: 1e3 * copy_seconds,
            ratio: None,
            comparison: format!("{:.1} GB/s read and written", copy_rate / 1e9),
        },
        row("forward", forward),
        row("adjoint", adjoint),
    ]
}

fn standard_mask() -> cassi_core::Mask {
    let standard = cassi_optics::builtin("standard").expect("built in");
    let name = standard.default_mask.expect("the standard instrument has a mask");
    mask::shipped(&name).expect("its mask is shipped")
}

/// 100 iterations of 5 inner steps at 256x256x28, against the same iteration in numpy.
fn gap_tv(python: &str, repeat: u32, context: &Context) -> anyhow::Result<Vec<Row>> {
    let instrument = cassi_optics::builtin("standard").expect("built in");
    let (plane, _) = mask::fit_to(&standard_mask(), 256, 256);
    let operator = SdCassi::new(&plane, 28, 2);
    let mut y = vec![0f32; 256 * 310];
    operator.forward(&uniform("bench/cube", 28 * 256 * 256), &mut y);
    let snapshot = Snapshot::new(ndarray::Array2::from_shape_vec((256, 310), y)?)?;
    let setting = |key: &str, value: &str| (key.to_string(), value.to_string());
    let plain = [
        setting("subspace", "none"),
        setting("iterations", "100"),
        setting("inner", "5"),
        setting("weight", "0.2"),
        setting("tolerance", "0"),
    ];
    let problem = Problem {
        snapshot: &snapshot,
        instrument: &instrument,
        operator: Some(&operator),
        mask: Some(&plane),
        noise: NoiseLevel::Known(0.0),
        warm_start: None,
    };
    let mut rows = Vec::new();
    for (name, settings) in [("gap-tv 100x5, no subspace", &plain[..]), ("gap-tv, default settings", &[])] {
        let method = registry::build("gap-tv", settings, None, &instrument)?;
        let mut times = Vec::new();
        for _ in 0..repeat {
            times.push(method.reconstruct(&problem, &mut Silent)?.elapsed.as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let seconds = times[times.len() / 2];
        rows.push(Row {
            name: format!("{name} 256x256x28"),
            milliseconds: 1e3 * seconds,
            ratio: None,
            comparison: String::new(),
        });
    }
    context.say("timing the numpy reference of GAP-TV (about 20 s) ...");
    match numpy_seconds(python) {
        Ok(seconds) => {
            let ratio = 1e3 * seconds / rows[0].milliseconds;
            rows[0].ratio = Some(ratio);
            rows[0].comparison = format!("{ratio:.1} times faster than numpy ({seconds:.2} s)");
        }
        Err(error) => rows[0].comparison = format!("numpy reference not timed: {error}"),
    }
    Ok(rows)
}

fn numpy_seconds(python: &str) -> anyhow::Result<f64> {
    let output = Command::new(python)
        .args(["-c", GAPTV_NUMPY])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{python}`"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("`{python}` failed: {}", text.lines().last().unwrap_or("without a word"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.split_whitespace().find_map(|word| word.strip_prefix("seconds="));
    seconds.and_then(|seconds| seconds.parse().ok()).context("the reference printed no `seconds=`")
}
