//! Workers that are ranked by their loss on a probe, and leaders that stay by a margin.

use std::convert::Infallible;

use burn::optim::GradientsParams;
use lsgd_core::{
    Election, Event, Exclusion, LeaderConfig, LeaderSgd, LocalLeader, Loss, Method, MethodError,
    Mode, Objective, Reason, Worker, WorkerId,
};

use crate::leader_sync::node_of;
use crate::memory::Node;
use crate::setting::{Bowl, Point, config, lsgd, report, sgd};

/// A bowl with a probe whose loss is known, if there is one.
struct Probed {
    bowl: Bowl,
    loss: Option<f64>,
    asked: u64,
}

impl Objective<Point> for Probed {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        self.bowl.gradients(at, step)
    }

    fn probe(&mut self, _at: &Point) -> Result<Option<f64>, Infallible> {
        self.asked += 1;
        Ok(self.loss)
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        self.bowl.rate
    }
}

fn every_four() -> Method {
    lsgd(LeaderConfig {
        local_period: 4,
        global_period: 4,
        ..config()
    })
}

fn node(mode: Mode, losses: [Option<f64>; 2]) -> Node<Point, Probed> {
    let method = every_four().ranked_by_probe();
    let leader = LocalLeader::new(0, 2, method.clone(), mode).expect("runs in both modes");
    Node::new(leader, |exchange| {
        let worker = lsgd_core::Exchange::id(&exchange).worker;
        let optimizer = LeaderSgd::new(sgd(), method.clone(), exchange);
        let probed = Probed {
            bowl: Bowl::new(worker),
            loss: losses[worker as usize],
            asked: 0,
        };
        Worker::new(Point::at(&[1.0, 2.0]), optimizer, probed)
    })
}

fn elections(node: &Node<Point, Probed>) -> Vec<Election> {
    let election = |event: &Event| match event {
        Event::Election { election, .. } => Some(election.clone()),
        _ => None,
    };
    node.events().iter().filter_map(election).collect()
}

/// Whatever the training loss, the lowest loss on the probe leads.
#[test]
fn the_probe_ranks_workers() {
    for mode in [Mode::Sync, Mode::Async] {
        let mut node = node(mode, [Some(2.0), Some(1.0)]);
        assert_eq!(node.run(12), Ok(true));
        let elections = elections(&node);
        assert_eq!(elections.len(), 3, "{mode:?}");
        for election in elections {
            assert_eq!(election.leader, Some(WorkerId::new(0, 1)));
            let (loss, next) = (1.0, 2.0);
            assert_eq!(election.reason, Reason::LowestLoss { loss, next });
        }
        for worker in node.workers() {
            let loss = worker.optimizer().report().loss;
            assert_ne!(loss, worker.optimizer().loss(), "that is of training");
        }
    }
}

/// Every tau steps, and not where nothing is ranked by it.
#[test]
fn the_probe_is_looked_at_once_a_period() {
    let mut node = node(Mode::Sync, [Some(2.0), Some(1.0)]);
    assert_eq!(node.run(13), Ok(true));
    let method = every_four();
    let optimizer = LeaderSgd::new(
        sgd(),
        method,
        crate::memory::QueueExchange::new(WorkerId::new(0, 0), Mode::Async),
    );
    let probed = Probed {
        bowl: Bowl::new(0),
        loss: Some(1.0),
        asked: 0,
    };
    let mut plain = Worker::new(Point::at(&[1.0, 2.0]), optimizer, probed);
    for _ in 0..13 {
        plain.step().expect("never fails");
    }
    assert_eq!(plain.objective_mut().asked, 0);
    let mut last = node.into_workers();
    assert!(last.all(|mut worker| worker.objective_mut().asked == 3));
}

#[test]
fn without_a_probe_nobody_leads() {
    let mut node = node(Mode::Sync, [None, None]);
    assert_eq!(node.run(4), Ok(true));
    let elections = elections(&node);
    assert_eq!(elections[0].reason, Reason::NoneEligible);
    let (have, need) = (0, 1);
    let why = Exclusion::WindowNotFull { have, need };
    assert_eq!(elections[0].excluded[0], (WorkerId::new(0, 0), why));
}

/// A worker that is better by less than the margin does not take over; one that dies leaves its
/// place.
#[test]
fn a_leader_stays_until_another_is_better_by_the_margin() {
    let method = every_four().with_margin(0.25).expect("in [0, 1)");
    let mut leader = LocalLeader::new(0, 2, method, Mode::Sync).expect("sync");
    let mut lead = |losses: [f64; 2]| {
        for (worker, loss) in (0..).zip(losses) {
            leader.receive(worker, report(worker, 4, loss));
        }
        let election = std::iter::from_fn(|| leader.next_event()).find_map(|event| match event {
            Event::Election { election, .. } => Some(election),
            _ => None,
        });
        let led = election.expect("all are there").leader.expect("finite");
        while leader.next_command().is_some() {}
        let snapshot = crate::setting::snapshot(led.worker, 4, &[1.0, 2.0]);
        let vector = lsgd_core::VectorKind::Parameters;
        leader.receive(
            led.worker,
            lsgd_core::Message::Publish(vector, Ok(snapshot)),
        );
        while leader.next_command().is_some() {}
        led.worker
    };
    assert_eq!(lead([4.0, 3.5]), 1, "nobody has led yet");
    assert_eq!(lead([3.5, 4.0]), 1);
    assert_eq!(lead([2.9, 4.0]), 0);
    assert_eq!(lead([4.0, 3.1]), 0);
    assert_eq!(lead([f64::NAN, 3.9]), 1);
}

#[test]
fn a_margin_is_a_share() {
    for margin in [-0.1, 1.0, f64::NAN] {
        let refused = every_four().with_margin(margin).map(|_| ()).unwrap_err();
        assert!(matches!(refused, MethodError::Range { key: "margin", .. }));
    }
}

/// Where workers are ranked by a probe, one whose objective has none never leads.
#[test]
fn an_objective_without_a_probe_ranks_nobody() {
    let method = every_four().ranked_by_probe();
    let mut node = node_of(2, &method, Mode::Sync);
    assert_eq!(node.run(4), Ok(true));
    let elected = node.events().iter().find_map(|event| match event {
        Event::Election { election, .. } => Some(election.reason.clone()),
        _ => None,
    });
    assert_eq!(elected, Some(Reason::NoneEligible));
}
