//! Times BiSRNet on bits and on floats.
//!
//! ```text
//! cargo run --release -p cassi-infer --example bit_bench -- [WEIGHTS] [SIZE..] [--window ROWS] [--threads 2,1]
//! reference_bench --cases bisrnet,bisrnet-real --threads 2 | bit_bench --beside FOLDER
//! ```
//!
//! The first form prints medians of both engines, their ratio and the peak of resident memory; `--window ROWS` limits
//! the rows that are in memory at once, e.g. `4096 --window 160`. Without weights the rule weights are used (the time
//! does not depend on the values). The second reads the reports of `reference_bench` (an example of `cassi-nets`), runs
//! each case on the same number of threads with the official weights in `FOLDER`, in a process of its own, and prints
//! the ratios of times and of memory beyond start-up.

use std::io::BufRead;
use std::time::Instant;

use cassi_infer::binary::{BinaryNetwork, Engine, Input, Layout, Method, Workspace, rule_weights};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

/// A figure in MB from the operating system, e.g. `VmHWM`, the peak of resident memory; not a number elsewhere.
fn memory_mb(key: &str) -> f64 {
    let status = cassi_io::read_text("/proc/self/status".as_ref()).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes * 1024.0 / 1e6)
}

/// Numbers in [0, 1).
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect()
}

/// Milliseconds of each of `repeats` runs, in ascending order; a first run is not counted.
fn times(
    network: &BinaryNetwork,
    input: Input<'_>,
    (window, threads, repeats): (usize, usize, usize),
    cube: &mut [f32],
) -> Result<Vec<f64>, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut workspace = Workspace::with_window(window);
    let mut times = vec![];
    for _ in 0..=repeats {
        let start = Instant::now();
        pool.install(|| network.run(input, &mut workspace, cube))?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn read_network(weights: Option<&str>, layout: Layout) -> Result<BinaryNetwork, Failure> {
    let tensors = match weights {
        Some(path) => cassi_io::read_tensors(path.as_ref())?,
        None => rule_weights(Method::BiSrNet),
    };
    Ok(BinaryNetwork::from_tensors(&tensors, Method::BiSrNet, layout)?)
}

/// Sizes, engines and threads by themselves.
fn alone(weights: Option<&str>, sizes: &[usize], window: usize, threads: &[usize]) -> Result<(), Failure> {
    let network = read_network(weights, Layout::TsaReal)?;
    println!("kernels: {}; start: {:.0} MB", network.kernel().name, memory_mb("VmHWM"));
    for &size in sizes {
        let snapshot = numbers(size * (size + 54));
        let input = Input::Real { snapshot: &snapshot, rows: size, columns: size };
        let mut cube = vec![0.0; 28 * size * size];
        for &threads in threads {
            let mut medians = vec![];
            for engine in [Engine::Bits, Engine::Float] {
                let network = network.clone().with_engine(engine);
                let repeats = if size > 1000 { 1 } else { 9 };
                let times = times(&network, input, (window, threads, repeats), &mut cube)?;
                medians.push(times[repeats / 2]);
                println!(
                    "{size:5} {threads} thread(s) {engine:?}: median {:.1} ms, best {:.1} ms; peak {:.0} MB",
                    times[repeats / 2],
                    times[0],
                    memory_mb("VmHWM")
                );
            }
            println!("{size:5} {threads} thread(s): float / bits = {:.2}", medians[1] / medians[0]);
        }
    }
    Ok(())
}

/// One case of `reference_bench`, by its report, on one engine.
fn case(report: &str, folder: &str, engine: Engine) -> Result<(), Failure> {
    let report: Value = serde_json::from_str(report)?;
    let real = report["case"] == "bisrnet-real";
    let (layout, name, side) = match real {
        true => (Layout::TsaReal, "bisrnet_real", 660),
        false => (Layout::Standard, "bisrnet_sim", 256),
    };
    let threads = report["threads"].as_u64().ok_or("a report without threads")? as usize;
    let network = read_network(Some(&format!("{folder}/{name}.safetensors")), layout)?.with_engine(engine);
    let (image, mask) = (numbers(side * if real { side + 54 } else { 28 * side }), numbers(side * side));
    let input = match real {
        true => Input::Real { snapshot: &image, rows: side, columns: side },
        false => Input::Standard { features: &image, mask: &mask, rows: side, columns: side },
    };
    let before = memory_mb("VmRSS");
    let mut cube = vec![0.0; 28 * side * side];
    let times = times(&network, input, (Workspace::default().window_rows(), threads, 15), &mut cube)?;
    let own = json!({"median_ms": times[7], "best_ms": times[0], "mb": memory_mb("VmHWM") - before,
        "kernels": network.kernel().name});
    println!("{own}");
    Ok(())
}

/// Every report that comes in beside the two engines.
fn beside(folder: &str) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let report: Value = serde_json::from_str(&line)?;
        let reference = report["seconds_median"].as_f64().ok_or("a report without a median")? * 1e3;
        let memory = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
        let reference_mb = memory("peak_memory_mb") - memory("memory_before_mb");
        let who = if report["code"] == "published" { "published PyTorch" } else { "libtorch" };
        println!(
            "{}, {} thread(s), {who}: {reference:.0} ms, {reference_mb:.0} MB",
            report["case"], report["threads"]
        );
        for engine in ["bits", "float"] {
            let child = std::process::Command::new(std::env::current_exe()?)
                .args(["--case", &line, "--beside", folder, "--engine", engine])
                .output()?;
            if !child.status.success() {
                return Err(String::from_utf8_lossy(&child.stderr).into());
            }
            let own: Value = serde_json::from_slice(&child.stdout)?;
            let number = |key: &str| own[key].as_f64().unwrap_or(f64::NAN);
            println!(
                "  {engine} on {}: {:.1} ms (best {:.1}), {:.0} MB; {:.1} times as fast, 1/{:.1} of the memory",
                own["kernels"],
                number("median_ms"),
                number("best_ms"),
                number("mb"),
                reference / number("median_ms"),
                reference_mb / number("mb"),
            );
        }
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let (mut weights, mut sizes, mut window) = (None, vec![], Workspace::default().window_rows());
    let mut threads = vec![rayon::current_num_threads(), 1];
    let (mut folder, mut report, mut engine) = (None, None, Engine::Bits);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--window" => window = value()?.parse()?,
            "--threads" => threads = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--beside" => folder = Some(value()?),
            "--case" => report = Some(value()?),
            "--engine" => engine = if value()? == "float" { Engine::Float } else { Engine::Bits },
            _ => match argument.parse::<usize>() {
                Ok(size) => sizes.push(size),
                Err(_) => weights = Some(argument),
            },
        }
    }
    if sizes.is_empty() {
        sizes = vec![256];
    }
    match (report, folder) {
        (Some(report), Some(folder)) => case(&report, &folder, engine),
        (None, Some(folder)) => beside(&folder),
        _ => alone(weights.as_deref(), &sizes, window, &threads),
    }
}
