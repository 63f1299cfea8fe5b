//! What is taken of a status that came from anywhere.

use lsgd_core::{Basis, Offer, Offered, Phase, Rank, SnapshotDigest, Source, Status, Vector};

fn status() -> Status {
    let vector = Offered {
        kind: Vector::Snapshot,
        source: Source::Worker {
            rank: Rank::new(3, 1),
            step: 64,
        },
        loss: 0.5,
        digest: SnapshotDigest([7; 32]),
    };
    let offer = Offer {
        round: 8,
        leader: Some(vector),
        sum: None,
        followed: Some(Rank::new(2, 0)),
    };
    Status {
        node: 3,
        life: u64::MAX,
        sequence: 9,
        phase: Phase::Training,
        progress: 10,
        rounds: 7,
        steps: 128,
        trained: 64_000,
        workers: 2,
        offers: [Some(offer), None],
        delivered: Some(Basis { round: 8, vector }),
        result: None,
    }
}

fn refused(change: impl FnOnce(&mut Status)) -> String {
    let mut status = status();
    change(&mut status);
    Status::decode(&status.encode()).expect_err("it is refused")
}

#[test]
fn a_status_reads_back() {
    assert_eq!(Status::decode(&status().encode()), Ok(status()));
}

#[test]
fn no_status_makes_a_nan_or_a_stranger_lead() {
    for loss in [f64::INFINITY, f64::NEG_INFINITY] {
        let why = refused(|status| {
            status.offers[0]
                .as_mut()
                .unwrap()
                .leader
                .as_mut()
                .unwrap()
                .loss = loss;
        });
        assert_eq!(why, "node 3 offers a loss that is not finite");
    }
    let half = 0.5f64.to_le_bytes();
    let mut bytes = status().encode();
    let at = bytes.windows(8).position(|window| window == half).unwrap();
    bytes[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    assert!(Status::decode(&bytes).is_err());
    assert_eq!(
        refused(|status| status.node = 4),
        "node 4 offers another's vector"
    );
}

#[test]
fn counts_that_would_overflow_are_refused() {
    let changes: [fn(&mut Status); 5] = [
        |status| status.steps = u64::MAX,
        |status| status.trained = Status::GREATEST_COUNT + 1,
        |status| status.rounds = Status::GREATEST_COUNT + 1,
        |status| status.offers[0].as_mut().unwrap().round = u64::MAX,
        |status| status.delivered.as_mut().unwrap().round = u64::MAX,
    ];
    for change in changes {
        assert_eq!(
            refused(change),
            "node 3 counts beyond what any run comes to"
        );
    }
}

#[test]
fn more_or_fewer_bytes_are_refused() {
    let bytes = status().encode();
    assert!(bytes.len() <= Status::LONGEST);
    for length in 0..bytes.len() {
        assert!(Status::decode(&bytes[..length]).is_err());
    }
    assert!(Status::decode(&[&bytes[..], &[0]].concat()).is_err());
    assert!(Status::decode(&[0; Status::LONGEST + 1]).is_err());
}
