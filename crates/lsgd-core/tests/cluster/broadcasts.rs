//! One node of two in `sync`, by hand: what it says of itself, what it records, and when time alone
//! leads to something.

use std::time::Duration;

use lsgd_core::{Action, Event, GlobalLeader, NodeLoss, NodePhase, NodeUpdate, Status, WireFormat};

use crate::rounding::{NOW, actions, node, other};
use crate::setting::{PERIODS, lsgd};

const SECOND: Duration = Duration::from_secs(1);
/// As the node is set.
const LIMIT: Duration = Duration::from_secs(5);

fn broadcasts(leader: &mut GlobalLeader) -> Vec<Status> {
    let status = |action| match action {
        Action::Broadcast(status) => Some(status),
        _ => None,
    };
    actions(leader).into_iter().filter_map(status).collect()
}

fn recorded(leader: &mut GlobalLeader) -> Vec<Event> {
    let event = |action| match action {
        Action::Record(event) => Some(event),
        _ => None,
    };
    actions(leader).into_iter().filter_map(event).collect()
}

fn bid_nothing(leader: &mut GlobalLeader) {
    let update = NodeUpdate {
        step: PERIODS.global,
        taken: PERIODS.global,
        workers: 1,
        leader: None,
        sum: None,
    };
    leader.propose(update, NOW);
}

/// Others take a node that makes no progress for dead: what it makes progress with is in its
/// heartbeats.
#[test]
fn a_heartbeat_says_that_a_node_gets_on() {
    let mut leader = node(WireFormat::F32, lsgd());
    leader.tick(NOW + SECOND);
    let before = broadcasts(&mut leader)[0].progress;
    (0..3).for_each(|_| leader.progress());
    leader.tick(NOW + 2 * SECOND);
    let status = &broadcasts(&mut leader)[0];
    assert_eq!(status.progress, before + 3);
    assert_eq!(status.phase, NodePhase::Training);
}

/// A heartbeat comes every second, and what may happen by time alone is known before.
#[test]
fn a_deadline_is_that_of_what_is_waited_for() {
    let mut leader = node(WireFormat::F32, lsgd());
    assert_eq!(leader.deadline(), NOW + SECOND, "its heartbeat");
    bid_nothing(&mut leader);
    // Told at once, and the other has yet to propose.
    let beats = |leader: &mut GlobalLeader, until: Duration| {
        let mut at = NOW;
        while leader.deadline() < until {
            at = leader.deadline();
            assert!(at <= until);
            leader.tick(at);
        }
        at
    };
    beats(&mut leader, NOW + LIMIT);
    assert_eq!(leader.deadline(), NOW + LIMIT, "its patience");
    actions(&mut leader);
    leader.tick(NOW + LIMIT);
    let lost = recorded(&mut leader)
        .into_iter()
        .find_map(|event| match event {
            Event::NodeLost { node, why, .. } => Some((node, why)),
            _ => None,
        });
    assert_eq!(lost, Some((1, NodeLoss::Stalled { seconds: 5.0 })));
}

#[test]
fn who_comes_and_goes_is_on_record_once() {
    let mut leader = node(WireFormat::F32, lsgd());
    leader.disconnected(1, 1, NOW);
    leader.disconnected(1, 1, NOW);
    leader.connected(1, 2, NOW);
    // Neither itself nor one that the run has not.
    leader.connected(0, 2, NOW);
    leader.connected(2, 2, NOW);
    let expected = [
        Event::NodeLost {
            step: 0,
            node: 1,
            why: NodeLoss::Disconnected,
        },
        Event::NodeConnected { step: 0, node: 1 },
    ];
    assert_eq!(recorded(&mut leader), expected);
}

/// A node is needed until the others know that the mean of all is evaluated.
#[test]
fn a_node_is_needed_until_the_others_know_the_end() {
    let mut leader = node(WireFormat::F32, lsgd());
    leader.receive(other(2, NodePhase::Training, None), NOW);
    assert!(!leader.others_are_done());
    leader.receive(other(3, NodePhase::Done, None), NOW);
    assert!(
        !leader.others_are_done(),
        "it waits for what this one evaluates"
    );
    leader.receive(other(4, NodePhase::Closed, None), NOW);
    assert!(leader.others_are_done());
    actions(&mut leader);
    leader.close(NOW);
    let phases: Vec<NodePhase> = broadcasts(&mut leader)
        .iter()
        .map(|status| status.phase)
        .collect();
    assert_eq!(phases, [NodePhase::Closed], "and tells the others");
}

/// At the end it waits for those that still train, at most for the limit, and then evaluates what
/// there is.
#[test]
fn the_end_is_waited_for_at_most_for_the_limit() {
    let concluded = |leader: &mut GlobalLeader| {
        let done = |action: &Action| matches!(action, Action::Conclude(_));
        actions(leader).iter().any(done)
    };
    let mut leader = node(WireFormat::F32, lsgd());
    leader.receive(other(2, NodePhase::Training, None), NOW);
    leader.finish(None, NOW);
    leader.tick(NOW + LIMIT - SECOND / 2);
    assert!(!concluded(&mut leader));
    // It looks again with its next heartbeat.
    assert!(leader.deadline() <= NOW + LIMIT + SECOND);
    leader.tick(NOW + LIMIT);
    assert!(concluded(&mut leader));

    let mut leader = node(WireFormat::F32, lsgd());
    leader.receive(other(2, NodePhase::Training, None), NOW);
    leader.finish(None, NOW);
    leader.receive(other(3, NodePhase::Done, None), NOW);
    assert!(concluded(&mut leader), "nobody trains");
}
