//! Everything that decodes what arrives, on any bytes and on valid ones changed a little.

use std::collections::BTreeMap;

use lsgd_core::{Basis, Offer, Offered, Phase, Rank, SnapshotDigest, Source, Status, Vector};
use lsgd_train::cluster::{ChunkRequest, Hello, Telling, Told};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::decoding::decode_all;

fn told() -> impl Strategy<Value = Told> {
    let numbers = (any::<u32>(), any::<[u64; 6]>(), any::<u32>(), any::<u64>());
    let offered = (any::<bool>(), any::<[u8; 32]>(), any::<bool>());
    (numbers, offered).prop_map(
        |((node, counts, workers, step), (is_report, digest, some))| {
            let source = Source::Worker {
                rank: Rank::new(node, 1),
                step: step >> 11,
            };
            let vector = some.then_some(Offered {
                kind: Vector::Snapshot,
                source,
                loss: 1.5,
                digest: SnapshotDigest(digest),
            });
            let offer = Offer {
                round: 3,
                leader: vector,
                sum: vector,
                followed: some.then_some(Rank::new(node, 1)),
            };
            let basis = vector.map(|vector| Basis { round: 3, vector });
            // Nothing beyond 2^53 is decoded.
            let [life, sequence, progress, rounds, steps, trained] =
                counts.map(|count| count >> 11);
            Told {
                telling: if is_report {
                    Telling::Report
                } else {
                    Telling::Heartbeat
                },
                status: Status {
                    node,
                    life,
                    sequence,
                    phase: Phase::Training,
                    progress,
                    rounds,
                    steps,
                    trained,
                    workers,
                    offers: [Some(offer), some.then_some(offer)],
                    delivered: basis,
                    result: vector,
                },
            }
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    let description = btree_map(".{0,20}", ".{0,20}", 0..20);
    (any::<u32>(), any::<u64>(), any::<u32>(), description).prop_map(
        |(node, life, nodes, description): (_, _, _, BTreeMap<_, _>)| Hello {
            node,
            life,
            nodes,
            description,
        },
    )
}

fn request() -> impl Strategy<Value = ChunkRequest> {
    (any::<u32>(), any::<[u8; 32]>(), any::<u64>(), any::<u32>()).prop_map(
        |(asker, digest, first, count)| ChunkRequest {
            asker,
            digest: SnapshotDigest(digest),
            first,
            count,
        },
    )
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        told().prop_map(|told| told.encode()),
        hello().prop_map(|hello| hello.encode()),
        request().prop_map(|request| request.encode()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_reads_back(told in told(), hello in hello(), request in request()) {
        prop_assert!(told.encode().len() <= Told::LONGEST);
        prop_assert_eq!(Told::decode(&told.encode()), Ok(told));
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
    assert!(Told::decode(&vec![0; Told::LONGEST + 1]).is_err());
    assert!(
        Hello::decode(&vec![0; Hello::LONGEST + 1])
            .unwrap_err()
            .contains("at most 65536")
    );
    // A length that promises more than there is.
    let mut bytes = vec![0; 16];
    bytes.extend([0xff; 4]);
    assert!(Hello::decode(&bytes).is_err());
}
