//! A vector's values as bytes on the wire: little endian, parameters first, then buffers, then
//! weights if it has any. As int8 or topk, parameters are blocks
//! ([`int8`], [`topk`]), and the others f32.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use half::bf16;
use lsgd_core::{Layout, Snapshot, SnapshotDigest, Source, WireFormat, int8, topk};

use crate::error::HolderFault;

/// The values of `range` as bytes. `None` if the snapshot does not have them, or the range divides a block.
pub(crate) fn encode(
    wire: WireFormat,
    snapshot: &Snapshot,
    range: Range<usize>,
) -> Option<Vec<u8>> {
    encode_vectors(wire, vectors_of(snapshot), &range)
}

fn encode_vectors(wire: WireFormat, vectors: [&[f32]; 3], range: &Range<usize>) -> Option<Vec<u8>> {
    let parts = parts(wire, vectors.map(<[f32]>::len), range)?;
    let mut bytes = Vec::with_capacity(bytes_of(wire, vectors[0].len(), range));
    let parts = formats(wire).into_iter().zip(parts);
    for ((format, part), values) in parts.zip(vectors) {
        let part = &values[part];
        match format {
            WireFormat::F32 if cfg!(target_endian = "little") => {
                bytes.extend_from_slice(bytemuck::cast_slice(part));
            }
            WireFormat::F32 => bytes.extend(part.iter().flat_map(|value| value.to_le_bytes())),
            WireFormat::Bf16 => bytes.extend(
                part.iter()
                    .flat_map(|&value| bf16::from_f32(value).to_le_bytes()),
            ),
            WireFormat::Int8 => int8::encode(part, &mut bytes),
            WireFormat::Topk => topk::encode(part, &mut bytes),
        }
    }
    Some(bytes)
}

/// The formats of parameters, buffers and weights.
fn formats(wire: WireFormat) -> [WireFormat; 3] {
    match wire {
        WireFormat::F32 | WireFormat::Bf16 => [wire; 3],
        WireFormat::Int8 | WireFormat::Topk => [wire, WireFormat::F32, WireFormat::F32],
    }
}

/// The parts of `range` within consecutive vectors of these lengths. `None` if it is not within all of
/// them, or divides a block of parameters.
fn parts(wire: WireFormat, lengths: [usize; 3], range: &Range<usize>) -> Option<[Range<usize>; 3]> {
    let [parameters, ..] = lengths;
    let block = match wire {
        WireFormat::F32 | WireFormat::Bf16 => 1,
        WireFormat::Int8 => int8::BLOCK,
        WireFormat::Topk => topk::BLOCK,
    };
    let divides = |at: usize| at < parameters && !at.is_multiple_of(block);
    let divides = divides(range.start) || divides(range.end);
    if divides || range.start > range.end || range.end > lengths.iter().sum() {
        return None;
    }
    let mut begin = 0;
    Some(lengths.map(|length| {
        let within = |at: usize| at.clamp(begin, begin + length) - begin;
        let part = within(range.start)..within(range.end);
        begin += length;
        part
    }))
}

/// Bytes of the values of `range` of a vector with this many parameters.
pub(crate) fn bytes_of(wire: WireFormat, parameters: usize, range: &Range<usize>) -> usize {
    let within = range.end.min(parameters) - range.start.min(parameters);
    wire.bytes(within, range.len() - within)
}

/// A vector that arrives in parts, from a node that is not trusted. Its memory depends on the layout
/// and method, not on what arrives.
#[derive(Debug)]
pub struct PartialVector {
    wire: WireFormat,
    parameters: Vec<f32>,
    buffers: Vec<f32>,
    weights: Vec<f32>,
}

impl PartialVector {
    /// Memory for a vector of `layout` with this many weights.
    pub fn new(wire: WireFormat, layout: &Layout, weights: usize) -> Self {
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

    /// Reads the values of `range` from `bytes`, which must hold them all.
    ///
    /// # Errors
    ///
    /// If the vector does not have that range, it divides a block, or `bytes` end before it does.
    pub fn take(&mut self, range: &Range<usize>, mut bytes: impl Read) -> io::Result<()> {
        let lengths = self.vectors().map(<[f32]>::len);
        let parts = parts(self.wire, lengths, range).ok_or_else(beyond)?;
        let [parameters, buffers, weights] = parts;
        let values = [
            &mut self.parameters[parameters],
            &mut self.buffers[buffers],
            &mut self.weights[weights],
        ];
        read(self.wire, values, &mut bytes)
    }

    /// Puts values in place that are here already: nothing if the vector does not have that range.
    pub(crate) fn put(&mut self, range: &Range<usize>, mut values: &[f32]) {
        let lengths = self.vectors().map(<[f32]>::len);
        let vectors = [&mut self.parameters, &mut self.buffers, &mut self.weights];
        let parts = parts(WireFormat::F32, lengths, range).into_iter().flatten();
        for (part, vector) in parts.zip(vectors) {
            let (own, rest) = values.split_at(part.len().min(values.len()));
            vector[part].copy_from_slice(own);
            values = rest;
        }
    }

    /// The values of `range` as bytes. `None` if the vector does not have that range.
    pub(crate) fn encode(&self, range: Range<usize>) -> Option<Vec<u8>> {
        encode_vectors(self.wire, self.vectors(), &range)
    }

    /// The vector, once all of it has arrived, if it is the one that `digest` names.
    ///
    /// # Errors
    ///
    /// [`HolderFault::NotFinite`], [`HolderFault::Refused`] if it does not have the parts of `layout`,
    /// and [`HolderFault::Digest`].
    pub fn finish(
        self,
        layout: &Arc<Layout>,
        source: Source,
        digest: SnapshotDigest,
    ) -> Result<Snapshot, HolderFault> {
        let snapshot = self.into_unverified(layout, source)?;
        verify(&snapshot, layout, digest)?;
        Ok(snapshot)
    }

    /// The values as they arrived.
    ///
    /// # Errors
    ///
    /// [`HolderFault::Refused`] if it does not have the parts of `layout`.
    pub(crate) fn into_unverified(
        self,
        layout: &Arc<Layout>,
        source: Source,
    ) -> Result<Snapshot, HolderFault> {
        Snapshot::new(layout.clone(), source, self.parameters, self.buffers)
            .and_then(|snapshot| snapshot.with_weights(self.weights))
            .map_err(refused)
    }

    fn vectors(&self) -> [&[f32]; 3] {
        [&self.parameters, &self.buffers, &self.weights].map(Vec::as_slice)
    }
}

/// The values of `range`, parameters first. Fewer if the snapshot does not have them.
pub(crate) fn values_of(snapshot: &Snapshot, range: &Range<usize>) -> Vec<f32> {
    let vectors = vectors_of(snapshot);
    let parts = parts(WireFormat::F32, vectors.map(<[f32]>::len), range);
    let parts = parts.into_iter().flatten().zip(vectors);
    parts
        .flat_map(|(part, values)| &values[part])
        .copied()
        .collect()
}

/// Reads the values of `range` of a vector of `layout`, without weights, from `bytes`.
///
/// # Errors
///
/// As [`PartialVector::take`].
pub(crate) fn decode(
    wire: WireFormat,
    layout: &Layout,
    range: &Range<usize>,
    mut bytes: impl Read,
) -> io::Result<Vec<f32>> {
    let lengths = [layout.parameter_len(), layout.buffer_len(), 0];
    let parts = parts(wire, lengths, range).ok_or_else(beyond)?;
    let [parameters, buffers, _] = parts;
    let mut values = vec![0.0; range.len()];
    let (first, rest) = values.split_at_mut(parameters.len());
    let (second, third) = rest.split_at_mut(buffers.len());
    read(wire, [first, second, third], &mut bytes)?;
    Ok(values)
}

fn beyond() -> io::Error {
    let beyond = "values that the vector does not have";
    io::Error::new(io::ErrorKind::InvalidInput, beyond)
}

/// Whether `snapshot` is sound, and the one that `digest` names.
///
/// # Errors
///
/// As [`PartialVector::finish`].
pub(crate) fn verify(
    snapshot: &Snapshot,
    layout: &Layout,
    digest: SnapshotDigest,
) -> Result<(), HolderFault> {
    if let Some(index) = first_not_finite(vectors_of(snapshot)) {
        return Err(HolderFault::NotFinite { index });
    }
    snapshot.check(layout).map_err(refused)?;
    let found = snapshot.digest();
    match found == digest {
        true => Ok(()),
        false => Err(HolderFault::Digest { found }),
    }
}

fn refused(why: impl ToString) -> HolderFault {
    HolderFault::Refused {
        why: why.to_string(),
    }
}

fn vectors_of(snapshot: &Snapshot) -> [&[f32]; 3] {
    [
        snapshot.parameters(),
        snapshot.buffers(),
        snapshot.weights(),
    ]
}

/// Position of the first value that is NaN or infinite, parameters first, then buffers, then weights.
fn first_not_finite(vectors: [&[f32]; 3]) -> Option<usize> {
    let mut values = vectors.into_iter().flatten();
    values.position(|value| !value.is_finite())
}

/// Reads parameters, buffers and weights.
fn read(wire: WireFormat, vectors: [&mut [f32]; 3], bytes: &mut impl Read) -> io::Result<()> {
    for (format, values) in formats(wire).into_iter().zip(vectors) {
        match format {
            WireFormat::F32 => read_f32(values, bytes)?,
            WireFormat::Bf16 => read_bf16(values, bytes)?,
            WireFormat::Int8 => int8::decode(values, &mut *bytes)?,
            WireFormat::Topk => topk::decode(values, &mut *bytes)?,
        }
    }
    Ok(())
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
    // Through a small buffer on the stack, half the size of the values.
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

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::tensor::{Device, Tensor};
    use lsgd_core::WorkerId;

    use super::*;

    #[derive(Module, Debug)]
    struct Normed {
        x: Param<Tensor<1>>,
        running_mean: Param<Tensor<1>>,
    }

    /// Two parameters, one running statistic and one weight, all of which bf16 can hold.
    fn vector() -> Snapshot {
        let device = Device::flex().autodiff();
        let layout = Layout::of(&Normed {
            x: Param::from_data([0.0, 0.0], &device),
            running_mean: Param::from_data([0.0], &device),
        });
        let source = Source::Worker {
            id: WorkerId::new(0, 0),
            step: 1,
        };
        let made = Snapshot::new(layout, source, vec![1.0, -2.0], vec![0.5]).unwrap();
        made.with_weights(vec![3.0]).unwrap()
    }

    fn partial(wire: WireFormat) -> PartialVector {
        let layout: Arc<Layout> = vector().layout().clone();
        PartialVector::new(wire, &layout, 1)
    }

    /// Little endian, parameters first: as any other implementation would write it.
    #[test]
    fn bytes_are_those_of_the_protocol() {
        let f32s = [1.0_f32, -2.0, 0.5, 3.0].map(f32::to_le_bytes).concat();
        assert_eq!(encode(WireFormat::F32, &vector(), 0..4), Some(f32s));
        let bf16s = vec![0x80, 0x3f, 0x00, 0xc0, 0x00, 0x3f, 0x40, 0x40];
        assert_eq!(encode(WireFormat::Bf16, &vector(), 0..4), Some(bf16s));
    }

    #[test]
    fn a_vector_arrives_in_any_parts() {
        for wire in [WireFormat::F32, WireFormat::Bf16] {
            for parts in [&[2..4, 0..2][..], &[3..4, 1..3, 0..1], &[0..3, 3..4]] {
                let mut vector_of = partial(wire);
                assert_eq!(vector_of.values(), 4);
                for part in parts {
                    let bytes = encode(wire, &vector(), part.clone()).unwrap();
                    assert_eq!(bytes.len(), wire.bytes(part.len(), 0));
                    vector_of.take(part, &bytes[..]).unwrap();
                }
                assert_eq!(vector_of.parameters, [1.0, -2.0], "{wire:?} {parts:?}");
                assert_eq!(vector_of.buffers, [0.5], "{wire:?} {parts:?}");
                assert_eq!(vector_of.weights, [3.0], "{wire:?} {parts:?}");
            }
        }
    }

    /// A byte for the power of two, one for each of the parameters, then f32.
    #[test]
    fn parameters_cross_as_blocks_and_the_rest_as_it_is() {
        let wire = WireFormat::Int8;
        let block = vec![128, 32, (-64_i8) as u8];
        let rest = [0.5_f32, 3.0].map(f32::to_le_bytes).concat();
        assert_eq!(encode(wire, &vector(), 0..2), Some(block.clone()));
        assert_eq!(encode(wire, &vector(), 2..4), Some(rest.clone()));
        assert_eq!(encode(wire, &vector(), 0..4), Some([block, rest].concat()));
        let mut arrived = partial(wire);
        for part in [2..3, 0..2, 3..4] {
            let bytes = encode(wire, &vector(), part.clone()).unwrap();
            arrived.take(&part, &bytes[..]).unwrap();
        }
        let expected: [&[f32]; 3] = [&[1.0, -2.0], &[0.5], &[3.0]];
        assert_eq!(arrived.vectors(), expected);
        // Half a block cannot be asked for.
        for part in [0..1, 1..2, 1..4] {
            assert_eq!(encode(wire, &vector(), part.clone()), None);
            assert!(partial(wire).take(&part, &[0; 64][..]).is_err(), "{part:?}");
        }
    }

    /// Of the two parameters the larger.
    #[test]
    fn the_largest_parameter_crosses_and_the_rest_as_it_is() {
        let wire = WireFormat::Topk;
        let block = vec![128, (-64_i8) as u8, 1, 0];
        let rest = [0.5_f32, 3.0].map(f32::to_le_bytes).concat();
        assert_eq!(encode(wire, &vector(), 0..4), Some([block, rest].concat()));
        let mut arrived = partial(wire);
        for part in [0..2, 2..4] {
            let bytes = encode(wire, &vector(), part.clone()).unwrap();
            arrived.take(&part, &bytes[..]).unwrap();
        }
        let expected: [&[f32]; 3] = [&[0.0, -2.0], &[0.5], &[3.0]];
        assert_eq!(arrived.vectors(), expected);
        assert_eq!(encode(wire, &vector(), 1..4), None, "half a block");
        let unknown = partial(wire).take(&(0..2), &[128, 64, 2, 0][..]);
        assert!(unknown.is_err(), "a third of two parameters");
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "what a stranger may ask for")]
    fn what_is_beyond_the_vector_is_neither_sent_nor_taken() {
        assert_eq!(encode(WireFormat::F32, &vector(), 4..4), Some(Vec::new()));
        for beyond in [0..5, 4..5, 5..5, 3..2] {
            assert_eq!(encode(WireFormat::F32, &vector(), beyond.clone()), None);
            let taken = partial(WireFormat::F32).take(&beyond, &[0; 64][..]);
            assert!(taken.is_err(), "{beyond:?}");
        }
        assert!(partial(WireFormat::F32).take(&(4..4), &[][..]).is_ok());
    }

    #[test]
    fn too_few_bytes_are_no_values() {
        for wire in [
            WireFormat::F32,
            WireFormat::Bf16,
            WireFormat::Int8,
            WireFormat::Topk,
        ] {
            let bytes = encode(wire, &vector(), 0..4).unwrap();
            let short = &bytes[..bytes.len() - 1];
            assert!(partial(wire).take(&(0..4), short).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_found_in_every_part() {
        assert_eq!(first_not_finite(partial(WireFormat::F32).vectors()), None);
        for index in 0..4 {
            let mut spoilt = partial(WireFormat::F32);
            let nan = f32::NAN.to_le_bytes();
            spoilt.take(&(index..index + 1), &nan[..]).unwrap();
            assert_eq!(first_not_finite(spoilt.vectors()), Some(index));
        }
    }

    /// More values than fit in the buffer through which they are read.
    #[test]
    fn many_rounded_values_are_read_in_order() {
        let expected: Vec<f32> = (0..5000).map(|n| (n % 256) as f32).collect();
        let bytes = expected
            .iter()
            .flat_map(|&value| bf16::from_f32(value).to_le_bytes());
        let bytes: Vec<u8> = bytes.collect();
        let mut values = vec![0.0; expected.len()];
        read_bf16(&mut values, &mut &bytes[..]).unwrap();
        assert_eq!(values, expected);
    }
}
