//! The same network from a pickled module or state dict and from safetensors: names, order aside, and values alike.

use std::path::PathBuf;

use cassi_io::read_tensors;

fn shared() -> Option<PathBuf> {
    let given = std::env::var_os("CASSI_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    given.into_iter().chain([beside]).find(|path| path.is_dir())
}

#[test]
fn pth_equals_safetensors() {
    let Some(shared) = shared() else {
        println!("skipped: the official weights are not here (set CASSI_SHARED)");
        return;
    };
    for name in ["bisrnet_sim", "bisrnet_real"] {
        let pickled = read_tensors(&shared.join(format!("weights/{name}.pth"))).unwrap();
        let plain = read_tensors(&shared.join(format!("weights/{name}.safetensors"))).unwrap();
        assert_eq!(pickled.len(), 457, "{name}");
        assert_eq!(plain.len(), 457, "{name}");
        for (key, tensor) in plain.iter() {
            assert_eq!(pickled.get(key), Some(tensor), "{name}: {key}");
        }
        let values: usize = plain.iter().map(|(_, tensor)| tensor.data.len()).sum();
        assert_eq!(values, 659_319, "{name}");
    }
}
