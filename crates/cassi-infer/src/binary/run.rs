//! From input to cube: windows of rows with a halo, and in each window the passes of the U, strips in parallel.
//!
//! Every pixel is computed by the same operations in the same order whatever the strips and windows are, so neither
//! the number of threads nor the window changes a bit.

use rayon::prelude::*;

use super::inspect::{StageObserver, StageRow};
use super::net::BANDS;
use super::operands::{chunks, row_stride};
use super::stage::{Context, Frame, Scratch, Shape, Stage, convolve_row, set_all, taps};
use super::winograd::{GROUP, Results};
use super::workspace::{Buffers, Ends, stages};
use super::{BinaryNetwork, Layout, Workspace};
use crate::RunError;
use crate::kernels::Target;

/// Rows above and below a window's own that its result depends on: 3 of level 0 on the way down, 2 of level 1 and 2
/// of level 2 doubled and doubled again, the same back up, and one for each interpolation make 34.
const HALO: usize = 40;

/// What a network is run on. Values of relative radiance; slices in C order.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// For [`Layout::Standard`].
    Standard {
        /// The un-sheared snapshot `[28, row, column]`, e.g. `[28, 256, 256]`.
        features: &'a [f32],
        /// The mask `[row, column]`.
        mask: &'a [f32],
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// For [`Layout::TsaReal`].
    Real {
        /// The normalised snapshot `[row, column + 54]`, e.g. `[660, 714]`.
        snapshot: &'a [f32],
        /// Rows.
        rows: usize,
        /// Columns of the scene, 54 less than the snapshot's.
        columns: usize,
    },
}

/// Columns between neighbouring windows of the snapshot.
const STEP: usize = 2;

impl Input<'_> {
    /// Rows and columns of the cube.
    pub fn size(&self) -> (usize, usize) {
        match *self {
            Self::Standard { rows, columns, .. } | Self::Real { rows, columns, .. } => (rows, columns),
        }
    }

    /// Row `row` of the padded input, `[channel][stride]`: columns and rows beyond the image are reflected.
    fn read(&self, row: usize, width: usize, stride: usize, out: &mut [f32]) {
        let (rows, columns) = self.size();
        let row = if row < rows { row } else { 2 * (rows - 1) - row };
        let mut copy = |channel: usize, from: &[f32]| {
            let out = &mut out[channel * stride..][..width];
            out[..columns].copy_from_slice(from);
            for column in columns..width {
                out[column] = out[2 * (columns - 1) - column];
            }
        };
        match *self {
            Self::Standard { features, mask, .. } => {
                for band in 0..BANDS {
                    copy(band, &features[(band * rows + row) * columns..][..columns]);
                }
                copy(BANDS, &mask[row * columns..][..columns]);
            }
            Self::Real { snapshot, .. } => {
                let snapshot_columns = columns + STEP * (BANDS - 1);
                for band in 0..BANDS {
                    copy(band, &snapshot[row * snapshot_columns + STEP * band..][..columns]);
                }
            }
        }
    }
}

fn check_length(
    what: &'static str,
    found: usize,
    shape: &[usize],
    axes: &'static str,
) -> Result<(), RunError> {
    let expected = shape.iter().product();
    if found == expected {
        return Ok(());
    }
    Err(RunError::Length { what, found, expected, shape: shape.to_vec(), axes })
}

/// One window of rows of the padded image.
#[derive(Clone, Copy)]
struct Window<'a> {
    input: Input<'a>,
    /// Its first row.
    start: usize,
    /// Rows of the whole.
    padded_rows: usize,
    width: usize,
    observer: &'a dyn StageObserver,
}

impl BinaryNetwork {
    /// Runs the network: `cube` is overwritten with `[28, row, column]`, not clamped.
    ///
    /// Sizes that are no multiples of 8 are padded by reflection at the bottom and the right, as published. Runs in
    /// parallel on the current rayon pool; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// If the input is of the other layout, a slice has the wrong length, or the image is too small to be
    /// reflected.
    pub fn run(&self, input: Input<'_>, workspace: &mut Workspace, cube: &mut [f32]) -> Result<(), RunError> {
        self.run_watched(input, workspace, cube, &())
    }

    pub(super) fn run_watched(
        &self,
        input: Input<'_>,
        workspace: &mut Workspace,
        cube: &mut [f32],
        observer: &dyn StageObserver,
    ) -> Result<(), RunError> {
        let (rows, columns) = self.check(&input, cube.len())?;
        let (padded_rows, width) = (rows.next_multiple_of(8), columns.next_multiple_of(8));
        let window = workspace.window_rows().min(padded_rows);
        let own = if window == padded_rows { window } else { window - 2 * HALO };
        workspace.plan(self, window, width);
        for first in (0..rows).step_by(own) {
            let last = (first + own).min(rows);
            // Windows keep one size: the last one reaches further back instead.
            let start = first.saturating_sub(HALO).min(padded_rows - window);
            let window = Window { input, start, padded_rows, width, observer };
            let mut planes = cube.chunks_exact_mut(rows * columns);
            let planes = std::array::from_fn(|_| {
                &mut planes.next().expect("28 planes")[first * columns..last * columns]
            });
            self.run_window(&window, &mut workspace.buffers, planes, first - start);
        }
        Ok(())
    }

    fn check(&self, input: &Input<'_>, cube: usize) -> Result<(usize, usize), RunError> {
        let (rows, columns) = input.size();
        match (*input, self.layout()) {
            (Input::Standard { features, mask, .. }, Layout::Standard) => {
                check_length("features", features.len(), &[BANDS, rows, columns], "(band, row, column)")?;
                check_length("mask", mask.len(), &[rows, columns], "(row, column)")?;
            }
            (Input::Real { snapshot, .. }, Layout::TsaReal) => {
                let shape = [rows, columns + STEP * (BANDS - 1)];
                check_length("snapshot", snapshot.len(), &shape, "(row, column)")?;
            }
            (_, layout) => {
                let expected = match layout {
                    Layout::Standard => "features [28, row, column] and a mask [row, column]",
                    Layout::TsaReal => "a snapshot [row, column + 54] and no mask",
                };
                return Err(RunError::Layout { found: layout.name(), expected });
            }
        }
        check_length("cube", cube, &[BANDS, rows, columns], "(band, row, column)")?;
        let reflectable = |n: usize| n > 0 && n.next_multiple_of(8) - n < n;
        if !reflectable(rows) || !reflectable(columns) {
            return Err(RunError::TooSmall { rows, columns });
        }
        Ok((rows, columns))
    }

    /// Runs one window; the results from its row `first` on go to the planes of the cube.
    fn run_window(&self, window: &Window<'_>, b: &mut Buffers, planes: Planes<'_>, first: usize) {
        let Window { start, width, observer, .. } = *window;
        let [full, half, quarter] = b.shapes;
        let Buffers { base, skip, decoded, shared, ends, .. } = b;
        self.conv_in(window, full, base, ends);
        let stages = stages(&self.parts);
        let [s0, s1, s2, s3, s4] = &mut b.stages;
        let run = |i: usize,
                   input: Frame<'_>,
                   skip: Option<Frame<'_>>,
                   output: &mut [f32],
                   scratch: &mut [Scratch]| {
            let (level, stage) = &stages[i];
            let (rows, width, origin) = (full.rows >> level, width >> level, start >> level);
            let context = Context { kernel: self.kernel, input, skip, rows, width, origin, observer };
            run_strips(stage, &context, &mut output[..b.shapes[*level].len()], scratch);
        };
        let base = Frame::new(full, base);
        run(0, base, None, skip, s0);
        let skip = Frame::new(full, skip);
        let (skip1, bottom) = shared.split_at_mut(half.len());
        run(1, skip, None, skip1, s1);
        let skip1 = Frame::new(half, skip1);
        run(2, skip1, None, bottom, s2);
        run(3, Frame::new(quarter, bottom), Some(skip1), decoded, s3);
        run(4, Frame::new(half, decoded), Some(skip), shared, s4);
        self.finish(window, [Frame::new(full, shared), base], planes, first, ends);
    }

    /// Input, fusion and the first full-precision convolution.
    fn conv_in(&self, window: &Window<'_>, shape: Shape, base: &mut [f32], ends: &mut [Ends]) {
        let Window { start, padded_rows, width, observer, .. } = *window;
        let (row_len, Shape { rows, stride, .. }) = (shape.row_len(), shape);
        let strip = rows.div_ceil(ends.len()).next_multiple_of(GROUP);
        let strips = base.par_chunks_mut(strip * row_len).zip(ends.par_iter_mut()).enumerate();
        strips.for_each(|(i, (output, ends))| {
            for (at, output) in output.chunks_exact_mut(GROUP * row_len).enumerate() {
                let row = i * strip + GROUP * at;
                let from = if at == 0 { row.saturating_sub(1) } else { row + 1 };
                for source in from..(row + GROUP + 1).min(rows) {
                    debug_assert!(start + source < padded_rows);
                    self.front(window, start + source, ends, source);
                }
                let mut results = no_results();
                for (r, output) in output.chunks_exact_mut(row_len).enumerate() {
                    let channels = results.iter_mut().zip(output.chunks_exact_mut(stride));
                    channels.for_each(|(rows, channel)| rows[r] = &mut channel[..width]);
                }
                ends.conv_in.run(self.kernel, &self.parts.conv_in, row, rows, None, &mut results);
                for (offset, output) in output.chunks_exact(row_len).enumerate() {
                    let row = start + row + offset;
                    observer.row(&StageRow::new("conv_in", row, width, BANDS, (output, stride)));
                }
            }
        });
    }

    /// Row `row` of the fused input, as row `to` of `conv_in`.
    fn front(&self, window: &Window<'_>, row: usize, ends: &mut Ends, to: usize) {
        let Ends { raw, point, conv_in, .. } = ends;
        let stride = conv_in.stride();
        let fused = conv_in.row_mut(to);
        let Window { ref input, width, observer, .. } = *window;
        match &self.parts.fusion {
            None => input.read(row, width, stride, fused),
            Some(fusion) => {
                let raw_stride = row_stride(width);
                input.read(row, width, raw_stride, raw);
                let branch = &fusion.branches[0];
                for (start, pixels) in chunks(width) {
                    let mut target =
                        Target { shortcut: None, addend: None, output: &mut fused[start..], stride };
                    point.run(self.kernel, branch, (&raw[start..], raw_stride), pixels, &mut target);
                }
            }
        }
        observer.row(&StageRow::new("fution", row, width, BANDS, (&*fused, stride)));
        if self.parts.gain != 1.0 {
            fused.iter_mut().for_each(|v| *v *= self.parts.gain);
        }
    }

    /// The last binary layer, the body's shortcut, the last full-precision convolution and its shortcut, for the rows
    /// of the window from `first` on that the planes hold: strips in parallel.
    fn finish(
        &self,
        window: &Window<'_>,
        frames: [Frame<'_>; 2],
        planes: Planes<'_>,
        first: usize,
        ends: &mut [Ends],
    ) {
        let columns = window.input.size().1;
        let rows = planes[0].len() / columns;
        let half = (rows.div_ceil(ends.len()) * (ends.len() / 2)).next_multiple_of(GROUP);
        if ends.len() == 1 || half >= rows {
            return self.finish_strip(window, frames, planes, first, &mut ends[0]);
        }
        let mut parts = planes.map(|plane| plane.split_at_mut(half * columns));
        let upper = parts.each_mut().map(|(upper, _)| std::mem::take(upper));
        let lower = parts.map(|(_, lower)| lower);
        let (ends, more) = ends.split_at_mut(ends.len() / 2);
        rayon::join(
            || self.finish(window, frames, upper, first, ends),
            || self.finish(window, frames, lower, first + half, more),
        );
    }

    fn finish_strip(
        &self,
        window: &Window<'_>,
        [decoded, base]: [Frame<'_>; 2],
        mut planes: Planes<'_>,
        first: usize,
        ends: &mut Ends,
    ) {
        let Window { input, start, width, observer, .. } = *window;
        let (columns, Shape { rows, stride, .. }) = (input.size().1, base.shape);
        let last = first + planes[0].len() / columns;
        let mapping = &self.parts.mapping;
        for row in (first..last).step_by(GROUP) {
            let from = if row == first { row.saturating_sub(1) } else { row + 1 };
            for mapped in from..(row + GROUP + 1).min(rows) {
                let begin =
                    if row == first && mapped == from { mapped.saturating_sub(1) } else { mapped + 1 };
                for source in begin..(mapped + 2).min(rows) {
                    let source_row = decoded.row(source);
                    set_all(&mut ends.mapping, self.kernel, mapping, source % 3, source_row, stride);
                }
                let shortcut = Some((decoded.row(mapped), stride, false));
                let taps = |outside| taps(mapped, rows, outside);
                let Ends { mapping: rings, conv_out, .. } = ends;
                let own = conv_out.stride();
                let body = conv_out.row_mut(mapped);
                convolve_row(rings, self.kernel, mapping, taps, shortcut, (&mut *body, own), width);
                let show = |stage, body: &[f32]| {
                    observer.row(&StageRow::new(stage, start + mapped, width, BANDS, (body, own)));
                };
                show("mapping", body);
                for (body, base) in body.chunks_exact_mut(own).zip(base.row(mapped).chunks_exact(stride)) {
                    (self.kernel.rows.add)(&mut body[..width], &base[..width]);
                }
                show("body", body);
            }
            let mut results = no_results();
            for (rows, plane) in results.iter_mut().zip(&mut planes) {
                let len = (GROUP * columns).min(plane.len());
                let (own, rest) = std::mem::take(plane).split_at_mut(len);
                *plane = rest;
                rows.iter_mut().zip(own.chunks_exact_mut(columns)).for_each(|(row, own)| *row = own);
            }
            let shortcut = std::array::from_fn(|r| base.row((row + r).min(rows - 1)));
            let conv_out = &mut ends.conv_out;
            conv_out.run(
                self.kernel,
                &self.parts.conv_out,
                row,
                rows,
                Some((shortcut, stride)),
                &mut results,
            );
            if self.parts.gain != 1.0 {
                results.iter_mut().flatten().flat_map(|row| &mut **row).for_each(|v| *v /= self.parts.gain);
            }
        }
    }
}

/// The rows of each band of the cube that a window or a strip makes.
type Planes<'a> = [&'a mut [f32]; BANDS];

fn no_results<'a>() -> Results<'a> {
    std::array::from_fn(|_| Default::default())
}

/// Runs a stage, one strip of rows a scratch.
fn run_strips(stage: &Stage<'_>, context: &Context<'_>, output: &mut [f32], scratch: &mut [Scratch]) {
    let row_len = output.len() / context.rows;
    let strip = context.rows.div_ceil(scratch.len());
    let strips = output.par_chunks_mut(strip * row_len).zip(scratch.par_iter_mut()).enumerate();
    strips.for_each(|(i, (output, scratch))| stage.run(context, scratch, i * strip, output));
}
