//! A vector's values as bytes on the wire: little endian, parameters first, then buffers, then
//! weights where it has any.

use half::bf16;
use lsgd_core::{Layout, Snapshot, Wire};
use std::io::{self, Read};
use std::ops::Range;

/// The values of `range` as bytes. `None` when the snapshot has not that many.
pub(crate) fn encode(wire: Wire, snapshot: &Snapshot, range: Range<usize>) -> Option<Vec<u8>> {
    if range.start > range.end || range.end > snapshot.values() {
        return None;
    }
    let mut bytes = Vec::with_capacity(range.len() * wire.width());
    let vectors = [
        snapshot.parameters(),
        snapshot.buffers(),
        snapshot.weights(),
    ];
    for (part, values) in parts(vectors.map(<[f32]>::len), &range)
        .into_iter()
        .zip(vectors)
    {
        let part = &values[part];
        match wire {
            Wire::F32 if cfg!(target_endian = "little") => {
                bytes.extend_from_slice(bytemuck::cast_slice(part));
            }
            Wire::F32 => bytes.extend(part.iter().flat_map(|value| value.to_le_bytes())),
            Wire::Bf16 => bytes.extend(
                part.iter()
                    .flat_map(|&value| bf16::from_f32(value).to_le_bytes()),
            ),
        }
    }
    Some(bytes)
}

/// The parts of `range` among vectors of these lengths, one after another.
fn parts(lengths: [usize; 3], range: &Range<usize>) -> [Range<usize>; 3] {
    let mut begin = 0;
    lengths.map(|length| {
        let within = |at: usize| at.clamp(begin, begin + length) - begin;
        let part = within(range.start)..within(range.end);
        begin += length;
        part
    })
}

/// The values of a vector while they arrive. Its memory is what layout and method say, whatever comes.
pub(crate) struct Arriving {
    wire: Wire,
    pub parameters: Vec<f32>,
    pub buffers: Vec<f32>,
    pub weights: Vec<f32>,
}

impl Arriving {
    /// Room for a vector of `layout` with so many weights.
    pub fn new(wire: Wire, layout: &Layout, weights: usize) -> Self {
        Self {
            wire,
            parameters: vec![0.0; layout.parameter_len()],
            buffers: vec![0.0; layout.buffer_len()],
            weights: vec![0.0; weights],
        }
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.parameters.len() + self.buffers.len() + self.weights.len()
    }

    /// Takes the values of `range` from `bytes`, which must hold them all.
    pub fn take(&mut self, range: &Range<usize>, mut bytes: impl Read) -> io::Result<()> {
        let wire = self.wire;
        let vectors = [&mut self.parameters, &mut self.buffers, &mut self.weights];
        let lengths = [0, 1, 2].map(|vector: usize| vectors[vector].len());
        if range.start > range.end || range.end > lengths.iter().sum() {
            let beyond = "values beyond the vector";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, beyond));
        }
        for (part, vector) in parts(lengths, range).into_iter().zip(vectors) {
            let values = &mut vector[part];
            match wire {
                Wire::F32 => read_f32(values, &mut bytes)?,
                Wire::Bf16 => read_bf16(values, &mut bytes)?,
            }
        }
        Ok(())
    }

    /// Position of the first value that is NaN or infinite.
    pub fn first_not_finite(&self) -> Option<usize> {
        let values = self.parameters.iter().chain(&self.buffers);
        let values = values.chain(&self.weights);
        values
            .enumerate()
            .find_map(|(index, value)| (!value.is_finite()).then_some(index))
    }
}

fn read_f32(values: &mut [f32], bytes: &mut impl Read) -> io::Result<()> {
    bytes.read_exact(bytemuck::cast_slice_mut(values))?;
    if cfg!(target_endian = "big") {
        for value in values {
            *value = f32::from_bits(u32::from_le(value.to_bits()));
        }
    }
    Ok(())
}

fn read_bf16(values: &mut [f32], bytes: &mut impl Read) -> io::Result<()> {
    // Through a small buffer on the stack: half the bytes of what they become.
    let mut buffer = [0; 4096];
    for values in values.chunks_mut(buffer.len() / 2) {
        let buffer = &mut buffer[..2 * values.len()];
        bytes.read_exact(buffer)?;
        for (value, pair) in values.iter_mut().zip(buffer.chunks_exact(2)) {
            *value = bf16::from_le_bytes([pair[0], pair[1]]).to_f32();
        }
    }
    Ok(())
}
