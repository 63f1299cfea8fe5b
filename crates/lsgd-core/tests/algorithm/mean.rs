//! Method `local_sgd`: the mean of all parameters every period, which proves the vector `mean`.

use lsgd_core::{
    Command, Event, LeaderSgd, LocalLeader, Message, Method, MethodError, Mode, Objective,
    VectorKind, Worker,
};

use crate::leader_sync::{commands, leader, node_of};
use crate::memory::Node;
use crate::setting::{Bowl, Halves, Place, Point, bits, digest, exchanges, report, sgd, snapshot};

fn local_sgd(period: u64) -> Method {
    Method::local_sgd(exchanges(period)).expect("a valid period")
}

fn part(worker: u32, x: &[f32]) -> Message {
    Message::Publish(VectorKind::Mean, Ok(snapshot(worker, 4, x)))
}

/// `local_sgd`: `x <- (sum of x in id command) / W`, bit for bit.
#[test]
fn local_sgd_moves_all_to_the_mean() {
    let mut leader = leader(3, local_sgd(4));
    let parts = [0.1_f32, 0.7, -12.9];
    for worker in [2, 0, 1] {
        leader.receive(worker, report(worker, 4, 1.0));
        leader.receive(worker, part(worker, &[parts[worker as usize]]));
    }
    let mean = (parts[0] + parts[1] + parts[2]) / 3.0;
    let mut adopted = 0;
    while let Some((_, command)) = leader.next_command() {
        let Command::Adopt(delivery) = command else {
            panic!("only adoptions: {command:?}");
        };
        let target = delivery.local.mean.expect("a mean");
        assert_eq!(bits(target.parameters()), bits(&[mean]));
        adopted += 1;
    }
    assert_eq!(adopted, 3);
}

/// After an exchange of `local_sgd` all workers are at one place.
#[test]
fn local_sgd_ends_in_one_place() {
    let mut node = node_of(3, &local_sgd(5), Mode::Sync);
    assert_eq!(node.run(10), Ok(true));
    let ends: Vec<String> = node.workers().map(|w| digest(w.module())).collect();
    assert!(ends.iter().all(|end| *end == ends[0]));
}

/// A part that is refused ends the exchange for all, but not before all have come.
#[test]
fn refused_part_of_a_mean_keeps_workers_in_step() {
    let mut leader = leader(2, local_sgd(4));
    leader.receive(0, report(0, 4, 1.0));
    leader.receive(0, part(0, &[f32::NAN]));
    assert_eq!(
        commands(&mut leader),
        [],
        "worker 1 would find an order before it came"
    );
    leader.receive(1, report(1, 4, 1.0));
    leader.receive(1, part(1, &[1.0]));
    assert_eq!(commands(&mut leader), [(0, "go on"), (1, "go on")]);
    // The next exchange starts with nothing left over from this one.
    leader.receive(1, report(1, 8, 1.0));
    leader.receive(1, part(1, &[3.0]));
    assert_eq!(commands(&mut leader), []);
    leader.receive(0, report(0, 8, 1.0));
    leader.receive(0, part(0, &[5.0]));
    assert_eq!(commands(&mut leader), [(0, "adopt"), (1, "adopt")]);
}

/// A mean that is not finite although its parts are is refused, and no worker hangs.
#[test]
fn mean_that_overflows_is_refused() {
    let mut leader = leader(2, local_sgd(4));
    for worker in 0..2 {
        leader.receive(worker, report(worker, 4, 1.0));
        leader.receive(worker, part(worker, &[3e38]));
    }
    assert_eq!(commands(&mut leader), [(0, "go on"), (1, "go on")]);
    let refused = |event: &Event| matches!(event, Event::Refused { .. });
    assert!(std::iter::from_fn(|| leader.next_event()).any(|event| refused(&event)));
}

/// A leaver does not stop a mean: it is of those who are left.
#[test]
fn leave_during_a_mean() {
    let mut leader = leader(3, local_sgd(4));
    for worker in [0, 2] {
        leader.receive(worker, report(worker, 4, 1.0));
        leader.receive(worker, part(worker, &[worker as f32]));
    }
    assert_eq!(commands(&mut leader), []);
    leader.leave(1);
    assert_eq!(commands(&mut leader), [(0, "adopt"), (2, "adopt")]);
}

/// A mean of all needs all to meet.
#[test]
fn mean_cannot_be_async() {
    let refused = LocalLeader::new(0, 2, local_sgd(4), Mode::Async).map(|_| ());
    let method = "local_sgd";
    assert_eq!(refused, Err(MethodError::NeedsSync { method }));
}

/// The parameters of two workers that share gradients, after four steps.
fn shared_gradients<M: Place>() -> Vec<Vec<u32>>
where
    Bowl: Objective<M>,
{
    let method = Method::data_parallel(1, exchanges(1).batch_norm).expect("valid");
    let leader = leader(2, method.clone());
    let mut node = Node::new(leader, |exchange| {
        let bowl = Bowl::new(lsgd_core::Exchange::id(&exchange).worker);
        let optimizer = LeaderSgd::new(sgd(), method.clone(), exchange);
        Worker::new(M::place(&[1.0, 2.0]), optimizer, bowl)
    });
    assert!(matches!(node.run(4), Ok(true)));
    let values = node
        .workers()
        .map(|worker| bits(&Place::values(worker.module())));
    values.collect()
}

/// Gradients are matched to their parameters wherever in a module they are: two layers of one
/// number each give the same result as one layer of two.
#[test]
fn a_mean_gradient_does_not_depend_on_how_a_module_is_divided() {
    assert_eq!(shared_gradients::<Halves>(), shared_gradients::<Point>());
}
