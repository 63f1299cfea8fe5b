//! What a node contributes to an exchange and says of itself, and what it accepts from others. The
//! others are scripted.

use std::time::Duration;

use lsgd_core::{
    Action, Event, Fetched, GlobalLeader, Method, Mode, NodeConfig, NodeUpdate, SnapshotError,
    Source, VectorKind, VectorRef, WireFormat, WorkerId,
};

use crate::script::{
    NODE_CONFIG, NOW, SECOND, actions, alone, asked, broadcasts, fetch, of, proposals, recorded,
    says, training, update, vector, vector_ref,
};
use crate::setting::{MEETINGS, leader_mean, local_sgd, lsgd};

/// What the exchange events say of the bytes that came, by kind of vector.
fn bytes(actions: &[Action]) -> Vec<(VectorKind, u64)> {
    let bytes = |event| match event {
        Event::Exchange { vector, bytes, .. } => Some((vector, bytes)),
        _ => None,
    };
    recorded(actions).into_iter().filter_map(bytes).collect()
}

/// The other's sum crosses and, where it leads, its parameters: counted apart. What was here
/// already is not counted.
#[test]
fn bytes_are_counted_by_kind_and_once() {
    let sum = |of: f32| vector(Source::Sum { workers: 2 }, [of, 1.0, 1.0]);
    for (loss, leader_crosses, expected) in [
        (
            0.1,
            true,
            [(VectorKind::Parameters, 12), (VectorKind::Mean, 12)],
        ),
        (
            0.1,
            false,
            [(VectorKind::Parameters, 0), (VectorKind::Mean, 12)],
        ),
        (
            0.9,
            true,
            [(VectorKind::Parameters, 0), (VectorKind::Mean, 12)],
        ),
    ] {
        let mut leader = training(Mode::Sync, leader_mean());
        leader.disconnected(0, 1, NOW);
        let brought = NodeUpdate {
            sum: Some((sum(1.0), 0.0)),
            ..update(1, 0.5)
        };
        leader.propose(brought, NOW);
        let theirs = sum(3.0);
        let mut status = proposals(2, 1, loss);
        let proposal = status.proposals[0].as_mut().expect("its offer");
        proposal.sum = Some(VectorRef {
            kind: VectorKind::Mean,
            ..vector_ref(&theirs, 0.0)
        });
        leader.receive(status, NOW);
        actions(&mut leader);
        fetch(&mut leader, &theirs);
        let led = Fetched {
            snapshot: of(2, 1),
            crossed: leader_crosses,
        };
        leader.fetched(of(2, 1).digest(), Ok(led), NOW);
        assert_eq!(bytes(&actions(&mut leader)), expected, "loss {loss}");
    }
}

/// A vector that claims to be of another kind, or comes from a node that has no such vector, is not
/// used.
#[test]
fn no_vector_is_taken_for_one_of_another_kind() {
    let sum = vector(Source::Sum { workers: 2 }, [1.0; 3]);
    let elected = |vector: VectorRef| {
        let mut leader = training(Mode::Sync, lsgd());
        leader.disconnected(0, 1, NOW);
        leader.propose(update(1, 0.5), NOW);
        let mut status = proposals(2, 1, 0.1);
        status.proposals[0].as_mut().expect("its offer").leader = Some(vector);
        leader.receive(status, NOW);
        asked(&actions(&mut leader)).len()
    };
    let good = vector_ref(&of(2, 1), 0.1);
    assert_eq!(elected(good), 1);
    let kind = VectorKind::Mean;
    assert_eq!(elected(VectorRef { kind, ..good }), 0);
    assert_eq!(elected(vector_ref(&sum, 0.1)), 0);

    let summed = |vector: VectorRef| {
        let mut leader = training(Mode::Sync, local_sgd());
        leader.disconnected(0, 1, NOW);
        let brought = NodeUpdate {
            leader: None,
            sum: Some((sum.clone(), 0.0)),
            ..update(1, 0.5)
        };
        leader.propose(brought, NOW);
        let mut status = proposals(2, 1, 0.1);
        let proposal = status.proposals[0].as_mut().expect("its offer");
        (proposal.leader, proposal.sum) = (None, Some(vector));
        leader.receive(status, NOW);
        asked(&actions(&mut leader)).len()
    };
    let theirs = vector(Source::Sum { workers: 2 }, [3.0; 3]);
    let good = VectorRef {
        kind: VectorKind::Mean,
        ..vector_ref(&theirs, 0.0)
    };
    assert_eq!(summed(good), 1);
    let kind = VectorKind::Parameters;
    assert_eq!(summed(VectorRef { kind, ..good }), 0);
    let source = of(2, 1).source();
    assert_eq!(summed(VectorRef { source, ..good }), 0);
    let source = Source::Sum { workers: 0 };
    assert_eq!(summed(VectorRef { source, ..good }), 0, "of nobody");
}

/// What no module may take is refused, however it crosses: also the greatest `f32`, which is beyond
/// the greatest number of bf16.
#[test]
fn a_vector_that_cannot_cross_is_refused_and_on_record() {
    for (wire, value) in [
        (WireFormat::Bf16, f32::MAX),
        (WireFormat::Bf16, f32::NAN),
        (WireFormat::F32, f32::NAN),
        (WireFormat::F32, f32::NEG_INFINITY),
    ] {
        let node_config = NodeConfig {
            nodes: 2,
            wire,
            ..NODE_CONFIG
        };
        let mut leader = alone(node_config, Mode::Sync, lsgd());
        leader.connected(0, 1, NOW);
        leader.receive(says(0, 1), NOW);
        let id = WorkerId::new(1, 0);
        let spoilt = vector(Source::Worker { id, step: 8 }, [1.0, value, 1.0]);
        let brought = NodeUpdate {
            leader: Some((spoilt, 0.1)),
            ..update(1, 0.1)
        };
        leader.propose(brought, NOW);
        let done = actions(&mut leader);
        let refused = Event::Refused {
            step: 8,
            worker: id,
            why: SnapshotError::NotFinite { index: 1 },
        };
        assert!(recorded(&done).contains(&refused), "{wire:?} {value}");
        let published = |a: &Action| matches!(a, Action::Publish(_));
        assert!(!done.iter().any(published), "{wire:?} {value}");
        let proposal = broadcasts(&done)
            .last()
            .and_then(|status| status.proposals[0]);
        assert_eq!(proposal.expect("an offer").leader, None);
    }
}

/// What a node says of itself when it brings something to a round.
#[test]
fn a_status_counts_the_steps_and_the_offers() {
    let mut leader = training(Mode::Sync, lsgd());
    let told_at = |leader: &mut GlobalLeader, round| {
        leader.propose(update(round, 0.1), NOW);
        let status = broadcasts(&actions(leader)).pop().expect("its offer");
        (status.steps, status.progress, status.rounds, status.workers)
    };
    assert_eq!(told_at(&mut leader, 1), (16, 1, 0, 2));
    leader.receive(proposals(0, 1, 0.5), NOW);
    leader.receive(proposals(2, 1, 0.5), NOW);
    actions(&mut leader);
    assert_eq!(told_at(&mut leader, 2), (32, 2, 1, 2));
}

/// A quarter of the limit, so that three may get lost before it is given up; at most a second.
#[test]
fn heartbeats_come_four_times_within_the_limit() {
    for (limit, beat) in [
        (Duration::from_secs(2), Duration::from_millis(500)),
        (Duration::from_secs(60), SECOND),
    ] {
        let node_config = NodeConfig {
            limit,
            ..NODE_CONFIG
        };
        let mut leader = alone(node_config, Mode::Sync, lsgd());
        actions(&mut leader);
        leader.tick(NOW + beat - Duration::from_millis(1));
        assert_eq!(broadcasts(&actions(&mut leader)), []);
        leader.tick(NOW + beat);
        assert_eq!(broadcasts(&actions(&mut leader)).len(), 1);
    }
}

/// A node whose workers are much worse than the best has no part in a filtered mean: its sum is not even
/// fetched. One that cannot be fetched does not decide who has.
#[test]
fn a_filter_fetches_the_best_alone() {
    let sum = |of: f32| vector(Source::Sum { workers: 2 }, [of, 1.0, 1.0]);
    for (own, theirs, fails, expected) in [
        (0.50, 0.54, false, Some((4, 2.0))),
        (0.50, 0.56, false, Some((2, 1.0))),
        (0.56, 0.50, false, Some((2, 3.0))),
        // Without what was lowest, what is left is.
        (0.56, 0.50, true, Some((2, 1.0))),
        (f64::NAN, 0.50, false, Some((2, 3.0))),
        (f64::INFINITY, 0.50, true, None),
    ] {
        let method = Method::leader_filter(MEETINGS, 0.1).expect("a method");
        let mut leader = training(Mode::Sync, method);
        leader.disconnected(0, 1, NOW);
        let brought = NodeUpdate {
            leader: None,
            sum: Some((sum(2.0), own)),
            ..update(1, 0.5)
        };
        leader.propose(brought, NOW);
        let offer = sum(6.0);
        let mut status = proposals(2, 1, 0.1);
        let proposal = status.proposals[0].as_mut().expect("its offer");
        proposal.leader = None;
        proposal.sum = Some(VectorRef {
            kind: VectorKind::Mean,
            ..vector_ref(&offer, theirs)
        });
        leader.receive(status, NOW);
        let mut done = actions(&mut leader);
        let asked = !asked(&done).is_empty();
        assert_eq!(
            asked,
            own.is_nan() || theirs <= 1.1 * own,
            "{own} and {theirs}"
        );
        if asked && fails {
            leader.fetched(offer.digest(), Err(String::from("gone")), NOW);
        } else if asked {
            fetch(&mut leader, &offer);
        }
        done.extend(actions(&mut leader));
        let mean = done.iter().find_map(|action| match action {
            Action::Deliver(delivered) => Some(delivered.mean.clone()),
            _ => None,
        });
        let mean = mean.expect("the round is over");
        let found = mean.map(|mean| match mean.source() {
            Source::Mean { workers } => (workers, mean.parameters()[0]),
            other => panic!("{other} is no mean"),
        });
        assert_eq!(found, expected, "{own} and {theirs}");
    }
}
