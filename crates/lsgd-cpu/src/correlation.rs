//! The gradient of weights, from a group of images and the gradients of its outputs.

use std::ops::Range;

use crate::arch::dispatch;
use crate::layout::Layout;
use crate::shapes::Convolution;
use crate::taps::{Correlate, Vector};

/// Plane values that are correlated at a time: they stay in a core's first-level cache.
const PLANES: usize = 4096;

/// What the gradient of the weights reads from planes.
pub(crate) struct Correlation {
    /// For every place of the kernel: the taps, one per channel, and the vectors that read it
    /// within the image.
    places: Vec<(Vec<u32>, Vec<Vector>)>,
    /// Channels that are correlated at a time: their planes stay in a core's first-level cache.
    blocks: Vec<Range<usize>>,
}

impl Correlation {
    pub fn new(convolution: &Convolution, layout: &Layout) -> Self {
        let channels = layout.channels();
        let places = convolution.places().map(|place| {
            let taps = (0..channels).map(|channel| layout.tap(channel, place));
            (taps.collect(), layout.vectors_at(place))
        });
        let block = (PLANES / layout.channel_values().max(1)).max(2);
        Self {
            places: places.collect(),
            blocks: blocks(channels, block),
        }
    }

    /// Adds the gradients of a tile of `height` rows to its weights, `[rows][channels][places]`.
    pub fn add(&self, height: usize, planes: &[f32], gradients: &[f32], weights: &mut [f32]) {
        let places = self.places.len();
        let channels = self.blocks.last().map_or(0, |last| last.end);
        for block in &self.blocks {
            for (place, (taps, vectors)) in self.places.iter().enumerate() {
                dispatch(Correlate {
                    height,
                    gradients,
                    planes,
                    taps: &taps[block.clone()],
                    vectors,
                    weights: &mut weights[block.start * places + place..],
                    steps: [channels * places, places],
                });
            }
        }
    }
}

/// Blocks of this size, the last one larger by one where a single one would remain: singles are
/// slow.
fn blocks(count: usize, block: usize) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    for first in (0..count).step_by(block) {
        match blocks.last_mut() {
            Some(last) if first + 1 == count => last.end = count,
            _ => blocks.push(first..count.min(first + block)),
        }
    }
    blocks
}
