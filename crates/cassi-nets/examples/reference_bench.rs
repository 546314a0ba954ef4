//! Times the networks as plain libtorch modules: the reference that speed claims of the other engines refer to.
//!
//! Every case runs in a process of its own, so that its peak memory is its own, with the C library kept from returning
//! big blocks to the system (`--allocator default` leaves it as it comes): otherwise page faults, not arithmetic, are
//! measured. Prints one JSON object a case.
//!
//! ```text
//! cargo run --release -p cassi-nets --features torch --example reference_bench -- \
//!     [--cases bisrnet,bisrnet-real,...] [--threads 1,2] [--repeat 5] [--allocator pinned|default] [--weights FOLDER]
//! ```
//!
//! `FOLDER` (default: `weights` below `CASSI_SHARED`) holds the official `bisrnet_sim` and `bisrnet_real`; without it
//! weights are random, which costs the same, and the output says so.

#[cfg(not(feature = "torch"))]
fn main() {
    eprintln!("this needs libtorch: add --features torch (see scripts/setup-libtorch.sh)");
}

#[cfg(feature = "torch")]
fn main() {
    torch::main();
}

#[cfg(feature = "torch")]
mod torch {
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Instant;

    use cassi_nets::arch::{Layout, MaskForm, Options, build};
    use cassi_nets::weights;
    use serde_json::json;
    use tch::{Device, Kind, Tensor, nn};

    /// Name, method, layout, rows, columns of the cube.
    const CASES: &[(&str, &str, Layout, i64, i64)] = &[
        ("bisrnet", "bisrnet", Layout::Standard, 256, 256),
        ("bisrnet-real", "bisrnet", Layout::TsaReal, 660, 660),
        ("mst-s", "mst-s", Layout::Standard, 256, 256),
        ("mst-m", "mst-m", Layout::Standard, 256, 256),
        ("mst-l", "mst-l", Layout::Standard, 256, 256),
        ("mst-pp", "mst-pp", Layout::Standard, 256, 256),
    ];

    /// Keeps freed memory in the process, in one pool.
    const PINNED: &[(&str, &str)] = &[
        ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
        ("MALLOC_TRIM_THRESHOLD_", "68719476736"),
        ("MALLOC_TOP_PAD_", "1073741824"),
        ("MALLOC_ARENA_MAX", "1"),
    ];

    fn option(arguments: &[String], name: &str) -> Option<String> {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).clone())
    }

    pub(super) fn main() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str, default: &str| option(&arguments, name).unwrap_or(default.to_string());
        let weights = option(&arguments, "--weights")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("CASSI_SHARED").map(|folder| PathBuf::from(folder).join("weights")));
        let repeat: usize = value("--repeat", "5").parse().expect("--repeat takes a number");
        let threads = value("--threads", "2,1");
        let allocator = value("--allocator", "pinned");
        if let Some(case) = option(&arguments, "--child") {
            let threads = threads.parse().expect("a number of threads");
            return measure(&case, threads, repeat.max(1), weights, &allocator);
        }
        let all: Vec<&str> = CASES.iter().map(|case| case.0).collect();
        for case in value("--cases", &all.join(",")).split(',') {
            for threads in threads.split(',') {
                let mut child = Command::new(std::env::current_exe().expect("this program"));
                child.args(["--child", case, "--threads", threads, "--allocator", &allocator]);
                child.args(["--repeat", &repeat.to_string()]);
                if let Some(folder) = &weights {
                    child.arg("--weights").arg(folder);
                }
                match allocator.as_str() {
                    "pinned" => drop(child.envs(PINNED.iter().copied())),
                    "default" => {}
                    other => panic!("--allocator is `pinned` or `default`, not `{other}`"),
                }
                let status = child.status().expect("a child process");
                assert!(status.success(), "{case} on {threads} threads failed: {status}");
            }
        }
    }

    /// A figure in MB from the operating system, e.g. `VmHWM`, the peak of resident memory.
    fn memory_mb(key: &str) -> Option<f64> {
        let status = cassi_io::read_text("/proc/self/status".as_ref()).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0 / 1e6)
    }

    fn measure(case: &str, threads: i32, repeat: usize, folder: Option<PathBuf>, allocator: &str) {
        let &(_, method, layout, rows, columns) =
            CASES.iter().find(|known| known.0 == case).unwrap_or_else(|| panic!("no case `{case}`"));
        tch::set_num_threads(threads);
        tch::manual_seed(0);
        let store = nn::VarStore::new(Device::Cpu);
        let options = Options::new(layout);
        let network = build(method, &options, &store.root()).expect("a known method");
        let official = folder.filter(|_| method == "bisrnet").map(|folder| {
            folder
                .join(if layout == Layout::TsaReal { "bisrnet_real" } else { "bisrnet_sim" })
                .with_extension("safetensors")
        });
        let official = official.filter(|path| path.is_file());
        if let Some(path) = &official {
            let tensors = cassi_io::read_tensors(path).unwrap_or_else(|error| panic!("{error}"));
            weights::load(&store, &tensors).unwrap_or_else(|error| panic!("{error}"));
        }
        let (bands, sheared) = (options.shape.bands as i64, columns + 54);
        let random = |shape: &[i64]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
        let input = match layout {
            Layout::Standard => random(&[1, bands, rows, columns]),
            Layout::TsaReal => random(&[1, rows, sheared]) * 0.8,
        };
        let mask = match network.mask_form() {
            MaskForm::None => None,
            MaskForm::Plain => Some(random(&[1, bands, rows, columns])),
            MaskForm::Sheared => Some(random(&[1, bands, rows, sheared])),
        };
        let before = memory_mb("VmRSS");
        let forward = || {
            let start = Instant::now();
            let out = tch::no_grad(|| network.forward(&input, mask.as_ref(), false));
            assert!(out.mean(Kind::Float).double_value(&[]).is_finite());
            start.elapsed().as_secs_f64()
        };
        // The first pass also pays for fresh memory and for libtorch choosing its kernels.
        let first = forward();
        let seconds: Vec<f64> = (0..repeat).map(|_| forward()).collect();
        let mut sorted = seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let report = json!({
            "case": case,
            "input": input.size(),
            "threads": threads,
            "allocator": allocator,
            "weights": if official.is_some() { "official" } else { "random" },
            "seconds_median": sorted[repeat / 2],
            "seconds_first": first,
            "seconds_all": seconds,
            "memory_before_mb": before,
            "peak_memory_mb": memory_mb("VmHWM"),
        });
        println!("{report}");
    }
}
