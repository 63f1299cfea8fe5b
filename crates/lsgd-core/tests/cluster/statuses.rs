//! What is taken of a status that came from anywhere.

use lsgd_core::{
    CheckpointRef, Factors, JoinPoint, NodePhase, Proposal, SnapshotDigest, Source, Status,
    VectorKind, VectorRef, WorkerId,
};

fn status() -> Status {
    let vector = VectorRef {
        kind: VectorKind::Parameters,
        source: Source::Worker {
            id: WorkerId::new(3, 1),
            step: 64,
        },
        loss: 0.5,
        digest: SnapshotDigest([7; 32]),
        factors: None,
    };
    let proposal = Proposal {
        round: 8,
        leader: Some(vector),
        sum: None,
        followed: Some(WorkerId::new(2, 0)),
    };
    Status {
        node: 3,
        incarnation: u64::MAX,
        sequence: 9,
        heartbeat: true,
        phase: NodePhase::Training,
        progress: 10,
        rounds: 7,
        exchanged: u64::MAX,
        steps: 128,
        trained: 64_000,
        workers: 2,
        proposals: [Some(proposal), None],
        join_point: Some(JoinPoint { round: 8, vector }),
        result: None,
        checkpoints: Vec::new(),
    }
}

fn refused(change: impl FnOnce(&mut Status)) -> String {
    let mut status = status();
    change(&mut status);
    Status::decode(&status.encode()).expect_err("it is refused")
}

/// The vector of the leader that it proposes.
fn leader(status: &mut Status) -> &mut VectorRef {
    let proposal = status.proposals[0].as_mut().unwrap();
    proposal.leader.as_mut().unwrap()
}

#[test]
fn a_status_reads_back() {
    assert_eq!(Status::decode(&status().encode()), Ok(status()));
}

#[test]
fn factors_read_back() {
    let mut varied = status();
    leader(&mut varied).factors = Some(Factors {
        learning_rate: Factors::LEAST,
        weight_decay: Factors::MOST,
    });
    let bytes = varied.encode();
    assert_eq!(bytes.len(), status().encode().len() + 16);
    assert_eq!(Status::decode(&bytes), Ok(varied));
}

#[test]
fn factors_out_of_bounds_are_refused() {
    for wild in [0.0, -1.0, 1e-4, 1e4, f64::INFINITY] {
        for factors in [
            Factors {
                learning_rate: wild,
                ..Factors::ONE
            },
            Factors {
                weight_decay: wild,
                ..Factors::ONE
            },
        ] {
            let expected =
                format!("node 3 offers the factor {wild:e}, which is not from 1e-3 to 1e3");
            let why = refused(|status| leader(status).factors = Some(factors));
            assert_eq!(why, expected);
            let why = refused(|status| {
                let vector = &mut status.join_point.as_mut().unwrap().vector;
                vector.factors = Some(factors);
            });
            assert_eq!(why, expected);
        }
    }
}

/// The longest status that there is: proposals of a leader and a sum, a join point, a result.
#[test]
fn the_longest_status_with_factors_is_short_enough() {
    let mut status = status();
    let with = Some(Factors::ONE);
    leader(&mut status).factors = with;
    let proposal = status.proposals[0].as_mut().unwrap();
    let of_sum = |workers| VectorRef {
        kind: VectorKind::Mean,
        source: Source::Sum { workers },
        factors: None,
        ..proposal.leader.unwrap()
    };
    (status.result, proposal.sum) = (Some(of_sum(3)), Some(of_sum(2)));
    status.proposals[1] = status.proposals[0];
    status.join_point.as_mut().unwrap().vector.factors = with;
    assert_eq!(Status::decode(&status.encode()), Ok(status));
}

#[test]
fn a_status_names_few_checkpoints() {
    let with = |count: usize| {
        let mut status = status();
        let checkpoint = CheckpointRef {
            step: 7,
            exchanged: 1,
        };
        status.checkpoints = vec![checkpoint; count];
        Status::decode(&status.encode())
    };
    assert!(with(Status::MAX_CHECKPOINTS).is_ok());
    let why = with(Status::MAX_CHECKPOINTS + 1).expect_err("too many");
    assert_eq!(why, "node 3 names 9 checkpoints");
}

#[test]
fn no_status_makes_a_nan_or_a_stranger_lead() {
    for loss in [f64::INFINITY, f64::NEG_INFINITY] {
        let why = refused(|status| leader(status).loss = loss);
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
        |status| status.trained = Status::MAX_COUNT + 1,
        |status| status.rounds = Status::MAX_COUNT + 1,
        |status| status.proposals[0].as_mut().unwrap().round = u64::MAX,
        |status| status.join_point.as_mut().unwrap().round = u64::MAX,
    ];
    for change in changes {
        assert_eq!(
            refused(change),
            "node 3 counts beyond what any run comes to"
        );
    }
}

/// The greatest count itself is one that a run may reach.
#[test]
fn the_greatest_count_is_taken() {
    let mut status = status();
    status.steps = Status::MAX_COUNT;
    assert_eq!(Status::decode(&status.encode()), Ok(status));
}

/// Steps, workers and additions that a vector's source names are counts too, wherever the vector
/// stands.
#[test]
fn counts_in_sources_that_would_overflow_are_refused() {
    let id = WorkerId::new(3, 1);
    let count = Status::MAX_COUNT + 1;
    let workers = count as usize;
    for source in [
        Source::Worker { id, step: count },
        Source::Mean { workers },
        Source::Sum { workers },
        Source::Final { workers },
        Source::Centre { version: count },
    ] {
        let place: [fn(&mut Status) -> &mut VectorRef; 3] = [
            leader,
            |status| &mut status.join_point.as_mut().unwrap().vector,
            |status| {
                let vector = status.join_point.unwrap().vector;
                status.result.insert(vector)
            },
        ];
        for place in place {
            assert_eq!(
                refused(|status| place(status).source = source),
                "node 3 counts beyond what any run comes to",
                "{source:?}"
            );
        }
    }
}

#[test]
fn more_or_fewer_bytes_are_refused() {
    let bytes = status().encode();
    assert!(bytes.len() <= Status::MAX_LEN);
    for length in 0..bytes.len() {
        assert!(Status::decode(&bytes[..length]).is_err());
    }
    assert!(Status::decode(&[&bytes[..], &[0]].concat()).is_err());
    for more in [1, 1000] {
        let found = Status::MAX_LEN + more;
        let why = format!("{found} bytes where a status has at most 512");
        assert_eq!(Status::decode(&vec![0; found]), Err(why));
    }
}
