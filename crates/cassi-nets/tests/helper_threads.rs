//! Idle OpenMP threads are ended. Alone in its process: it counts threads, and what it asks of libtorch holds for every
//! thread that starts later.

#![cfg(all(feature = "torch", target_os = "linux"))]

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn they_end_and_come_back() {
    tch::set_num_threads(8);
    let work = || assert_eq!(Tensor::ones([64, 1 << 16], (Kind::Float, Device::Cpu)).exp().numel(), 64 << 16);
    let before = threads();
    work();
    assert_eq!(threads(), before + 7, "eight threads work, one of which was there");
    cassi_nets::device::end_helper_threads();
    // They are told to end and take a moment for it.
    let end = Instant::now() + Duration::from_secs(10);
    while threads() > before {
        assert!(Instant::now() < end, "{} helper threads are left", threads() - before);
        std::thread::sleep(Duration::from_millis(1));
    }
    work();
    assert_eq!(threads(), before + 7);
}
