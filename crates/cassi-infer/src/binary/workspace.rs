//! The buffers of a run, planned for one network and one window size and kept until another is asked for.

use super::BinaryNetwork;
use super::buffer::Buffer;
use super::net::{BANDS, BuildParts};
use super::operands::{ChunkOperands, Operands, row_stride};
use super::stage::{Rows, Scratch, Shape, Stage, rings};
use super::winograd::Groups;

/// Rows of padded image that one window holds at most, halo included, unless told otherwise.
const WINDOW_ROWS: usize = 768;

/// Buffers of [`BinaryNetwork::run`]. After the first call on images of one size, further calls allocate nothing.
#[derive(Debug)]
pub struct Workspace {
    window_rows: usize,
    planned: Option<Key>,
    pub(super) buffers: Buffers,
}

impl Default for Workspace {
    fn default() -> Self {
        Self::with_window(WINDOW_ROWS)
    }
}

impl Workspace {
    /// A workspace whose windows have at most `rows` rows (at least 160, rounded up to a multiple of 8): memory
    /// grows with the window and the width, not with the height of the image. The result does not depend on it.
    pub fn with_window(rows: usize) -> Self {
        Self { window_rows: rows.max(160).next_multiple_of(8), planned: None, buffers: Buffers::default() }
    }

    /// Rows of a window.
    pub fn window_rows(&self) -> usize {
        self.window_rows
    }

    /// Makes the buffers fit; does nothing if they do.
    pub(super) fn plan(&mut self, network: &BinaryNetwork, rows: usize, width: usize) {
        let key = Key { identity: network.identity, rows, width, threads: rayon::current_num_threads() };
        if self.planned != Some(key) {
            // The old buffers go first, so that the two sets never live side by side.
            self.buffers = Buffers::default();
            self.buffers = Buffers::new(&network.parts, key);
            self.planned = Some(key);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    identity: u64,
    rows: usize,
    width: usize,
    threads: usize,
}

/// Frames of whole windows and scratch of strips.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Frames of the three levels.
    pub(super) shapes: [Shape; 3],
    /// `conv_in`'s output.
    pub(super) base: Buffer<f32>,
    /// Output of the first encoder stage.
    pub(super) skip: Buffer<f32>,
    /// Output of the first decoder stage.
    pub(super) decoded: Buffer<f32>,
    /// Outputs of the second encoder stage and of the bottleneck, one after the other; then, when neither is needed any
    /// more, of the second decoder stage.
    pub(super) shared: Buffer<f32>,
    /// Strips of the five stages, in order.
    pub(super) stages: [Vec<Scratch>; 5],
    /// Strips of the first and the last pass.
    pub(super) ends: Vec<Ends>,
}

/// Rings of the first and the last pass.
#[derive(Debug)]
pub(super) struct Ends {
    /// One input row, 28 features and the mask (padded to 32 channels).
    pub(super) raw: Buffer<f32>,
    pub(super) point: ChunkOperands,
    pub(super) conv_in: Groups,
    pub(super) mapping: Vec<Operands>,
    pub(super) conv_out: Groups,
}

/// The five stages of a network: level, source of rows, layers.
pub(super) fn stages(parts: &BuildParts) -> [(usize, Stage<'_>); 5] {
    let stage = |names, rows, first, fuse, block| Stage { names, rows, first, fuse, block };
    let [down0, down1] = &parts.down;
    [
        (0, stage(["embedding", "", "enc0"], Rows::Direct, &parts.embedding, None, &parts.encoder[0])),
        (1, stage(["enc0_down", "", "enc1"], Rows::Down(down0), &down0.layer, None, &parts.encoder[1])),
        (2, stage(["enc1_down", "", "bottleneck"], Rows::Down(down1), &down1.layer, None, &parts.bottleneck)),
        (
            1,
            stage(
                ["dec0_up", "dec0_fusion", "dec0"],
                Rows::Up,
                &parts.up[0],
                Some(&parts.fuse[0]),
                &parts.decoder[0],
            ),
        ),
        (
            0,
            stage(
                ["dec1_up", "dec1_fusion", "dec1"],
                Rows::Up,
                &parts.up[1],
                Some(&parts.fuse[1]),
                &parts.decoder[1],
            ),
        ),
    ]
}

impl Buffers {
    fn new(parts: &BuildParts, key: Key) -> Self {
        let Key { rows, width, threads, .. } = key;
        let shapes = [0, 1, 2].map(|level| Shape::new(rows >> level, BANDS << level, width >> level));
        let [full, half, quarter] = shapes.map(|shape| shape.len());
        let floats = |count: usize| Buffer::new(0.0, count);
        let strips = |level: usize, stage: &Stage<'_>| -> Vec<Scratch> {
            (0..threads.min(rows >> level)).map(|_| Scratch::new(stage, width >> level)).collect()
        };
        let ends = |_| Ends {
            raw: Buffer::new(0.0, (BANDS + 4) * row_stride(width)),
            point: ChunkOperands::new(parts.fusion.iter().flat_map(|l| &l.branches)),
            conv_in: Groups::new(width),
            mapping: rings(&parts.mapping, width, 3),
            conv_out: Groups::new(width),
        };
        Self {
            shapes,
            base: floats(full),
            skip: floats(full),
            decoded: floats(half),
            shared: floats(full.max(half + quarter)),
            stages: stages(parts).each_ref().map(|(level, stage)| strips(*level, stage)),
            ends: (0..threads.min(rows)).map(ends).collect(),
        }
    }
}
