//! Workers as threads of one process: [`Group`] and [`Member`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use lsgd_core::{
    BatchNorm, Command, Event, Exchange, Group, LeaderConfig, LeaderSgd, LocalLeader, Member,
    Message, Method, Mode, Next, Source, Worker, WorkerId,
};

use crate::leader_sync::node_of;
use crate::setting::{Bowl, Point, bowl_worker, config, digest, exchanges, lsgd, sgd};

fn every_four() -> Method {
    lsgd(LeaderConfig {
        local_period: 4,
        global_period: 8,
        local_prox: 0.5,
        loss_window: 2,
        ..config()
    })
}

type Record = Arc<Mutex<Vec<Event>>>;

fn form(workers: u32, method: &Method, mode: Mode) -> (Group, Vec<Member>, Record) {
    let leader = LocalLeader::new(0, workers, method.clone(), mode).expect("runs in this mode");
    let record = Record::default();
    let (group, members) = Group::form(leader, {
        let record = record.clone();
        move |event| {
            if let Ok(mut record) = record.lock() {
                record.push(event);
            }
        }
    });
    (group, members, record)
}

/// Every worker takes `steps` steps in a thread of its own; their digests in order of worker id.
fn digests(workers: u32, method: &Method, mode: Mode, steps: u64) -> (Vec<String>, Vec<Event>) {
    let (_group, members, record) = form(workers, method, mode);
    let threads: Vec<_> = members
        .into_iter()
        .map(|member| {
            let method = method.clone();
            thread::spawn(move || {
                let mut worker = bowl_worker(method, sgd(), member);
                for _ in 0..steps {
                    assert_eq!(worker.step(), Ok(Next::Continue));
                }
                digest(worker.module())
            })
        })
        .collect();
    let ends = threads
        .into_iter()
        .map(|t| t.join().expect("finishes"))
        .collect();
    let events = record
        .lock()
        .expect("no thread panicked")
        .drain(..)
        .collect();
    (ends, events)
}

/// Same config and seed, same bits: run after run, and without threads too.
#[test]
fn sync_gives_the_same_bits_with_and_without_threads() {
    let batch_norm = exchanges(4).batch_norm;
    let averaging = [
        Method::data_parallel(1, batch_norm),
        Method::local_sgd(exchanges(4)),
        Method::easgd(exchanges(4), 0.43),
        Method::leader_mean(exchanges(4), 0.3),
    ];
    let averaging = averaging.map(|method| method.expect("valid"));
    for method in [every_four()].into_iter().chain(averaging) {
        let mut node = node_of(4, &method, Mode::Sync);
        assert_eq!(node.run(30), Ok(true));
        let in_memory: Vec<String> = node.workers().map(|w| digest(w.module())).collect();
        for _ in 0..5 {
            let (ends, events) = digests(4, &method, Mode::Sync, 30);
            assert_eq!(ends, in_memory, "{}", method.name());
            // Adoptions come in any order; what was decided does not.
            let decided = |events: &[Event]| -> Vec<Event> {
                let decision =
                    |e: &&Event| matches!(e, Event::Election { .. } | Event::Exchange { .. });
                events.iter().filter(decision).cloned().collect()
            };
            assert_eq!(decided(&events), decided(node.events()));
        }
    }
}

/// In `async` no worker waits: all take their steps, and exchanges happen on the way.
#[test]
fn async_threads_all_finish() {
    let (ends, events) = digests(4, &every_four(), Mode::Async, 200);
    assert_eq!(ends.len(), 4);
    let left = events
        .iter()
        .filter(|e| matches!(e, Event::Left { step: 200, .. }));
    assert_eq!(
        left.count(),
        4,
        "every worker is known to have taken every step"
    );
    assert!(events.iter().any(|e| matches!(e, Event::Exchange { .. })));
}

/// A worker that panics drops its [`Member`]: the others' exchanges continue without it.
#[test]
fn panic_hangs_nobody() {
    let method = every_four();
    let (_group, members, record) = form(3, &method, Mode::Sync);
    let threads: Vec<_> = members
        .into_iter()
        .map(|member| {
            let method = method.clone();
            thread::spawn(move || {
                let mut worker = bowl_worker(method, sgd(), member);
                for step in 0..20 {
                    let id = worker.optimizer().report().id.worker;
                    assert!(id != 1 || step < 9, "worker 1 dies on purpose");
                    assert_eq!(worker.step(), Ok(Next::Continue));
                }
            })
        })
        .collect();
    let ends: Vec<bool> = threads.into_iter().map(|t| t.join().is_ok()).collect();
    assert_eq!(ends, [true, false, true]);
    let record = record.lock().expect("no thread panicked while recording");
    let dead = |e: &&Event| matches!(e, Event::Left { worker, step: 8 } if worker.worker == 1);
    assert_eq!(record.iter().filter(dead).count(), 1);
}

/// In a supervised group the others wait for a worker that failed: it starts again where all met
/// last, from what was delivered there.
#[test]
fn a_supervised_worker_starts_again_where_all_met() {
    let method = every_four();
    let (group, members, record) = form(2, &method, Mode::Sync);
    group.supervise();
    let train = |mut worker: Worker<Point, Bowl>, steps: u64| {
        thread::spawn(move || {
            while worker.optimizer().steps() < steps {
                assert_eq!(worker.step(), Ok(Next::Continue));
            }
            worker
        })
    };
    let mut members = members.into_iter();
    let first = bowl_worker(method.clone(), sgd(), members.next().expect("two workers"));
    let other = train(first, 12);
    let second = bowl_worker(method.clone(), sgd(), members.next().expect("two workers"));
    drop(
        train(second, 6)
            .join()
            .expect("it stops between two exchanges"),
    );
    let (member, point) = group.restart(1).expect("it follows a leader");
    assert_eq!(point.step, 4);
    let parameters = point.parameters.expect("one exchange was held");
    let source = parameters.source();
    assert!(
        matches!(source, Source::Worker { step: 4, .. }),
        "{source:?}"
    );
    let optimizer = LeaderSgd::new(sgd(), method, member).starting_at(point.step);
    let module = Point::at(parameters.parameters());
    let again = train(Worker::new(module, optimizer, Bowl::new(1)), 12);
    let steps = [other, again].map(|worker| worker.join().expect("it trains on"));
    assert_eq!(steps.map(|worker| worker.optimizer().steps()), [12, 12]);
    let record = record.lock().expect("no thread panicked while recording");
    let count = |is: fn(&Event) -> bool| record.iter().filter(|event| is(event)).count();
    assert_eq!(count(|e| matches!(e, Event::Restarted { step: 4, .. })), 1);
    assert_eq!(count(|e| matches!(e, Event::Left { .. })), 0);
    assert_eq!(count(|e| matches!(e, Event::Election { .. })), 3);
    drop(record);
    group.leave(0);
    assert!(group.restart(0).is_none(), "it has left");
}

/// Gradients are nothing to start from, and without exchanges there is nothing at all.
#[test]
fn without_parameters_delivered_nobody_starts_again() {
    let shared = Method::data_parallel(4, BatchNorm::Own).expect("valid");
    for method in [Method::sgd(4), shared] {
        let (group, _members, _record) = form(2, &method, Mode::Sync);
        group.supervise();
        assert!(group.restart(1).is_none());
    }
}

/// A recorder that panics takes the thread it panics in with it, not the others.
#[test]
fn panicking_recorder_hangs_nobody() {
    let method = every_four();
    let leader = LocalLeader::new(0, 3, method.clone(), Mode::Sync).expect("runs in sync");
    let mut first = true;
    let (_group, members) = Group::form(leader, move |_| {
        assert!(
            !std::mem::replace(&mut first, false),
            "the recorder dies on purpose, once"
        );
    });
    let threads: Vec<_> = members
        .into_iter()
        .map(|member| {
            let method = method.clone();
            thread::spawn(move || {
                let mut worker = bowl_worker(method, sgd(), member);
                (0..20).all(|_| worker.step() == Ok(Next::Continue))
            })
        })
        .collect();
    let finished: Vec<bool> = threads.into_iter().filter_map(|t| t.join().ok()).collect();
    assert_eq!(finished, [true, true]);
}

/// `close` ends the run for all, those that never talk included.
#[test]
fn close_ends_all() {
    for (method, mode) in [
        (every_four(), Mode::Sync),
        (every_four(), Mode::Async),
        (Method::sgd(1), Mode::Sync),
    ] {
        let (group, members, _record) = form(3, &method, mode);
        let under_way = Arc::new(Barrier::new(4));
        let threads: Vec<_> = members
            .into_iter()
            .map(|member| {
                let (method, under_way) = (method.clone(), under_way.clone());
                thread::spawn(move || {
                    let mut worker = bowl_worker(method, sgd(), member);
                    assert_eq!(worker.step(), Ok(Next::Continue));
                    under_way.wait();
                    while worker.step() != Ok(Next::Stop) {}
                    worker.optimizer().steps()
                })
            })
            .collect();
        under_way.wait();
        group.close();
        let ends: Vec<u64> = threads
            .into_iter()
            .map(|t| t.join().expect("stops"))
            .collect();
        if method.exchanges() && mode == Mode::Sync {
            assert!(
                ends.iter()
                    .all(|end| *end == ends[0] && end.is_multiple_of(4)),
                "{ends:?}"
            );
        }
    }
}

/// The group itself may go: members hold what they need.
#[test]
fn members_outlive_the_group() {
    let method = every_four();
    let (group, members, _record) = form(1, &method, Mode::Sync);
    drop(group);
    let member = members.into_iter().next().expect("one worker");
    let mut worker = bowl_worker(method, sgd(), member);
    assert!((0..9).all(|_| worker.step() == Ok(Next::Continue)));
}

/// A connection that panics on the first message.
struct Broken;

impl Exchange for Broken {
    fn id(&self) -> WorkerId {
        WorkerId::new(0, 0)
    }

    fn mode(&self) -> Mode {
        Mode::Async
    }

    fn send(&mut self, _message: Message) {
        panic!("the connection is broken");
    }

    fn receive(&mut self, _waiting: bool) -> Option<Command> {
        None
    }
}

/// Code that catches a worker's panic can ask whether it can continue: not without its module.
#[test]
fn a_worker_that_panicked_has_lost_its_module() {
    let mut worker = bowl_worker(every_four(), sgd(), Broken);
    assert!(worker.is_whole());
    let step = catch_unwind(AssertUnwindSafe(|| worker.step()));
    assert!(step.is_err());
    assert!(!worker.is_whole());
    assert_eq!(worker.exchange(), Next::Stop);
}
