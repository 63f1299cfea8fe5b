//! Messages between nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::nn::LinearConfig;
use burn::tensor::Device;
use lsgd_core::{
    CheckpointRef, Factors, JoinPoint, Layout, NodePhase, Proposal, Snapshot, SnapshotDigest,
    Source, Status, VectorKind, VectorRef, WireFormat, WorkerId,
};
use lsgd_link::{ChunkRequest, Hello, PartialVector};

use super::kib;
use crate::changes::Form;
use crate::harness::{Decoder, Read};

pub fn decoders() -> Vec<Decoder> {
    let message = |name, valid, read: Read| Decoder {
        name,
        form: Form::Bytes,
        valid,
        bound: match name {
            // `borsh` makes room for a text before it reads it: for its length, or one MiB.
            "link hello" => kib(1040, 64),
            _ => kib(8, 16),
        },
        share: 1000,
        read,
    };
    let snapshot = snapshot();
    let layout = snapshot.layout().clone();
    vec![
        message("link status", statuses(), Box::new(status)),
        message("link hello", hellos(), Box::new(hello)),
        message("link request", requests(), Box::new(request)),
        message(
            "link vector",
            vectors(&snapshot),
            Box::new(move |bytes| vector(bytes, &layout)),
        ),
    ]
}

fn status(bytes: &[u8]) -> bool {
    let Ok(status) = Status::decode(bytes) else {
        return false;
    };
    assert_eq!(status.encode(), bytes);
    true
}

fn hello(bytes: &[u8]) -> bool {
    let Ok(hello) = Hello::decode(bytes) else {
        return false;
    };
    // Its keys may have come in another order, or twice.
    assert_eq!(Hello::decode(&hello.encode()), Ok(hello.clone()));
    let mut other = hello.clone();
    other.description.pop_first();
    for difference in hello.differences(&other) {
        assert!(!difference.to_string().is_empty());
    }
    true
}

fn request(bytes: &[u8]) -> bool {
    let Ok(request) = ChunkRequest::decode(bytes) else {
        return false;
    };
    assert_eq!(request.encode(), bytes);
    for values in [0, 1, 1 << 15, 15_000_000, usize::MAX] {
        if let Ok(range) = request.range(values) {
            assert!(range.end <= values && range.len() <= ChunkRequest::MAX_VALUES);
            assert!(!range.is_empty());
        }
    }
    true
}

/// What arrives of a vector: the wire format, the first value, the number of values, the values.
fn vector(bytes: &[u8], layout: &Arc<Layout>) -> bool {
    let &[wire, first, count, ref values @ ..] = bytes else {
        return false;
    };
    let wire = match wire {
        0 => WireFormat::F32,
        1 => WireFormat::Bf16,
        2 => WireFormat::Int8,
        _ => WireFormat::Topk,
    };
    let first = usize::from(first);
    let mut vector = PartialVector::new(wire, layout, 0);
    let taken = vector.take(&(first..first + usize::from(count)), values);
    let source = Source::Mean { workers: 1 };
    let finished = vector.finish(layout, source, SnapshotDigest([0; 32]));
    assert!(finished.is_err(), "no vector has this digest");
    taken.is_ok()
}

fn statuses() -> Vec<Vec<u8>> {
    let source = Source::Worker {
        id: WorkerId::new(1, 0),
        step: 96,
    };
    let vector = VectorRef {
        kind: VectorKind::Parameters,
        source,
        loss: 1.5,
        digest: SnapshotDigest([7; 32]),
        factors: Some(Factors::ONE),
    };
    let proposal = Proposal {
        round: 3,
        leader: Some(vector),
        sum: None,
        followed: Some(WorkerId::new(0, 1)),
    };
    let change = VectorRef {
        kind: VectorKind::Mean,
        source: Source::Change {
            workers: 2,
            since: SnapshotDigest([8; 32]).into(),
        },
        ..vector
    };
    let checkpoint = |step| CheckpointRef { step, exchanged: 7 };
    let least = Status {
        node: 1,
        incarnation: 0x0123_4567_89ab_cdef,
        sequence: 12,
        heartbeat: false,
        phase: NodePhase::Joining,
        progress: 40,
        rounds: 2,
        exchanged: 0x0123_4567_89ab_cdef,
        steps: 192,
        trained: 5000,
        workers: 2,
        proposals: [None, None],
        join_point: None,
        result: None,
        checkpoints: [32, 64].map(checkpoint).to_vec(),
    };
    let most = Status {
        phase: NodePhase::Training,
        proposals: [
            Some(proposal),
            Some(Proposal {
                round: 2,
                leader: None,
                sum: Some(change),
                ..proposal
            }),
        ],
        join_point: Some(JoinPoint { round: 2, vector }),
        result: Some(VectorRef {
            source: Source::Sum { workers: 2 },
            ..vector
        }),
        checkpoints: Vec::new(),
        ..least.clone()
    };
    vec![least.encode(), most.encode()]
}

fn hellos() -> Vec<Vec<u8>> {
    let description = |keys: usize| -> BTreeMap<String, String> {
        (0..keys)
            .map(|key| (format!("table.key_{key}"), key.to_string()))
            .collect()
    };
    let hello = |keys| Hello {
        node: 1,
        incarnation: 0x0123_4567_89ab_cdef,
        nodes: 2,
        description: description(keys),
    };
    [0, 2, 60].map(|keys| hello(keys).encode()).to_vec()
}

fn requests() -> Vec<Vec<u8>> {
    let request = |first, count| ChunkRequest {
        asker: 1,
        digest: SnapshotDigest([7; 32]),
        first,
        count,
        waits: true,
    };
    vec![request(0, 1).encode(), request(16_384, 16_384).encode()]
}

fn snapshot() -> Snapshot {
    let module = LinearConfig::new(3, 2).init(&Device::flex().autodiff());
    let layout = Layout::of(&module);
    let values = (0..layout.parameter_len())
        .map(|value| value as f32)
        .collect();
    Snapshot::new(layout, Source::Mean { workers: 1 }, values, Vec::new()).expect("it fits")
}

fn vectors(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let values = snapshot.parameters();
    let count = values.len() as u8;
    let all: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let upper: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes()[2..].to_vec())
        .collect();
    vec![
        [&[0, 0, count][..], &all].concat(),
        [&[0, 3, 2][..], &all[12..20]].concat(),
        [&[1, 0, count][..], &upper].concat(),
        // One of eight: 64 * 2^-6, at position 5.
        [3, 0, count, 127, 64, 5, 0].to_vec(),
    ]
}
