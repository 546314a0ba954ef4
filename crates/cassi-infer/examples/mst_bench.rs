//! Times the float networks on random weights.
//!
//! ```text
//! cargo run --release -p cassi-infer --example mst_bench -- [NAME|all ROWS COLUMNS REPEAT [KERNEL|all]]
//! ```
//!
//! Prints one JSON line a network and kernel (the best one, if none is named): median and smallest time of a run with
//! its mask prepared, the time of preparing it, and the process's peak memory so far.
//!
//! ```text
//! cargo run --release -p cassi-infer --example mst_bench -- loss NAME WEIGHTS MASK SCENE...
//! ```
//!
//! prints the PSNR (dB, peak 1) of scenes that a network of trained weights reconstructs from their noiseless snapshots,
//! in f32 and in bf16.

use std::time::Instant;

use cassi_core::{NamedTensors, Tensor, random::Stream, shear};
use cassi_infer::float::{Layout, MaskInput, MaskShift, MstNetwork, Precision, Variant, Workspace};
use cassi_io::{ReadOptions, Source};
use ndarray::{Array2, Array3, Axis};

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
    if let [command, name, weights, mask, scenes @ ..] = &arguments[..]
        && command == "loss"
    {
        return loss(name, weights, mask, scenes);
    }
    let number =
        |at: usize, usual: usize| arguments.get(at).map_or(usual, |text| text.parse().expect("a number"));
    let (rows, columns, repeat) = (number(1, 256), number(2, 256), number(3, 9));
    let wanted =
        |variant: &Variant| arguments.first().is_none_or(|name| name == "all" || name == variant.name());
    for variant in Variant::ALL.into_iter().filter(wanted) {
        let network =
            MstNetwork::from_tensors(&random_weights(variant), variant, Layout::Standard, 28, 2).unwrap();
        let best = network.kernel_name();
        let named = arguments.get(4).map_or(best, String::as_str);
        for (kernel, _) in MstNetwork::kernels().filter(|(name, _)| named == "all" || named == *name) {
            match network.clone().with_kernel(kernel) {
                Some(network) => measure(&network, rows, columns, repeat),
                None => eprintln!("{kernel}: not on this CPU"),
            }
        }
    }
}

fn measure(network: &MstNetwork, rows: usize, columns: usize, repeat: usize) {
    let x = Array3::from_shape_fn((28, rows, columns), |(b, r, c)| ((b * 5 + r * 3 + c) % 17) as f32 / 17.0);
    let mask = Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 5) as f32 / 4.0);
    let start = Instant::now();
    let prepared =
        network.prepare_mask(Some(MaskInput::Plain(mask.view())), rows, columns, MaskShift::Level).unwrap();
    let preparing = start.elapsed().as_secs_f64();
    let mut workspace = Workspace::default();
    let mut cube = Array3::zeros(x.dim());
    let mut times: Vec<f64> = (0..=repeat)
        .map(|_| {
            let start = Instant::now();
            network.run_into(x.view(), &prepared, &mut workspace, cube.view_mut()).unwrap();
            start.elapsed().as_secs_f64()
        })
        .skip(1) // the first call allocates
        .collect();
    times.sort_by(f64::total_cmp);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("").trim().to_string();
    println!(
        r#"{{"network":"{}","rows":{rows},"columns":{columns},"kernel":"{}","threads":{},"seconds":{:.4},"smallest":{:.4},"mask_seconds":{preparing:.3},"peak":"{peak}"}}"#,
        network.variant().name(),
        network.kernel_name(),
        rayon::current_num_threads(),
        times[times.len() / 2],
        times[0],
    );
}

/// What bf16 costs on real scenes.
fn loss(name: &str, weights: &str, mask: &str, scenes: &[String]) {
    let tensors = cassi_io::read_tensors(weights.as_ref()).expect("weights");
    let variant = Variant::from_name(name).expect("a network's name");
    let single = MstNetwork::from_tensors(&tensors, variant, Layout::Standard, 28, 2).expect("its weights");
    let half = single.clone().with_precision(Precision::Bf16).expect("a CPU with bf16");
    let mask = cassi_io::read_plain_mask(&Source::parse(mask)).expect("a mask").value;
    let mut sums = [0.0; 2];
    for scene in scenes {
        let cube =
            cassi_io::read_cube(&Source::parse(scene), &ReadOptions::default()).expect("a scene").value;
        let (bands, rows, columns) = cube.view().dim();
        let coded =
            &cube.view() * &mask.view().broadcast((bands, rows, columns)).expect("a mask of its size");
        let snapshot = shear::shear(coded.view(), 2).sum_axis(Axis(0));
        let features = shear::unshear_snapshot(snapshot.view(), bands, 2).mapv(|y| y / bands as f32 * 2.0);
        let plain = Some(MaskInput::Plain(mask.view()));
        let psnr = [&single, &half].map(|network| {
            let prepared = network.prepare_mask(plain, rows, columns, MaskShift::Level).expect("its size");
            let found = network.run(features.view(), &prepared, &mut Workspace::default()).expect("its size");
            let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
            let error: f64 = found.iter().zip(cube.view()).map(square).sum();
            -10.0 * (error / found.len() as f64).log10()
        });
        println!(r#"{{"scene":"{scene}","f32":{:.4},"bf16":{:.4}}}"#, psnr[0], psnr[1]);
        sums = [sums[0] + psnr[0], sums[1] + psnr[1]];
    }
    let [single, half] = sums.map(|sum| sum / scenes.len() as f64);
    println!(r#"{{"mean of":{},"f32":{single:.4},"bf16":{half:.4}}}"#, scenes.len());
}
