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

/// A state dict of two tensors of one storage, as PyTorch pickles it.
pub(crate) fn pickle() -> Vec<u8> {
    let mut bytes = vec![0x80, 2, b'}', b'q', 0, b'('];
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.push(b'X');
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    for (name, offset) in [("conv.weight", 0u8), ("conv.bias", 6)] {
        text(&mut bytes, name);
        bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut bytes, "storage");
        bytes.extend(b"ctorch\nFloatStorage\n");
        text(&mut bytes, "0");
        text(&mut bytes, "cpu");
        bytes.extend([b'K', 12, b't', b'Q', b'K', offset]);
        // Size (2, 3), stride (1, 2): a transposed view.
        bytes.extend([b'K', 2, b'K', 3, 0x86, b'K', 1, b'K', 2, 0x86, 0x89]);
        bytes.extend(b"ccollections\nOrderedDict\n)RtR");
    }
    bytes.extend(b"u.");
    bytes
}

/// A zip archive of these entries, deflated.
pub(crate) fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(entries, zip::CompressionMethod::Deflated)
}

fn zip_with(entries: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, data) in entries {
        zip.start_file(*name, options).unwrap();
        std::io::Write::write_all(&mut zip, data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A PyTorch checkpoint of this pickle and one storage of twelve singles.
pub(crate) fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    let storage: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
    zip_with(
        &[("archive/data.pkl", pickle), ("archive/data/0", &storage), ("archive/version", b"3\n")],
        zip::CompressionMethod::Stored,
    )
}
