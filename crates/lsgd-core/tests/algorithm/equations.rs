//! The update equations of Algorithm 1, one test each, on numbers that are exact in binary.

use lsgd_core::{LeaderConfig, LeaderSgd, Message, Scope, Source, WorkerId};

use crate::memory::QueueExchange;
use crate::setting::{
    Point, adopt, bits, config, lsgd, snapshot, snapshot_of, step_and_handle, worker_with_exchange,
};

fn pulled(config: LeaderConfig, from: &[f32], to: &[f32]) -> Vec<f32> {
    let (mut worker, exchange) = worker_with_exchange(lsgd(config));
    let command = adopt(Some(snapshot(1, 1, to)), None);
    step_and_handle(&mut worker, &exchange, Point::at(from), command).values()
}

/// `x <- x - lambda (x - leader)`
#[test]
fn local_pull() {
    assert_eq!(pulled(config(), &[4.0, 0.0], &[0.0, 2.0]), [3.0, 0.5]);
}

/// `x <- x - lambda_G (x - leader of all)`
#[test]
fn global_pull() {
    let (mut worker, exchange) = worker_with_exchange(lsgd(config()));
    let command = adopt(None, Some(snapshot_of(WorkerId::new(3, 1), 1, &[8.0])));
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[4.0]), command);
    assert_eq!(at.values(), [6.0]);
}

/// Algorithm 1: the global pull comes after the local one.
#[test]
fn global_pull_after_local_pull() {
    let (mut worker, exchange) = worker_with_exchange(lsgd(config()));
    let global = snapshot_of(WorkerId::new(1, 0), 1, &[16.0]);
    let command = adopt(Some(snapshot(1, 1, &[0.0])), Some(global));
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[8.0]), command);
    // 8 -> 6 (local, 1/4 toward 0) -> 11 (global, 1/2 toward 16); the other order gives 9.
    assert_eq!(at.values(), [11.0]);
}

/// The whole step: gradient, global prox, local prox, local pull, global pull.
#[test]
fn order_of_a_step() {
    let method = lsgd(LeaderConfig {
        local_pull: 0.5,
        global_pull: 0.5,
        local_prox: 0.5,
        global_prox: 0.25,
        ..config()
    });
    let (mut worker, exchange) = worker_with_exchange(method);
    let both = |local: f32, global: f32| {
        adopt(
            Some(snapshot(1, 1, &[local])),
            Some(snapshot_of(WorkerId::new(1, 0), 1, &[global])),
        )
    };
    // 0 -> 4 -> 10: no prox yet, there was no leader before.
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[0.0]), both(8.0, 16.0));
    assert_eq!(at.values(), [10.0]);
    // Gradient 10 -> 32; global prox toward 16 -> 28; local prox toward 8 -> 18;
    // local pull toward 2 -> 10; global pull toward -6 -> 2.
    exchange.queues().commands.push_back(both(2.0, -6.0));
    let gradients = at.gradients(&[-22.0]);
    let at = worker.step(1.0, at, gradients);
    assert_eq!(at.values(), [2.0]);
}

/// `x <- x - (p1 / tau) (x - last local leader)`, every step once there is a leader.
#[test]
fn local_prox_every_step_after_the_first_leader() {
    let method = lsgd(LeaderConfig {
        local_pull: 0.0,
        local_prox: 0.5,
        local_period: 4,
        global_period: 4,
        ..config()
    });
    let (mut worker, exchange) = worker_with_exchange(method);
    let still = |worker: &mut LeaderSgd, at: Point| {
        let gradients = at.gradients(&[0.0]);
        worker.step(1.0, at, gradients)
    };
    let at = still(&mut worker, Point::at(&[64.0]));
    assert_eq!(at.values(), [64.0], "no leader yet");
    let at = step_and_handle(
        &mut worker,
        &exchange,
        at,
        adopt(Some(snapshot(1, 1, &[0.0])), None),
    );
    assert_eq!(
        at.values(),
        [64.0],
        "the exchange itself pulls by local_pull, nought here"
    );
    let at = still(&mut worker, at);
    assert_eq!(at.values(), [56.0], "an eighth: 0.5 over a period of 4");
    let at = still(&mut worker, at);
    assert_eq!(at.values(), [49.0]);
}

/// `x <- x - (p2 / tau_G) (x - last global leader)`
#[test]
fn global_prox_uses_the_global_period() {
    let method = lsgd(LeaderConfig {
        global_pull: 0.0,
        global_prox: 0.5,
        local_period: 2,
        global_period: 8,
        ..config()
    });
    let (mut worker, exchange) = worker_with_exchange(method);
    let command = adopt(None, Some(snapshot_of(WorkerId::new(1, 0), 1, &[0.0])));
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[64.0]), command);
    let gradients = at.gradients(&[0.0]);
    assert_eq!(worker.step(1.0, at, gradients).values(), [60.0]);
}

/// The prox pulls are toward the leader last received, not toward an older one.
#[test]
fn prox_follows_a_new_leader() {
    let method = lsgd(LeaderConfig {
        local_pull: 0.0,
        local_prox: 0.5,
        ..config()
    });
    let (mut worker, exchange) = worker_with_exchange(method);
    let first = adopt(Some(snapshot(1, 1, &[-100.0])), None);
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[8.0]), first);
    exchange.queues().commands.clear();
    let second = adopt(Some(snapshot(2, 2, &[8.0])), None);
    let at = step_and_handle(&mut worker, &exchange, at, second);
    assert_eq!(at.values(), [-46.0]);
    let gradients = at.gradients(&[0.0]);
    assert_eq!(worker.step(1.0, at, gradients).values(), [-19.0]);
}

/// lambda is not multiplied by the learning rate, and neither is prox.
#[test]
fn strengths_do_not_depend_on_the_learning_rate() {
    let ends = [1.0, 1e-3, 0.0].map(|rate| {
        let method = lsgd(LeaderConfig {
            local_prox: 0.5,
            ..config()
        });
        let (mut worker, exchange) = worker_with_exchange(method);
        let mut at = Point::at(&[8.0, -3.0]);
        for _ in 0..3 {
            let command = adopt(Some(snapshot(1, 1, &[0.0, 1.0])), None);
            exchange.queues().commands.push_back(command);
            let gradients = at.gradients(&[0.0, 0.0]);
            at = worker.step(rate, at, gradients);
        }
        bits(&at.values())
    });
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
}

/// `x - (x - l)` is not `l` in floating point; a pull of one is.
#[test]
fn pull_of_one_lands_on_the_leader_bit_for_bit() {
    let leader = [0.1, 1e-30, -0.0, f32::MIN_POSITIVE / 8.0, 3e38, -7.25];
    let from = [1e10, 3.0, 5.0, 1.0, -3e38, 1e-20];
    let config = LeaderConfig {
        local_pull: 1.0,
        ..config()
    };
    assert_eq!(bits(&pulled(config, &from, &leader)), bits(&leader));
}

/// A pull of zero leaves the bits alone, where `x - l` overflows too.
#[test]
fn pull_of_nought_leaves_the_bits_alone() {
    let from = [3e38, -0.0, 1e-40, 0.1];
    let config = LeaderConfig {
        local_pull: 0.0,
        ..config()
    };
    let end = pulled(config, &from, &[-3e38, 1.0, 1.0, 0.3]);
    assert_eq!(bits(&end), bits(&from));
}

/// The leader is not pulled to itself, neither at an exchange nor by prox, to whatever it
/// published before.
#[test]
fn leader_is_not_pulled_to_itself() {
    let method = lsgd(LeaderConfig {
        local_prox: 0.5,
        global_prox: 0.5,
        ..config()
    });
    let (mut worker, exchange) = worker_with_exchange(method);
    let own = snapshot(0, 1, &[100.0]);
    let command = adopt(Some(own.clone()), Some(own));
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[8.0]), command);
    assert_eq!(at.values(), [8.0]);
    let gradients = at.gradients(&[0.0]);
    assert_eq!(worker.step(1.0, at, gradients).values(), [8.0]);
    assert!(!sent_adoption(&exchange));
}

/// A worker that has led and is then led by another follows the other.
#[test]
fn former_leader_follows() {
    let (mut worker, exchange) = worker_with_exchange(lsgd(config()));
    let own = adopt(Some(snapshot(0, 1, &[8.0])), None);
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[8.0]), own);
    let other = adopt(Some(snapshot(1, 2, &[0.0])), None);
    let at = step_and_handle(&mut worker, &exchange, at, other);
    assert_eq!(at.values(), [6.0]);
}

/// A pull is reported to the local leader, with its size.
#[test]
fn adoption_is_reported() {
    let (mut worker, exchange) = worker_with_exchange(lsgd(config()));
    let command = adopt(Some(snapshot(1, 7, &[0.0])), None);
    step_and_handle(&mut worker, &exchange, Point::at(&[8.0]), command);
    let told = exchange.queues().sent.iter().any(|message| {
        matches!(message, Message::Adopted {
            step: 1,
            scope: Scope::Local,
            source: Source::Worker { id, step: 7 },
            strength: 0.25,
            ..
        } if *id == WorkerId::new(0, 1))
    });
    assert!(told);
}

/// An exchange that delivers nothing changes nothing.
#[test]
fn nothing_delivered_nothing_pulled() {
    let (mut worker, exchange) = worker_with_exchange(lsgd(config()));
    let at = step_and_handle(&mut worker, &exchange, Point::at(&[0.1]), adopt(None, None));
    assert_eq!(at.values(), [0.1]);
    assert!(!sent_adoption(&exchange));
}

/// Values that are not finite or belong to another model never reach a worker, and this is
/// reported.
#[test]
fn unfit_leader_is_refused_by_the_follower() {
    for unfit in [&[f32::NAN][..], &[f32::INFINITY], &[1.0, 2.0]] {
        let (mut worker, exchange) = worker_with_exchange(lsgd(config()));
        let command = adopt(Some(snapshot(1, 1, unfit)), None);
        let at = step_and_handle(&mut worker, &exchange, Point::at(&[8.0]), command);
        assert_eq!(at.values(), [8.0]);
        assert!(!sent_adoption(&exchange));
        let told = |message: &Message| matches!(message, Message::Refused { step: 1, .. });
        assert!(
            exchange.queues().sent.iter().any(told),
            "{unfit:?} refused in silence"
        );
    }
}

fn sent_adoption(exchange: &QueueExchange) -> bool {
    let adopted = |message: &Message| matches!(message, Message::Adopted { .. });
    exchange.queues().sent.iter().any(adopted)
}
