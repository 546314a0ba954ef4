//! What is written is read back: every format, every kind of data, with its metadata; the same values, the same bytes.

#![allow(clippy::disallowed_methods)] // tests make and damage files themselves

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use cassi_core::random::Stream;
use cassi_core::{Cube, Mask, NamedTensors, Snapshot, Tensor, Wavelengths};
use cassi_io::{
    Format, IoError, Metadata, ReadOptions, Source, TensorPrecision, inspect, read_array, read_contents,
    read_cube, read_plain_mask, read_snapshot, read_tensors, read_tensors_with_metadata, write_array,
    write_arrays, write_cube, write_mask, write_snapshot, write_tensors,
};
use ndarray::{Array, Array2, Array3, IxDyn};

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "round-trips", 0);
    (0..n).map(|_| stream.uniform_in(-0.25, 1.5) as f32).collect()
}

fn cube() -> Cube {
    let data = Array3::from_shape_vec((5, 7, 11), values(5 * 7 * 11, 1)).unwrap();
    Cube::new(data, Wavelengths::linspace(450.0, 650.0, 5)).unwrap()
}

fn metadata() -> Metadata {
    Metadata {
        instrument: Some("name = \"standard\"\nwidth = \"7 µm\"\n".into()),
        provenance: Some(serde_json::json!({"command": "simulate", "seed": 7, "inputs": {"a.mat": "00ff"}})),
        ..Metadata::default()
    }
}

fn without_schema(metadata: Metadata) -> Metadata {
    Metadata { schema: None, ..metadata }
}

fn twice(path: &Path, write: impl Fn(&Path) -> Result<(), IoError>) {
    write(path).unwrap();
    let first = std::fs::read(path).unwrap();
    write(path).unwrap();
    assert!(first == std::fs::read(path).unwrap(), "{}: the same values give other bytes", path.display());
}

#[test]
fn cubes() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["h5", "hdf5", "mat", "npz"] {
        let path = folder.path().join(format!("cube.{extension}"));
        twice(&path, |path| write_cube(path, &cube(), &metadata()));
        let loaded = read_cube(&Source::from(path.clone()), &ReadOptions::default()).unwrap();
        assert_eq!(loaded.value, cube(), "{extension}");
        assert_eq!(without_schema(loaded.metadata), metadata(), "{extension}");
        assert_eq!(loaded.variable, "cube");
        assert_eq!(without_schema(inspect(&path).unwrap().metadata), metadata(), "{extension}");
    }
    let path = folder.path().join("cube.npy");
    twice(&path, |path| write_cube(path, &cube(), &metadata()));
    let options =
        ReadOptions { wavelengths: Some(Wavelengths::linspace(450.0, 650.0, 5)), ..Default::default() };
    assert_eq!(read_cube(&Source::from(path.clone()), &options).unwrap().value, cube());
    let none = read_cube(&Source::from(path), &ReadOptions::default()).unwrap_err();
    assert!(matches!(none, IoError::NoWavelengths { bands: 5, .. }), "{none}");
}

#[test]
fn our_schema_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cube.h5");
    write_cube(&path, &cube(), &metadata()).unwrap();
    let contents = read_contents(&path).unwrap();
    let dataset = contents.get("cube").unwrap();
    assert_eq!(dataset.attribute("axes"), Some(&cassi_io::Attribute::Text("band,row,column".into())));
    let nm = cube().wavelengths().nm().to_vec();
    assert_eq!(dataset.attribute("wavelengths_nm"), Some(&cassi_io::Attribute::Numbers(nm)));
    assert_eq!(inspect(&path).unwrap().metadata.schema, Some(cassi_io::SCHEMA_VERSION));
    // The C library reads it, too, and finds it chunked and compressed.
    let file = hdf5::File::open(&path).unwrap();
    let dataset = file.dataset("cube").unwrap();
    assert_eq!(dataset.chunk(), Some(vec![1, 7, 11]));
    assert_eq!(dataset.filters().len(), 2);
    assert_eq!(dataset.read_raw::<f32>().unwrap(), cube().as_slice());
}

#[test]
fn snapshots_and_masks() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Array2::from_shape_vec((9, 13), values(9 * 13, 2)).unwrap();
    let (snapshot, mask) = (Snapshot::new(plane.clone()).unwrap(), Mask::new(plane).unwrap());
    for extension in ["h5", "mat", "npy", "npz", "png"] {
        let path = folder.path().join(format!("snapshot.{extension}"));
        twice(&path, |path| write_snapshot(path, &snapshot, &metadata()));
        let loaded = read_snapshot(&Source::from(path)).unwrap();
        let path = folder.path().join(format!("mask.{extension}"));
        twice(&path, |path| write_mask(path, &mask, &metadata()));
        let loaded_mask = read_plain_mask(&Source::from(path)).unwrap();
        // A picture quantises: half a step of 65535 over the range of 1.75.
        let tolerance = if extension == "png" { 1.75 / 65535.0 } else { 0.0 };
        for (a, b) in loaded.value.as_slice().iter().zip(snapshot.as_slice()) {
            assert!((a - b).abs() <= tolerance, "{extension}");
        }
        assert_eq!(loaded.value.as_slice(), loaded_mask.value.as_slice(), "{extension}");
        if !matches!(extension, "png" | "npy") {
            assert_eq!(without_schema(loaded.metadata), metadata(), "{extension}");
        }
    }
}

#[test]
fn arrays_of_any_rank() {
    let folder = tempfile::tempdir().unwrap();
    for shape in [vec![6], vec![2, 3], vec![2, 3, 4, 5], vec![1, 1, 3]] {
        let array = Array::from_shape_vec(IxDyn(&shape), values(shape.iter().product(), 3)).unwrap();
        for extension in ["h5", "mat", "npy", "npz"] {
            let path = folder.path().join(format!("array.{extension}"));
            write_array(&path, "x", array.view(), &Metadata::default()).unwrap();
            let back = read_array(&Source::from(path)).unwrap().value;
            if extension == "mat" && shape.len() == 1 {
                assert_eq!(back.shape(), [1, 6], "MATLAB has no fewer than two axes");
                assert_eq!(back.as_slice(), array.as_slice());
            } else {
                assert_eq!(back, array, "{extension} {shape:?}");
            }
        }
    }
}

fn tensors() -> NamedTensors {
    let mut tensors = NamedTensors::new();
    for (i, (name, shape)) in
        [("b.weight", vec![4, 3, 1, 1]), ("a.bias", vec![4]), ("scale", vec![])].into_iter().enumerate()
    {
        let data = values(shape.iter().product(), i as u64);
        tensors.insert(name, Tensor::new(shape, data).unwrap());
    }
    tensors
}

#[test]
fn bundles() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["npz", "h5"] {
        let path = folder.path().join(format!("bundle.{extension}"));
        twice(&path, |path| write_arrays(path, &tensors(), &Metadata::default()));
        let back = read_tensors(&path).unwrap();
        assert_eq!(back.len(), 3);
        for (name, tensor) in tensors().iter() {
            assert_eq!(back.get(name), Some(tensor), "{extension}: {name}");
        }
    }
    let mat = folder.path().join("bundle.mat");
    write_arrays(&mat, &tensors(), &Metadata::default()).unwrap();
    assert_eq!(read_tensors(&mat).unwrap().get("b.weight"), tensors().get("b.weight"));
}

#[test]
fn weights_keep_their_order_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let metadata =
        BTreeMap::from([("architecture".to_string(), "mst-s".to_string()), ("b".into(), "ü".into())]);
    twice(&path, |path| write_tensors(path, &tensors(), TensorPrecision::F32, &metadata));
    assert_eq!(read_tensors_with_metadata(&path).unwrap(), (tensors(), metadata));
    write_tensors(&path, &tensors(), TensorPrecision::F16, &BTreeMap::new()).unwrap();
    for ((name, a), (_, b)) in read_tensors(&path).unwrap().iter().zip(tensors().iter()) {
        // Half precision has 11 bits.
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() <= b.abs() / 2048.0 + 1e-7), "{name}");
    }
}

#[test]
fn formats_are_told_by_their_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for (extension, format) in
        [("h5", Format::Hdf5), ("mat", Format::Mat5), ("npy", Format::Npy), ("npz", Format::Npz)]
    {
        let path = folder.path().join(format!("x.{extension}"));
        write_cube(&path, &cube(), &Metadata::default()).unwrap();
        let wrong = folder.path().join("misnamed.xyz");
        std::fs::rename(&path, &wrong).unwrap();
        assert_eq!(Format::detect(&std::fs::read(&wrong).unwrap()), Some(format));
        assert!(inspect(&wrong).is_ok());
    }
}

#[test]
fn wrong_outputs_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cube.png", "cube.xyz", "cube", "cube.jpg"] {
        let error = write_cube(&folder.path().join(name), &cube(), &metadata()).unwrap_err();
        assert!(matches!(error, IoError::Output { .. }), "{error}");
    }
    let error = write_cube(&folder.path().join("cube.png"), &cube(), &metadata()).unwrap_err().to_string();
    assert!(error.contains("cassi render"), "{error}");
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"x").unwrap();
    for extension in ["h5", "mat", "npy"] {
        assert!(write_cube(&blocked.join(format!("x.{extension}")), &cube(), &metadata()).is_err());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the blocking file is left");
}
