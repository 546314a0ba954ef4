//! Times the float networks on random weights: `cargo run --release -p cassi-infer --example mst_bench -- [NAME ROWS COLUMNS REPEAT]`.
//!
//! Prints one JSON line a network: median and smallest time of a run with its mask prepared, the time of preparing
//! it, and the process's peak memory.

use std::time::Instant;

use cassi_core::{NamedTensors, Tensor, random::Stream};
use cassi_infer::float::{Layout, MaskInput, MaskShift, MstNetwork, Variant, Workspace};
use ndarray::{Array2, Array3};

fn random_weights(variant: Variant) -> NamedTensors {
    let expected = MstNetwork::expected_tensors(variant, Layout::Standard, 28);
    (expected.into_iter().enumerate())
        .map(|(index, (name, shape))| {
            let fan_in: usize = shape.iter().skip(1).product();
            let mut stream = Stream::new(0, "bench/weights", index as u64);
            let data = (0..shape.iter().product::<usize>())
                .map(|_| (stream.normal() / (fan_in.max(1) as f64).sqrt()) as f32)
                .collect();
            (name, Tensor::new(shape, data).unwrap())
        })
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, usual: usize| arguments.get(at).map_or(usual, |text| text.parse().expect("a number"));
    let (rows, columns, repeat) = (number(1, 256), number(2, 256), number(3, 9));
    let wanted =
        |variant: &Variant| arguments.first().is_none_or(|name| name == "all" || name == variant.name());
    for variant in Variant::ALL.into_iter().filter(wanted) {
        let network =
            MstNetwork::from_tensors(&random_weights(variant), variant, Layout::Standard, 28, 2).unwrap();
        let x =
            Array3::from_shape_fn((28, rows, columns), |(b, r, c)| ((b * 5 + r * 3 + c) % 17) as f32 / 17.0);
        let mask = Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 5) as f32 / 4.0);
        let start = Instant::now();
        let prepared = network
            .prepare_mask(Some(MaskInput::Plain(mask.view())), rows, columns, MaskShift::Level)
            .unwrap();
        let preparing = start.elapsed().as_secs_f64();
        let mut workspace = Workspace::default();
        let mut times: Vec<f64> = (0..=repeat)
            .map(|_| {
                let start = Instant::now();
                network.run(x.view(), &prepared, &mut workspace).unwrap();
                start.elapsed().as_secs_f64()
            })
            .skip(1) // the first call allocates
            .collect();
        times.sort_by(f64::total_cmp);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("").trim().to_string();
        println!(
            r#"{{"network":"{}","rows":{rows},"columns":{columns},"kernel":"{}","threads":{},"seconds":{:.4},"smallest":{:.4},"mask_seconds":{preparing:.3},"peak":"{peak}"}}"#,
            variant.name(),
            network.kernel_name(),
            rayon::current_num_threads(),
            times[times.len() / 2],
            times[0],
        );
    }
}
