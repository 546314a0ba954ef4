#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(contents) = cassi_io::parse_torch(bytes) {
        // What was read must hold together: shapes and numbers agree.
        for variable in &contents.variables {
            let _ = variable.to_array();
        }
    }
});
