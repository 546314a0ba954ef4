//! After the first run on images of one size, further runs allocate nothing but the cube that is returned. One test:
//! the counter is the process's.
#![allow(unsafe_code)] // a counting allocator can only be written so

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use cassi_core::{
    Camera, Dispersion, InputConvention, InstrumentDescription, NoiseLevel, Problem, Reconstructor,
    SceneSize, Silent, Snapshot, Wavelengths,
};
use cassi_infer::binary::{
    BinaryNetwork, BinaryReconstructor, Input, Layout, Method, Workspace, rule_weights,
};

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATED.fetch_add(block.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, block: Block) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, block) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_second_run_allocates_nothing() {
    let network =
        BinaryNetwork::from_tensors(&rule_weights(Method::BiSrNet), Method::BiSrNet, Layout::Standard)
            .unwrap();
    let (rows, columns) = (64, 72);
    let (features, mask) = (vec![0.3; 28 * rows * columns], vec![0.7; rows * columns]);
    let mut cube = vec![0.0; 28 * rows * columns];
    let mut workspace = Workspace::default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut allocated = vec![];
    for _ in 0..3 {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let input = Input::Standard { features: &features, mask: &mask, rows, columns };
        pool.install(|| network.run(input, &mut workspace, &mut cube)).unwrap();
        allocated.push(ALLOCATED.load(Ordering::Relaxed) - before);
    }
    assert!(allocated[0] > 1 << 20, "the first run plans its buffers: {allocated:?}");
    // The pool's queue may grow by a few blocks of jobs; an image row alone would be 8 KB.
    assert!(allocated[1..].iter().all(|&a| a < 4096), "{allocated:?}");
    a_sequence_of_snapshots(&pool);
}

/// What a stream of snapshots costs: one cube a snapshot.
fn a_sequence_of_snapshots(pool: &rayon::ThreadPool) {
    let network =
        BinaryNetwork::from_tensors(&rule_weights(Method::BiSrNet), Method::BiSrNet, Layout::TsaReal)
            .unwrap();
    let reconstructor = BinaryReconstructor::new(network, None);
    let (rows, columns) = (64, 72);
    let instrument = InstrumentDescription {
        name: "test".into(),
        summary: String::new(),
        scene: SceneSize { rows, columns },
        wavelengths_nm: Wavelengths::benchmark(),
        dispersion: Dispersion { columns_per_band: 2 },
        default_mask: None,
        camera: Camera::default(),
        network_input: InputConvention::Normalised { peak: 0.8 },
    };
    let cube = 28 * rows * columns * size_of::<f32>();
    let mut allocated = vec![];
    for frame in 0..4 {
        let value = |(row, column)| 0.5 + 0.01 * ((row * 7 + column * 3 + frame) % 40) as f32;
        let snapshot = Snapshot::new(ndarray::Array2::from_shape_fn((rows, columns + 54), value)).unwrap();
        let problem = Problem {
            snapshot: &snapshot,
            instrument: &instrument,
            operator: None,
            mask: None,
            noise: NoiseLevel::Unknown,
            warm_start: None,
        };
        let before = ALLOCATED.load(Ordering::Relaxed);
        let result = pool.install(|| reconstructor.reconstruct(&problem, &mut Silent)).unwrap();
        allocated.push(ALLOCATED.load(Ordering::Relaxed) - before);
        assert!(result.cube.view().iter().all(|v| v.is_finite()));
    }
    // Beside the cube there are the wavelengths and a few blocks of jobs.
    assert!(allocated[0] > cube + (1 << 20), "the first one plans the buffers: {allocated:?}");
    assert!(allocated[1..].iter().all(|&a| a < cube + 8192), "{allocated:?}, a cube has {cube}");
}
