//! Rows of convolution operands: packed signs or floats, with margins that stand for the zero padding, in a small
//! ring of slots and one slot that is all outside.

use super::buffer::Buffer;
use super::net::{Branch, Operand, Packed};
use crate::kernels::{self, BitConv, CHUNK, FloatConv, Kernel, OUTSIDE, Pack, Target, WordConv};

/// Bytes left and right of a row packed by fours, so that the taps beside the border can be read.
const BYTE_MARGIN: usize = 64;
/// The same for words and for floats.
const MARGIN: usize = 16;

/// Rounded up to whole vectors of 32 pixels.
pub(super) fn padded(width: usize) -> usize {
    width.next_multiple_of(32)
}

/// Floats from one channel to the next in a row of `width` pixels: 16 more than a multiple of 32, so that channels
/// spread over all cache sets.
pub(super) fn row_stride(width: usize) -> usize {
    padded(width) + 16
}

/// Chunks of a row: first pixel and pixels to treat (64, or 32 at the end).
pub(super) fn chunks(width: usize) -> impl Iterator<Item = (usize, usize)> {
    let width = padded(width);
    (0..width).step_by(CHUNK).map(move |start| (start, (width - start).min(CHUNK)))
}

/// What the plane of negatives of a chunk packed by fours holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Negatives {
    /// Nothing of use: the chunk has no exact zeros and the plane was not written.
    Stale,
    /// The complement of the positives.
    Complement,
    /// The negatives of a chunk with exact zeros.
    Exact,
}

/// Operand rows in the form that a branch's kernels read.
#[derive(Debug)]
enum Store {
    /// Signs by fours, and for each chunk of each slot what its negatives are.
    Bytes { positive: Buffer<u8>, negative: Buffer<u8>, negatives: Vec<Negatives> },
    /// Signs in words, and which chunks have exact zeros.
    Words { positive: Buffer<u32>, nonzero: Buffer<u32>, zeros: Vec<bool> },
    /// Floats.
    Floats(Buffer<f32>),
}

/// Slots of operand rows for one branch.
#[derive(Debug)]
pub(super) struct Operands {
    width: usize,
    /// From one group, word or channel to the next.
    stride: usize,
    /// From one slot to the next.
    slot: usize,
    slots: usize,
    store: Store,
}

impl Operands {
    /// `slots` rows of `width` pixels for a branch, and one row outside the frame.
    pub(super) fn new(branch: &Branch, width: usize, slots: usize) -> Self {
        let (packed, channels) = (&branch.packed, branch.inputs);
        let margin = if matches!(packed, Packed::Codes(_)) { BYTE_MARGIN } else { MARGIN };
        let planes = match packed {
            Packed::Codes(_) => channels / 4,
            Packed::Words(_) => channels.div_ceil(32),
            Packed::Floats(_) => channels,
        };
        let stride = padded(width) + 2 * margin;
        let (slot, size) = (stride * planes, stride * planes * (slots + 1));
        let store = match packed {
            Packed::Codes(_) => Store::Bytes {
                positive: Buffer::new(OUTSIDE, size),
                negative: Buffer::new(OUTSIDE, size),
                negatives: vec![Negatives::Complement; (slots + 1) * width.div_ceil(CHUNK)],
            },
            Packed::Words(_) => Store::Words {
                positive: Buffer::new(0, size),
                nonzero: Buffer::new(0, size),
                zeros: vec![false; (slots + 1) * width.div_ceil(CHUNK)],
            },
            Packed::Floats(_) => Store::Floats(Buffer::new(0.0, size)),
        };
        Self { width, stride, slot, slots, store }
    }

    /// The slot of rows outside the frame.
    pub(super) fn outside(&self) -> usize {
        self.slots
    }

    /// Fills a slot from a row `[channel][stride]` of floats.
    pub(super) fn set(&mut self, kernel: &Kernel, slot: usize, branch: &Branch, row: &[f32], stride: usize) {
        for chunk in chunks(self.width) {
            self.set_chunk(kernel, slot, branch, &row[chunk.0..], stride, chunk);
        }
    }

    /// Fills the chunk at `start` of a slot from floats `[channel][stride]`, which begin at the chunk's first pixel.
    pub(super) fn set_chunk(
        &mut self,
        kernel: &Kernel,
        slot: usize,
        branch: &Branch,
        input: &[f32],
        stride: usize,
        (start, pixels): (usize, usize),
    ) {
        let (base, own) = (slot * self.slot + start, self.stride);
        let pack = pack(branch, input, stride, pixels);
        let state = slot * self.width.div_ceil(CHUNK) + start / CHUNK;
        // Pixels of the chunk right of the frame.
        let beyond = self.width.saturating_sub(start).min(pixels)..pixels;
        match &mut self.store {
            Store::Bytes { positive, negative, negatives } => {
                let place = base + BYTE_MARGIN;
                let zero = (kernel.pack)(&pack, &mut positive[place..], own);
                negatives[state] = if zero { Negatives::Exact } else { Negatives::Stale };
                if zero {
                    kernels::pack_negatives(&pack, &mut negative[place..], own);
                }
                if !beyond.is_empty() {
                    for at in (place..).step_by(own).take(branch.inputs / 4) {
                        positive[at + beyond.start..at + beyond.end].fill(OUTSIDE);
                        negative[at + beyond.start..at + beyond.end].fill(OUTSIDE);
                    }
                }
            }
            Store::Words { positive, nonzero, zeros } => {
                let place = base + MARGIN;
                let (positive, nonzero) = (&mut positive[place..], &mut nonzero[place..]);
                zeros[state] = (kernel.pack_words)(&pack, positive, nonzero, own);
                if !beyond.is_empty() {
                    for at in (0..).step_by(own).take(branch.inputs.div_ceil(32)) {
                        nonzero[at + beyond.start..at + beyond.end].fill(0);
                    }
                }
            }
            Store::Floats(floats) => {
                let floats = &mut floats[base + MARGIN..];
                set_floats(kernel, branch, pack, floats, own);
                if !beyond.is_empty() {
                    for at in (0..).step_by(own).take(branch.inputs) {
                        floats[at + beyond.start..at + beyond.end].fill(0.0);
                    }
                }
            }
        }
    }

    /// Convolves the chunk at `start`; each tap is a slot and an offset in pixels.
    pub(super) fn convolve(
        &mut self,
        kernel: &Kernel,
        branch: &Branch,
        taps: &[(usize, isize)],
        (start, pixels): (usize, usize),
        target: &mut Target<'_>,
    ) {
        let (stride, slot, slots, width) = (self.stride, self.slot, self.slots, self.width);
        let margin = if matches!(self.store, Store::Bytes { .. }) { BYTE_MARGIN } else { MARGIN };
        let place = |(at, offset): (usize, isize)| (at * slot + margin + start).strict_add_signed(offset);
        let mut places = [0; 9];
        places.iter_mut().zip(taps).for_each(|(place_of, &tap)| *place_of = place(tap));
        let places = &places[..taps.len()];
        let finish = &branch.finish;
        // The chunks of a slot that are read: this one and for 3x3 its neighbours.
        let (row, own) = (width.div_ceil(CHUNK), start / CHUNK);
        let near = if taps.len() == 1 { own..own + 1 } else { own.saturating_sub(1)..(own + 2).min(row) };
        match (&branch.packed, &mut self.store) {
            (Packed::Codes(codes), Store::Bytes { positive, negative, negatives }) => {
                let reads = Places { slot, stride, row, near };
                let ternary = make_negatives_good(positive, negative, negatives, &reads, taps);
                let conv = BitConv {
                    positive,
                    negative: ternary.then_some(&negative[..]),
                    taps: places,
                    group_stride: stride,
                    groups: branch.inputs / 4,
                    grouped: branch.grouped,
                    codes,
                    outputs: branch.outputs,
                    pixels,
                };
                (kernel.conv_bits)(&conv, finish, target);
            }
            (Packed::Words(weights), Store::Words { positive, nonzero, zeros }) => {
                let mut inside = [(0, 0); 9];
                let mut count = 0;
                let mut masked = false;
                for (number, (&(at, offset), &place)) in taps.iter().zip(places).enumerate() {
                    if at != slots {
                        inside[count] = (place, number);
                        count += 1;
                        let border = offset < 0 && start == 0 || offset > 0 && start + pixels >= width;
                        masked |= border || zeros[at * row..][near.clone()].contains(&true);
                    }
                }
                let conv = WordConv {
                    positive,
                    nonzero: masked.then_some(&nonzero[..]),
                    taps: &inside[..count],
                    word_stride: stride,
                    channels: branch.inputs,
                    weights,
                    outputs: branch.outputs,
                    pixels,
                };
                (kernel.conv_words)(&conv, finish, target);
            }
            (Packed::Floats(weights), Store::Floats(floats)) => {
                let conv = FloatConv {
                    input: floats,
                    taps: places,
                    channel_stride: stride,
                    channels: branch.inputs,
                    grouped: branch.grouped,
                    weights,
                    outputs: branch.outputs,
                    pixels,
                };
                (kernel.conv_float)(&conv, finish, target);
            }
            _ => unreachable!("operands are planned for their branch"),
        }
    }
}

/// What a branch's kernels pack: thresholds, if it takes signs.
fn pack<'a>(branch: &'a Branch, input: &'a [f32], stride: usize, pixels: usize) -> Pack<'a> {
    let (above, below, widest): (&[f32], &[f32], f32) = match &branch.operand {
        Operand::Signs(rule) => (&rule.above, &rule.below, rule.widest),
        Operand::Real => (&[], &[], 0.0),
    };
    Pack { input, stride, above, below, widest, pixels }
}

/// Signs as floats, or the floats themselves.
fn set_floats(kernel: &Kernel, branch: &Branch, pack: Pack<'_>, output: &mut [f32], stride: usize) {
    match branch.operand {
        Operand::Signs(_) => (kernel.rows.signs)(&pack, output, stride),
        Operand::Real => {
            for channel in 0..branch.inputs {
                output[channel * stride..][..pack.pixels]
                    .copy_from_slice(&pack.input[channel * pack.stride..][..pack.pixels]);
            }
        }
    }
}

/// Which chunks of the slots packed by fours a convolution reads.
struct Places {
    /// Bytes from one slot to the next and from one group to the next.
    slot: usize,
    stride: usize,
    /// Chunks of a slot, and those that are read.
    row: usize,
    near: std::ops::Range<usize>,
}

/// Whether some chunk that is read has exact zeros; then the negatives of all that are read are made good.
fn make_negatives_good(
    positive: &[u8],
    negative: &mut [u8],
    negatives: &mut [Negatives],
    places: &Places,
    taps: &[(usize, isize)],
) -> bool {
    let Places { slot, stride, row, ref near } = *places;
    if taps.iter().all(|&(at, _)| !negatives[at * row..][near.clone()].contains(&Negatives::Exact)) {
        return false;
    }
    for &(at, _) in taps {
        for chunk in near.clone() {
            let state = &mut negatives[at * row + chunk];
            if *state == Negatives::Stale {
                for group in (at * slot..(at + 1) * slot).step_by(stride) {
                    let begin = group + BYTE_MARGIN + chunk * CHUNK;
                    let range = begin..(begin + CHUNK).min(group + stride - BYTE_MARGIN);
                    let complement = positive[range.clone()].iter().map(|p| p ^ 0x0F);
                    negative[range].iter_mut().zip(complement).for_each(|(n, c)| *n = c);
                }
                *state = Negatives::Complement;
            }
        }
    }
    true
}

/// Operands of a chain of 1x1 layers on one chunk, re-used from layer to layer: room for the widest of each form.
#[derive(Debug)]
pub(super) struct ChunkOperands {
    forms: Vec<(std::mem::Discriminant<Packed>, Operands)>,
}

impl ChunkOperands {
    /// For these branches.
    pub(super) fn new<'a>(branches: impl Iterator<Item = &'a Branch>) -> Self {
        let mut widest: Vec<&Branch> = vec![];
        for branch in branches {
            let form = std::mem::discriminant(&branch.packed);
            match widest.iter_mut().find(|b| std::mem::discriminant(&b.packed) == form) {
                Some(known) if known.inputs >= branch.inputs => {}
                Some(known) => *known = branch,
                None => widest.push(branch),
            }
        }
        let operands = |b: &&Branch| (std::mem::discriminant(&b.packed), Operands::new(b, CHUNK, 1));
        Self { forms: widest.iter().map(operands).collect() }
    }

    /// Runs a 1x1 branch on one chunk; `input` and the target begin at its first pixel.
    pub(super) fn run(
        &mut self,
        kernel: &Kernel,
        branch: &Branch,
        (input, stride): (&[f32], usize),
        pixels: usize,
        target: &mut Target<'_>,
    ) {
        if let (Operand::Real, Packed::Floats(weights)) = (&branch.operand, &branch.packed) {
            let (channels, outputs, channel_stride) = (branch.inputs, branch.outputs, stride);
            let grouped = branch.grouped;
            let conv =
                FloatConv { input, taps: &[0], channel_stride, channels, grouped, weights, outputs, pixels };
            return (kernel.conv_float)(&conv, &branch.finish, target);
        }
        let form = std::mem::discriminant(&branch.packed);
        let operands = self.forms.iter_mut().find(|(f, _)| *f == form).map(|(_, operands)| operands);
        let operands = operands.expect("a form that was planned");
        // One chunk of the row that this is; what lies right of it is not looked at.
        operands.width = pixels;
        operands.set(kernel, 0, branch, input, stride);
        operands.convolve(kernel, branch, &[(0, 0)], (0, pixels), target);
    }
}
