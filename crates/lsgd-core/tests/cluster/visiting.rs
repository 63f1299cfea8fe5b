//! Methods with a centre: whose centre a node's meets next. The others are scripted.

use std::sync::Arc;

use lsgd_core::{
    Event, GlobalLeader, Method, Mode, NodeConfig, NodePhase, Snapshot, Source, Status, VectorKind,
};

use crate::script::{
    NODE_CONFIG, NOW, actions, alone, asked, delivered, fail, fetch, proposal, recorded, says,
    update, vector,
};
use crate::setting::{MEETINGS, PERIODS, downpour};

const OTHERS: [u32; 4] = [0, 1, 3, 4];

/// What a node's centre is after so many additions.
fn centre(node: u32, version: u64) -> Arc<Snapshot> {
    let values = [node as f32, version as f32, 0.0];
    vector(Source::Centre { version }, values)
}

/// A node's `count`-th offer, after as many periods.
fn proposals(node: u32, count: u64, version: u64) -> Status {
    let mut status = says(node, 1 + count);
    status.steps = 2 * PERIODS.global * count;
    let mut proposal = proposal(count, &centre(node, version), 0.0);
    proposal.leader.as_mut().expect("its centre").kind = VectorKind::Centre;
    status.proposals[0] = Some(proposal);
    status
}

/// Node 2 of five that have begun together, of two workers each.
fn visitor() -> GlobalLeader {
    visitor_of(downpour())
}

fn visitor_of(method: Method) -> GlobalLeader {
    let node_config = NodeConfig {
        node: 2,
        nodes: 5,
        ..NODE_CONFIG
    };
    let mut leader = alone(node_config, Mode::Async, method);
    for node in OTHERS {
        leader.connected(node, 1, NOW);
        leader.receive(says(node, 1), NOW);
    }
    actions(&mut leader);
    leader
}

/// Its workers take so many steps together. Returns whose centre it asks for then.
fn takes(leader: &mut GlobalLeader, taken: u64) -> Option<u32> {
    let mut brought = update(1, 0.0);
    (brought.taken, brought.leader) = (taken, None);
    leader.propose(brought, NOW);
    asked(&actions(leader)).first().map(|(_, node)| *node)
}

/// All five take a period's steps, and the others propose. Returns whose centre it asks for then.
fn period(leader: &mut GlobalLeader, proposed: [Status; 4]) -> Option<u32> {
    for status in proposed {
        leader.receive(status, NOW);
    }
    assert_eq!(asked(&actions(leader)), [], "not before all have");
    takes(leader, 2 * PERIODS.global)
}

#[test]
fn the_others_are_visited_in_turn() {
    let mut leader = visitor();
    for (count, expected) in (1..).zip([0, 1, 3, 4, 0, 1]) {
        let proposed = OTHERS.map(|node| proposals(node, count, count));
        assert_eq!(period(&mut leader, proposed), Some(expected));
        let theirs = centre(expected, count);
        fetch(&mut leader, &theirs);
        let done = actions(&mut leader);
        assert_eq!(delivered(&done), [Some(theirs.source())]);
        let staleness = recorded(&done).into_iter().find_map(|event| match event {
            Event::Exchange { staleness, .. } => Some(staleness),
            _ => None,
        });
        assert_eq!(staleness, Some(PERIODS.global));
    }
}

/// A centre that was met before would only hold this node's back; another of the same node would
/// not.
#[test]
fn no_centre_is_visited_twice() {
    let mut leader = visitor();
    for (count, expected) in (1..).zip([Some(0), Some(1), Some(3), Some(4), None, None]) {
        let proposed = OTHERS.map(|node| proposals(node, count, 1));
        assert_eq!(period(&mut leader, proposed), expected);
        if let Some(node) = expected {
            fetch(&mut leader, &centre(node, 1));
        }
        actions(&mut leader);
    }
    let proposed = OTHERS.map(|node| proposals(node, 7, if node == 3 { 2 } else { 1 }));
    assert_eq!(period(&mut leader, proposed), Some(3));
}

/// Two periods of this node's steps, per worker, are the longest.
#[test]
fn no_centre_is_visited_that_is_too_old() {
    let easgd = Method::easgd_async(MEETINGS, 0.5, 2).expect("a method");
    for method in [downpour(), easgd] {
        for (own, expected) in [(32, Some(3)), (34, None)] {
            let mut leader = visitor_of(method.clone());
            leader.receive(proposals(3, 1, 1), NOW);
            assert_eq!(takes(&mut leader, own), None, "48 of 80");
            let mut goes_on = says(0, 2);
            goes_on.steps = 32;
            leader.receive(goes_on, NOW);
            let asks = asked(&actions(&mut leader));
            let visited = asks.first().map(|(_, node)| *node);
            assert_eq!(visited, expected, "{}: {own}", method.name());
        }
    }
}

#[test]
fn a_node_that_has_ended_is_not_visited() {
    let mut leader = visitor();
    let mut proposed = OTHERS.map(|node| proposals(node, 1, 1));
    (proposed[0].phase, proposed[0].steps) = (NodePhase::Done, 0);
    assert_eq!(period(&mut leader, proposed), Some(1));
}

/// A visit that fails is not made up for: the next one is at its time.
#[test]
fn a_visit_that_fails_ends() {
    let mut leader = visitor();
    let proposed = OTHERS.map(|node| proposals(node, 1, 1));
    assert_eq!(period(&mut leader, proposed), Some(0));
    fail(&mut leader, &centre(0, 1));
    let done = actions(&mut leader);
    assert_eq!((delivered(&done), asked(&done)), (vec![], vec![]));
    let proposed = OTHERS.map(|node| proposals(node, 2, 2));
    assert_eq!(period(&mut leader, proposed), Some(1));
}
