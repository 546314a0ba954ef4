//! Files that are wrong in a way with a name: empty, cut short anywhere, of the wrong type or shape, with numbers that
//! are none, or with headers that promise more than there is. (Random damage: `mutations.rs`.)

#![allow(clippy::disallowed_methods)] // tests make and damage files themselves

mod common;

use std::path::Path;

use cassi_core::{Cube, Mask, NamedTensors, Tensor, Wavelengths};
use cassi_io::{
    IoError, MatVariable, Metadata, ParseError, ReadOptions, Source, TensorPrecision, inspect, mat5_bytes,
    npy_bytes, parse_hdf5, parse_npy, parse_npz, parse_picture, parse_safetensors, parse_torch, read_array,
    read_cube, read_plain_mask, read_tensors, safetensors_bytes, write_array, write_arrays, write_cube,
    write_mask,
};
use common::{checkpoint, mat5_u16, mat73, pickle, zip_of};
use ndarray::{Array2, Array3, ArrayD, IxDyn};

fn cube() -> Cube {
    let data = Array3::from_shape_fn((28, 4, 5), |(b, r, c)| ((b + 2 * r + 3 * c) % 17) as f32 / 17.0);
    Cube::new(data, Wavelengths::benchmark()).unwrap()
}

fn tensors() -> NamedTensors {
    let mut tensors = NamedTensors::new();
    tensors.insert("a", Tensor::new(vec![3, 5], (0..15).map(|i| i as f32).collect()).unwrap());
    tensors
}

/// How a file is meant to be read.
#[derive(Clone, Copy, PartialEq)]
enum As {
    Cube,
    Mask,
    Tensors,
}

fn load(path: &Path, kind: As) -> Result<Vec<f32>, IoError> {
    let source = Source::from(path);
    Ok(match kind {
        As::Cube => read_cube(&source, &ReadOptions::default())?.value.as_slice().to_vec(),
        As::Mask => read_plain_mask(&source)?.value.as_slice().to_vec(),
        As::Tensors => read_tensors(path)?.iter().flat_map(|(_, t)| t.data.clone()).collect(),
    })
}

/// A small sound file of every format, by file name.
fn sound(folder: &Path) -> Vec<(String, As)> {
    let cube = cube();
    let named = |name: &str| folder.join(name);
    for name in ["compressed.mat", "ours.h5", "x.npz", "x.npy"] {
        write_cube(&named(name), &cube, &Metadata::default()).unwrap();
    }
    let counts: Vec<u16> = (0..4 * 5 * 28).map(|i| 100 * i).collect();
    std::fs::write(named("plain.mat"), mat5_u16("img", &[4, 5, 28], &counts)).unwrap();
    mat73(&named("v73.mat"), "cube", cube.view().into_dyn());
    let mask = Mask::new(Array2::from_shape_fn((12, 17), |(r, c)| (r * c) as f32 / 187.0)).unwrap();
    write_mask(&named("x.png"), &mask, &Metadata::default()).unwrap();
    let pixels: Vec<u8> = (0..16 * 24).map(|i| (i * 7 % 251) as u8).collect();
    image::save_buffer(named("x.jpg"), &pixels, 24, 16, image::ExtendedColorType::L8).unwrap();
    let bytes = safetensors_bytes(&tensors(), TensorPrecision::F32, &Default::default()).unwrap();
    std::fs::write(named("x.safetensors"), bytes).unwrap();
    std::fs::write(named("x.pth"), checkpoint(&pickle())).unwrap();
    let cubes =
        ["compressed.mat", "plain.mat", "v73.mat", "ours.h5", "x.npz", "x.npy"].map(|n| (n, As::Cube));
    let others =
        [("x.png", As::Mask), ("x.jpg", As::Mask), ("x.safetensors", As::Tensors), ("x.pth", As::Tensors)];
    cubes.into_iter().chain(others).map(|(name, kind)| (name.to_string(), kind)).collect()
}

#[test]
fn empty_and_one_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kind) in sound(folder.path()) {
        let path = folder.path().join(&name);
        let first = std::fs::read(&path).unwrap()[0];
        std::fs::write(&path, b"").unwrap();
        let error = load(&path, kind).unwrap_err().to_string();
        assert!(error.contains(&name) && error.contains("empty"), "{error}");
        std::fs::write(&path, [first]).unwrap();
        assert!(load(&path, kind).is_err(), "{name}");
    }
}

/// A file cut short anywhere is refused, or what it holds was whole before the cut: never other numbers.
#[test]
fn cut_short_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kind) in sound(folder.path()) {
        let path = folder.path().join(&name);
        let (bytes, whole) = (std::fs::read(&path).unwrap(), load(&path, kind).unwrap());
        let mut refused = 0;
        for length in (0..bytes.len()).step_by(1 + bytes.len() / 2000) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            match load(&path, kind) {
                Ok(values) => {
                    assert!(values == whole, "{name}: {length} of {} bytes give other values", bytes.len())
                }
                Err(error) => {
                    assert!(error.to_string().contains(&name), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 100, "{name}: {refused}");
    }
}

#[test]
fn not_finite_numbers_are_placed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = cube().into_data();
    data[[7, 1, 2]] = f32::INFINITY;
    data[[9, 3, 4]] = f32::NAN;
    let matlab = data.view().permuted_axes([1, 2, 0]).as_standard_layout().into_owned().into_dyn();
    for name in ["x.h5", "x.npy", "x.npz", "x.mat", "v73.mat"] {
        let path = folder.path().join(name);
        match name {
            "x.mat" => write_array(&path, "cube", matlab.view(), &Metadata::default()).unwrap(),
            "v73.mat" => mat73(&path, "cube", matlab.t()),
            _ => write_array(&path, "cube", data.view().into_dyn(), &Metadata::default()).unwrap(),
        }
        let info = inspect(&path).unwrap();
        assert_eq!(info.variables[0].not_finite, 2, "{name}");
        assert_eq!(info.variables[0].range, Some((0.0, f64::from(16.0f32 / 17.0))), "{name}");
        let error = load(&path, As::Cube).unwrap_err();
        assert!(
            matches!(&error, IoError::NotFinite { place, value, .. } if place[..] == [7, 1, 2] && value.is_infinite()),
            "{name}: {error}"
        );
    }
    // Weights may hold any number; whoever asks is told.
    let mut tensors = tensors();
    tensors.insert("b", Tensor::new(vec![2], vec![f32::NAN, f32::NEG_INFINITY]).unwrap());
    let bytes = safetensors_bytes(&tensors, TensorPrecision::F16, &Default::default()).unwrap();
    let path = folder.path().join("x.safetensors");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(inspect(&path).unwrap().variables.iter().map(|v| v.not_finite).sum::<usize>(), 2);
}

#[test]
fn wrong_types_hold_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.mat"), mat5_bytes(&[("cube", MatVariable::Text("no numbers"))]).unwrap())
        .unwrap();
    let text = |descr: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    std::fs::write(path("text.npy"), text("<U2", &[0; 16])).unwrap();
    std::fs::write(path("object.npy"), text("|O", b"\x80\x04].")).unwrap();
    std::fs::write(path("complex.npy"), text("<c8", &[0; 16])).unwrap();
    std::fs::write(path("object.npz"), zip_of(&[("cube.npy", &text("|O", b"\x80\x04]."))])).unwrap();
    let file = hdf5::File::create(path("text.h5")).unwrap();
    let words: hdf5::types::VarLenUnicode = "no numbers".parse().unwrap();
    file.new_dataset::<hdf5::types::VarLenUnicode>().create("cube").unwrap().write_scalar(&words).unwrap();
    file.close().unwrap();
    for name in ["text.mat", "text.npy", "object.npy", "complex.npy", "object.npz", "text.h5"] {
        let error = load(&path(name), As::Cube).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains('\n'), "{error}");
        let spoken = ["no numbers", "not supported", "skipped"].iter().any(|words| error.contains(words));
        assert!(spoken, "{error}");
    }
    // Weights are no cube, a picture is no cube, and each says what it is.
    let weights = path("x.safetensors");
    std::fs::write(
        &weights,
        safetensors_bytes(&tensors(), TensorPrecision::F32, &Default::default()).unwrap(),
    )
    .unwrap();
    let error = load(&weights, As::Cube).unwrap_err().to_string();
    assert!(error.contains("[3, 5]"), "{error}");
}

#[test]
fn wrong_shapes_are_named_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.h5", "x.mat", "x.npy", "x.npz"] {
        let path = folder.path().join(name);
        for shape in [&[3usize, 4][..], &[2, 2, 2, 3, 4], &[0, 4, 5]] {
            let array = ArrayD::from_elem(IxDyn(shape), 0.5);
            write_array(&path, "cube", array.view(), &Metadata::default()).unwrap();
            let error = load(&path, As::Cube).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("three axes"), "{shape:?}: {error}");
        }
        let array = ArrayD::from_elem(IxDyn(&[2, 2, 2, 2, 2]), 0.5);
        write_array(&path, "mask", array.view(), &Metadata::default()).unwrap();
        let error = load(&path, As::Mask).unwrap_err().to_string();
        assert!(error.contains("[2, 2, 2, 2, 2]") && error.contains("row and column"), "{error}");
    }
    // A list of arrays keeps names with a slash, a colour picture gives its mean: both are shapes that serve.
    let mut named = NamedTensors::new();
    named.insert("scene/cube", Tensor::new(vec![28, 2, 3], vec![0.5; 28 * 6]).unwrap());
    let path = folder.path().join("deep.h5");
    write_arrays(&path, &named, &Metadata::default()).unwrap();
    assert_eq!(load(&path, As::Cube).unwrap().len(), 28 * 6);
}

/// Headers that promise gigabytes are refused from their few bytes.
#[test]
fn headers_that_promise_too_much() {
    let refused = |what: &str, result: Result<cassi_io::Contents, ParseError>| {
        let error = result.err().unwrap_or_else(|| panic!("{what} was read")).to_string();
        assert!(!error.is_empty());
    };
    let npy = |shape: &str, version: u8, length: Option<u32>| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = length.unwrap_or(header.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), &[0; 64]].concat()
    };
    // (The last one was found by fuzzing: an empty axis hides that the others overflow.)
    for shape in [
        "(1099511627776,)",
        "(4294967296, 4294967296, 16)",
        "(18446744073709551615, 2)",
        "(17,)",
        "(0, 2133653731138921357, 5)",
    ] {
        refused(shape, parse_npy(&npy(shape, 1, None)));
        refused(shape, parse_npz(&zip_of(&[("x.npy", &npy(shape, 2, None))])));
    }
    refused("a header of 4 GB", parse_npy(&npy("(16,)", 2, Some(u32::MAX))));
    // The archive's directory says 4 GB of an entry of 100 bytes.
    let mut zip = zip_of(&[("x.npy", &npy_bytes(&[4], &[0.5; 4]))]);
    let directory = zip.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    zip[directory + 24..directory + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    refused("an entry of 4 GB", parse_npz(&zip));
    refused("an entry of 4 GB", parse_torch(&zip));

    let mut header = u64::MAX.to_le_bytes().to_vec();
    header.extend(b"{}");
    refused("a safetensors header of 16 EB", parse_safetensors(&header));
    for (shape, end) in [("[1099511627776]", 4u64 << 40), ("[2]", 1 << 40), ("[4294967296,4294967296]", 8)] {
        let text = format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}");
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 8]].concat();
        refused(shape, parse_safetensors(&bytes));
    }

    // A pickle whose string, number or tensor is longer than the file.
    for damage in
        [&b"X\xff\xff\xff\x7f"[..], b"\x8b\xff\xff\xff\x7f", b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"]
    {
        refused("a long pickle", parse_torch(&checkpoint(&[b"\x80\x02", damage, b"."].concat())));
    }
    let sound = pickle();
    let size = sound.windows(5).position(|w| w == [b'K', 2, b'K', 3, 0x86]).unwrap();
    let huge = [&sound[..size], b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", &sound[size + 5..]].concat();
    refused("a tensor of 2^62 numbers", parse_torch(&checkpoint(&huge)));

    // Pictures of the largest size that their headers can say.
    let folder = tempfile::tempdir().unwrap();
    let (png, jpg) = (folder.path().join("x.png"), folder.path().join("x.jpg"));
    for path in [&png, &jpg] {
        image::save_buffer(path, &[7; 64], 8, 8, image::ExtendedColorType::L8).unwrap();
    }
    let mut bytes = std::fs::read(&png).unwrap();
    bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    refused("a PNG of 2^31 by 2^31", parse_picture(&bytes));
    let mut bytes = std::fs::read(&jpg).unwrap();
    let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    refused("a JPEG of 65535 by 65535", parse_picture(&bytes));

    // A chunked array of 40 GB of which no chunk was ever written is a few hundred bytes of HDF5.
    let path = folder.path().join("hollow.h5");
    let file = hdf5::File::create(&path).unwrap();
    file.new_dataset::<f32>().shape((100, 10_000, 10_000)).chunk((1, 100, 100)).create("cube").unwrap();
    file.close().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(matches!(parse_hdf5(&bytes), Err(ParseError::TooLarge { .. })));
    assert!(read_array(&Source::from(path)).is_err());
}
