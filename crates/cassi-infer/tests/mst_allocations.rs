//! After the first run on images of one size, further runs of MST and MST++ allocate nothing.
#![allow(unsafe_code)] // a counting allocator can only be written so

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use cassi_core::{NamedTensors, Tensor};
use cassi_infer::float::{Layout, MaskInput, MaskShift, MstNetwork, Variant, Workspace};
use ndarray::{Array2, Array3};

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
    let (rows, columns) = (64, 72);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for variant in [Variant::MstS, Variant::MstPp] {
        let tensors: NamedTensors = MstNetwork::expected_tensors(variant, Layout::Standard, 28)
            .into_iter()
            .map(|(name, shape)| {
                let n = shape.iter().product();
                (name, Tensor::new(shape, vec![0.01; n]).unwrap())
            })
            .collect();
        let network = MstNetwork::from_tensors(&tensors, variant, Layout::Standard, 28, 2).unwrap();
        let features = Array3::from_elem((28, rows, columns), 0.3);
        let mask = Array2::from_elem((rows, columns), 0.7);
        let plain = Some(MaskInput::Plain(mask.view()));
        let prepared = network.prepare_mask(plain, rows, columns, MaskShift::Level).unwrap();
        let mut cube = Array3::zeros((28, rows, columns));
        let mut workspace = pool.install(Workspace::default);
        let mut allocated = vec![];
        for _ in 0..3 {
            let before = ALLOCATED.load(Ordering::Relaxed);
            pool.install(|| network.run_into(features.view(), &prepared, &mut workspace, cube.view_mut()))
                .unwrap();
            allocated.push(ALLOCATED.load(Ordering::Relaxed) - before);
        }
        assert!(allocated[0] > 1 << 20, "the first run plans its buffers: {allocated:?}");
        // The pool's queue may grow by a few blocks of jobs; an image row alone would be 9 KB.
        assert!(allocated[1..].iter().all(|&a| a < 4096), "{}: {allocated:?}", variant.name());
    }
}
