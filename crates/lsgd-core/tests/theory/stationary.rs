//! Where the methods stand still, and whether f does there (arXiv 1905.10395: Leader SGD does not
//! move the stationary points of f, EASGD does).
//!
//! A leader is not pulled. So where no worker moves, `x_leader = x_leader - eta grad f(x_leader)`:
//! **the gradient at the leader is zero.** A follower's need not be: it rests where its gradient
//! and its pull cancel.
//!
//! An EASGD worker is pulled to the centre, and stalls where its gradient and that pull are even,
//! `eta grad f(x) = -alpha / (1 - alpha) (x - centre)`: **unless all workers are at the centre, no
//! worker is at a stationary point of f.**

use std::convert::Infallible;

use burn::optim::GradientsParams;
use lsgd_core::{
    Exchange, LeaderConfig, LeaderSgd, LocalLeader, Loss, Method, Mode, Objective, Worker,
};
use proptest::prelude::*;

use crate::memory::Node;
use crate::setting::{Point, bits, config, exchanges, lsgd, sgd};

const RATE: f64 = 0.5;
/// Enough to stand still.
const STEPS: u64 = 400;

/// Two wells: `f(x) = (x^2 - 1)^2 / 4`, with minima at -1 and 1 and a maximum at 0.
struct Wells {
    /// The gradient of the first batch, instead of f's.
    first: Option<f32>,
}

fn slope(x: f32) -> f32 {
    x * x * x - x
}

impl Objective<Point> for Wells {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let x = at.values()[0];
        let first = self.first.filter(|_| step == 0);
        let loss = (x * x - 1.0).powi(2) / 4.0;
        Ok((loss.into(), at.gradients(&[first.unwrap_or(slope(x))])))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        RATE
    }
}

/// Where workers end that begin on the maximum and that their first batches push into different
/// wells, to -1/2 and 1/2. From then on gradients are full ones.
fn ends_of_two_in_different_wells(method: &Method) -> [f32; 2] {
    let leader = LocalLeader::new(0, 2, method.clone(), Mode::Sync).expect("sync");
    let mut node = Node::new(leader, |exchange| {
        let first = [1.0, -1.0][exchange.id().worker as usize];
        let optimizer = LeaderSgd::new(sgd(), method.clone(), exchange);
        Worker::new(Point::at(&[0.0]), optimizer, Wells { first: Some(first) })
    });
    assert_eq!(node.run(STEPS), Ok(true));
    let ends: Vec<f32> = node.workers().map(|w| w.module().values()[0]).collect();
    ends.try_into().expect("two workers")
}

fn leader_sgd(pull: f64) -> Method {
    lsgd(LeaderConfig {
        local_pull: pull,
        ..config()
    })
}

/// alpha is 1/5 and eta 1/2: `1/2 (x^3 - x) = -1/4 x` at the places +-sqrt(1/2) around the centre
/// 0, where the gradients are -+sqrt(1/8).
#[test]
fn easgd_stands_still_where_f_does_not() {
    let method = Method::easgd(exchanges(1), 0.4).expect("valid");
    let ends = ends_of_two_in_different_wells(&method);
    for (x, side) in ends.into_iter().zip([-1.0, 1.0]) {
        assert!((x - side * 0.5_f32.sqrt()).abs() < 1e-6, "{ends:?}");
        assert!(
            (slope(x) + side * 0.125_f32.sqrt()).abs() < 1e-6,
            "{ends:?}"
        );
    }
}

/// With the same strength the follower leaves its well, and both end at the leader's minimum.
#[test]
fn leader_sgd_stands_still_at_a_minimum() {
    let ends = ends_of_two_in_different_wells(&leader_sgd(0.2));
    assert_eq!(ends[0], -1.0);
    assert!((ends[1] + 1.0).abs() < 1e-6, "{ends:?}");
}

/// A pull too weak to take the follower out of its well: the leader is at a minimum all the same.
/// The follower is where `1/2 (x - x^3) = 1/49 (x + 1)`, near 0.9574.
#[test]
fn a_follower_may_stand_still_on_a_slope() {
    let ends = ends_of_two_in_different_wells(&leader_sgd(0.02));
    assert_eq!(ends[0], -1.0);
    let x = f64::from(ends[1]);
    let uneven = 0.5 * (x - x.powi(3)) - (x + 1.0) / 49.0;
    assert!(uneven.abs() < 1e-6 && x > 0.9, "{ends:?}");
    assert!(slope(ends[1]) < -0.05, "{ends:?}");
}

proptest! {
    /// All workers at one stationary point, whatever its bits: no step and no pull moves any of
    /// them by a bit.
    #[test]
    fn a_common_stationary_point_is_kept_bit_for_bit(
        x in prop::array::uniform4(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL),
        pull in 0.0..=1.0,
        prox in 0.0..=1.0,
    ) {
        let method = lsgd(LeaderConfig {
            local_pull: pull,
            local_prox: prox,
            ..config()
        });
        let leader = LocalLeader::new(0, 3, method.clone(), Mode::Sync).expect("sync");
        let mut node = Node::new(leader, |exchange| {
            let optimizer = LeaderSgd::new(sgd(), method.clone(), exchange);
            Worker::new(Point::at(&x), optimizer, Flat)
        });
        prop_assert_eq!(node.run(5), Ok(true));
        for worker in node.workers() {
            prop_assert_eq!(bits(&worker.module().values()), bits(&x));
        }
    }

    /// Whatever the starts and the strength: where Leader SGD ends, the gradient at its leader is
    /// zero.
    #[test]
    fn the_leader_stands_still_only_where_f_does(
        starts in prop::array::uniform3(-1.8_f32..1.8),
        pull in 0.001..=1.0,
    ) {
        let method = leader_sgd(pull);
        let leader = LocalLeader::new(0, 3, method.clone(), Mode::Sync).expect("sync");
        let mut node = Node::new(leader, |exchange| {
            let start = starts[exchange.id().worker as usize];
            let optimizer = LeaderSgd::new(sgd(), method.clone(), exchange);
            Worker::new(Point::at(&[start]), optimizer, Wells { first: None })
        });
        prop_assert_eq!(node.run(STEPS), Ok(true));
        let ends: Vec<f32> = node.workers().map(|w| w.module().values()[0]).collect();
        let height = |x: &f32| (x * x - 1.0).powi(2);
        let lowest = ends.iter().copied().min_by(|a, b| height(a).total_cmp(&height(b)));
        let lowest = lowest.expect("three workers");
        prop_assert!(slope(lowest).abs() < 1e-6, "{ends:?}");
    }
}

/// At a stationary point of whatever place.
struct Flat;

impl Objective<Point> for Flat {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, _step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        Ok((1.0.into(), at.gradients(&[0.0; 4])))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        RATE
    }
}
