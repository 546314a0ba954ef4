//! Damaged files of every format give an answer or an error: no panic, no abort, no allocation beyond reason.

#![allow(clippy::disallowed_methods)] // tests make and damage files themselves

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cassi_core::random::Stream;
use cassi_core::{Cube, NamedTensors, Snapshot, Tensor, Wavelengths};
use cassi_io::{
    Contents, Format, Metadata, ParseError, TensorPrecision, npy_bytes, parse_hdf5, parse_mat5, parse_npy,
    parse_npz, parse_picture, parse_safetensors, parse_torch, read_array, read_cube, safetensors_bytes,
    torch_tensor_names, write_arrays, write_cube, write_snapshot,
};
use common::{checkpoint, pickle, zip_of};
use ndarray::{Array2, Array3, ArrayD, IxDyn};

/// Mutants of each base file: 400, or as many as `CASSI_MUTANTS` says for a long run.
fn mutants() -> u64 {
    std::env::var("CASSI_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// One damaged copy: cut short, or a few bytes, fields or stretches of it changed.
fn mutant(base: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..1 + stream.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Headers are where damage matters: half of it goes into the first 256 bytes.
        let reach = if stream.chance(0.5) { bytes.len().min(256) } else { bytes.len() };
        let at = stream.below(reach);
        let end = |stream: &mut Stream| (at + 1 + stream.below(64)).min(bytes.len());
        match stream.below(8) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << stream.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][stream.below(5)],
            3 => bytes[at] = stream.below(256) as u8,
            4 => {
                // A length or a count gone wild, in either width.
                let wild =
                    [0, 1, u64::from(u32::MAX), u64::MAX, i64::MAX as u64, 1 << 31, 1 << 40][stream.below(7)];
                let width = if stream.chance(0.5) { 4 } else { 8 };
                for (byte, new) in bytes[at..].iter_mut().zip(&wild.to_le_bytes()[..width]) {
                    *byte = *new;
                }
            }
            5 => {
                let end = end(stream);
                bytes.drain(at..end);
            }
            6 => {
                let end = end(stream);
                let copy = bytes[at..end].to_vec();
                let to = stream.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let end = end(stream);
                bytes[at..end].fill(0);
            }
        }
    }
    bytes
}

/// Peak resident memory of this process in MiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Every mutant must be read or refused; some of both shows that the mutator neither spares nor wrecks everything.
/// With `CASSI_SEEDS=FOLDER` the base file also becomes a seed of the fuzz target named.
fn survive(target: &str, name: &str, base: &[u8], parse: impl Fn(&[u8]) -> Result<Contents, ParseError>) {
    if let Some(folder) = std::env::var_os("CASSI_SEEDS") {
        let path = std::path::Path::new(&folder).join(target).join(name.replace(' ', "-"));
        cassi_io::write_bytes(&path, base).unwrap();
    }
    assert!(parse(base).is_ok(), "{name}: the base file itself is not read: {:?}", parse(base).err());
    let (mut read, mut refused) = (0, 0);
    for index in 0..mutants() {
        let bytes = mutant(base, &mut Stream::new(1, name, index));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _ = Format::detect(&bytes).map(|format| format.parse(&bytes));
            match parse(&bytes) {
                Ok(contents) => {
                    // What was read holds together: shapes and numbers agree.
                    for variable in &contents.variables {
                        let _ = (variable.to_array(), variable.values().map(|v| v.range()));
                    }
                    true
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    false
                }
            }
        }));
        match outcome {
            Ok(true) => read += 1,
            Ok(false) => refused += 1,
            Err(_) => panic!("{name}: mutant {index} makes the parser panic"),
        }
    }
    println!("{name}: {read} read, {refused} refused");
    assert!(refused > 0, "{name}");
    if let Some(peak) = peak_memory() {
        // The bases hold some kilobytes; deflate's worst case times their size is a few tens of MiB.
        assert!(peak < 1024, "{name}: {peak} MiB at the peak");
    }
}

fn cube() -> Cube {
    let data = Array3::from_shape_fn((4, 9, 11), |(b, r, c)| ((b + 2 * r + 3 * c) % 17) as f32 / 17.0);
    Cube::new(data, Wavelengths::linspace(450.0, 650.0, 4)).unwrap()
}

fn metadata() -> Metadata {
    Metadata { instrument: Some("name = \"standard\"".into()), ..Metadata::default() }
}

/// The bytes that a writer makes.
fn written(name: &str, write: impl Fn(&std::path::Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path);
    std::fs::read(path).unwrap()
}

fn tensors() -> NamedTensors {
    let mut tensors = NamedTensors::new();
    tensors.insert("a", Tensor::new(vec![3, 5], (0..15).map(|i| i as f32).collect()).unwrap());
    tensors.insert("b", Tensor::new(vec![7], vec![0.5; 7]).unwrap());
    tensors
}

#[test]
fn mat5() {
    survive(
        "mat5",
        "mat5 compressed",
        &written("x.mat", |path| write_cube(path, &cube(), &metadata()).unwrap()),
        parse_mat5,
    );
    let counts: Vec<u16> = (0..4 * 5 * 6).collect();
    survive("mat5", "mat5 plain", &common::mat5_u16("img", &[4, 5, 6], &counts), parse_mat5);
}

#[test]
fn hdf5() {
    survive(
        "hdf5",
        "our hdf5",
        &written("x.h5", |path| write_cube(path, &cube(), &metadata()).unwrap()),
        parse_hdf5,
    );
    let bundle = written("x.h5", |path| write_arrays(path, &tensors(), &metadata()).unwrap());
    survive("hdf5", "hdf5 of several datasets", &bundle, parse_hdf5);
}

#[test]
fn mat73() {
    let array = ArrayD::from_shape_fn(IxDyn(&[4, 6, 5]), |i| (i[0] + i[1] + i[2]) as f32);
    survive("hdf5", "mat73", &written("x.mat", |path| common::mat73(path, "cube", array.view())), parse_hdf5);
}

#[test]
fn numpy() {
    survive("npy", "npy", &npy_bytes(&[3, 4], &[0.25; 12]), parse_npy);
    survive(
        "npz",
        "npz",
        &written("x.npz", |path| write_cube(path, &cube(), &metadata()).unwrap()),
        parse_npz,
    );
}

#[test]
fn safetensors() {
    let metadata = [("card".to_string(), "{}".to_string())].into();
    let bytes = safetensors_bytes(&tensors(), TensorPrecision::F32, &metadata).unwrap();
    survive("safetensors", "safetensors", &bytes, parse_safetensors);
}

#[test]
fn pictures() {
    let plane = Array2::from_shape_fn((12, 17), |(r, c)| (r * c) as f32 / 100.0);
    let png = written("x.png", |path| {
        write_snapshot(path, &Snapshot::new(plane.clone()).unwrap(), &metadata()).unwrap()
    });
    survive("picture", "png", &png, parse_picture);
    let pixels: Vec<u8> = (0..16 * 16 * 3).map(|i| (i % 251) as u8).collect();
    for name in ["x.jpg", "x.tiff"] {
        let bytes = written(name, |path| {
            image::save_buffer(path, &pixels, 16, 16, image::ExtendedColorType::Rgb8).unwrap();
        });
        survive("picture", name, &bytes, parse_picture);
    }
}

#[test]
fn pytorch() {
    let whole = checkpoint(&pickle());
    let contents = parse_torch(&whole).unwrap();
    let bias = contents.get("conv.bias").unwrap().to_array().unwrap();
    assert_eq!(bias, ndarray::arr2(&[[6.0, 8.0, 10.0], [7.0, 9.0, 11.0]]).into_dyn());
    survive("torch", "pth archive", &whole, parse_torch);
    // Damage inside the archive would be caught by its checksums: damage the pickle before it is packed, too.
    let base = pickle();
    assert_eq!(torch_tensor_names(&base).unwrap(), ["conv.weight", "conv.bias"]);
    survive("pickle", "pth pickle", &base, |bytes| parse_torch(&checkpoint(bytes)));
}

#[test]
fn archives_of_damaged_arrays() {
    survive("npy", "npy in npz", &npy_bytes(&[3, 4], &[0.25; 12]), |npy| {
        parse_npz(&zip_of(&[("x.npy", npy)]))
    });
}

/// The layer above the parsers holds as well: whatever a damaged file parses to is loaded or refused.
#[test]
fn loading_damaged_files() {
    let folder = tempfile::tempdir().unwrap();
    for (name, parts) in [("x.mat", 0), ("x.npy", 1), ("x.npz", 2), ("x.h5", 3)] {
        let base = written(name, |path| write_cube(path, &cube(), &metadata()).unwrap());
        for index in 0..100 {
            let path = folder.path().join(name);
            std::fs::write(&path, mutant(&base, &mut Stream::new(2, name, 1000 * parts + index))).unwrap();
            let source = cassi_io::Source::from(path);
            let _ = read_cube(&source, &cassi_io::ReadOptions::default()).map_err(|e| e.to_string());
            let _ = read_array(&source).map_err(|e| e.to_string());
            let _ =
                cassi_io::read_mask(&source, &cassi_io::ReadOptions::default()).map_err(|e| e.to_string());
        }
    }
}
