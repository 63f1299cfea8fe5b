//! A vector's values as bytes on the wire: little endian, parameters first, then buffers.

use half::bf16;
use lsgd_core::{Layout, Snapshot, Wire};
use std::io::{self, Read};
use std::ops::Range;

/// The values of `range`, parameters first, then buffers, as bytes. `None` when the snapshot
/// has not that many.
pub(crate) fn encode(wire: Wire, snapshot: &Snapshot, range: Range<usize>) -> Option<Vec<u8>> {
    if range.start > range.end || range.end > values_of(snapshot.layout()) {
        return None;
    }
    let mut bytes = Vec::with_capacity(range.len() * wire.width());
    for part in parts(snapshot.parameters().len(), &range)
        .zip([snapshot.parameters(), snapshot.buffers()])
        .map(|(range, values)| &values[range])
    {
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

/// Number of values in a vector of `layout`.
pub(crate) fn values_of(layout: &Layout) -> usize {
    layout.parameter_len() + layout.buffer_len()
}

/// The part of `range` among the first `parameters` values, and the part in what follows them.
fn parts(parameters: usize, range: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let first = range.start.min(parameters)..range.end.min(parameters);
    let second = range.start.saturating_sub(parameters)..range.end.saturating_sub(parameters);
    [first, second].into_iter()
}

/// The values of a vector while they arrive. Its memory is what the layout says, whatever comes.
pub(crate) struct Arriving {
    wire: Wire,
    pub parameters: Vec<f32>,
    pub buffers: Vec<f32>,
}

impl Arriving {
    /// Room for a vector of `layout`.
    pub fn new(wire: Wire, layout: &Layout) -> Self {
        Self {
            wire,
            parameters: vec![0.0; layout.parameter_len()],
            buffers: vec![0.0; layout.buffer_len()],
        }
    }

    /// Takes the values of `range` from `bytes`, which must hold them all.
    pub fn take(&mut self, range: &Range<usize>, mut bytes: impl Read) -> io::Result<()> {
        let wire = self.wire;
        let [first, second] = {
            let mut parts = parts(self.parameters.len(), range);
            [parts.next(), parts.next()].map(Option::unwrap_or_default)
        };
        let beyond = || io::Error::new(io::ErrorKind::InvalidInput, "values beyond the vector");
        let first = self.parameters.get_mut(first).ok_or_else(beyond)?;
        let second = self.buffers.get_mut(second).ok_or_else(beyond)?;
        for values in [first, second] {
            match wire {
                Wire::F32 => read_f32(values, &mut bytes)?,
                Wire::Bf16 => read_bf16(values, &mut bytes)?,
            }
        }
        Ok(())
    }

    /// Position of the first value that is NaN or infinite, parameters first, then buffers.
    pub fn first_not_finite(&self) -> Option<usize> {
        let values = self.parameters.iter().chain(&self.buffers);
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
