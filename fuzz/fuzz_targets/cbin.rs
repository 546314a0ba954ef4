//! Packed networks: any bytes give a network or an error, and so do the same bytes under a right checksum (which
//! random input would never have, so that the parser behind it is reached too).
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let _ = cassi_infer::binary::parse_cbin(data);
    let mut sealed = data.to_vec();
    sealed.extend(Sha256::digest(data));
    let _ = cassi_infer::binary::parse_cbin(&sealed);
});
