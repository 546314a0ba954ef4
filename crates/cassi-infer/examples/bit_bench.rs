//! Times BiSRNet on bits and on floats: `cargo run --release -p cassi-infer --example bit_bench -- [WEIGHTS] [SIZE..]`.
//!
//! `--window ROWS` limits the rows that are in memory at once, e.g. `-- 4096 --window 160`.
//! Without weights the rule weights are used (the time does not depend on the values). Prints medians at one and at
//! all threads, the ratio of the engines, and the peak of resident memory.

use std::time::Instant;

use cassi_infer::binary::{BinaryNetwork, Engine, Input, Layout, Method, Workspace, rule_weights};

/// Peak resident memory in MB, where the system tells (`VmHWM` of /proc).
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?; // a benchmark may look at its own process
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut weights, mut sizes, mut window) = (None, vec![], Workspace::default().window_rows());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.parse::<usize>() {
            Ok(size) => sizes.push(size),
            Err(_) if argument == "--window" => window = arguments.next().ok_or("--window ROWS")?.parse()?,
            Err(_) => weights = Some(argument),
        }
    }
    if sizes.is_empty() {
        sizes = vec![256];
    }
    let tensors = match &weights {
        Some(path) => cassi_io::read_tensors(path.as_ref())?,
        None => rule_weights(Method::BiSrNet),
    };
    let network = BinaryNetwork::from_tensors(&tensors, Method::BiSrNet, Layout::TsaReal)?;
    println!("kernels: {}; start: {:.0} MB", network.kernel().name, peak_memory().unwrap_or(f64::NAN));
    let all = rayon::current_num_threads();
    for size in sizes {
        let snapshot: Vec<f32> = (0..size * (size + 54)).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect();
        let mut cube = vec![0.0; 28 * size * size];
        for threads in [all, 1] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let mut medians = vec![];
            for engine in [Engine::Bits, Engine::Float] {
                let network = network.clone().with_engine(engine);
                let mut workspace = Workspace::with_window(window);
                let input = Input::Real { snapshot: &snapshot, rows: size, columns: size };
                // Nine runs, or three of large images.
                let repeats = if size > 1000 { 3 } else { 9 };
                let mut times: Vec<f64> = (0..repeats)
                    .map(|_| {
                        let start = Instant::now();
                        pool.install(|| network.run(input, &mut workspace, &mut cube))
                            .map(|()| start.elapsed().as_secs_f64() * 1e3)
                    })
                    .collect::<Result<_, _>>()?;
                times.sort_by(f64::total_cmp);
                medians.push(times[repeats / 2]);
                println!(
                    "{size:5} {threads} thread(s) {engine:?}: median {:.1} ms, best {:.1} ms; peak {:.0} MB",
                    times[repeats / 2],
                    times[0],
                    peak_memory().unwrap_or(f64::NAN)
                );
            }
            println!("{size:5} {threads} thread(s): float / bits = {:.2}", medians[1] / medians[0]);
        }
    }
    Ok(())
}
