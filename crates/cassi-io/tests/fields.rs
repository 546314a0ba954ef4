//! Names, axes, scales and wavelengths of the field's files, told without being told; and what cannot be told.

#![allow(clippy::disallowed_methods)] // tests make and damage files themselves

mod common;

use cassi_core::{Cube, Wavelengths};
use cassi_io::{
    Axes, IoError, MaskFile, MatVariable, ReadOptions, Source, inspect, mat5_bytes, npy_bytes, read_array,
    read_cube, read_mask, read_plain_mask, read_snapshot, write_bytes,
};
use common::{mat5_u16, mat73};
use ndarray::{Array, Array3, ArrayD, IxDyn};
use std::path::{Path, PathBuf};

fn ramp(shape: &[usize]) -> ArrayD<f32> {
    let n: usize = shape.iter().product();
    Array::from_shape_vec(IxDyn(shape), (0..n).map(|i| i as f32 / n as f32).collect()).unwrap()
}

fn mat(path: &Path, variables: &[(&str, &ArrayD<f32>)]) {
    let variables: Vec<_> =
        variables.iter().map(|(name, a)| (*name, MatVariable::Single(a.view()))).collect();
    write_bytes(path, &mat5_bytes(&variables).unwrap()).unwrap();
}

fn load(path: &Path) -> Result<cassi_io::Loaded<Cube>, IoError> {
    read_cube(&Source::from(path), &ReadOptions::default())
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn training_scenes() {
    let folder = Folder::new();
    let path = folder.file("scene1.mat");
    // MATLAB's order: the row runs fastest, then the column, then the band.
    let counts: Vec<u16> = (0..2 * 3 * 28).map(|i| 300 * i).collect();
    for name in ["img_expand", "img"] {
        write_bytes(&path, &mat5_u16(name, &[2, 3, 28], &counts)).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.value.shape(), [28, 2, 3]);
        assert_eq!(loaded.value.view()[[5, 1, 2]], f32::from(counts[5 * 6 + 2 * 2 + 1]) / 65536.0);
        assert_eq!(loaded.value.wavelengths(), &Wavelengths::benchmark());
        assert!(loaded.notes.iter().any(|note| note.contains("65536")), "{:?}", loaded.notes);
        assert!(loaded.notes.iter().any(|note| note.contains("benchmark")), "{:?}", loaded.notes);
        assert!(loaded.notes.iter().any(|note| note.contains("row,column,band")), "{:?}", loaded.notes);
    }
    // A float `img` is taken as it is.
    let floats = ramp(&[4, 5, 28]);
    mat(&path, &[("img", &floats)]);
    let loaded = load(&path).unwrap();
    assert_eq!(
        loaded.value.view(),
        floats.view().permuted_axes(IxDyn(&[2, 0, 1])).into_dimensionality().unwrap()
    );
}

#[test]
fn kaist_of_31_bands_and_given_wavelengths() {
    let folder = Folder::new();
    let path = folder.file("scene.mat");
    mat(&path, &[("HSI", &ramp(&[4, 5, 31]))]);
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.value.wavelengths().nm()[..2], [400.0, 410.0]);
    assert!(loaded.notes.iter().any(|note| note.contains("400 to 700")));
    let kaist = Wavelengths::linspace(420.0, 720.0, 31);
    let options = ReadOptions { wavelengths: Some(kaist.clone()), ..Default::default() };
    assert_eq!(read_cube(&Source::from(path.clone()), &options).unwrap().value.wavelengths(), &kaist);
    let options = ReadOptions { wavelengths: Some(Wavelengths::benchmark()), ..Default::default() };
    assert!(matches!(read_cube(&Source::from(path), &options), Err(IoError::Shape { .. })));
}

#[test]
fn mat73_is_indexed_as_matlab_does() {
    let folder = Folder::new();
    let path = folder.file("v73.mat");
    // In the file [band, column, row]; for MATLAB [row, column, band] = [4, 6, 28].
    let reversed = ramp(&[28, 6, 4]);
    mat73(&path, "cube", reversed.view());
    let info = inspect(&path).unwrap();
    assert_eq!((info.format.as_str(), &info.variables[0].shape[..]), ("MAT v7.3 (HDF5)", &[4, 6, 28][..]));
    let cube = load(&path).unwrap().value;
    assert_eq!(cube.shape(), [28, 4, 6]);
    assert_eq!(cube.view()[[5, 1, 2]], reversed[[5, 2, 1]]);
    // The same array through MAT v5 is the same cube.
    let v5 = folder.file("v5.mat");
    mat(&v5, &[("cube", &reversed.t().to_owned())]);
    assert_eq!(load(&v5).unwrap().value, cube);
}

#[test]
fn results_of_many_scenes() {
    let folder = Folder::new();
    let path = folder.file("Test_result.mat");
    let (pred, truth) = (ramp(&[3, 4, 5, 28]), ramp(&[3, 4, 5, 28]).mapv(|v| 1.0 - v));
    mat(&path, &[("truth", &truth), ("pred", &pred)]);
    let first = load(&path).unwrap();
    assert_eq!((first.variable.as_str(), first.value.view()[[7, 2, 3]]), ("pred", pred[[0, 2, 3, 7]]));
    assert!(first.notes.iter().any(|note| note.contains("item 0 of 3")), "{:?}", first.notes);
    let third =
        read_cube(&Source::parse(&format!("{}:truth[2]", path.display())), &ReadOptions::default()).unwrap();
    assert_eq!(third.value.view()[[7, 2, 3]], truth[[2, 2, 3, 7]]);
    let beyond = Source::parse(&format!("{}:truth[3]", path.display()));
    assert!(matches!(read_cube(&beyond, &ReadOptions::default()), Err(IoError::Shape { .. })));
}

#[test]
fn masks_plain_and_for_every_band() {
    let folder = Folder::new();
    let path = folder.file("mask_3d_shift.mat");
    let shifted = ramp(&[4, 58, 28]);
    mat(&path, &[("mask_3d_shift", &shifted)]);
    let MaskFile::Bands(bands) =
        read_mask(&Source::from(path.clone()), &ReadOptions::default()).unwrap().value
    else {
        panic!("a plane for every band");
    };
    assert_eq!((bands.shape(), bands[[9, 3, 50]]), (&[28, 4, 58][..], shifted[[3, 50, 9]]));
    assert!(matches!(read_plain_mask(&Source::from(path.clone())), Err(IoError::Shape { .. })));
    let plain = ramp(&[4, 6]);
    mat(&path, &[("mask_3d_shift", &shifted), ("mask", &plain)]);
    assert_eq!(read_plain_mask(&Source::from(path)).unwrap().value.view().into_dyn(), plain);
}

#[test]
fn foreign_hdf5_is_read_generously() {
    let folder = Folder::new();
    let path = folder.file("foreign.h5");
    let file = hdf5::File::create(&path).unwrap();
    let group = file.create_group("scene").unwrap();
    let counts: Vec<u16> = (0..5 * 6 * 9).collect();
    let dataset = group
        .new_dataset::<u16>()
        .shape((5, 6, 9))
        .chunk((5, 3, 9))
        .shuffle()
        .deflate(9)
        .create("radiance")
        .unwrap();
    dataset.write_raw(&counts).unwrap();
    dataset.new_attr::<f64>().create("scale").unwrap().write_scalar(&(1.0 / 4095.0)).unwrap();
    let nm: Vec<f32> = (0..9).map(|b| 0.45 + 0.02 * b as f32).collect();
    group.new_dataset::<f32>().shape(9).create("wavelengths").unwrap().write_raw(&nm).unwrap();
    file.new_dataset::<f32>().shape((2, 2)).create("unrelated").unwrap().write_raw(&[0f32; 4]).unwrap();
    // The library writes everything out only when the last handle is gone.
    drop((dataset, group));
    file.close().unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.variable, "scene/radiance");
    // Nine wavelengths, in micrometres: the last axis is the band.
    assert_eq!(loaded.value.shape(), [9, 5, 6]);
    assert!((loaded.value.wavelengths().nm()[1] - 470.0).abs() < 1e-3);
    assert_eq!(loaded.value.view()[[4, 2, 3]], (f64::from(counts[2 * 54 + 3 * 9 + 4]) / 4095.0) as f32);
}

#[test]
fn foreign_hdf5_by_name_or_as_the_only_cube() {
    let folder = Folder::new();
    let counts: Vec<i32> = (0..5 * 6 * 9).collect();
    let nm: Vec<f64> = (0..9).map(|b| 450.0 + 20.0 * f64::from(b)).collect();
    // The wavelengths as an attribute of the dataset, or of the file; integers with their scale; two cubes, one `cube`.
    for whole_file in [false, true] {
        let path = folder.file("named.h5");
        let file = hdf5::File::create(&path).unwrap();
        file.new_dataset::<f32>().shape((9, 2, 2)).create("another").unwrap().write_raw(&[1f32; 36]).unwrap();
        let dataset = file.new_dataset::<i32>().shape((9, 5, 6)).create("cube").unwrap();
        dataset.write_raw(&counts).unwrap();
        dataset.new_attr::<f32>().create("scale").unwrap().write_scalar(&0.125f32).unwrap();
        let of: &hdf5::Location = if whole_file { &file } else { &dataset };
        of.new_attr::<f64>().shape(9).create("wavelengths").unwrap().write_raw(&nm).unwrap();
        drop(dataset);
        file.close().unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.variable.as_str(), loaded.value.shape()), ("cube", [9, 5, 6]));
        assert_eq!(loaded.value.wavelengths().nm(), nm);
        assert!(loaded.value.as_slice().iter().zip(&counts).all(|(v, &n)| *v == 0.125 * n as f32));
    }
    // No name, no attribute: the only array of three axes, by the benchmark's 28 bands.
    let path = folder.file("bare.h5");
    let file = hdf5::File::create(&path).unwrap();
    file.new_dataset::<f64>().shape((4, 28, 5)).create("data").unwrap().write_raw(&[0.5f64; 560]).unwrap();
    file.new_dataset::<f64>().shape((4, 5)).create("flat").unwrap().write_raw(&[0.5f64; 20]).unwrap();
    file.close().unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!((loaded.variable.as_str(), loaded.value.shape()), ("data", [28, 4, 5]));
    assert_eq!(loaded.notes.len(), 2, "axes and wavelengths were assumed: {:?}", loaded.notes);
}

#[test]
fn half_precision_and_big_endian_hdf5() {
    let folder = Folder::new();
    let path = folder.file("half.h5");
    let file = hdf5::File::create(&path).unwrap();
    let halves: Vec<half::f16> = [0.5, -1.5, 65504.0, 6.1e-5].map(half::f16::from_f32).to_vec();
    file.new_dataset::<half::f16>().shape((2, 2)).create("half").unwrap().write_raw(&halves).unwrap();
    file.close().unwrap();
    let back = read_array(&Source::from(path)).unwrap().value;
    assert_eq!(back.into_raw_vec_and_offset().0, halves.iter().map(|h| h.to_f32()).collect::<Vec<_>>());
    // The library writes the machine's order: the type's message is turned by hand, the data stay as they are.
    let path = folder.file("big.h5");
    let file = hdf5::File::create(&path).unwrap();
    file.new_dataset::<u16>().shape(2).create("big").unwrap().write_raw(&[0x0102u16, 7]).unwrap();
    file.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let message = [0x10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 16, 0]; // integer, little-endian, 2 bytes, bits 0 to 16
    let at = bytes.windows(12).position(|w| w == message).unwrap();
    bytes[at + 1] = 1;
    std::fs::write(&path, bytes).unwrap();
    let back = read_array(&Source::from(path)).unwrap().value;
    assert_eq!(back.into_raw_vec_and_offset().0, [f32::from(0x0201u16), f32::from(0x0700u16)]);
}

#[test]
fn axes_can_be_said() {
    let folder = Folder::new();
    let path = folder.file("x.npy");
    let array = ramp(&[5, 28, 7]);
    write_bytes(&path, &npy_bytes(array.shape(), array.as_slice().unwrap())).unwrap();
    let options =
        ReadOptions { axes: Some("column,band,row".parse::<Axes>().unwrap()), ..Default::default() };
    let cube = read_cube(&Source::from(path), &options).unwrap().value;
    assert_eq!((cube.shape(), cube.view()[[20, 6, 3]]), ([28, 7, 5], array[[3, 20, 6]]));
}

#[test]
fn colour_pictures_become_grey() {
    let folder = Folder::new();
    let path = folder.file("mask.jpg");
    let pixels: Vec<u8> = std::iter::repeat_n([200u8, 100, 0], 16 * 8).flatten().collect();
    image::save_buffer(&path, &pixels, 16, 8, image::ExtendedColorType::Rgb8).unwrap();
    let loaded = read_snapshot(&Source::from(path.clone())).unwrap();
    assert_eq!((loaded.value.shape(), loaded.notes.len()), ([8, 16], 1));
    // JPEG of one colour is off by a few steps of 255.
    assert!(loaded.value.as_slice().iter().all(|v| (v - 100.0 / 255.0).abs() < 4.0 / 255.0));
    assert_eq!(cassi_io::read_rgb_image(&path).unwrap().shape(), [8, 16, 3]);
    assert_eq!(read_plain_mask(&Source::from(path)).unwrap().value.shape(), [8, 16]);
}

/// One clear sentence each, that names the file and what to do.
#[test]
fn what_cannot_be_told_is_said() {
    let folder = Folder::new();
    let two = folder.file("two.mat");
    mat(&two, &[("a", &ramp(&[4, 5, 28])), ("b", &ramp(&[4, 5, 28]))]);
    let flat = folder.file("flat.mat");
    mat(&flat, &[("img", &ramp(&[4, 5]))]);
    let twelve = folder.file("twelve.mat");
    mat(&twelve, &[("cube", &ramp(&[64, 64, 12]))]);
    let nan = folder.file("nan.mat");
    let mut holes = ramp(&[4, 5, 28]);
    holes[[1, 2, 3]] = f32::NAN;
    mat(&nan, &[("cube", &holes)]);
    let empty = folder.file("empty.mat");
    write_bytes(&empty, b"").unwrap();
    let unknown = folder.file("unknown.mat");
    write_bytes(&unknown, b"once upon a time").unwrap();
    let legacy = folder.file("legacy.pth");
    write_bytes(&legacy, &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c]).unwrap();
    for (source, needles) in [
        (two.display().to_string(), &["cannot tell", "a [4, 5, 28]", "two.mat:VARIABLE"][..]),
        (format!("{}:c", two.display()), &["no variable `c`", "b [4, 5, 28]"]),
        (flat.display().to_string(), &["[4, 5]", "three axes"]),
        (twelve.display().to_string(), &["12 bands", "--wavelengths"]),
        (nan.display().to_string(), &["NaN", "[3, 1, 2]", "(band, row, column)"]),
        (empty.display().to_string(), &["empty"]),
        (unknown.display().to_string(), &["unknown format", "6f 6e 63 65"]),
        (legacy.display().to_string(), &["before version 1.6", "torch.save"]),
        (folder.file("none.mat").display().to_string(), &["none.mat", "cannot read"]),
    ] {
        let error = read_cube(&Source::parse(&source), &ReadOptions::default()).unwrap_err().to_string();
        for needle in needles {
            assert!(error.contains(needle), "`{error}` does not say `{needle}`");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn info_lists_what_is_skipped() {
    let folder = Folder::new();
    let path = folder.file("mixed.mat");
    let cube = Array3::<f32>::zeros((2, 3, 28)).into_dyn();
    let bytes =
        mat5_bytes(&[("cube", MatVariable::Single(cube.view())), ("note", MatVariable::Text("a  b"))])
            .unwrap();
    write_bytes(&path, &bytes).unwrap();
    let info = inspect(&path).unwrap();
    assert_eq!(info.variables[0].range, Some((0.0, 0.0)));
    assert_eq!((info.variables[1].class.as_str(), info.variables[1].note.as_deref()), ("char", Some("a b")));
    assert!(serde_json::to_string(&info).unwrap().contains("\"variables\""));
}
