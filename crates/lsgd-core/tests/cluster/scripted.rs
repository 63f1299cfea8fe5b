//! One node in `sync` whose others are scripted: what it begins with and where, and what it counts in a
//! round.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Action, Basis, Bid, Event, Fetched, GlobalLeader, Layout, Membership, Method, Mode, Offer,
    Offered, Phase, Rank, Snapshot, Source, Status, Vector, Wire,
};

use crate::setting::{PERIODS, lsgd, setting, staying};

const NOW: Duration = Duration::from_secs(1);

fn layout() -> Arc<Layout> {
    setting(3, Mode::Sync, lsgd(), 0).layout
}

/// Node 1 of three, of which the others are connected.
fn joiner() -> GlobalLeader {
    of_method(lsgd())
}

fn of_method(method: Method) -> GlobalLeader {
    let membership = Membership {
        node: 1,
        nodes: 3,
        workers: 2,
        life: 9,
        wire: Wire::F32,
        wait: Duration::from_secs(60),
        limit: Duration::from_secs(5),
    };
    let mut leader = GlobalLeader::new(membership, method, Mode::Sync, NOW).expect("sync");
    leader.appeared(0, 1, NOW);
    leader.appeared(2, 1, NOW);
    actions(&mut leader);
    leader
}

fn actions(leader: &mut GlobalLeader) -> Vec<Action> {
    std::iter::from_fn(|| leader.next_action()).collect()
}

/// What the first of its actions to have it says.
fn first<T>(leader: &mut GlobalLeader, says: impl FnMut(Action) -> Option<T>) -> Option<T> {
    actions(leader).into_iter().find_map(says)
}

/// What worker 0 of a node had come to in a round.
fn of(node: u32, round: u64) -> Arc<Snapshot> {
    let source = Source::Worker {
        rank: Rank::new(node, 0),
        step: round * PERIODS.global,
    };
    let values = vec![node as f32, round as f32, 0.0];
    Arc::new(Snapshot::new(layout(), source, values, vec![]).expect("as long as its layout"))
}

fn offered(snapshot: &Snapshot, loss: f64) -> Offered {
    Offered {
        kind: Vector::Snapshot,
        source: snapshot.source(),
        loss,
        digest: snapshot.digest(),
    }
}

/// A node that is at a round, and was delivered `basis`.
fn at(node: u32, round: u64, basis: (u64, &Snapshot, f64)) -> Status {
    let (of_round, snapshot, loss) = basis;
    Status {
        node,
        life: 1,
        sequence: round,
        phase: Phase::Training,
        progress: round,
        rounds: round,
        steps: 2 * round * PERIODS.global,
        trained: 1000 * round,
        workers: 2,
        offers: [None, None],
        delivered: Some(Basis {
            round: of_round,
            vector: offered(snapshot, loss),
        }),
        result: None,
    }
}

/// A node that offers for round 9.
fn offering(node: u32, loss: f64, followed: Option<Rank>) -> Status {
    let mut status = at(node, 8, (8, &of(2, 8), 1.0));
    status.sequence = 9;
    status.offers[0] = Some(Offer {
        round: 9,
        leader: Some(offered(&of(node, 9), loss)),
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

/// Whom it follows next.
fn followed(leader: &mut GlobalLeader) -> Option<Vec<f32>> {
    first(leader, |action| match action {
        Action::Deliver(delivered) => delivered.leader.map(|leader| leader.parameters().to_vec()),
        _ => None,
    })
}

/// What it brings to a round.
fn bid(round: u64, loss: f64) -> Bid {
    Bid {
        step: round * PERIODS.global,
        taken: 2 * PERIODS.global,
        workers: 2,
        leader: Some((of(1, round), loss)),
        sum: None,
    }
}

/// The vectors it asks for, each with whom it asks first.
fn asked(leader: &mut GlobalLeader) -> Vec<(Offered, u32)> {
    let fetches = actions(leader)
        .into_iter()
        .filter_map(|action| match action {
            Action::Fetch { vector, holders } => Some((vector, holders[0])),
            _ => None,
        });
    fetches.collect()
}

/// Where it begins, with what, and how many bytes came for it.
fn begun(leader: &mut GlobalLeader) -> Option<(u64, Option<Vec<f32>>, u64)> {
    let mut came = None;
    first(leader, |action| match action {
        Action::Record(Event::Joined { bytes, .. }) => {
            came = Some(bytes);
            None
        }
        Action::Begin {
            step, parameters, ..
        } => {
            let values = |snapshot: Arc<Snapshot>| snapshot.parameters().to_vec();
            Some((step, parameters.map(values), came?))
        }
        _ => None,
    })
}

fn fetch(leader: &mut GlobalLeader, snapshot: &Arc<Snapshot>) {
    let fetched = Fetched {
        snapshot: snapshot.clone(),
        crossed: true,
    };
    leader.fetched(snapshot.digest(), Ok(fetched), NOW);
}

fn fail(leader: &mut GlobalLeader, snapshot: &Snapshot) {
    leader.fetched(snapshot.digest(), Err(String::from("gone")), NOW);
}

/// What others have begun with may be older than what is there, whatever its loss, and wherever they
/// are; of the newest that of the lowest loss is taken.
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
        asked(&mut leader);
        leader.receive(other.clone(), NOW);
        fail(&mut leader, &of(2, 8));
        let again: Vec<_> = asked(&mut leader).iter().map(|(v, _)| v.digest).collect();
        assert_eq!(again, [expected.digest()], "{other:?}");
        fetch(&mut leader, &expected);
        let (step, values, _) = begun(&mut leader).expect("it begins");
        assert_eq!(step, other.rounds * PERIODS.global);
        assert_eq!(values, Some(expected.parameters().to_vec()));
    }
}

/// It has fetched what was delivered in round 8, when the others had gone on to round 11.
fn left_at_its_first_fetch() -> GlobalLeader {
    let mut leader = joiner();
    leader.receive(at(2, 8, (8, &of(2, 8), 1.0)), NOW);
    leader.receive(at(2, 11, (11, &of(2, 11), 1.0)), NOW);
    fetch(&mut leader, &of(2, 8));
    leader
}

/// The others have gone on during the first fetch, and during the second.
#[test]
fn it_begins_where_the_others_are_after_two_fetches() {
    let mut leader = left_at_its_first_fetch();
    let again: Vec<_> = asked(&mut leader).iter().map(|(v, _)| v.digest).collect();
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
    for (moved_on, expected) in [(false, Some(Rank::new(2, 0))), (true, None)] {
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
        leader.bid(bid(step / PERIODS.global + 1, 0.5), NOW);
        let told = first(&mut leader, |action| match action {
            Action::Tell { status, .. } => status.offers[0],
            _ => None,
        });
        assert_eq!(told.expect("an offer").followed, expected);
    }
}

/// Where leaders stay by a margin, all go by the lowest node that knows who led.
#[test]
fn a_node_that_does_not_know_who_led_is_no_authority() {
    let mut leader = of_method(staying());
    begin(&mut leader);
    leader.receive(offering(0, 0.9, None), NOW);
    leader.receive(offering(2, 1.0, Some(Rank::new(2, 0))), NOW);
    leader.bid(bid(9, 1.1), NOW);
    let elected = first(&mut leader, |action| match action {
        Action::Record(Event::Election { election, .. }) => election.leader,
        _ => None,
    });
    assert_eq!(elected, Some(Rank::new(2, 0)));
}

/// Others may be through with a round for which an offer comes late, or whose leader dies.
#[test]
fn a_round_is_of_what_was_offered_when_it_was_complete() {
    let mut leader = joiner();
    begin(&mut leader);
    leader.vanished(2, 1, NOW);
    leader.receive(offering(0, 0.5, None), NOW);
    leader.bid(bid(9, 1.0), NOW);
    leader.appeared(2, 1, NOW);
    leader.receive(offering(2, 0.1, None), NOW);
    leader.vanished(0, 1, NOW);
    assert_eq!(followed(&mut leader), None, "it waits for node 0's");
    fetch(&mut leader, &of(0, 9));
    let expected = of(0, 9).parameters().to_vec();
    assert_eq!(followed(&mut leader), Some(expected));
}
