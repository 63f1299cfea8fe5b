//! Mode `async`, the paper's Algorithm 1: the total step count triggers, no worker waits.

use burn::tensor::{Device, Tensor};
use lsgd_core::{
    Command, Event, ExchangeOutcome, Layout, LeaderConfig, LeaderSgd, LocalLeader, Message, Mode,
    Next, Reason, Source, VectorKind, WindowLoss, WorkerId,
};

use crate::leader_sync::node_of;
use crate::memory::QueueExchange;
use crate::setting::{Point, config, lsgd, report, sgd, snapshot};

/// tau = 4, and a report is too old after twice that.
fn every_four() -> LeaderConfig {
    LeaderConfig {
        local_period: 4,
        global_period: 4,
        ..config()
    }
}

fn leader(workers: u32) -> LocalLeader {
    LocalLeader::new(0, workers, lsgd(every_four()), Mode::Async).expect("runs in async")
}

/// Commands: what they are and for which worker.
fn commands(leader: &mut LocalLeader) -> Vec<(u32, &'static str)> {
    std::iter::from_fn(|| leader.next_command())
        .map(|(worker, command)| match command {
            Command::Publish => (worker, "publish"),
            Command::Adopt(_) => (worker, "adopt"),
            Command::Centre(_) | Command::Close => (worker, "other"),
        })
        .collect()
}

/// Worker `worker` takes `steps` steps from `from` on; returns the commands issued meanwhile.
fn steps(leader: &mut LocalLeader, worker: u32, from: u64, steps: u64) -> Vec<(u32, &'static str)> {
    for step in from..from + steps {
        leader.receive(worker, report(worker, step, f64::from(worker)));
    }
    commands(leader)
}

fn publish(worker: u32, step: u64) -> Message {
    Message::Publish(VectorKind::Parameters, Ok(snapshot(worker, step, &[1.0])))
}

/// "n l tau divides the total number of steps", whichever worker takes them.
#[test]
fn trigger_counts_the_steps_of_all() {
    let mut leader = leader(2);
    assert_eq!(steps(&mut leader, 1, 1, 7), []);
    assert_eq!(steps(&mut leader, 0, 1, 1), [(0, "publish")]);
    leader.receive(0, publish(0, 1));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (1, "adopt")]);
    assert_eq!(steps(&mut leader, 0, 2, 7), []);
    assert_eq!(steps(&mut leader, 1, 8, 1), [(0, "publish")]);
}

/// No worker waits for another: a worker whose peers stall takes all its steps.
#[test]
fn nobody_waits() {
    let mut node = node_of(3, &lsgd(every_four()), Mode::Async);
    for _ in 0..50 {
        assert_eq!(node.turn(1), Ok(true));
        assert_eq!(node.next(1), Some(Next::Continue));
    }
    let steps: Vec<u64> = node.workers().map(|w| w.optimizer().steps()).collect();
    assert_eq!(steps, [0, 50, 0]);
}

/// The elected worker publishes at its next step boundary, named by worker and step.
#[test]
fn elected_publishes_at_its_next_step_boundary() {
    let mut node = node_of(2, &lsgd(every_four()), Mode::Async);
    assert_eq!(node.run(20), Ok(true));
    let elected: Vec<u32> = node
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Election { election, .. } => election.leader.map(|id| id.worker),
            _ => None,
        })
        .collect();
    let published: Vec<u32> = node
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Exchange {
                step,
                source: Source::Worker { id, step: at },
                ..
            } => {
                assert!(step.abs_diff(*at) <= 1, "published {at}, furthest {step}");
                Some(id.worker)
            }
            _ => None,
        })
        .collect();
    assert_eq!(elected.len(), 5, "40 steps, 8 an exchange: {elected:?}");
    // The last may have been elected after its last step boundary.
    assert!(published.len() >= 4, "{published:?}");
    assert_eq!(published, elected[..published.len()]);
}

/// If the elected worker dies before it publishes, the election is repeated.
#[test]
fn elected_worker_leaves() {
    let mut leader = leader(3);
    steps(&mut leader, 1, 1, 6);
    steps(&mut leader, 2, 1, 5);
    assert_eq!(steps(&mut leader, 0, 1, 1), [(0, "publish")]);
    leader.leave(0);
    assert_eq!(commands(&mut leader), [(1, "publish")]);
    leader.receive(0, publish(0, 1));
    assert_eq!(commands(&mut leader), []);
    leader.receive(1, publish(1, 7));
    assert_eq!(commands(&mut leader), [(1, "adopt"), (2, "adopt")]);
}

/// If the elected worker reaches no step boundary for too long, the election is repeated without
/// it; what it finally publishes is not used.
#[test]
fn elected_worker_is_too_old() {
    let mut leader = leader(2);
    steps(&mut leader, 0, 1, 1);
    assert_eq!(steps(&mut leader, 1, 1, 7), [(0, "publish")]);
    // Worker 0's report is as old as max_staleness, 8 of its node's steps: still fresh enough.
    assert_eq!(steps(&mut leader, 1, 8, 10), []);
    assert_eq!(steps(&mut leader, 1, 18, 1), [(1, "publish")]);
    leader.receive(0, publish(0, 2));
    assert_eq!(commands(&mut leader), []);
    leader.receive(1, publish(1, 19));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (1, "adopt")]);
    let reasons: Vec<Reason> = std::iter::from_fn(|| leader.next_event())
        .filter_map(|event| match event {
            Event::Election { election, .. } => Some(election.reason),
            _ => None,
        })
        .collect();
    assert!(matches!(
        reasons.as_slice(),
        [Reason::LowestLoss { .. }, Reason::OnlyEligible { .. }]
    ));
}

/// Only increments count: a death never moves the trigger back, and with fewer workers live the
/// period is theirs.
#[test]
fn death_does_not_move_the_trigger_back() {
    let mut leader = leader(4);
    assert_eq!(steps(&mut leader, 1, 1, 11), []);
    leader.leave(3);
    assert_eq!(
        steps(&mut leader, 1, 12, 1),
        [(1, "publish")],
        "12 of 3 x 4"
    );
}

/// Another worker's death leaves an election under way as it is.
#[test]
fn follower_leaves_while_the_snapshot_is_awaited() {
    let mut leader = leader(2);
    assert_eq!(steps(&mut leader, 1, 1, 8), [(1, "publish")]);
    leader.leave(0);
    assert_eq!(commands(&mut leader), []);
    leader.receive(1, publish(1, 8));
    assert_eq!(commands(&mut leader), [(1, "adopt")]);
}

/// Staleness is counted in the adopter's own steps.
#[test]
fn staleness_is_recorded() {
    let mut leader = leader(2);
    steps(&mut leader, 1, 1, 5);
    assert_eq!(steps(&mut leader, 0, 1, 3), [(0, "publish")]);
    leader.receive(0, publish(0, 3));
    let adopted = |worker: u32, step| {
        let source = Source::Worker {
            id: WorkerId::new(0, 0),
            step: 3,
        };
        let scope = lsgd_core::Scope::Local;
        let strength = 0.25;
        (
            worker,
            Message::Adopted {
                step,
                scope,
                source,
                strength,
                digest: None,
                factors: None,
            },
        )
    };
    // Worker 1 had reported step 5 when the snapshot came and adopts after two more.
    let (worker, message) = adopted(1, 7);
    leader.receive(worker, message);
    let last = std::iter::from_fn(|| leader.next_event()).last();
    assert!(
        matches!(
            last,
            Some(Event::Adoption {
                step: 7,
                staleness: 2,
                ..
            })
        ),
        "{last:?}"
    );
}

/// A worker that is busy for long adopts the newest leader, once: older ones have no more to say.
#[test]
fn slow_worker_is_pulled_by_the_newest_leader() {
    use lsgd_core::{Exchange, Group};
    let (_group, mut members) = Group::form(leader(2), |_| {});
    for exchange in 1..=3 {
        for step in 1..=8 {
            let step = (exchange - 1) * 8 + step;
            members[1].send(report(1, step, 1.0));
        }
        assert!(matches!(members[1].receive(false), Some(Command::Publish)));
        members[1].send(publish(1, exchange * 8));
        assert!(matches!(members[1].receive(false), Some(Command::Adopt(_))));
    }
    let Some(Command::Adopt(delivery)) = members[0].receive(false) else {
        panic!("worker 0 was to adopt");
    };
    let target = delivery.local.leader.map(|snapshot| snapshot.source());
    let newest = Source::Worker {
        id: WorkerId::new(0, 1),
        step: 24,
    };
    assert_eq!(target, Some(newest));
    assert!(members[0].receive(false).is_none(), "and nothing older");
}

/// A broken snapshot is refused; the run continues to the next exchange.
#[test]
fn refused_snapshot_ends_only_its_exchange() {
    let mut leader = leader(1);
    assert_eq!(steps(&mut leader, 0, 1, 4), [(0, "publish")]);
    let broken = snapshot(0, 4, &[f32::NAN]);
    leader.receive(0, Message::Publish(VectorKind::Parameters, Ok(broken)));
    assert_eq!(commands(&mut leader), []);
    let events: Vec<Event> = std::iter::from_fn(|| leader.next_event()).collect();
    assert!(matches!(events.last(), Some(Event::Refused { .. })));
    assert_eq!(steps(&mut leader, 0, 5, 4), [(0, "publish")]);
}

/// Closing reaches a worker at its next step boundary.
#[test]
fn close_stops_at_the_next_step_boundary() {
    let mut node = node_of(2, &lsgd(every_four()), Mode::Async);
    assert_eq!(node.run(6), Ok(true));
    node.close();
    assert_eq!(node.run(100), Ok(true));
    let steps: Vec<u64> = node.workers().map(|w| w.optimizer().steps()).collect();
    assert_eq!(steps, [7, 7]);
}

/// Exchanges are counted from 1.
#[test]
fn exchanges_are_numbered() {
    let mut leader = leader(1);
    for round in 0..3 {
        steps(&mut leader, 0, 1 + 4 * round, 4);
        leader.receive(0, publish(0, 4 + 4 * round));
    }
    let events = std::iter::from_fn(|| leader.next_event());
    let numbers = events.filter_map(|event| match event {
        Event::Exchange { exchange, .. } => Some(exchange),
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
}

/// What an exchange between nodes delivers goes to every worker; if that is nothing, they are not
/// bothered.
#[test]
fn workers_are_ordered_what_nodes_exchange_if_it_is_something() {
    let mut leader = leader(2).among_nodes();
    leader.adopt_global(ExchangeOutcome::default());
    assert_eq!(commands(&mut leader), []);
    leader.adopt_global(ExchangeOutcome::leader(snapshot(0, 1, &[1.0])));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (1, "adopt")]);
}

/// Losses that are older than their report make it older.
#[test]
fn a_report_is_as_old_as_its_losses() {
    for (behind, expected) in [(8, (0, "publish")), (9, (1, "publish"))] {
        let mut leader = leader(2);
        assert_eq!(steps(&mut leader, 1, 1, 7), []);
        let Message::Report { report, .. } = report(0, 1, 0.0) else {
            panic!("it is one");
        };
        let buffers = None;
        leader.receive(
            0,
            Message::Report {
                report,
                behind,
                buffers,
            },
        );
        assert_eq!(commands(&mut leader), [expected], "{behind} steps behind");
    }
}

/// A worker that reads its losses every third step reports the newest window that it has read.
#[test]
fn losses_that_have_not_been_read_are_left_out_of_a_report() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let method = lsgd(LeaderConfig {
        loss_window: 2,
        ..every_four()
    });
    let mut worker = LeaderSgd::new(sgd(), method, exchange.clone()).reading_losses_every(3);
    let mut at = Point::at(&[0.0]);
    for step in 1..=6 {
        let loss = Tensor::<1>::from_data([step as f32], &Device::flex().autodiff());
        worker.observe(loss);
        let gradients = at.gradients(&[0.0]);
        at = worker.step(1.0, at, gradients);
    }
    let sent = std::mem::take(&mut exchange.queues().sent);
    let reports = sent.into_iter().map(|sent| match sent {
        Message::Report { report, behind, .. } => (report.step, report.loss, behind),
        other => panic!("nothing else is due: {other:?}"),
    });
    let none = WindowLoss::Filling { have: 0, need: 2 };
    let (second, fifth) = (WindowLoss::Mean(2.5), WindowLoss::Mean(5.5));
    assert_eq!(
        reports.collect::<Vec<_>>(),
        [
            (1, none, 1),
            (2, none, 2),
            (3, second, 0),
            (4, second, 1),
            (5, second, 2),
            (6, fifth, 0),
        ]
    );
    // What is kept of it is exact.
    let state = worker.state();
    assert_eq!(state.losses, [5.0, 6.0]);
    assert_eq!(worker.loss(), fifth);
    // Nor does it forget what it continues from.
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let method = lsgd(LeaderConfig {
        loss_window: 2,
        ..every_four()
    });
    let resumed = LeaderSgd::new(sgd(), method, exchange).resuming(&state, Layout::of(&at));
    let resumed = resumed.unwrap().reading_losses_every(3);
    assert_eq!(resumed.state().losses, [5.0, 6.0]);
    assert_eq!(resumed.loss(), fifth);
}
