//! Everything that decodes what arrives, on any bytes and on valid ones changed a little.

use std::collections::BTreeMap;

use lsgd_core::{
    CheckpointRef, JoinPoint, NodePhase, Proposal, SnapshotDigest, Source, Status, VectorKind,
    VectorRef, WorkerId,
};
use lsgd_link::{ChunkRequest, Hello};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::decoding::decode_all;

fn status() -> impl Strategy<Value = Status> {
    let numbers = (any::<u32>(), any::<[u64; 6]>(), any::<u32>(), any::<u64>());
    let vector = (any::<bool>(), any::<[u8; 32]>(), any::<bool>());
    (numbers, vector).prop_map(
        |((node, counts, workers, step), (heartbeat, digest, some))| {
            let source = Source::Worker {
                id: WorkerId::new(node, 1),
                step: step >> 11,
            };
            let vector = some.then_some(VectorRef {
                kind: VectorKind::Parameters,
                source,
                loss: 1.5,
                digest: SnapshotDigest(digest),
                factors: None,
            });
            let proposal = Proposal {
                round: 3,
                leader: vector,
                sum: vector,
                followed: some.then_some(WorkerId::new(node, 1)),
            };
            let join_point = vector.map(|vector| JoinPoint { round: 3, vector });
            // Nothing beyond 2^53 is decoded.
            let [incarnation, sequence, progress, rounds, steps, trained] =
                counts.map(|count| count >> 11);
            Status {
                node,
                incarnation,
                sequence,
                heartbeat,
                phase: NodePhase::Training,
                progress,
                rounds,
                exchanged: !rounds,
                steps,
                trained,
                workers,
                proposals: [Some(proposal), some.then_some(proposal)],
                join_point,
                result: vector,
                checkpoints: [(step >> 11, !step), (rounds, 0)]
                    .map(|(step, exchanged)| CheckpointRef { step, exchanged })
                    .repeat(usize::from(some)),
            }
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    let description = btree_map(".{0,20}", ".{0,20}", 0..20);
    (any::<u32>(), any::<u64>(), any::<u32>(), description).prop_map(
        |(node, incarnation, nodes, description): (_, _, _, BTreeMap<_, _>)| Hello {
            node,
            incarnation,
            nodes,
            description,
        },
    )
}

fn request() -> impl Strategy<Value = ChunkRequest> {
    let range = (any::<u64>(), any::<u32>());
    (any::<u32>(), any::<[u8; 32]>(), range, any::<bool>()).prop_map(
        |(asker, digest, (first, count), waits)| ChunkRequest {
            asker,
            digest: SnapshotDigest(digest),
            first,
            count,
            waits,
        },
    )
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        status().prop_map(|status| status.encode()),
        hello().prop_map(|hello| hello.encode()),
        request().prop_map(|request| request.encode()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_reads_back(status in status(), hello in hello(), request in request()) {
        prop_assert!(status.encode().len() <= Status::MAX_LEN);
        prop_assert_eq!(Status::decode(&status.encode()), Ok(status));
        prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        prop_assert_eq!(request.encode().len(), ChunkRequest::LENGTH);
        prop_assert_eq!(ChunkRequest::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..600)) {
        decode_all(&bytes);
    }

    #[test]
    fn valid_bytes_changed_are_read_or_refused(
        mut bytes in valid(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        decode_all(&bytes);
    }
}

#[test]
fn nothing_longer_than_allowed_is_decoded() {
    assert!(Status::decode(&vec![0; Status::MAX_LEN + 1]).is_err());
    assert!(
        Hello::decode(&vec![0; Hello::MAX_LEN + 1])
            .unwrap_err()
            .contains("at most 65536")
    );
    // A length that promises more than there is.
    let mut bytes = vec![0; 16];
    bytes.extend([0xff; 4]);
    assert!(Hello::decode(&bytes).is_err());
}

/// Of a vector of 40,000 values.
#[test]
fn a_request_is_for_one_answer_within_the_vector() {
    let most = ChunkRequest::MAX_VALUES as u32;
    assert_eq!(most, 16_384);
    let range = |first, count| {
        let request = ChunkRequest {
            asker: 1,
            digest: SnapshotDigest([0; 32]),
            first,
            count,
            waits: false,
        };
        request.range(40_000)
    };
    assert_eq!(range(0, 1), Ok(0..1));
    assert_eq!(range(23_616, most), Ok(23_616..40_000));
    for (first, count) in [(0, 0), (0, most + 1), (0, u32::MAX)] {
        let why = format!("{count} values asked for; an answer has 1 to 16384");
        assert_eq!(range(first, count), Err(why));
    }
    for (first, count) in [(23_617, most), (40_000, 1), (u64::MAX, 1)] {
        let why = format!("{count} values from {first} on asked for; the vector has 40000");
        assert_eq!(range(first, count), Err(why));
    }
}

/// A refusal names the value found and the one expected.
#[test]
fn refusals_of_bytes_say_why() {
    let status = Status::decode(&vec![0; Status::MAX_LEN + 1]).unwrap_err();
    assert_eq!(status, "513 bytes where a status has at most 512");
    for length in [ChunkRequest::LENGTH - 1, ChunkRequest::LENGTH + 1] {
        let why = format!("{length} bytes where a request has 49");
        assert_eq!(ChunkRequest::decode(&vec![0; length]), Err(why));
    }
}

/// The longest that a node sends is read by another; one byte more is not.
#[test]
fn a_hello_may_have_64_kilobytes() {
    let hello = |filler: usize| Hello {
        node: 0,
        incarnation: 1,
        nodes: 2,
        description: BTreeMap::from([(String::from("key"), "x".repeat(filler))]),
    };
    let rest = hello(0).encode().len();
    let longest = hello(Hello::MAX_LEN - rest);
    assert_eq!(longest.encode().len(), 65_536);
    assert_eq!(Hello::decode(&longest.encode()), Ok(longest));
    assert!(Hello::decode(&hello(Hello::MAX_LEN - rest + 1).encode()).is_err());
}
