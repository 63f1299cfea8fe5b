//! How images are arranged for the inner loops.

use std::ops::Range;

use crate::taps::Vector;
use crate::window::Window;

/// Vectors of outputs that a group has at most, unless one image has more: enough to make the
/// overhead of the inner loops small beside their work, and few enough for the first-level cache to
/// hold what these loops read.
const VECTORS: usize = 72;

/// What the lanes of a vector hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lanes {
    /// Neighbouring columns of one image. Columns that are a stride apart are put together.
    Columns,
    /// The same pixel of several images: for images too narrow for columns.
    Images,
}

/// The positions of a group's values in planes, and of its outputs in vectors.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    window: Window,
    kind: Lanes,
    lanes: usize,
    /// Images that are arranged together.
    pub group: usize,
    /// Vectors side by side: those of a row, or those of a pixel.
    across: usize,
    /// Distances in values: from one row of a plane to the next, from one plane (a channel) to the
    /// next, from one image to the next, and between columns that are a stride apart.
    row: usize,
    plane: usize,
    image: usize,
    column: usize,
    /// Values of a group.
    pub length: usize,
}

impl Layout {
    /// Chooses a layout for `batch` images and vectors of `lanes`.
    pub fn new(window: Window, batch: usize, lanes: usize) -> Self {
        let [rows, columns] = window.outputs;
        let [rows_apart, stride] = window.stride;
        let [_, extent] = window.extent;
        let [border_rows, border] = window.border;
        let [height, width] = window.image;
        let channels = window.channels;
        let padded_rows = (rows.max(1) - 1) * rows_apart + window.extent[0];
        let padded_rows = padded_rows.max(border_rows + height);
        // With fewer images than lanes, the other lanes would be idle as well.
        let image_share = batch as f64 / (batch.div_ceil(lanes) * lanes).max(1) as f64;
        // Transposing images takes time as well.
        let kind = match window.column_share(lanes) >= 0.7 * image_share {
            true => Lanes::Columns,
            false => Lanes::Images,
        };
        match kind {
            Lanes::Columns => {
                let across = columns.div_ceil(lanes);
                // Columns with the same remainder by the stride are together.
                let column = across * lanes + extent.div_ceil(stride) - 1;
                let column = column.max((border + width).div_ceil(stride));
                let row = column * stride;
                let plane = row * padded_rows;
                let image = plane * channels;
                let group = group(rows * across, batch);
                Self {
                    window,
                    kind,
                    lanes,
                    group,
                    across,
                    row,
                    plane,
                    image,
                    column,
                    length: image * group,
                }
            }
            Lanes::Images => {
                let across = group(rows * columns, batch.div_ceil(lanes));
                let column = across * lanes;
                let padded = (columns.max(1) - 1) * stride + extent;
                let row = padded.max(border + width) * column;
                // An odd number of columns, so that the same place in neighbouring channels does
                // not fall into the same set of the cache.
                let plane = ((row / column * padded_rows) | 1) * column;
                Self {
                    window,
                    kind,
                    lanes,
                    group: column,
                    across,
                    row,
                    plane,
                    image: 1,
                    column,
                    length: plane * channels,
                }
            }
        }
    }

    /// Channels of the images.
    pub fn channels(&self) -> usize {
        self.window.channels
    }

    /// Vectors of outputs per channel and group.
    fn vectors(&self) -> usize {
        let [rows, columns] = self.window.outputs;
        match self.kind {
            Lanes::Columns => self.group * rows * self.across,
            Lanes::Images => rows * columns * self.across,
        }
    }

    /// Output values per channel and group.
    pub fn outputs(&self) -> usize {
        self.vectors() * self.lanes
    }

    /// Values of a channel in all images of a group.
    pub fn channel_values(&self) -> usize {
        self.length / self.window.channels.max(1)
    }

    /// Whether outputs of `length` values, as the inner loop leaves them, already have the
    /// arrangement that [`collect`](Self::collect) would give them in images of `result` values.
    pub fn puts_in_place(&self, grid: &Grid, result: usize, length: usize) -> bool {
        let whole = grid.image == self.window.outputs && result == length;
        whole && self.kind == Lanes::Columns && self.group == 1 && !self.has_idle_lanes()
    }

    /// Whether some of the outputs' lanes belong to no output.
    fn has_idle_lanes(&self) -> bool {
        self.kind == Lanes::Columns && self.window.outputs[1] != self.across * self.lanes
    }

    /// The position of a channel's value at a place, for the first output.
    pub fn tap(&self, channel: usize, [row, column]: [usize; 2]) -> u32 {
        (channel * self.plane + row * self.row + self.along(column)) as u32
    }

    /// The position of a column in its row.
    fn along(&self, column: usize) -> usize {
        let [_, stride] = self.window.stride;
        match self.kind {
            Lanes::Columns => column % stride * self.column + column / stride,
            Lanes::Images => column * self.column,
        }
    }

    /// The vectors of outputs in `rows` and, where lanes are images, in `columns`: all others would
    /// read only zeros.
    fn vectors_in(&self, rows: Range<usize>, columns: Range<usize>) -> Vec<Vector> {
        let [all_rows, all_columns] = self.window.outputs;
        let [down, right] = self.window.stride;
        let (images, columns) = match self.kind {
            Lanes::Columns => (self.group, 0..1),
            Lanes::Images => (1, columns),
        };
        let mut vectors = Vec::new();
        for image in 0..images {
            for row in rows.clone() {
                for column in columns.clone() {
                    for vector in 0..self.across {
                        let (before, at) = match self.kind {
                            Lanes::Columns => (image * all_rows + row, image * self.image),
                            Lanes::Images => {
                                (row * all_columns + column, column * right * self.column)
                            }
                        };
                        vectors.push(Vector {
                            index: (before * self.across + vector) as u32,
                            base: (at + row * down * self.row + vector * self.lanes) as u32,
                        });
                    }
                }
            }
        }
        vectors
    }

    /// The vectors for which a place is within the image.
    pub fn vectors_at(&self, [row, column]: [usize; 2]) -> Vec<Vector> {
        self.vectors_in(self.window.inside(0, row), self.window.inside(1, column))
    }

    /// All vectors, by which of these places are within the image for them.
    pub fn cells(&self, places: &[[usize; 2]]) -> Vec<(Vec<bool>, Vec<Vector>)> {
        let [rows, columns] = self.window.outputs;
        let columns = match self.kind {
            Lanes::Columns => 1,
            Lanes::Images => columns,
        };
        let mut cells: Vec<(Vec<bool>, Vec<Vector>)> = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let inside = |&[k, l]: &[usize; 2]| {
                    let beside = self.kind == Lanes::Columns;
                    self.window.inside(0, k).contains(&row)
                        && (beside || self.window.inside(1, l).contains(&column))
                };
                let inside: Vec<bool> = places.iter().map(inside).collect();
                let vectors = self.vectors_in(row..row + 1, column..column + 1);
                match cells.iter_mut().find(|(of_cell, _)| *of_cell == inside) {
                    Some((_, of_cell)) => of_cell.extend(vectors),
                    None => cells.push((inside, vectors)),
                }
            }
        }
        cells
    }

    /// Arranges images, `[images][channels][height][width]`: at most a group.
    pub fn arrange(&self, images: &[f32], planes: &mut [f32]) {
        let [height, width] = self.window.image;
        let [top, left] = self.window.border;
        let [_, stride] = self.window.stride;
        let channels = self.window.channels;
        let size = channels * height * width;
        if size == 0 || images.len() < size * self.group {
            planes.fill(0.0);
        }
        if size == 0 {
            return;
        }
        match self.kind {
            Lanes::Columns => {
                // Of columns that are a stride apart: the first one, and its place among them.
                let phases: Vec<[usize; 2]> = (0..stride)
                    .map(|phase| (phase + stride - left % stride) % stride)
                    .map(|first| [first, (left + first) / stride])
                    .collect();
                let all = images.chunks_exact(size);
                for (image, planes) in all.zip(planes.chunks_exact_mut(self.image)) {
                    let all = image.chunks_exact(height * width);
                    for (channel, plane) in all.zip(planes.chunks_exact_mut(self.plane)) {
                        let rows = plane.chunks_exact_mut(self.row).skip(top);
                        for (row, place) in channel.chunks_exact(width).zip(rows) {
                            if stride == 1 {
                                place[..left].fill(0.0);
                                place[left..left + width].copy_from_slice(row);
                                place[left + width..].fill(0.0);
                            } else {
                                place.fill(0.0);
                                let all = place.chunks_exact_mut(self.column);
                                for (place, [first, at]) in all.zip(&phases) {
                                    let values = row.iter().skip(*first).step_by(stride);
                                    let place = place[*at..].iter_mut();
                                    place.zip(values).for_each(|(to, v)| *to = *v);
                                }
                            }
                        }
                    }
                }
            }
            Lanes::Images => {
                for channel in 0..channels {
                    let plane = &mut planes[channel * self.plane..][..self.plane];
                    // Few images at a time: only theirs has to stay in the cache.
                    for (block, images) in images.chunks(size * self.lanes).enumerate() {
                        for row in 0..height {
                            for column in 0..width {
                                let at = (top + row) * self.row + self.along(left + column);
                                let place = &mut plane[at + block * self.lanes..][..self.lanes];
                                let from = (channel * height + row) * width + column;
                                let values = images[from..].iter().step_by(size);
                                place.iter_mut().zip(values).for_each(|(to, v)| *to = *v);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Arranges values that belong to outputs, `[images][channels][rows][columns]`, at most a
    /// group, by tiles of `tile` channels: `[tiles][vectors][tile][lanes]`, zero where there is no output.
    pub fn arrange_outputs(&self, channels: usize, tile: usize, images: &[f32], tiles: &mut [f32]) {
        let [rows, columns] = self.window.outputs;
        let size = channels * rows * columns;
        let partial = images.len() < size * self.group || !channels.is_multiple_of(tile);
        if partial || self.has_idle_lanes() {
            tiles.fill(0.0);
        }
        if size == 0 {
            return;
        }
        let lanes = self.lanes;
        let length = tile * self.outputs();
        for channel in 0..channels {
            let place = &mut tiles[channel / tile * length..][..length];
            let place = &mut place[channel % tile * lanes..];
            match self.kind {
                Lanes::Columns => {
                    let values = images.chunks_exact(rows * columns);
                    for (image, values) in values.skip(channel).step_by(channels).enumerate() {
                        for (row, values) in values.chunks_exact(columns).enumerate() {
                            let first = (image * rows + row) * self.across;
                            for (vector, values) in values.chunks(lanes).enumerate() {
                                let at = (first + vector) * tile * lanes;
                                copy(values, &mut place[at..at + values.len()]);
                            }
                        }
                    }
                }
                Lanes::Images => {
                    for (block, images) in images.chunks(size * lanes).enumerate() {
                        for pixel in 0..rows * columns {
                            let at = (pixel * self.across + block) * tile * lanes;
                            let from = channel * rows * columns + pixel;
                            let values = images[from..].iter().step_by(size);
                            let place = place[at..at + lanes].iter_mut();
                            place.zip(values).for_each(|(to, value)| *to = *value);
                        }
                    }
                }
            }
        }
    }

    /// Writes outputs, `[channels][vectors][lanes]`, to their places in images,
    /// `[images][channels][height][width]`: at most a group.
    pub fn collect(&self, channels: usize, vectors: &[f32], images: &mut [f32], grid: &Grid) {
        let [rows, columns] = self.window.outputs;
        let length = self.outputs();
        let [height, width] = grid.image;
        let size = channels * height * width;
        if size == 0 || rows * columns == 0 {
            return;
        }
        let across = self.across * self.lanes;
        for (index, image) in images.chunks_exact_mut(size).enumerate() {
            let channels = image.chunks_exact_mut(height * width);
            for (channel, vectors) in channels.zip(vectors.chunks_exact(length)) {
                for row in 0..rows {
                    let place = &mut channel[(grid.first[0] + row * grid.step[0]) * width..];
                    let place = &mut place[grid.first[1]..width];
                    match self.kind {
                        Lanes::Columns => {
                            let values = &vectors[(index * rows + row) * across..][..columns];
                            if grid.step[1] == 1 {
                                place[..columns].copy_from_slice(values);
                            } else {
                                let place = place.iter_mut().step_by(grid.step[1]);
                                place.zip(values).for_each(|(to, value)| *to = *value);
                            }
                        }
                        Lanes::Images => {
                            let values = vectors[row * columns * across + index..].iter();
                            let values = values.step_by(across).take(columns);
                            let place = place.iter_mut().step_by(grid.step[1]);
                            place.zip(values).for_each(|(to, value)| *to = *value);
                        }
                    }
                }
            }
        }
    }
}

/// How many of `count` images (or vectors of images) to group, each with so many vectors of outputs:
/// all groups have about the same size.
fn group(vectors: usize, count: usize) -> usize {
    let count = count.max(1);
    let most = (VECTORS / vectors.max(1)).clamp(1, count);
    count.div_ceil(count.div_ceil(most))
}

/// Copies a vector or part of one: for so few values a call takes longer than the copy.
fn copy(from: &[f32], to: &mut [f32]) {
    let (to, to_rest) = to.as_chunks_mut::<8>();
    let (from, rest) = from.as_chunks::<8>();
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(rest).for_each(|(to, v)| *to = *v);
}

/// The pixels of an image that are outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Height and width of the image.
    pub image: [usize; 2],
    /// The first output.
    pub first: [usize; 2],
    /// The distance to the next one, in pixels.
    pub step: [usize; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_of_about_the_same_size() {
        assert_eq!(group(16, 32), 4);
        // Three groups of three images rather than two of four and a single one.
        assert_eq!(group(16, 9), 3);
        // More vectors than a group should have.
        assert_eq!(group(225, 5), 1);
        assert_eq!(group(0, 0), 1);
    }
}
