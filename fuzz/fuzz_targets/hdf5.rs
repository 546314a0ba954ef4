#![no_main]

use std::sync::Once;

static QUIET: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // `parse_hdf5` turns a panic of the foreign reader into an error; libFuzzer's hook would end the run before it can.
    // A panic beyond it still ends the run.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    if let Ok(contents) = cassi_io::parse_hdf5(bytes) {
        // What was read must hold together: shapes and numbers agree.
        for variable in &contents.variables {
            let _ = variable.to_array();
        }
    }
});
