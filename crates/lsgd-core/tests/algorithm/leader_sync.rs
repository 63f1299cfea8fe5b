//! Mode `sync`: every worker takes exactly tau steps, then all meet.

use lsgd_core::{
    Event, LeaderConfig, LocalLeader, Message, Method, Mode, Next, Order, Rank, Reason, Refusal,
    Source, Vector,
};

use crate::memory::Node;
use crate::setting::{Bowl, Point, bits, bowl_worker, config, digest, lsgd, report, sgd, snapshot};

fn every_four() -> LeaderConfig {
    LeaderConfig {
        local_period: 4,
        global_period: 4,
        loss_window: 2,
        ..config()
    }
}

pub fn node_of(workers: u32, method: &Method, mode: Mode) -> Node<Point, Bowl> {
    let leader = LocalLeader::new(0, workers, method.clone(), mode).expect("runs in this mode");
    Node::new(leader, |line| bowl_worker(method.clone(), sgd(), line))
}

/// Orders, as what they are and for whom.
pub fn orders(leader: &mut LocalLeader) -> Vec<(u32, &'static str)> {
    std::iter::from_fn(|| leader.next_order())
        .map(|(worker, order)| match order {
            Order::Publish => (worker, "publish"),
            Order::Adopt(adoption) if !adoption.local.is_empty() => (worker, "adopt"),
            Order::Adopt(_) => (worker, "go on"),
            Order::Centre(_) => (worker, "centre"),
            Order::Close => (worker, "close"),
        })
        .collect()
}

fn publish(worker: u32, x: &[f32]) -> Message {
    Message::Publish(Vector::Snapshot, Ok(snapshot(worker, 4, x)))
}

pub fn leader(workers: u32, method: Method) -> LocalLeader {
    LocalLeader::new(0, workers, method, Mode::Sync).expect("runs in sync")
}

/// A meeting of three that have all reported; worker 1 is elected.
fn meeting_of_three() -> LocalLeader {
    let mut leader = leader(3, lsgd(every_four()));
    for (worker, loss) in [(0, 3.0), (1, 1.0), (2, 2.0)] {
        leader.receive(worker, report(worker, 4, loss));
    }
    assert_eq!(orders(&mut leader), [(1, "publish")]);
    leader
}

/// Everybody reports, the best publishes, everybody adopts, once.
#[test]
fn meeting() {
    let mut leader = leader(2, lsgd(every_four()));
    leader.receive(0, report(0, 4, 1.0));
    assert_eq!(orders(&mut leader), [], "worker 1 is not there yet");
    leader.receive(1, report(1, 4, 2.0));
    assert_eq!(orders(&mut leader), [(0, "publish")]);
    leader.receive(0, publish(0, &[1.0]));
    assert_eq!(orders(&mut leader), [(0, "adopt"), (1, "adopt")]);
}

/// All workers meet at the same steps, nowhere else, and the record says so.
#[test]
fn workers_meet_every_tau_steps() {
    let mut node = node_of(3, &lsgd(every_four()), Mode::Sync);
    assert_eq!(node.run(14), Ok(true));
    let met: Vec<u64> = node
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Election { step, .. } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(met, [4, 8, 12]);
    for event in node.events() {
        if let Event::Exchange {
            step,
            source,
            workers,
            bytes,
            ..
        } = event
        {
            assert!(matches!(source, Source::Worker { step: published, .. } if published == step));
            assert_eq!((*workers, *bytes), (3, 8));
        }
        if let Event::Adoption { staleness, .. } = event {
            assert_eq!(*staleness, 0);
        }
    }
    let adoptions = |e: &&Event| matches!(e, Event::Adoption { .. });
    assert_eq!(
        node.events().iter().filter(adoptions).count(),
        6,
        "two followers, three times"
    );
}

/// Same start, same bits; the order in which workers get their turns does not matter.
#[test]
fn same_bits_whatever_the_order_of_turns() {
    let run = |order: [usize; 3]| {
        let mut node = node_of(3, &lsgd(every_four()), Mode::Sync);
        while node.workers().any(|worker| worker.optimizer().steps() < 13) {
            for worker in order {
                assert!(node.turn(worker).is_ok());
            }
        }
        assert_eq!(node.run(16), Ok(true));
        node.workers()
            .map(|w| digest(w.module()))
            .collect::<Vec<_>>()
    };
    let first = run([0, 1, 2]);
    assert_eq!(first, run([2, 0, 1]));
    assert_eq!(first, run([1, 2, 0]));
}

/// A window that is not full never leads: there is no pull, and the event says why.
#[test]
fn nobody_eligible_no_pull() {
    let method = lsgd(LeaderConfig {
        loss_window: 100,
        ..every_four()
    });
    let mut node = node_of(2, &method, Mode::Sync);
    assert_eq!(node.run(8), Ok(true));
    let mut alone = node_of(2, &Method::sgd(100), Mode::Sync);
    assert_eq!(alone.run(8), Ok(true));
    for (worker, same) in node.workers().zip(alone.workers()) {
        assert_eq!(
            bits(&worker.module().values()),
            bits(&same.module().values())
        );
    }
    for event in node.events() {
        let Event::Election { election, .. } = event else {
            panic!("only elections: {event:?}");
        };
        assert_eq!(election.reason, Reason::NobodyEligible);
        assert_eq!(election.excluded.len(), 2);
    }
}

/// Leaving releases those who wait at the meeting.
#[test]
fn leave_releases_the_others() {
    let mut leader = leader(3, lsgd(every_four()));
    leader.receive(0, report(0, 4, 1.0));
    leader.receive(2, report(2, 4, 2.0));
    leader.leave(1);
    assert_eq!(orders(&mut leader), [(0, "publish")]);
    leader.receive(0, publish(0, &[1.0]));
    assert_eq!(orders(&mut leader), [(0, "adopt"), (2, "adopt")]);
    assert!(leader.live().eq([0, 2]));
}

/// If the elected worker dies before it publishes, the election is repeated.
#[test]
fn elected_worker_leaves() {
    let mut leader = meeting_of_three();
    leader.leave(1);
    assert_eq!(orders(&mut leader), [(2, "publish")]);
    leader.receive(1, publish(1, &[9.0]));
    assert_eq!(orders(&mut leader), [], "nobody listens to the dead");
    leader.receive(2, publish(2, &[1.0]));
    assert_eq!(orders(&mut leader), [(0, "adopt"), (2, "adopt")]);
}

/// If another leaves, the elected one's snapshot is still awaited.
#[test]
fn follower_leaves_while_the_snapshot_is_awaited() {
    let mut leader = meeting_of_three();
    leader.leave(0);
    assert_eq!(orders(&mut leader), []);
    leader.receive(1, publish(1, &[1.0]));
    assert_eq!(orders(&mut leader), [(1, "adopt"), (2, "adopt")]);
}

/// A snapshot that is not finite is refused with an event, and there is no pull.
#[test]
fn snapshot_that_is_not_finite_is_refused() {
    let mut leader = meeting_of_three();
    leader.receive(1, publish(1, &[f32::NAN]));
    assert_eq!(
        orders(&mut leader),
        [(0, "go on"), (1, "go on"), (2, "go on")]
    );
    let refused = std::iter::from_fn(|| leader.next_event()).last();
    let expected = Event::Refused {
        step: 4,
        worker: Rank::new(0, 1),
        why: Refusal::NotFinite { index: 0 },
    };
    assert_eq!(refused, Some(expected));
}

/// A snapshot of another model than the node has seen is refused.
#[test]
fn snapshot_of_another_model_is_refused() {
    let mut leader = meeting_of_three();
    leader.receive(1, publish(1, &[1.0]));
    orders(&mut leader);
    for worker in 0..3 {
        leader.receive(worker, report(worker, 8, f64::from(worker)));
    }
    orders(&mut leader);
    leader.receive(0, publish(0, &[1.0, 2.0]));
    assert_eq!(
        orders(&mut leader),
        [(0, "go on"), (1, "go on"), (2, "go on")]
    );
}

/// What nobody asked for is no exchange.
#[test]
fn uninvited_snapshot_is_ignored() {
    let mut leader = meeting_of_three();
    leader.receive(0, publish(0, &[1.0]));
    assert_eq!(orders(&mut leader), []);
}

/// A worker whose gradients break never spoils the others: its loss or its snapshot rules it out.
#[test]
fn broken_worker_spoils_nobody() {
    let method = lsgd(every_four());
    let leader = leader(3, method.clone());
    let mut broken = Node::new(leader, |line| {
        let mut worker = bowl_worker(method.clone(), sgd(), line);
        if worker.optimizer().report().rank.worker == 1 {
            worker.objective_mut().breaks_at = Some(5);
        }
        worker
    });
    assert_eq!(broken.run(16), Ok(true));
    let finite: Vec<bool> = broken
        .workers()
        .map(|worker| worker.module().values().iter().all(|x| x.is_finite()))
        .collect();
    assert_eq!(finite, [true, false, true]);
}

/// Closing breaks off a meeting; those who have not come yet stop at the same step.
#[test]
fn close_during_a_meeting() {
    let mut node = node_of(2, &lsgd(every_four()), Mode::Sync);
    for _ in 0..4 {
        assert_eq!(node.turn(0), Ok(true));
    }
    assert_eq!(node.next(0), Some(Next::Wait));
    node.close();
    assert_eq!(node.run(100), Ok(true));
    let ends: Vec<_> = node.workers().map(|w| w.optimizer().steps()).collect();
    assert_eq!(
        (node.next(0), node.next(1)),
        (Some(Next::Stop), Some(Next::Stop))
    );
    assert_eq!(ends, [4, 4]);
}

/// Workers that never talk hear the end of the run as well.
#[test]
fn close_reaches_workers_that_never_meet() {
    for mode in [Mode::Sync, Mode::Async] {
        let mut node = node_of(2, &Method::sgd(1), mode);
        assert_eq!(node.run(3), Ok(true));
        node.close();
        assert_eq!(node.run(1000), Ok(true));
        let ends: Vec<_> = node.workers().map(|w| w.optimizer().steps()).collect();
        assert_eq!(ends, [4, 4], "{mode:?}");
    }
}

/// Workers that all die one after another leave no one waiting, and the record names them.
#[test]
fn everybody_leaves() {
    let mut node = node_of(3, &lsgd(every_four()), Mode::Sync);
    assert_eq!(node.run(5), Ok(true));
    node.leave(0);
    assert_eq!(node.run(10), Ok(true));
    node.leave(2);
    assert_eq!(node.run(16), Ok(true));
    node.leave(1);
    assert_eq!(node.run(20), Ok(true));
    let left: Vec<_> = node
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Left { step, worker } => Some((worker.worker, *step)),
            _ => None,
        })
        .collect();
    assert_eq!(
        left,
        [(0, 4), (2, 8), (1, 16)],
        "with the step of the last report"
    );
}
