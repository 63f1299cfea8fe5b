//! One node in `sync` whose others are scripted: what it begins with and where, and what it counts
//! in a round.

use lsgd_core::{Action, Event, GlobalLeader, Method, Mode, Proposal, Status, VectorRef, WorkerId};

use crate::script::{NOW, actions, asked, at, begun, fail, fetch, first, of, update, vector_ref};
use crate::setting::{PERIODS, lsgd, staying};

/// Node 1 of three, of which the others are connected.
fn joiner() -> GlobalLeader {
    of_method(lsgd())
}

fn of_method(method: Method) -> GlobalLeader {
    crate::script::joiner(Mode::Sync, method)
}

/// A node that proposes for round 9.
fn proposing(node: u32, loss: f64, followed: Option<WorkerId>) -> Status {
    let mut status = at(node, 8, (8, &of(2, 8), 1.0));
    status.sequence = 9;
    status.proposals[0] = Some(Proposal {
        round: 9,
        leader: Some(vector_ref(&of(node, 9), loss)),
        sum: None,
        followed,
    });
    status
}

/// Lets it begin in round 8.
fn begin(leader: &mut GlobalLeader) {
    leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
    leader.receive(at(0, 8, (8, &of(2, 8), 1.0)), NOW);
    fetch(leader, &of(2, 8));
    assert!(begun(leader).is_some());
}

/// The vectors it asks for, each with whom it asks first.
fn fetches(leader: &mut GlobalLeader) -> Vec<(VectorRef, u32)> {
    asked(&actions(leader))
}

/// Whom it follows next.
fn followed(leader: &mut GlobalLeader) -> Option<Vec<f32>> {
    first(leader, |action| match action {
        Action::Deliver(delivered) => delivered.leader.map(|leader| leader.parameters().to_vec()),
        _ => None,
    })
}

/// What others have begun with may be older than what is available, whatever its loss, and wherever
/// they are; of the newest, the one with the lowest loss is taken.
#[test]
fn the_newest_is_fetched() {
    for (other, expected) in [
        (at(0, 8, (4, &of(0, 4), 0.1)), of(2, 8)),
        (at(0, 9, (4, &of(0, 4), 0.1)), of(2, 8)),
        (at(0, 8, (8, &of(0, 8), 0.1)), of(0, 8)),
        (at(0, 8, (8, &of(0, 8), 2.0)), of(2, 8)),
    ] {
        let mut leader = joiner();
        leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
        actions(&mut leader);
        leader.receive(other.clone(), NOW);
        fail(&mut leader, &of(2, 8));
        let again: Vec<_> = fetches(&mut leader).iter().map(|(v, _)| v.digest).collect();
        assert_eq!(again, [expected.digest()], "{other:?}");
        fetch(&mut leader, &expected);
        let (step, values, _) = begun(&mut leader).expect("it begins");
        assert_eq!(step, other.rounds * PERIODS.global);
        assert_eq!(values, Some(expected.parameters().to_vec()));
    }
}

/// It has fetched what was delivered in round 8, when the others had moved on to round 11.
fn left_at_its_first_fetch() -> GlobalLeader {
    let mut leader = joiner();
    leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
    leader.receive(at(2, 11, (11, &of(2, 11), 1.0)), NOW);
    fetch(&mut leader, &of(2, 8));
    leader
}

/// The others have moved on during the first fetch, and during the second.
#[test]
fn it_begins_where_the_others_are_after_two_fetches() {
    let mut leader = left_at_its_first_fetch();
    let again: Vec<_> = fetches(&mut leader).iter().map(|(v, _)| v.digest).collect();
    assert_eq!(again, [of(2, 8).digest(), of(2, 11).digest()]);
    leader.receive(at(2, 13, (13, &of(2, 13), 1.0)), NOW);
    fetch(&mut leader, &of(2, 11));
    let values = of(2, 11).parameters().to_vec();
    assert_eq!(begun(&mut leader), Some((13 * 8, Some(values), 24)));
}

/// What was fetched first is not lost if the second fetch fails.
#[test]
fn it_begins_with_what_it_has() {
    let mut leader = left_at_its_first_fetch();
    fail(&mut leader, &of(2, 11));
    let values = of(2, 8).parameters().to_vec();
    assert_eq!(begun(&mut leader), Some((11 * 8, Some(values), 12)));
}

/// It does not say that it has followed whom it began with, unless that was in the last round.
#[test]
fn what_it_began_with_makes_nobody_incumbent_later() {
    for (moved_on, expected) in [(false, Some(WorkerId::new(2, 0))), (true, None)] {
        let mut leader = joiner();
        leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
        if moved_on {
            leader.receive(at(2, 9, (8, &of(2, 8), 1.0)), NOW);
        }
        fetch(&mut leader, &of(2, 8));
        if moved_on {
            fetch(&mut leader, &of(2, 8));
        }
        let (step, ..) = begun(&mut leader).expect("it begins");
        assert_eq!(step, if moved_on { 72 } else { 64 });
        leader.propose(update(step / PERIODS.global + 1, 0.5), NOW);
        let broadcast = first(&mut leader, |action| match action {
            Action::Broadcast(status) => status.proposals[0],
            _ => None,
        });
        assert_eq!(broadcast.expect("an offer").followed, expected);
    }
}

/// Where a margin protects the leader, all nodes follow the lowest node that knows the previous
/// leader.
#[test]
fn a_node_that_does_not_know_who_led_is_no_authority() {
    let mut leader = of_method(staying());
    begin(&mut leader);
    leader.receive(proposing(0, 0.9, None), NOW);
    leader.receive(proposing(2, 1.0, Some(WorkerId::new(2, 0))), NOW);
    leader.propose(update(9, 1.1), NOW);
    let elected = first(&mut leader, |action| match action {
        Action::Record(Event::Election { election, .. }) => election.leader,
        _ => None,
    });
    assert_eq!(elected, Some(WorkerId::new(2, 0)));
}

/// Others may be through with a round for which a proposal comes late, or whose leader dies.
#[test]
fn a_round_is_of_what_was_offered_when_it_was_complete() {
    let mut leader = joiner();
    begin(&mut leader);
    leader.disconnected(2, 1, NOW);
    leader.receive(proposing(0, 0.5, None), NOW);
    leader.propose(update(9, 1.0), NOW);
    leader.connected(2, 1, NOW);
    leader.receive(proposing(2, 0.1, None), NOW);
    leader.disconnected(0, 1, NOW);
    assert_eq!(followed(&mut leader), None, "it waits for node 0's");
    fetch(&mut leader, &of(0, 9));
    let expected = of(0, 9).parameters().to_vec();
    assert_eq!(followed(&mut leader), Some(expected));
}
