//! What the tests of this crate share: the folder of measured data, and small files made by hand.

#![allow(dead_code)] // each test file uses its part

use std::path::PathBuf;

/// The folder of measured data, or a printed word that the test is skipped.
pub(crate) fn shared() -> Option<PathBuf> {
    let given = std::env::var_os("CASSI_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let found = given.into_iter().chain([beside]).find(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: the measured data is not here (set CASSI_SHARED to its folder)");
    }
    found
}

/// A golden file of this repository.
pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An uncompressed MAT v5 file of one uint16 array, data in MATLAB's order.
pub(crate) fn mat5_u16(name: &str, shape: &[u32], data: &[u16]) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file, by hand".to_vec();
    bytes.resize(124, b' ');
    bytes.extend([0, 1, b'I', b'M']);
    let mut body = element(6, &[11, 0, 0, 0, 0, 0, 0, 0]);
    body.extend(element(5, &shape.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>()));
    body.extend(element(1, name.as_bytes()));
    body.extend(element(4, &data.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>()));
    bytes.extend(element(14, &body));
    bytes
}

/// A MAT v7.3 file of one single array, as MATLAB's library writes it: a user block, reversed axes, the class as an
/// attribute.
pub(crate) fn mat73(path: &std::path::Path, name: &str, reversed: ndarray::ArrayViewD<'_, f32>) {
    let file = hdf5::File::with_options().with_fcpl(|p| p.userblock(512)).create(path).unwrap();
    let dataset = file.new_dataset::<f32>().shape(reversed.shape()).create(name).unwrap();
    dataset.write_raw(reversed.as_standard_layout().as_slice().unwrap()).unwrap();
    let class = hdf5::types::FixedAscii::<6>::from_ascii("single").unwrap();
    dataset
        .new_attr::<hdf5::types::FixedAscii<6>>()
        .create("MATLAB_class")
        .unwrap()
        .write_scalar(&class)
        .unwrap();
    file.close().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64";
    bytes[..header.len()].copy_from_slice(header);
    bytes[header.len()..124].fill(b' ');
    bytes[124..128].copy_from_slice(&[0, 2, b'I', b'M']);
    std::fs::write(path, bytes).unwrap();
}
