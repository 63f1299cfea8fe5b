//! Limits on gradients, by hand: PyTorch's numbers are in lsgd-train's `tests/torch/optimizers.json`.

use std::convert::Infallible;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use lsgd_core::{
    Exchange, GradientClip, LeaderSgd, LocalLeader, Loss, Method, Mode, Objective, Worker, WorkerId,
};

use crate::memory::{Node, QueueExchange};
use crate::setting::{Halves, Place, Point, bits, exchanges, floats, sgd};

/// Gradients of 3 and 4: a norm of 5.
fn gradients(of: &Halves) -> GradientsParams {
    let mut gradients = of.first.gradients(&[3.0]);
    let second = Tensor::<1>::from_data([4.0], &Device::flex());
    gradients.register(of.second.x.id, second);
    gradients
}

fn limited(clip: GradientClip) -> [f32; 2] {
    let at = Halves::place(&[0.0, 0.0]);
    let gradients = clip.apply(&at, gradients(&at));
    [&at.first, &at.second].map(|half| {
        let gradient = gradients.get::<1>(half.x.id).expect("it has a gradient");
        floats(gradient)[0]
    })
}

#[test]
fn the_norm_is_that_of_all_tensors_together() {
    let [first, second] = limited(GradientClip::Norm(1.0));
    assert!((first - 0.6).abs() < 1e-6 && (second - 0.8).abs() < 1e-6);
    // Within the limit nothing changes, to the bit.
    assert_eq!(limited(GradientClip::Norm(5.1)), [3.0, 4.0]);
    assert_eq!(limited(GradientClip::Value(3.5)), [3.0, 3.5]);
}

/// A parameter without a gradient has none afterwards, and a module without any is left alone.
#[test]
fn what_has_no_gradient_is_left_alone() {
    let at = Halves::place(&[0.0, 0.0]);
    for clip in [GradientClip::Norm(1.0), GradientClip::Value(1.0)] {
        let one = clip.apply(&at, at.first.gradients(&[3.0]));
        assert_eq!(one.len(), 1);
        assert!(clip.apply(&at, GradientsParams::new()).is_empty());
    }
}

/// A gradient that is not finite stays one, so that the worker is seen to fail.
#[test]
fn what_is_not_finite_stays_so() {
    for value in [f32::NAN, f32::INFINITY] {
        let at = Point::at(&[0.0, 0.0]);
        let gradients = GradientClip::Norm(1.0).apply(&at, at.gradients(&[value, 1.0]));
        let found = floats(gradients.get::<1>(at.x.id).expect("it has a gradient"));
        assert!(!found[0].is_finite(), "{found:?}");
    }
}

#[test]
fn limits_out_of_range_are_refused() {
    let refused = |clip: GradientClip| clip.check().map_err(|why| why.to_string());
    for good in [GradientClip::Norm(1e-9), GradientClip::Value(0.0)] {
        assert_eq!(refused(good), Ok(()));
    }
    for (bad, text) in [
        (GradientClip::Norm(0.0), "clip_norm 0 is not over 0"),
        (GradientClip::Norm(f64::NAN), "clip_norm NaN is not over 0"),
        (GradientClip::Value(-1.0), "clip_value -1 is not at least 0"),
        (
            GradientClip::Value(f64::NAN),
            "clip_value NaN is not at least 0",
        ),
    ] {
        assert_eq!(refused(bad), Err(String::from(text)));
    }
}

/// The limit is applied to the gradient of a step, before the inner optimizer.
#[test]
fn a_worker_takes_limited_steps() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let mut optimizer =
        LeaderSgd::new(sgd(), Method::sgd(1), exchange).clipping(Some(GradientClip::Value(0.5)));
    let at = Point::at(&[1.0, 2.0]);
    let gradients = at.gradients(&[-3.0, 0.25]);
    assert_eq!(optimizer.step(1.0, at, gradients).values(), [1.5, 1.75]);
}

/// A constant gradient.
struct Slope(f32);

impl Objective<Point> for Slope {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, _step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        Ok((Loss::from(1.0_f32), at.gradients(&[self.0])))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        1.0
    }
}

/// Gradients of 10 and -8 have a mean of 1, which is within a limit of 2; limited one by one they would
/// have a mean of 0.
#[test]
fn shared_gradients_are_limited_after_their_mean() {
    let method = Method::data_parallel(1, exchanges(1).batch_norm).expect("valid");
    let leader = LocalLeader::new(0, 2, method.clone(), Mode::Sync).expect("runs in sync");
    let mut node = Node::new(leader, |exchange| {
        let slope = [10.0, -8.0][exchange.id().worker as usize];
        let optimizer =
            LeaderSgd::new(sgd(), method.clone(), exchange).clipping(Some(GradientClip::Norm(2.0)));
        Worker::new(Point::at(&[0.0]), optimizer, Slope(slope))
    });
    assert_eq!(node.run(3), Ok(true));
    for worker in node.workers() {
        assert_eq!(bits(&worker.module().values()), bits(&[-3.0]));
    }
}
