#![no_main]

// The pickle alone: inside an archive, checksums would stop every mutation before the parser of ours.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = cassi_io::torch_tensor_names(bytes);
});
