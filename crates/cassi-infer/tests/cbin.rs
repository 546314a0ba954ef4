//! The packed file: round trip, size, and what damage does.

mod common;

use cassi_infer::binary::{
    BinaryNetwork, CbinError, Input, Layout, Method, SizeReport, Workspace, compile, parse_cbin, rule_weights,
};

fn output(network: &BinaryNetwork) -> Vec<f32> {
    let snapshot: Vec<f32> = (0..16 * 70).map(|i| (i * 31 % 97) as f32 / 97.0).collect();
    let mut cube = vec![0.0; 28 * 256];
    let input = Input::Real { snapshot: &snapshot, rows: 16, columns: 16 };
    network.run(input, &mut Workspace::default(), &mut cube).unwrap();
    cube
}

#[test]
fn a_packed_network_computes_the_same_bits() {
    for method in Method::ALL {
        let mut weights = rule_weights(method);
        // Some weights are exactly zero, which needs the second plane of bits.
        if method == Method::BiSrNet {
            let name = "body.0.embedding.binary_conv.weight";
            let mut tensor = weights.get(name).unwrap().clone();
            tensor.data[5] = 0.0;
            weights.insert(name, tensor);
        }
        let direct = BinaryNetwork::from_tensors(&weights, method, Layout::TsaReal).unwrap();
        let packed = parse_cbin(&compile(&weights, method, Layout::TsaReal).unwrap()).unwrap();
        assert_eq!((packed.method(), packed.layout()), (method, Layout::TsaReal));
        assert_eq!(output(&packed), output(&direct), "{method}");
    }
}

#[test]
fn the_size_is_told_honestly() {
    let bytes = compile(&rule_weights(Method::BiSrNet), Method::BiSrNet, Layout::Standard).unwrap();
    let report = SizeReport::of(&bytes).unwrap();
    assert_eq!(report.binary_weights_bits, 611_072);
    assert_eq!(report.zero_mask_bits, 0);
    assert_eq!(report.float_checkpoint_bytes, 4 * 659_319);
    assert_eq!(report.file_bytes, bytes.len());
    assert!(report.binary_weights_bits / 8 + report.float_bytes < report.file_bytes);
    assert!(report.file_bytes * 8 < report.float_checkpoint_bytes, "{report:?}");
    assert!(report.file_bytes > 3 * report.paper_claim, "floats are not bits: {report:?}");
}

#[test]
fn other_files_and_versions_are_told_apart() {
    let bytes = compile(&rule_weights(Method::Bbcu), Method::Bbcu, Layout::Standard).unwrap();
    assert_eq!(parse_cbin(b"PK\x03\x04 a zip file").unwrap_err(), CbinError::Magic);
    assert!(matches!(parse_cbin(b"").unwrap_err(), CbinError::Truncated { length: 0, .. }));
    let mut future = bytes.clone();
    future[8] = 2;
    assert_eq!(parse_cbin(&future).unwrap_err(), CbinError::Version { found: 2 });
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(parse_cbin(&longer).unwrap_err(), CbinError::Content { .. }));
    let mut flipped = bytes.clone();
    let middle = bytes.len() / 2;
    flipped[middle] ^= 1;
    assert!(matches!(parse_cbin(&flipped).unwrap_err(), CbinError::Checksum { .. }));
}

/// A right checksum over a wrong content: sections that do not fit, numbers that are not finite.
#[test]
fn a_right_checksum_does_not_make_a_network() {
    use sha2::{Digest, Sha256};
    let bytes = compile(&rule_weights(Method::Bnn), Method::Bnn, Layout::Standard).unwrap();
    let content = &bytes[..bytes.len() - 32];
    let seal = |mut bytes: Vec<u8>| {
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    };
    assert!(parse_cbin(&seal(content.to_vec())).is_ok());
    let find = |needle: &[u8]| content.windows(needle.len()).position(|w| w == needle).unwrap();
    let mut renamed = content.to_vec();
    renamed[find(b"conv_in.weight")] = b'k';
    assert!(matches!(parse_cbin(&seal(renamed)).unwrap_err(), CbinError::Content { .. }));
    let mut infinite = content.to_vec();
    let first_float = find(b"conv_in.weight") + 14 + 2 + 16 + 4;
    infinite[first_float..first_float + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = parse_cbin(&seal(infinite)).unwrap_err();
    assert!(error.to_string().contains("conv_in.weight"), "{error}");
    let mut other = content.to_vec();
    other[14] = b'x';
    let error = parse_cbin(&seal(other)).unwrap_err();
    assert!(error.to_string().contains("bisrnet"), "{error}");
}

/// Flips, cuts, insertions: never a panic, never a network.
#[test]
fn six_hundred_mutations_are_refused() {
    let bytes = compile(&rule_weights(Method::Btm), Method::Btm, Layout::TsaReal).unwrap();
    let mut state = 0x1234_5678_9ABC_DEF1u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    for round in 0..200 {
        // Half of the damage is done to the header and the first sections, where structure is dense.
        let reach = if round % 2 == 0 { bytes.len() } else { 400 };
        let mut flipped = bytes.clone();
        flipped[draw(reach)] ^= 1 << draw(8);
        let cut = bytes[..draw(bytes.len())].to_vec();
        let mut stuffed = bytes.clone();
        stuffed.insert(draw(reach), draw(256) as u8);
        for damaged in [flipped, cut, stuffed] {
            // An inserted byte may equal its neighbour and shift nothing but the length.
            assert!(parse_cbin(&damaged).is_err(), "round {round}");
        }
    }
}
