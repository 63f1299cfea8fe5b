//! What a worker does with a delivery, by its rule alone, with numbers computed by hand.

use std::sync::Arc;

use lsgd_core::{
    BatchNorm, ExchangeAt, ExchangeConfig, ExchangeOutcome, Layout, Method, OuterStep, Rule, Scope,
    Snapshot, Source, VectorKind, WeightPer, WorkerId,
};

use crate::setting::{Halves, Place, config, exchanges, layout, lsgd, snapshot};

/// The mean of two workers, as an exchange delivers it.
fn mean(x: &[f32]) -> ExchangeOutcome {
    let source = Source::Mean { workers: 2 };
    let made = Snapshot::new(layout(x.len()), source, x.to_vec(), vec![]);
    ExchangeOutcome::mean(Arc::new(made.expect("as long as its layout")))
}

/// Where the rule goes when its node delivers this mean.
fn goes(rule: &mut dyn Rule, x: &[f32]) -> (Source, Vec<f32>, f64) {
    let at = ExchangeAt {
        own: WorkerId::new(0, 0),
        step: 1,
        scope: Scope::Local,
    };
    let go = rule.on_exchange(at, &mean(x)).expect("it goes somewhere");
    let target = go.target.parameters().to_vec();
    (go.target.source(), target, go.strength)
}

/// The centre of EASGD counts its moves, and a worker goes to the one before the move.
#[test]
fn an_elastic_centre_counts_its_moves() {
    let method = Method::easgd(exchanges(1), 0.5).expect("a share");
    let mut rule = method.rule();
    rule.begin(snapshot(0, 0, &[0.0]));
    for (version, centre) in [(0, 0.0), (1, 4.0), (2, 6.0)] {
        let (source, target, strength) = goes(&mut *rule, &[8.0]);
        assert_eq!(source, Source::Centre { version });
        assert_eq!((target, strength), (vec![centre], 0.25));
    }
}

/// A velocity that is too large is dropped, even while the values are still finite: the worker
/// continues from the mean.
#[test]
fn an_outer_velocity_that_overflows_begins_again() {
    let step = OuterStep {
        learning_rate: 1e-30,
        momentum: 0.9,
        nesterov: false,
    };
    let method = Method::diloco("slowmo", exchanges(1), step).expect("a step");
    let mut rule = method.rule();
    rule.begin(snapshot(0, 0, &[0.0]));
    let (_, near, _) = goes(&mut *rule, &[-3e38]);
    assert_eq!(near, [-3e8_f32], "outer <- 0 - rate (0 + 3e38)");
    // 0.9 * 3e38 + 3e38 is no f32.
    let (source, there, _) = goes(&mut *rule, &[-3e38]);
    assert_eq!(there, [-3e38]);
    assert_eq!(source, Source::Mean { workers: 2 });
}

/// A weight is one over the mean norm of the gradients since the last exchange: (2 + 4) / 2.
#[test]
fn a_weight_is_of_the_mean_norm_of_a_period() {
    for (per, squares, expected) in [
        (WeightPer::Model, [[4.0, 0.0], [7.0, 9.0]], vec![1.0 / 3.0]),
        (
            WeightPer::Layer,
            [[4.0, 1.0], [16.0, 1.0]],
            vec![1.0 / 3.0, 1.0],
        ),
    ] {
        let method = Method::grawa(exchanges(1), per, 0.5, 0.5).expect("pulls");
        let own = Halves::place(&[6.0, 6.0]);
        let source = snapshot(0, 0, &[0.0]).source();
        let own = lsgd_core::read(&own, &Layout::of(&own), source).expect("of its own layout");
        let mut rule = method.rule();
        // Steps before an exchange do not count after it.
        for _ in 0..2 {
            for of_step in squares {
                rule.observe(&of_step);
            }
            let brought = rule.contribution(Arc::new(own.clone()));
            assert_eq!(brought.weights(), expected, "{per:?}");
        }
        let sum = Source::Sum { workers: 1 };
        assert_eq!(method.weights_of(sum, own.layout()), expected.len());
        assert_eq!(
            method.weights_of(source, own.layout()),
            0,
            "one worker's own"
        );
    }
    let plain = Method::local_sgd(exchanges(1)).expect("a period");
    let sum = Source::Sum { workers: 1 };
    assert_eq!(plain.weights_of(sum, &layout(2)), 0);
}

/// What a method says of itself.
#[test]
fn methods_say_what_they_carry() {
    let staying = lsgd(config()).with_margin(0.25).expect("a share");
    assert_eq!((lsgd(config()).margin(), staying.margin()), (0.0, 0.25));
    let of = |batch_norm| ExchangeConfig {
        batch_norm,
        ..exchanges(1)
    };
    let local_sgd = Method::local_sgd(of(BatchNorm::Own)).expect("a period");
    let centre = Method::downpour(of(BatchNorm::Own)).expect("a period");
    assert_eq!(staying.vectors(), [VectorKind::Parameters]);
    assert_eq!(local_sgd.vectors(), [VectorKind::Mean]);
    assert_eq!(centre.vectors(), [VectorKind::Centre]);
}
