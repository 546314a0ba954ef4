//! One stage of the U on a strip of rows: a 3x3 layer on a row source, perhaps a fusion with the skip, and a block,
//! row after row through rings of a few rows, so that nothing but the stage's input and output is ever a whole
//! frame.

use super::buffer::Buffer;
use super::inspect::{StageObserver, StageRow};
use super::net::{Block, Branch, Down, Layer};
use super::operands::{ChunkOperands, Operands, chunks, row_stride};
use crate::kernels::{CHUNK, Kernel, LayerNorm, Target};

/// How a frame lies in memory: rows `[row][channel][stride]`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) stride: usize,
}

impl Shape {
    pub(super) fn new(rows: usize, channels: usize, width: usize) -> Self {
        Self { rows, channels, stride: row_stride(width) }
    }

    /// Floats a row.
    pub(super) fn row_len(&self) -> usize {
        self.channels * self.stride
    }

    /// Floats in all.
    pub(super) fn len(&self) -> usize {
        self.rows * self.row_len()
    }
}

/// A frame to read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    data: &'a [f32],
    pub(super) shape: Shape,
}

impl<'a> Frame<'a> {
    /// The frame that `data` begins with.
    pub(super) fn new(shape: Shape, data: &'a [f32]) -> Self {
        Self { data: &data[..shape.len()], shape }
    }

    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.shape.row_len()..][..self.shape.row_len()]
    }
}

/// Where the rows of a stage's 3x3 layer come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    /// The input's own.
    Direct,
    /// Of the level below this one's entrance.
    Down(&'a Down),
    /// Bilinear doubling.
    Up,
}

/// A stage, borrowed from the network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage<'a> {
    /// What its first layer, its fusion and its block are called.
    pub(super) names: [&'static str; 3],
    pub(super) rows: Rows<'a>,
    pub(super) first: &'a Layer,
    pub(super) fuse: Option<&'a Layer>,
    pub(super) block: &'a Block,
}

/// Rings and chunk buffers of one strip.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Operands of the first layer, one a branch.
    first: Vec<Operands>,
    /// Three source rows (for shortcuts).
    source: Buffer<f32>,
    /// Two rows of a strided shortcut's input and its result.
    shortcut: Buffer<f32>,
    /// First layer and skip, side by side.
    fused: Buffer<f32>,
    /// Two rows of the block's input.
    input: Buffer<f32>,
    /// Two rows of the middle layer's input.
    wide: Buffer<f32>,
    middle: Vec<Operands>,
    chunk: Point,
    stride: usize,
}

/// Buffers of a chain of 1x1 layers on one chunk.
#[derive(Debug)]
struct Point {
    operands: ChunkOperands,
    a: Buffer<f32>,
    b: Buffer<f32>,
}

impl Point {
    fn new(stage: &Stage<'_>) -> Self {
        let Block { width, increase, decrease, .. } = stage.block;
        let shortcut = match stage.rows {
            Rows::Down(Down { shortcut: Some((layer, _)), .. }) => Some(layer),
            _ => None,
        };
        let layers = increase.iter().chain(decrease).chain(stage.fuse).chain(shortcut);
        let chunk = || Buffer::new(0.0, 4 * width * CHUNK);
        Self { operands: ChunkOperands::new(layers.flat_map(|l| &l.branches)), a: chunk(), b: chunk() }
    }
}

/// Runs a 1x1 layer on one chunk; inputs and `output` begin at the chunk's first pixel. Branches from channel `from`
/// of `second` on read that one; the others read `first`.
fn pointwise(
    kernel: &Kernel,
    layer: &Layer,
    (first, stride): (&[f32], usize),
    second: Option<(&[f32], usize)>,
    (output, output_stride): (&mut [f32], usize),
    pixels: usize,
    operands: &mut ChunkOperands,
) {
    for branch in &layer.branches {
        let input = match second {
            Some((second, from)) if branch.from >= from => &second[(branch.from - from) * stride..],
            _ => &first[branch.from * stride..],
        };
        let (input, output) = ((input, stride), (&mut output[branch.to * output_stride..], output_stride));
        point(kernel, branch, input, None, output, pixels, operands);
    }
}

/// Runs a 1x1 branch on one chunk; `input` and `output` begin at its first channels. The result gets `addend` added.
fn point(
    kernel: &Kernel,
    branch: &Branch,
    (input, stride): (&[f32], usize),
    addend: Option<(&[f32], usize)>,
    (output, output_stride): (&mut [f32], usize),
    pixels: usize,
    operands: &mut ChunkOperands,
) {
    let mut target = Target { shortcut: Some((input, stride)), addend, output, stride: output_stride };
    operands.run(kernel, branch, (input, stride), pixels, &mut target);
}

/// The nine taps around row `row`, of which rows outside `0..rows` are all outside.
pub(super) fn taps(row: usize, rows: usize, outside: usize) -> [(usize, isize); 9] {
    std::array::from_fn(|tap| {
        let (dy, dx) = (tap / 3, tap as isize % 3 - 1);
        let inside = (1..=rows).contains(&(row + dy));
        (if inside { (row + dy + 2) % 3 } else { outside }, dx)
    })
}

/// The nine taps of stride 2: six slots hold even and odd pixels of three input rows.
fn strided_taps(row: usize, rows: usize, outside: usize) -> [(usize, isize); 9] {
    std::array::from_fn(|tap| {
        let (dy, dx) = (tap / 3, tap % 3);
        let inside = (1..=2 * rows).contains(&(2 * row + dy));
        let parity = usize::from(dx != 1);
        (if inside { (2 * row + dy + 2) % 3 * 2 + parity } else { outside }, if dx == 0 { -1 } else { 0 })
    })
}

/// One operand ring a branch of a 3x3 layer.
pub(super) fn rings(layer: &Layer, width: usize, slots: usize) -> Vec<Operands> {
    layer.branches.iter().map(|branch| Operands::new(branch, width, slots)).collect()
}

/// Fills a slot of every branch's ring.
pub(super) fn set_all(
    rings: &mut [Operands],
    kernel: &Kernel,
    layer: &Layer,
    slot: usize,
    row: &[f32],
    stride: usize,
) {
    for (ring, branch) in rings.iter_mut().zip(&layer.branches) {
        ring.set(kernel, slot, branch, &row[branch.from * stride..], stride);
    }
}

/// Convolves a whole row. The shortcut of a branch starts at its first input channel, or at its first output
/// channel where the shortcut has a row of its own.
pub(super) fn convolve_row(
    rings: &mut [Operands],
    kernel: &Kernel,
    layer: &Layer,
    taps: impl Fn(usize) -> [(usize, isize); 9],
    shortcut: Option<(&[f32], usize, bool)>,
    (output, stride): (&mut [f32], usize),
    width: usize,
) {
    for (ring, branch) in rings.iter_mut().zip(&layer.branches) {
        let taps = taps(ring.outside());
        for (start, pixels) in chunks(width) {
            let shortcut = shortcut.map(|(row, stride, own)| {
                let channel = if own { branch.to } else { branch.from };
                (&row[channel * stride + start..], stride)
            });
            let output = &mut output[branch.to * stride + start..];
            let mut target = Target { shortcut, addend: None, output, stride };
            ring.convolve(kernel, branch, &taps, (start, pixels), &mut target);
        }
    }
}

impl Scratch {
    /// For strips of a stage whose rows have `width` pixels.
    pub(super) fn new(stage: &Stage<'_>, width: usize) -> Self {
        let stride = row_stride(width);
        let strided = matches!(stage.rows, Rows::Down(down) if down.strided);
        let row = |channels: usize, rows: usize| Buffer::new(0.0, channels * rows * stride);
        Self {
            first: rings(stage.first, width, if strided { 6 } else { 3 }),
            source: row(stage.first.inputs, 3),
            shortcut: if strided {
                row(stage.first.inputs + stage.first.outputs, 1)
            } else {
                Buffer::default()
            },
            fused: stage.fuse.map_or(Buffer::default(), |f| row(f.inputs, 1)),
            input: row(stage.block.width, 2),
            wide: row(4 * stage.block.width, 2),
            middle: rings(&stage.block.middle, width, 3),
            chunk: Point::new(stage),
            stride,
        }
    }
}

/// What a strip reads: kernel, whole input frame, the skip, and the size of the stage's own level.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) kernel: &'static Kernel,
    pub(super) input: Frame<'a>,
    pub(super) skip: Option<Frame<'a>>,
    pub(super) rows: usize,
    pub(super) width: usize,
    /// Row of the whole level that row 0 is.
    pub(super) origin: usize,
    pub(super) observer: &'a dyn StageObserver,
}

impl Context<'_> {
    fn show(&self, stage: &'static str, row: usize, channels: usize, row_data: (&[f32], usize)) {
        self.observer.row(&StageRow::new(stage, self.origin + row, self.width, channels, row_data));
    }
}

impl Stage<'_> {
    /// Computes rows `first .. first + output.len() / row length` into `output`.
    pub(super) fn run(&self, context: &Context<'_>, scratch: &mut Scratch, first: usize, output: &mut [f32]) {
        let row_len = self.block.width * scratch.stride;
        let last = first + output.len() / row_len;
        let (from, to) = (first.saturating_sub(1), (last + 1).min(context.rows));
        for row in from..to {
            self.enter(context, scratch, row, row == from);
            self.widen(context, scratch, row);
            if row > first {
                let done = row - 1;
                self.narrow(context, scratch, done, &mut output[(done - first) * row_len..][..row_len]);
            }
        }
        if last == context.rows {
            self.narrow(context, scratch, last - 1, &mut output[(last - 1 - first) * row_len..][..row_len]);
        }
    }

    /// The first layer and the fusion: fills the block's input row `row`.
    fn enter(&self, c: &Context<'_>, s: &mut Scratch, row: usize, start: bool) {
        let stride = s.stride;
        let source_len = self.first.inputs * stride;
        let strided = matches!(self.rows, Rows::Down(down) if down.strided);
        if strided {
            let first = if start { (2 * row).saturating_sub(1) } else { 2 * row };
            for source in first..2 * row + 2 {
                for parity in 0..2 {
                    let half = &mut s.source[parity * source_len..][..source_len];
                    every_second(c.input.row(source), c.input.shape.stride, parity, half, stride, c.width);
                    set_all(&mut s.first, c.kernel, self.first, source % 3 * 2 + parity, half, stride);
                }
            }
        } else {
            let next = row + 1;
            let first = if start { row.saturating_sub(1) } else { next };
            for source in first..=next.min(c.rows - 1) {
                self.set_source(c, s, source);
            }
        }
        let out_channels = self.first.outputs;
        let (output, shortcut);
        if let Rows::Down(Down { shortcut: Some((layer, averaged)), .. }) = self.rows {
            let (reads, writes) = s.shortcut.split_at_mut(source_len);
            if *averaged {
                let (a, b) = (c.input.row(2 * row), c.input.row(2 * row + 1));
                (c.kernel.rows.average)([a, b], c.input.shape.stride, reads, stride, c.width);
            } else {
                every_second(c.input.row(2 * row), c.input.shape.stride, 0, reads, stride, c.width);
            }
            for (start, pixels) in chunks(c.width) {
                let input = (&reads[start..], stride);
                let output = (&mut writes[start..], stride);
                pointwise(c.kernel, layer, input, None, output, pixels, &mut s.chunk.operands);
            }
            shortcut = Some((&*writes, stride, true));
        } else {
            shortcut = Some(match self.rows {
                Rows::Direct => (c.input.row(row), c.input.shape.stride, false),
                _ => (&s.source[row % 3 * source_len..][..source_len], stride, false),
            });
        }
        let input_len = self.block.width * stride;
        let input = &mut s.input[row % 2 * input_len..][..input_len];
        output = if self.fuse.is_some() { &mut s.fused[..] } else { &mut input[..] };
        let around =
            |outside| if strided { strided_taps(row, c.rows, outside) } else { taps(row, c.rows, outside) };
        convolve_row(&mut s.first, c.kernel, self.first, around, shortcut, (&mut *output, stride), c.width);
        c.show(self.names[0], row, out_channels, (&*output, stride));
        if let Some(fuse) = self.fuse {
            let skip = c.skip.expect("a skip for a stage that fuses").row(row);
            // A branch on both needs them side by side.
            let both =
                fuse.branches.iter().any(|b| b.from < out_channels && b.from + b.inputs > out_channels);
            if both {
                s.fused[out_channels * stride..].copy_from_slice(skip);
            }
            for (start, pixels) in chunks(c.width) {
                let (first, second) = ((&s.fused[start..], stride), (&skip[start..], out_channels));
                let second = (!both).then_some(second);
                let output = (&mut input[start..], stride);
                pointwise(c.kernel, fuse, first, second, output, pixels, &mut s.chunk.operands);
            }
            c.show(self.names[1], row, self.block.width, (&*input, stride));
        }
    }

    /// Fills the rings of the first layer with source row `row`.
    fn set_source(&self, c: &Context<'_>, s: &mut Scratch, row: usize) {
        let stride = s.stride;
        let len = self.first.inputs * stride;
        let held = &mut s.source[row % 3 * len..][..len];
        let (source, source_stride): (&[f32], usize) = match self.rows {
            Rows::Direct => (c.input.row(row), c.input.shape.stride),
            Rows::Down(_) => {
                let (a, b) = (c.input.row(2 * row), c.input.row(2 * row + 1));
                (c.kernel.rows.average)([a, b], c.input.shape.stride, held, stride, c.width);
                (held, stride)
            }
            Rows::Up => {
                let near = row / 2;
                let far = if row.is_multiple_of(2) {
                    near.saturating_sub(1)
                } else {
                    (near + 1).min(c.rows / 2 - 1)
                };
                let rows = [c.input.row(near), c.input.row(far)];
                // The fused row is free until the first layer writes it.
                (c.kernel.rows.double)(rows, c.input.shape.stride, held, stride, c.width / 2, &mut s.fused);
                (held, stride)
            }
        };
        set_all(&mut s.first, c.kernel, self.first, row % 3, source, source_stride);
    }

    /// Normalisation and the two widening layers: fills the middle layer's operand row `row`.
    fn widen(&self, c: &Context<'_>, s: &mut Scratch, row: usize) {
        let (stride, width) = (s.stride, self.block.width);
        let input = &s.input[row % 2 * width * stride..][..width * stride];
        let wide = &mut s.wide[row % 2 * 4 * width * stride..][..4 * width * stride];
        let Point { operands, a, b } = &mut s.chunk;
        let Block { gain, bias, increase, middle, .. } = self.block;
        for (start, pixels) in chunks(c.width) {
            (c.kernel.rows.layer_norm)(
                &LayerNorm { input: &input[start..], stride, gain, bias, pixels },
                a,
                CHUNK,
            );
            pointwise(c.kernel, &increase[0], (a, CHUNK), None, (b, CHUNK), pixels, operands);
            for branch in &increase[1].branches {
                let input = (&b[branch.from * CHUNK..], CHUNK);
                let output = (&mut wide[branch.to * stride + start..], stride);
                point(c.kernel, branch, input, None, output, pixels, operands);
                // What is complete now is packed while it is in the first-level cache.
                let done = branch.to + branch.outputs;
                for (ring, reader) in s.middle.iter_mut().zip(&middle.branches) {
                    if (branch.to + 1..=done).contains(&(reader.from + reader.inputs)) {
                        let input = &wide[reader.from * stride + start..];
                        ring.set_chunk(c.kernel, row % 3, reader, input, stride, (start, pixels));
                    }
                }
            }
        }
    }

    /// The middle layer, the two narrowing ones and the block's shortcut: writes output row `row`.
    fn narrow(&self, c: &Context<'_>, s: &mut Scratch, row: usize, output: &mut [f32]) {
        let (stride, width) = (s.stride, self.block.width);
        let input_row = &s.input[row % 2 * width * stride..][..width * stride];
        let wide = &s.wide[row % 2 * 4 * width * stride..][..4 * width * stride];
        let Point { operands, a, b } = &mut s.chunk;
        let taps = taps(row, c.rows, s.middle[0].outside());
        let Block { middle, decrease: [first, second], .. } = self.block;
        for (start, pixels) in chunks(c.width) {
            // One part of the channels after the other, so that it is read while it is in the first-level cache.
            for ((ring, part), reader) in s.middle.iter_mut().zip(&middle.branches).zip(&first.branches) {
                let shortcut = Some((&wide[part.from * stride + start..], stride));
                let mut target = Target { shortcut, addend: None, output: a, stride: CHUNK };
                ring.convolve(c.kernel, part, &taps, (start, pixels), &mut target);
                let output = (&mut b[reader.to * CHUNK..], CHUNK);
                point(c.kernel, reader, (a, CHUNK), None, output, pixels, operands);
            }
            for (number, branch) in second.branches.iter().enumerate() {
                let input = (&b[branch.from * CHUNK..], CHUNK);
                let last = number + 1 == second.branches.len();
                let addend = last.then_some((&input_row[start..], stride));
                let output = (&mut output[branch.to * stride + start..], stride);
                point(c.kernel, branch, input, addend, output, pixels, operands);
            }
        }
        c.show(self.names[2], row, width, (&*output, stride));
    }
}

/// Pixels `parity`, `parity + 2`, ... of every channel; `width` is that of the result.
fn every_second(row: &[f32], stride: usize, parity: usize, out: &mut [f32], out_stride: usize, width: usize) {
    for (row, out) in row.chunks_exact(stride).zip(out.chunks_exact_mut(out_stride)) {
        for (o, pair) in out[..width].iter_mut().zip(row.as_chunks::<2>().0) {
            *o = pair[parity];
        }
    }
}
