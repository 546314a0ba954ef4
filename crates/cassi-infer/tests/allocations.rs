//! After the first run on images of one size, further runs allocate nothing.
#![allow(unsafe_code)] // a counting allocator can only be written so

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use cassi_infer::binary::{BinaryNetwork, Input, Layout, Method, Workspace, rule_weights};

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
}
