//! The inner loops of the camera, one plane of rows at a time, in several instruction sets behind one list.
//!
//! [`portable`] is the specification. Every kernel multiplies and adds separately and in the same order, without
//! fused multiply-add: the camera is bound by memory, so fusing would gain nothing and cost equal bits on every CPU.

use ndarray::ArrayViewMut3;

pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // std::arch: kernels are entered after their CPU features were detected
pub(crate) mod x86;

/// Bands that the forward pass adds up at a time: several streams from memory keep it busier than one, and the
/// detector row is read and written once for all of them. 7 bands are as good, 2 and 14 slower.
pub(crate) const GROUP: usize = 4;

/// How far ahead the forward pass asks for each stream, in floats, of cubes in the caches and in memory: the hardware's
/// own prefetch starts anew with every block and band. On a Zen 5 with two threads, asking for nothing is a fifth slower
/// at 1024x1024x28, as far from the caches as from memory an eighth slower at 256x256x28.
pub(crate) const AHEAD_IN_CACHE: usize = 128;
pub(crate) const AHEAD_IN_MEMORY: usize = 512;

/// Where band `b` of a block of rows lies on the detector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Columns of the scene.
    pub(crate) columns: usize,
    /// Columns of the detector.
    pub(crate) width: usize,
    /// First detector column of this band, `step · b`.
    pub(crate) offset: usize,
}

/// One implementation of the inner loops. All slices hold whole rows: `y` rows of `width`, others of `columns`.
pub(crate) struct Kernel {
    /// The instruction set, as `CASSI_REQUIRE_ISA` names it.
    pub(crate) name: &'static str,
    /// Whether this CPU has it.
    pub(crate) available: fn() -> bool,
    /// `y[r, offset + c] += mask[r, c] · x[r, c]`.
    pub(crate) accumulate: fn(Window, &mut [f32], &[f32], &[f32]),
    /// The same for band `b + k` of [`GROUP`] neighbours at `offset + k · step`, in the order of k: after the window `step`,
    /// then how many floats ahead to ask for.
    pub(crate) accumulate_group: fn(Window, usize, usize, &mut [f32], &[f32], [&[f32]; GROUP]),
    /// `x[b, r, c] = mask[r, c] · y[r, step · b + c]` for all bands of some rows; first the step. Rows of a band are
    /// contiguous.
    pub(crate) spread: fn(usize, ArrayViewMut3<'_, f32>, &[f32], &[f32]),
    /// `x[r, c] = mask[r, c] · y[r, offset + c]` through stores that bypass the caches, for cubes that do not fit into them.
    pub(crate) spread_streaming: fn(Window, &mut [f32], &[f32], &[f32]),
}

/// Best first. Tests walk this list; only `available` detects CPU features.
pub(crate) static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    x86::AVX512,
    #[cfg(target_arch = "x86_64")]
    x86::AVX2,
    portable::KERNEL,
];

/// The best kernel of this CPU.
pub(crate) fn best() -> &'static Kernel {
    KERNELS.iter().find(|kernel| (kernel.available)()).expect("the portable kernel runs everywhere")
}

#[cfg(test)]
mod tests {
    use cassi_core::random::Stream;
    use ndarray::s;

    use super::*;

    fn draw(purpose: &str, n: usize) -> Vec<f32> {
        let mut stream = Stream::new(1, purpose, 0);
        (0..n).map(|_| stream.uniform_in(-1.0, 1.0) as f32).collect()
    }

    #[test]
    fn every_kernel_equals_portable_bit_for_bit() {
        for kernel in KERNELS {
            if !(kernel.available)() {
                let required = std::env::var("CASSI_REQUIRE_ISA");
                assert_ne!(required.as_deref(), Ok(kernel.name), "this CPU lacks a required instruction set");
                continue;
            }
            // Widths around the vector lengths, and a destination at every alignment within a cache line.
            for columns in [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 257] {
                for (offset, extra, shift) in [(0, 0, 0), (3, 5, 1), (54, 54, 4), (1, 2, 7), (2, 2, 13)] {
                    let (rows, window) = (3, Window { columns, width: columns + extra, offset });
                    let (mask, x) = (draw("mask", rows * columns), draw("x", rows * columns));
                    let y = draw("y", rows * window.width);
                    let forward = |kernel: &Kernel| {
                        let mut out = y.clone();
                        (kernel.accumulate)(window, &mut out, &mask, &x);
                        out
                    };
                    assert_eq!(forward(kernel), forward(&portable::KERNEL), "{}: {window:?}", kernel.name);
                    for step in [0, 1, 2, 5, 6, 20] {
                        let window = Window { width: window.width + (GROUP - 1) * step, ..window };
                        // Planes that begin anywhere in a cache line, not all at the same place.
                        let planes: [Vec<f32>; GROUP] =
                            std::array::from_fn(|k| draw(&format!("x{k}"), shift + k + rows * columns));
                        let mut grouped = draw("y", rows * window.width);
                        let mut single = grouped.clone();
                        let x: [&[f32]; GROUP] = std::array::from_fn(|k| &planes[k][shift + k..]);
                        (kernel.accumulate_group)(window, step, AHEAD_IN_MEMORY, &mut grouped, &mask, x);
                        for (k, x) in x.into_iter().enumerate() {
                            let window = Window { offset: window.offset + k * step, ..window };
                            (portable::KERNEL.accumulate)(window, &mut single, &mask, x);
                        }
                        assert_eq!(grouped, single, "{}: group at step {step}, {window:?}", kernel.name);
                    }
                    let streamed = |kernel: &Kernel| {
                        let mut out = vec![f32::NAN; shift + rows * columns];
                        (kernel.spread_streaming)(window, &mut out[shift..], &mask, &y);
                        out.split_off(shift)
                    };
                    assert_eq!(streamed(kernel), streamed(&portable::KERNEL), "{}: {window:?}", kernel.name);
                    // Rows of a taller cube: its bands are apart, and begin anywhere in a cache line.
                    for (bands, step) in [(1, 3), (4, 0), (3, 2), (5, 17)] {
                        let y = draw("block", rows * (columns + step * (bands - 1)));
                        let spread = |kernel: &Kernel| {
                            let mut out = vec![f32::NAN; shift + bands * (rows + 2) * columns];
                            let all =
                                ArrayViewMut3::from_shape((bands, rows + 2, columns), &mut out[shift..]);
                            let mut all = all.unwrap();
                            (kernel.spread)(step, all.slice_mut(s![.., 1..=rows, ..]), &mask, &y);
                            out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                        };
                        let expected = spread(&portable::KERNEL);
                        assert_eq!(spread(kernel), expected, "{}: {bands} bands, step {step}", kernel.name);
                    }
                }
            }
        }
    }
}
