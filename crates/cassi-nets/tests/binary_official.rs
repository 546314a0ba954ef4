//! BiSRNet with the official weights against the published code. Needs files that are not in the repository.
#![cfg(feature = "torch")]

mod binary_common;

use std::collections::HashMap;
use std::path::Path;

use binary_common::*;
use cassi_nets::arch::binary::BinaryNet;
use cassi_nets::arch::{Layout, Network};
use cassi_nets::weights;
use tch::{Kind, Tensor};

/// The stated tolerance of the small cases, whose inputs were chosen so that no sign sits on a rounding edge.
const ROBUST: f64 = 1e-4;

fn official(shared: &Path, layout: Layout, extension: &str) -> BinaryNet {
    let file = match layout {
        Layout::Standard => "bisrnet_sim",
        Layout::TsaReal => "bisrnet_real",
    };
    let (store, network) = network("bisrnet", layout);
    let tensors = read(&shared.join("weights").join(file).with_extension(extension));
    weights::load(&store, &tensors).expect("the official weights fit");
    network
}

#[test]
fn small_cases_of_the_simulated_benchmark() {
    let Some(shared) = shared() else { return };
    let golden = read(&shared.join("golden/bisrnet_sim_small.npz"));
    // The original pickle and its safetensors copy are the same network.
    for extension in ["safetensors", "pth"] {
        let network = official(&shared, Layout::Standard, extension);
        for size in ["16", "24", "12x15", "11x13"] {
            let mask = repeated(&get(&golden, &format!("mask2d_{size}")));
            let out = evaluate(&network, &get(&golden, &format!("x_{size}")), Some(&mask));
            let gap = distance(&out, &get(&golden, &format!("out_{size}")));
            assert!(gap <= ROBUST, "{extension} {size}: {gap:e}");
        }
        let mask = repeated(&get(&golden, "mask2d_32"));
        let out = evaluate(&network, &get(&golden, "x_32"), Some(&mask));
        // Signs may flip here: the published code agrees with itself to 43 dB between precisions.
        assert!(psnr(&out, &get(&golden, "out_32")) > 38.0);
    }
}

#[test]
fn every_tap_of_the_simulated_benchmark() {
    let Some(shared) = shared() else { return };
    let golden = read(&shared.join("golden/bisrnet_sim_small.npz"));
    let network = official(&shared, Layout::Standard, "safetensors");
    let mask = repeated(&get(&golden, "mask2d_16"));
    network.record_taps();
    let _ = evaluate(&network, &get(&golden, "x_16"), Some(&mask));
    let taps: HashMap<_, _> = network.take_taps().into_iter().collect();
    let units = [
        ("m_embedding", "body.0.embedding"),
        ("m_enc0_ff_grouped", "body.0.encoder_layers.0.0.blocks.0.fn.net.3"),
        ("m_enc0_ff_increase1", "body.0.encoder_layers.0.0.blocks.0.fn.net.0.biconv_1"),
    ];
    let mut compared = 0;
    for (name, _) in golden.iter() {
        let Some(tap) = name.strip_prefix("tap16_") else { continue };
        let unit = units.iter().find_map(|(prefix, module)| {
            tap.strip_prefix(prefix)?.strip_prefix('_').map(|part| format!("{module}/{part}"))
        });
        let found = &taps[&unit.unwrap_or_else(|| module(tap))];
        let gap = distance(found, &get(&golden, name));
        // Inside, features reach some tens, so the absolute tolerance of the output scales with them.
        let limit = ROBUST * get(&golden, name).abs().max().double_value(&[]).max(1.0);
        assert!(gap <= limit, "{name}: {gap:e}");
        compared += 1;
    }
    assert_eq!(compared, 19 + 3 * 6, "taps in the reference file");
}

#[test]
fn small_cases_of_the_real_instrument() {
    let Some(shared) = shared() else { return };
    let golden = read(&shared.join("golden/bisrnet_real_small.npz"));
    for extension in ["safetensors", "pth"] {
        let network = official(&shared, Layout::TsaReal, extension);
        for size in ["16", "12"] {
            network.record_taps();
            let out = evaluate(&network, &get(&golden, &format!("y_{size}")).squeeze_dim(1), None);
            let taps: HashMap<_, _> = network.take_taps().into_iter().collect();
            let gap = distance(&out, &get(&golden, &format!("out_{size}")));
            assert!(gap <= ROBUST, "{extension} {size}: {gap:e}");
            if size == "16" {
                for tap in ["conv_in", "embedding", "bottleneck", "body", "conv_out"] {
                    let expected = get(&golden, &format!("tap16_{tap}"));
                    assert_close(&taps[&module(tap)], &expected, ROBUST, tap);
                }
            }
        }
    }
}

fn band_means(cube: &Tensor) -> Tensor {
    cube.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Double)
}

#[test]
fn the_whole_benchmark_frame() {
    let Some(shared) = shared() else { return };
    let inputs = read(&shared.join("golden/inputs_256.npz"));
    let golden = read(&shared.join("golden/bisrnet_sim_256.npz"));
    let (snapshot, mask) = (get(&inputs, "meas_Y"), get(&inputs, "mask"));
    let windows: Vec<Tensor> = (0..28).map(|b| snapshot.narrow(2, 2 * b, 256)).collect();
    let features = Tensor::stack(&windows, 1) / 28.0 * 2.0;
    let network = official(&shared, Layout::Standard, "safetensors");
    let out = evaluate(&network, &features, Some(&repeated(&mask)));
    // Signs on a rounding edge flip (the published code agrees with itself to 50.6 dB between thread counts and to
    // 40.7 dB between precisions), so the picture is compared, not each element.
    let crop = out.narrow(2, 96, 64).narrow(3, 96, 64);
    let mutual = psnr(&crop, &get(&golden, "crop"));
    println!("mutual PSNR of the crop {mutual:.1} dB");
    assert!(mutual >= 38.0);
    assert!(distance(&band_means(&out), &get(&golden, "band_mean").to_kind(Kind::Double)) < 2e-3);
    let to_truth = psnr(&out, &get(&inputs, "truth_f16"));
    assert!((to_truth - 24.130).abs() < 0.05, "PSNR to the truth {to_truth}");
}

#[test]
fn the_whole_real_frame() {
    let Some(shared) = shared() else { return };
    let golden = read(&shared.join("golden/bisrnet_real_scene1.npz"));
    let scene = read(&shared.join("real/scene1.mat"));
    let snapshot = get(&scene, "meas_real").clamp(0.0, 1.0);
    let snapshot = (&snapshot / snapshot.max() * 0.8).unsqueeze(0);
    let expected = get(&golden, "meas_crop");
    assert!(distance(&snapshot.narrow(1, 282, 96).narrow(2, 282, 150).squeeze(), &expected.squeeze()) < 1e-6);
    let network = official(&shared, Layout::TsaReal, "safetensors");
    let out = evaluate(&network, &snapshot, None);
    let mutual = psnr(&out.narrow(2, 282, 96).narrow(3, 282, 96), &get(&golden, "crop"));
    println!("mutual PSNR of the crop {mutual:.1} dB");
    assert!(mutual >= 38.0);
    assert!(distance(&band_means(&out), &get(&golden, "band_mean").to_kind(Kind::Double)) < 2e-3);
}
