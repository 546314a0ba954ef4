//! Renders scenes of every kind side by side, one row a kind, as a binary PPM on standard output.
//!
//! ```text
//! cargo run --release -p cassi-scene --example contact_sheet -- [COUNT] [FIRST_SEED] [SIDE] > SHEET.ppm
//! ```

use std::{io::Write, time::Instant};

use cassi_core::{Wavelengths, colour::Renderer};
use cassi_scene::{Kind, SceneRecipe};
use ndarray::Array3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(default, |a| a.parse().expect("a number"));
    let (count, first, side) = (number(4), number(0), number(256));
    let grid = Wavelengths::benchmark();
    let renderer = Renderer::daylight(&grid);
    let mut sheet = Array3::<u8>::zeros((side * Kind::ALL.len(), side * count, 3));
    for (i, kind) in Kind::ALL.into_iter().enumerate() {
        for k in 0..count {
            let start = Instant::now();
            let cube = SceneRecipe::new(kind, (first + k) as u64).with_size(side, side).render(&grid);
            let seconds = start.elapsed().as_secs_f64();
            let mean = cube.as_slice().iter().sum::<f32>() / cube.as_slice().len() as f32;
            eprintln!("{kind} {}: {:.1} ms, mean {mean:.3}", first + k, 1e3 * seconds);
            let exposure = renderer.auto_exposure(&cube).expect("the grid of the renderer").min(2.0);
            let picture =
                renderer.clone().with_exposure(exposure).render(&cube).expect("the grid of the renderer");
            sheet
                .slice_mut(ndarray::s![i * side..(i + 1) * side, k * side..(k + 1) * side, ..])
                .assign(&picture);
        }
    }
    let mut bytes = format!("P6\n{} {}\n255\n", sheet.shape()[1], sheet.shape()[0]).into_bytes();
    bytes.extend(sheet.iter());
    std::io::stdout().write_all(&bytes).expect("standard output takes the sheet");
}
