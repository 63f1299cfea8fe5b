//! `sync`: two views of one round differ when a proposal comes to one of them only, and no longer.
//! The others are scripted.

use lsgd_core::{GlobalLeader, Mode, Source};

use crate::script::{NOW, actions, delivered, fail, fetch, of, proposals, training, update};
use crate::setting::lsgd;

/// Node 1 of three in round 1, once without and once with the proposal of node 2, which has the
/// lowest loss and is gone by then.
fn in_round_1() -> [GlobalLeader; 2] {
    [false, true].map(|heard| {
        let mut leader = training(Mode::Sync, lsgd());
        leader.propose(update(1, 3.0), NOW);
        if heard {
            leader.receive(proposals(2, 1, 1.0), NOW);
        }
        leader.disconnected(2, 1, NOW);
        leader.receive(proposals(0, 1, 2.0), NOW);
        leader
    })
}

/// Whom it follows in round 2, in which node 0 proposes too.
fn in_round_2(leader: &mut GlobalLeader) -> Vec<Option<Source>> {
    leader.propose(update(2, 3.0), NOW);
    leader.receive(proposals(0, 2, 2.0), NOW);
    fetch(leader, &of(0, 2));
    delivered(&actions(leader))
}

/// A node that is gone before all have its proposal leads nobody.
#[test]
fn the_proposal_of_a_node_that_is_gone_does_not_count() {
    for mut leader in in_round_1() {
        fetch(&mut leader, &of(0, 1));
        assert_eq!(delivered(&actions(&mut leader)), [Some(of(0, 1).source())]);
    }
}

/// One that counts it all the same, since it heard the others first, may follow it, if its vector
/// can be had. In the next round both follow the same.
#[test]
fn a_proposal_that_one_node_counts_alone_makes_a_difference_for_one_round() {
    let rounds = [false, true].map(|counts| {
        let mut leader = training(Mode::Sync, lsgd());
        leader.propose(update(1, 3.0), NOW);
        leader.receive(proposals(0, 1, 2.0), NOW);
        if counts {
            leader.receive(proposals(2, 1, 1.0), NOW);
        }
        leader.disconnected(2, 1, NOW);
        let led = of(if counts { 2 } else { 0 }, 1);
        fetch(&mut leader, &led);
        assert_eq!(delivered(&actions(&mut leader)), [Some(led.source())]);
        in_round_2(&mut leader)
    });
    assert_eq!(rounds[0], rounds[1]);
    assert_eq!(rounds[0], [Some(of(0, 2).source())]);
}

/// If its vector went with it, both follow the same in that round already.
#[test]
fn a_vector_that_nobody_has_makes_no_difference() {
    let mut leader = training(Mode::Sync, lsgd());
    leader.propose(update(1, 3.0), NOW);
    leader.receive(proposals(0, 1, 2.0), NOW);
    leader.receive(proposals(2, 1, 1.0), NOW);
    leader.disconnected(2, 1, NOW);
    fail(&mut leader, &of(2, 1));
    fetch(&mut leader, &of(0, 1));
    assert_eq!(delivered(&actions(&mut leader)), [Some(of(0, 1).source())]);
}
