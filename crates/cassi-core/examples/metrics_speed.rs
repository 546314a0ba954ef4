//! Times all metrics and one rendering of a cube of the benchmark's size (median of five).
//!
//! ```text
//! cargo run --release -p cassi-core --example metrics_speed
//! ```

use std::{hint::black_box, time::Instant};

use cassi_core::{Cube, Wavelengths, colour::Renderer, metrics::Scores, random::Stream};

fn median_ms(mut f: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            f();
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[2]
}

fn main() {
    let grid = Wavelengths::benchmark();
    let mut random = Stream::new(1, "speed", 0);
    let mut draw = || {
        let mut cube = Cube::zeros([28, 256, 256], grid.clone());
        cube.as_mut_slice().iter_mut().for_each(|v| *v = random.uniform() as f32);
        cube
    };
    let (truth, estimate) = (draw(), draw());
    let scores = median_ms(|| {
        black_box(Scores::compute(&truth, &estimate).expect("equal shapes"));
    });
    let renderer = Renderer::daylight(&grid);
    let rendering = median_ms(|| {
        black_box(renderer.render(&truth).expect("the grid of the renderer"));
    });
    println!("all metrics {scores:.0} ms, rendering {rendering:.1} ms, at 28x256x256");
}
