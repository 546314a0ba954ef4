//! Rows of convolution operands: packed signs or floats, with margins that stand for the zero padding, in a small
//! ring of slots and one slot that is all outside.

use super::net::{Branch, Operand, Packed};
use crate::kernels::{self, BitConv, CHUNK, Epilogue, FloatConv, Kernel, OUTSIDE, Pack, Target};

/// Bytes left of pixel 0 in a packed row, so that the tap to the left can be read.
const BIT_MARGIN: usize = 32;
/// Floats left of pixel 0.
const FLOAT_MARGIN: usize = 8;

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

/// What the plane of negatives of a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Negatives {
    /// Nothing of use: the slot has no exact zeros and the plane was not written.
    Stale,
    /// The complement of the positives.
    Complement,
    /// The negatives of a row with exact zeros.
    Exact,
}

/// Slots of operand rows for one branch.
#[derive(Debug)]
pub(super) struct Operands {
    width: usize,
    channels: usize,
    /// From one group or channel to the next.
    stride: usize,
    /// From one slot to the next.
    slot: usize,
    slots: usize,
    positive: Vec<u8>,
    negative: Vec<u8>,
    negatives: Vec<Negatives>,
    floats: Vec<f32>,
}

impl Operands {
    /// `slots` rows of `channels` channels, and one row outside the frame.
    pub(super) fn new(bits: bool, channels: usize, width: usize, slots: usize) -> Self {
        let stride = if bits { BIT_MARGIN + padded(width) + BIT_MARGIN } else { row_stride(width) };
        let slot = stride * if bits { channels / 4 } else { channels };
        let size = slot * (slots + 1);
        let (bytes, floats) = if bits { (size, 0) } else { (0, size) };
        Self {
            width,
            channels,
            stride,
            slot,
            slots,
            positive: vec![OUTSIDE; bytes],
            negative: vec![OUTSIDE; bytes],
            negatives: vec![Negatives::Complement; slots + 1],
            floats: vec![0.0; floats],
        }
    }

    /// The slot of rows outside the frame.
    pub(super) fn outside(&self) -> usize {
        self.slots
    }

    /// Re-uses the buffers for another branch of at most the same size (single chunks only: margins are not kept).
    pub(super) fn reshape(&mut self, channels: usize) {
        self.channels = channels;
    }

    /// Fills a slot from a row `[channel][stride]` of floats.
    pub(super) fn set(&mut self, kernel: &Kernel, slot: usize, branch: &Branch, row: &[f32], stride: usize) {
        let base = slot * self.slot;
        match (&branch.packed, &branch.operand) {
            (Packed::Bits { .. }, Operand::Signs { factor, summand }) => {
                let mut zero = false;
                let pack = |start: usize, pixels: usize| Pack {
                    input: &row[start..],
                    stride,
                    factor,
                    summand,
                    group_stride: self.stride,
                    pixels,
                };
                for (start, pixels) in chunks(self.width) {
                    let place = base + BIT_MARGIN + start;
                    zero |= (kernel.pack)(&pack(start, pixels), &mut self.positive[place..]);
                }
                self.negatives[slot] = Negatives::Stale;
                if zero {
                    for (start, pixels) in chunks(self.width) {
                        let place = base + BIT_MARGIN + start;
                        kernels::pack_negatives(&pack(start, pixels), &mut self.negative[place..]);
                    }
                    self.negatives[slot] = Negatives::Exact;
                }
                if !self.width.is_multiple_of(32) {
                    for group in 0..self.channels / 4 {
                        let right = base + group * self.stride + BIT_MARGIN;
                        let right = right + self.width..right + padded(self.width);
                        self.positive[right.clone()].fill(OUTSIDE);
                        self.negative[right].fill(OUTSIDE);
                    }
                }
            }
            (Packed::Floats(_), Operand::Signs { factor, summand }) => {
                for (start, pixels) in chunks(self.width) {
                    let input = &row[start..];
                    let pack = Pack { input, stride, factor, summand, group_stride: 0, pixels };
                    kernels::signs(&pack, &mut self.floats[base + FLOAT_MARGIN + start..], self.stride);
                }
                self.clear_right(base);
            }
            (_, Operand::Real) => {
                for channel in 0..self.channels {
                    let place = base + channel * self.stride + FLOAT_MARGIN;
                    self.floats[place..place + self.width]
                        .copy_from_slice(&row[channel * stride..][..self.width]);
                }
            }
        }
    }

    /// Fills the only slot from one chunk, without margins (for 1x1 layers).
    pub(super) fn set_chunk(
        &mut self,
        kernel: &Kernel,
        branch: &Branch,
        input: &[f32],
        stride: usize,
        pixels: usize,
    ) {
        match (&branch.packed, &branch.operand) {
            (Packed::Bits { .. }, Operand::Signs { factor, summand }) => {
                let pack = Pack { input, stride, factor, summand, group_stride: self.stride, pixels };
                let zero = (kernel.pack)(&pack, &mut self.positive[BIT_MARGIN..]);
                self.negatives[0] = if zero { Negatives::Exact } else { Negatives::Stale };
                if zero {
                    kernels::pack_negatives(&pack, &mut self.negative[BIT_MARGIN..]);
                }
            }
            (_, Operand::Signs { factor, summand }) => {
                let pack = Pack { input, stride, factor, summand, group_stride: 0, pixels };
                kernels::signs(&pack, &mut self.floats[FLOAT_MARGIN..], self.stride);
            }
            (_, Operand::Real) => {
                for channel in 0..self.channels {
                    self.floats[channel * self.stride + FLOAT_MARGIN..][..pixels]
                        .copy_from_slice(&input[channel * stride..][..pixels]);
                }
            }
        }
    }

    fn clear_right(&mut self, base: usize) {
        for channel in 0..self.channels {
            let right = base + channel * self.stride + FLOAT_MARGIN;
            self.floats[right + self.width..right + padded(self.width)].fill(0.0);
        }
    }

    /// Convolves the chunk at `start`; each tap is a slot and an offset in pixels.
    pub(super) fn convolve(
        &mut self,
        kernel: &Kernel,
        branch: &Branch,
        taps: &[(usize, isize)],
        (start, pixels): (usize, usize),
        target: Target<'_>,
    ) {
        let epilogue: &Epilogue = &branch.epilogue;
        let margin = if self.floats.is_empty() { BIT_MARGIN } else { FLOAT_MARGIN };
        let mut places = [0; 9];
        for (place, &(slot, offset)) in places.iter_mut().zip(taps) {
            *place = (slot * self.slot + margin + start).strict_add_signed(offset);
        }
        let places = &places[..taps.len()];
        match &branch.packed {
            Packed::Bits { codes, signs } => {
                let ternary = self.prepare(taps);
                let conv = BitConv {
                    positive: &self.positive,
                    negative: ternary.then_some(self.negative.as_slice()),
                    taps: places,
                    group_stride: self.stride,
                    groups: self.channels / 4,
                    grouped: branch.grouped,
                    codes,
                    signs,
                    outputs: branch.outputs,
                    pixels,
                };
                (kernel.conv_bits)(&conv, epilogue, target);
            }
            Packed::Floats(weights) => {
                let conv = FloatConv {
                    input: &self.floats,
                    taps: places,
                    channel_stride: self.stride,
                    channels: self.channels,
                    grouped: branch.grouped,
                    weights,
                    outputs: branch.outputs,
                    pixels,
                };
                (kernel.conv_float)(&conv, epilogue, target);
            }
        }
    }

    /// Whether some slot has exact zeros; then the negatives of all slots read are made good.
    fn prepare(&mut self, taps: &[(usize, isize)]) -> bool {
        if taps.iter().all(|&(slot, _)| self.negatives[slot] != Negatives::Exact) {
            return false;
        }
        for &(slot, _) in taps {
            if self.negatives[slot] == Negatives::Stale {
                let range = slot * self.slot..(slot + 1) * self.slot;
                let complement = self.positive[range.clone()].iter().map(|p| p ^ 0x0F);
                self.negative[range].iter_mut().zip(complement).for_each(|(n, c)| *n = c);
                self.negatives[slot] = Negatives::Complement;
            }
        }
        true
    }
}
