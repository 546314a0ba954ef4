//! Forward and adjoint against the memory: `cargo bench -p cassi-optics`.
//!
//! The first table is the claim: (bytes of cube, mask and snapshot) / time, over what a copy of a cube-sized buffer
//! reads and writes in a second, on two threads, the runs taken in turn so that all three meet the same machine.
//! The copy is the fastest of three ways to split it. Criterion's own figures follow.

use std::{hint::black_box, time::Instant};

use cassi_core::{LinearOperator, elements};
use cassi_optics::{
    SdCassi,
    mask::{fit_to, shipped},
};
use criterion::{Criterion, Throughput};
use rayon::prelude::*;

const SIZES: [usize; 2] = [256, 1024];
const ROUNDS: usize = 60;

fn camera(side: usize) -> SdCassi {
    SdCassi::new(&fit_to(&shipped("cassi256").expect("it ships"), side, side).0, 28, 2)
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn copy(from: &[f32], to: &mut [f32], chunk: usize) {
    to.par_chunks_mut(chunk).zip(from.par_chunks(chunk)).for_each(|(to, from)| to.copy_from_slice(from));
}

fn ratios(side: usize) {
    let camera = camera(side);
    let (n, m) = (elements(camera.domain()), elements(camera.range()));
    let (mut x, mut back, mut y) = (vec![0.5; n], vec![0.0; n], vec![0.0; m]);
    let chunks = [n / 2, n / 28, 1 << 16];
    let mut times = vec![Vec::new(); 2 + chunks.len()];
    for _ in 0..ROUNDS {
        for (times, chunk) in times[2..].iter_mut().zip(chunks) {
            times.push(seconds(|| copy(black_box(&x), black_box(&mut back), chunk)));
        }
        times[0].push(seconds(|| camera.forward(black_box(&x), black_box(&mut y))));
        times[1].push(seconds(|| camera.adjoint(black_box(&y), black_box(&mut x))));
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let copied = medians[2..].iter().map(|time| 8.0 * n as f64 / time).fold(0.0, f64::max);
    let touched = 4.0 * (n + m + side * side) as f64;
    let share = |time: f64| 100.0 * touched / time / copied;
    println!(
        "| {side}x{side}x28 | {:.1} | {:.3} | {:.0} % | {:.3} | {:.0} % |",
        copied / 1e9,
        medians[0] * 1e3,
        share(medians[0]),
        medians[1] * 1e3,
        share(medians[1]),
    );
}

fn criterion_figures(criterion: &mut Criterion) {
    for side in SIZES {
        let camera = camera(side);
        let (n, m) = (elements(camera.domain()), elements(camera.range()));
        let (mut x, mut y) = (vec![0.5; n], vec![0.0; m]);
        let mut group = criterion.benchmark_group(format!("{side}x{side}x28"));
        group.sample_size(20).throughput(Throughput::Bytes(4 * (n + m + side * side) as u64));
        group.bench_function("forward", |b| b.iter(|| camera.forward(black_box(&x), black_box(&mut y))));
        group.bench_function("adjoint", |b| b.iter(|| camera.adjoint(black_box(&y), black_box(&mut x))));
        group.finish();
    }
}

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global().expect("the first use of the pool");
    println!("kernel {}, 2 threads, medians of {ROUNDS}", camera(8).kernel_name());
    println!("| cube | copy GB/s | forward ms | of copy | adjoint ms | of copy |");
    println!("|---|---|---|---|---|---|");
    SIZES.into_iter().for_each(ratios);
    let mut criterion = Criterion::default().configure_from_args();
    criterion_figures(&mut criterion);
    criterion.final_summary();
}
