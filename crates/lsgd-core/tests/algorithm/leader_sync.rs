//! Mode `sync`: every worker takes exactly tau steps, then all exchange.

use lsgd_core::{
    Command, Event, LeaderConfig, LocalLeader, Message, Method, Mode, Next, Reason, SnapshotError,
    Source, VectorKind, WorkerId,
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
    Node::new(leader, |exchange| {
        bowl_worker(method.clone(), sgd(), exchange)
    })
}

/// Commands: what they are and for which worker.
pub fn commands(leader: &mut LocalLeader) -> Vec<(u32, &'static str)> {
    std::iter::from_fn(|| leader.next_command())
        .map(|(worker, command)| match command {
            Command::Publish => (worker, "publish"),
            Command::Adopt(delivery) if !delivery.local.is_empty() => (worker, "adopt"),
            Command::Adopt(_) => (worker, "go on"),
            Command::Centre(_) => (worker, "centre"),
            Command::Close => (worker, "close"),
        })
        .collect()
}

fn publish(worker: u32, x: &[f32]) -> Message {
    Message::Publish(VectorKind::Parameters, Ok(snapshot(worker, 4, x)))
}

pub fn leader(workers: u32, method: Method) -> LocalLeader {
    LocalLeader::new(0, workers, method, Mode::Sync).expect("runs in sync")
}

/// An exchange of three that have all reported; worker 1 is elected.
fn meeting_of_three() -> LocalLeader {
    let mut leader = leader(3, lsgd(every_four()));
    for (worker, loss) in [(0, 3.0), (1, 1.0), (2, 2.0)] {
        leader.receive(worker, report(worker, 4, loss));
    }
    assert_eq!(commands(&mut leader), [(1, "publish")]);
    leader
}

/// Everybody reports, the best publishes, everybody adopts, once.
#[test]
fn exchange() {
    let mut leader = leader(2, lsgd(every_four()));
    leader.receive(0, report(0, 4, 1.0));
    assert_eq!(commands(&mut leader), [], "worker 1 is not there yet");
    leader.receive(1, report(1, 4, 2.0));
    assert_eq!(commands(&mut leader), [(0, "publish")]);
    leader.receive(0, publish(0, &[1.0]));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (1, "adopt")]);
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
    let run = |command: [usize; 3]| {
        let mut node = node_of(3, &lsgd(every_four()), Mode::Sync);
        while node.workers().any(|worker| worker.optimizer().steps() < 13) {
            for worker in command {
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
        assert_eq!(election.reason, Reason::NoneEligible);
        assert_eq!(election.excluded.len(), 2);
    }
}

/// Leaving releases those who wait at the exchange.
#[test]
fn leave_releases_the_others() {
    let mut leader = leader(3, lsgd(every_four()));
    leader.receive(0, report(0, 4, 1.0));
    leader.receive(2, report(2, 4, 2.0));
    leader.leave(1);
    assert_eq!(commands(&mut leader), [(0, "publish")]);
    leader.receive(0, publish(0, &[1.0]));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (2, "adopt")]);
    assert!(leader.live().eq([0, 2]));
}

/// If the elected worker dies before it publishes, the election is repeated.
#[test]
fn elected_worker_leaves() {
    let mut leader = meeting_of_three();
    leader.leave(1);
    assert_eq!(commands(&mut leader), [(2, "publish")]);
    leader.receive(1, publish(1, &[9.0]));
    assert_eq!(commands(&mut leader), [], "nobody listens to the dead");
    leader.receive(2, publish(2, &[1.0]));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (2, "adopt")]);
}

/// If another leaves, the elected one's snapshot is still awaited.
#[test]
fn follower_leaves_while_the_snapshot_is_awaited() {
    let mut leader = meeting_of_three();
    leader.leave(0);
    assert_eq!(commands(&mut leader), []);
    leader.receive(1, publish(1, &[1.0]));
    assert_eq!(commands(&mut leader), [(1, "adopt"), (2, "adopt")]);
}

/// A snapshot that is not finite is refused with an event, and there is no pull.
#[test]
fn snapshot_that_is_not_finite_is_refused() {
    let mut leader = meeting_of_three();
    leader.receive(1, publish(1, &[f32::NAN]));
    assert_eq!(
        commands(&mut leader),
        [(0, "go on"), (1, "go on"), (2, "go on")]
    );
    let refused = std::iter::from_fn(|| leader.next_event()).last();
    let expected = Event::Refused {
        step: 4,
        worker: WorkerId::new(0, 1),
        why: SnapshotError::NotFinite { index: 0 },
    };
    assert_eq!(refused, Some(expected));
}

/// A snapshot of another model than the node has seen is refused.
#[test]
fn snapshot_of_another_model_is_refused() {
    let mut leader = meeting_of_three();
    leader.receive(1, publish(1, &[1.0]));
    commands(&mut leader);
    for worker in 0..3 {
        leader.receive(worker, report(worker, 8, f64::from(worker)));
    }
    commands(&mut leader);
    leader.receive(0, publish(0, &[1.0, 2.0]));
    assert_eq!(
        commands(&mut leader),
        [(0, "go on"), (1, "go on"), (2, "go on")]
    );
}

/// An unrequested delivery is no exchange.
#[test]
fn uninvited_snapshot_is_ignored() {
    let mut leader = meeting_of_three();
    leader.receive(0, publish(0, &[1.0]));
    assert_eq!(commands(&mut leader), []);
}

/// A worker whose gradients break never spoils the others: its loss or its snapshot rules it out.
#[test]
fn broken_worker_spoils_nobody() {
    let method = lsgd(every_four());
    let leader = leader(3, method.clone());
    let mut broken = Node::new(leader, |exchange| {
        let mut worker = bowl_worker(method.clone(), sgd(), exchange);
        if worker.optimizer().report().id.worker == 1 {
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

/// Closing breaks off an exchange; those who have not come yet stop at the same step.
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

/// Workers that never communicate are told of the end of the run as well.
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
