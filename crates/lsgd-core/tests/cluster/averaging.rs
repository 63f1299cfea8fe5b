//! A mean over three nodes, made by all of them together: at node 1 of three, in `sync`.

use std::sync::Arc;

use lsgd_core::{
    Action, Averaged, Event, GlobalLeader, MeanRef, Method, Mode, NodeUpdate, NotAveraged,
    Snapshot, SnapshotError, Source, Status, VectorKind, VectorRef, WireFormat,
};

use crate::script::{
    NOW, actions, asked, fail, fetch, means, proposals, recorded, training, update, vector,
    vector_ref,
};
use crate::setting::{MEETINGS, local_sgd};

fn sum(first: f32) -> Arc<Snapshot> {
    vector(Source::Sum { workers: 2 }, [first, 1.0, 1.0])
}

fn offer(sum: &Snapshot) -> VectorRef {
    VectorRef {
        kind: VectorKind::Mean,
        ..vector_ref(sum, 0.5)
    }
}

/// What a node proposes that has a sum and no leader.
fn offers(node: u32, sum: &Snapshot) -> Status {
    let mut status = proposals(node, 1, 0.5);
    let proposal = status.proposals[0].as_mut().expect("its proposal");
    (proposal.leader, proposal.sum) = (None, Some(offer(sum)));
    status
}

/// Node 1 after all three have proposed sums, of 4, 2 and 6: with these, their mean, and what it has done since.
fn proposed(method: Method) -> (GlobalLeader, [Arc<Snapshot>; 3], MeanRef, Vec<Action>) {
    let sums = [4.0, 2.0, 6.0].map(sum);
    let mut leader = training(Mode::Sync, method);
    let brought = NodeUpdate {
        leader: None,
        sum: Some((sums[1].clone(), 0.5)),
        ..update(1, 0.5)
    };
    leader.propose(brought, NOW);
    for node in [0, 2] {
        leader.receive(offers(node, &sums[node as usize]), NOW);
    }
    let done = actions(&mut leader);
    let [zero, one, two] = &sums;
    let mean = mean_of(&[(0, zero), (1, one), (2, two)]);
    (leader, sums, mean, done)
}

fn mean_of(sums: &[(u32, &Arc<Snapshot>)]) -> MeanRef {
    let sums = sums.iter().map(|(node, sum)| (*node, offer(sum)));
    MeanRef {
        kind: VectorKind::Mean,
        sums: sums.collect(),
    }
}

/// The first value of what was delivered, and the bytes on record.
fn delivered(actions: &[Action]) -> (Option<f32>, Option<u64>) {
    let mean = actions.iter().find_map(|action| match action {
        Action::Deliver(delivered) => Some(delivered.mean.clone()),
        _ => None,
    });
    let mean = mean.expect("the round's end");
    let bytes = recorded(actions).into_iter().find_map(|event| match event {
        Event::Exchange { bytes, .. } => Some(bytes),
        _ => None,
    });
    (mean.map(|mean| mean.parameters()[0]), bytes)
}

#[test]
fn nodes_make_a_mean_together() {
    let (mut leader, [zero, one, two], mean, done) = proposed(local_sgd());
    assert_eq!(means(&done), std::slice::from_ref(&mean));
    assert_eq!(asked(&done), []);
    let made = mean.of([&*zero, &one, &two], WireFormat::F32);
    let made = Arc::new(made.expect("finite").expect("of three"));
    let averaged = |bytes| {
        let mean = made.clone();
        Ok(Averaged { mean, bytes })
    };
    // Another one changes nothing.
    let other = mean_of(&[(0, &zero), (2, &two)]).name();
    leader.averaged(other, averaged(1), NOW);
    assert!(actions(&mut leader).is_empty());
    leader.averaged(mean.name(), averaged(16), NOW);
    assert_eq!(delivered(&actions(&mut leader)), (Some(2.0), Some(16)));
    assert_eq!(made.source(), Source::Mean { workers: 6 });
}

/// As if nobody made it together: with the same bits.
#[test]
fn a_mean_that_is_declined_is_made_of_fetched_sums() {
    let (mut leader, [zero, _, two], mean, _) = proposed(local_sgd());
    leader.averaged(mean.name(), Err(NotAveraged::Declined), NOW);
    let done = actions(&mut leader);
    assert_eq!(asked(&done), [(offer(&zero), 0), (offer(&two), 2)]);
    assert_eq!(means(&done), []);
    fetch(&mut leader, &zero);
    fetch(&mut leader, &two);
    assert_eq!(delivered(&actions(&mut leader)), (Some(2.0), Some(24)));
}

/// Two are too few to share the work.
#[test]
fn a_node_that_is_missing_is_left_out_and_named() {
    let (mut leader, [zero, _, two], mean, _) = proposed(local_sgd());
    let missing = vec![(2, String::from("gone"))];
    leader.averaged(mean.name(), Err(NotAveraged::Missing(missing)), NOW);
    let done = actions(&mut leader);
    let unfetched = Event::NotFetched {
        step: update(1, 0.5).step,
        source: two.source(),
        why: String::from("gone"),
    };
    assert!(recorded(&done).contains(&unfetched), "{done:?}");
    assert_eq!(asked(&done), [(offer(&zero), 0)]);
    fetch(&mut leader, &zero);
    assert_eq!(delivered(&actions(&mut leader)), (Some(1.5), Some(12)));
}

/// Whoever says so, and without an end: nodes that are not in it are not missing.
#[test]
fn a_mean_that_lacks_nobody_is_made_of_fetched_sums() {
    for nobody in [vec![], vec![(7, String::from("gone"))]] {
        let (mut leader, [zero, _, two], mean, _) = proposed(local_sgd());
        leader.averaged(mean.name(), Err(NotAveraged::Missing(nobody)), NOW);
        let done = actions(&mut leader);
        assert_eq!(asked(&done).len(), 2);
        fail(&mut leader, &zero);
        fetch(&mut leader, &two);
        assert_eq!(delivered(&actions(&mut leader)), (Some(2.0), Some(12)));
    }
}

#[test]
fn a_mean_that_overflows_is_refused() {
    let (mut leader, _, mean, _) = proposed(local_sgd());
    let why = SnapshotError::NotFinite { index: 1 };
    leader.averaged(mean.name(), Err(NotAveraged::Unfit(why)), NOW);
    let done = actions(&mut leader);
    let refused =
        |event: &Event| matches!(event, Event::Refused { why: found, .. } if *found == why);
    assert_eq!(
        recorded(&done)
            .iter()
            .filter(|event| refused(event))
            .count(),
        1
    );
    assert_eq!(delivered(&done), (None, None));
}

/// Weights are of whole vectors.
#[test]
fn a_weighted_mean_is_made_of_fetched_sums() {
    let grawa = Method::grawa(MEETINGS, lsgd_core::WeightPer::Model, 0.5, 0.5);
    let (_, _, _, done) = proposed(grawa.expect("a method"));
    assert_eq!(means(&done), []);
}

/// Another order or other numbers of workers give another mean.
#[test]
fn a_mean_is_named_by_its_sums_and_their_order() {
    let [a, b] = [4.0, 2.0].map(sum);
    let name = mean_of(&[(0, &a), (1, &b)]).name();
    assert_eq!(mean_of(&[(3, &a), (5, &b)]).name(), name);
    assert_ne!(mean_of(&[(0, &b), (1, &a)]).name(), name);
    assert_ne!(mean_of(&[(0, &a)]).name(), name);
    let more = vector(Source::Sum { workers: 3 }, [4.0, 1.0, 1.0]);
    assert_eq!(more.digest(), a.digest());
    assert_ne!(mean_of(&[(0, &more), (1, &b)]).name(), name);
}

#[test]
fn small_vectors_and_two_nodes_are_not_worth_sharing() {
    let chunk = lsgd_core::CHUNK as u64;
    let all = [4.0, 2.0, 6.0].map(sum);
    let three = mean_of(&[(0, &all[0]), (1, &all[1]), (2, &all[2])]);
    assert!(three.is_shared(2 * chunk + 1));
    assert!(!three.is_shared(2 * chunk));
    assert!(!mean_of(&[(0, &all[0]), (1, &all[1])]).is_shared(1 << 40));
}
