//! The rates of whole runs, those of PyTorch's schedulers among them.

use proptest::prelude::*;

use super::*;
use crate::config::{Anneal, Drop};

fn schedule(kind: ScheduleKind) -> ScheduleConfig {
    ScheduleConfig {
        kind,
        ..ScheduleConfig::default()
    }
}

fn epoch(examples: u64, examples_per_step: u64) -> Epoch {
    Epoch {
        examples,
        examples_per_step,
    }
}

fn drop_at(steps: u64, factor: f64) -> Drop {
    Drop {
        epochs: None,
        steps: Some(steps),
        factor,
    }
}

fn assert_rates(rate: &LearningRate, expected: &[f64]) {
    for (step, expected) in (0..).zip(expected) {
        let found = rate.at(step);
        assert!(
            (found - expected).abs() < 1e-15,
            "step {step}: {found}, not {expected}"
        );
    }
}

#[test]
fn constant_is_the_same_throughout() {
    let rate = LearningRate::new(&schedule(ScheduleKind::Constant), epoch(10, 1), Some(3));
    assert_rates(&rate, &[0.1, 0.1, 0.1, 0.1, 0.1]);
    assert_eq!(rate.at(u64::MAX), 0.1);
}

/// PyTorch 2.15, the rate before each optimizer step:
///
/// ```python
/// p = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([p], lr=0.1)
/// s = MultiStepLR(o, [3, 5], gamma=0.1)
/// for _ in range(8): print(o.param_groups[0]["lr"]); o.step(); s.step()
/// ```
#[test]
fn steps_match_multi_step_lr() {
    let drops = vec![drop_at(3, 0.1), drop_at(5, 0.1)];
    let config = ScheduleConfig {
        drops,
        ..schedule(ScheduleKind::Steps)
    };
    let rate = LearningRate::new(&config, epoch(10, 1), None);
    assert_rates(&rate, &[0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001]);
}

/// As above with `s = CosineAnnealingLR(o, T_max=10)`.
#[test]
fn cosine_matches_cosine_annealing_lr() {
    let rate = LearningRate::new(&schedule(ScheduleKind::Cosine), epoch(10, 1), Some(10));
    let expected = [
        0.1,
        0.09755282581475769,
        0.09045084971874738,
        0.07938926261462367,
        0.06545084971874739,
        0.05000000000000001,
        0.03454915028125264,
        0.020610737385376353,
        0.009549150281252635,
        0.002447174185242324,
        0.0,
    ];
    assert_rates(&rate, &expected);
    assert_eq!(rate.at(11), 0.0);
}

/// As above with `s = SequentialLR(o, [LinearLR(o, start_factor=1/4, total_iters=3),
/// CosineAnnealingLR(o, T_max=6)], [4])`.
#[test]
fn warm_up_then_cosine_matches_sequential_lr() {
    let warmup = Some(Span {
        epochs: None,
        steps: Some(4),
    });
    let config = ScheduleConfig {
        warmup,
        ..schedule(ScheduleKind::Cosine)
    };
    let rate = LearningRate::new(&config, epoch(10, 1), Some(10));
    let expected = [
        0.025,
        0.05,
        0.07500000000000001,
        0.1,
        0.1,
        0.09330127018922195,
        0.07500000000000001,
        0.05,
        0.025000000000000012,
        0.006698729810778065,
        0.0,
    ];
    assert_rates(&rate, &expected);
}

/// 2.5 steps per epoch: one epoch ends during the third step, so the fourth is the first after
/// it (s = 3); two epochs end after exactly five steps (s = 5).
#[test]
fn epochs_become_the_first_step_at_or_after_them() {
    let drops = [1.0, 2.0].map(|epochs| Drop {
        epochs: Some(epochs),
        steps: None,
        factor: 0.5,
    });
    let config = ScheduleConfig {
        learning_rate: 8.0,
        drops: drops.to_vec(),
        ..schedule(ScheduleKind::Steps)
    };
    let rate = LearningRate::new(&config, epoch(5, 2), None);
    assert_rates(&rate, &[8.0, 8.0, 8.0, 4.0, 4.0, 2.0, 2.0]);

    let warmup = Some(Span {
        epochs: Some(1.6),
        steps: None,
    });
    let config = ScheduleConfig {
        learning_rate: 8.0,
        warmup,
        ..ScheduleConfig::default()
    };
    assert_rates(
        &LearningRate::new(&config, epoch(5, 2), None),
        &[2.0, 4.0, 6.0, 8.0, 8.0],
    );
}

/// 0.07 x 100 is 7.000000000000001 in floating point, and its ceiling 8.
#[test]
fn epochs_that_are_whole_steps_are_those_steps() {
    let config = ScheduleConfig {
        learning_rate: 8.0,
        drops: vec![Drop {
            epochs: Some(0.07),
            steps: None,
            factor: 0.5,
        }],
        ..schedule(ScheduleKind::Steps)
    };
    let rate = LearningRate::new(&config, epoch(100, 1), None);
    assert_eq!((rate.at(6), rate.at(7)), (8.0, 4.0));
}

/// A drop within warm-up takes effect after warm-up.
#[test]
fn warm_up_rises_to_the_undropped_rate() {
    let config = ScheduleConfig {
        learning_rate: 8.0,
        drops: vec![drop_at(1, 0.5), drop_at(5, 0.5)],
        warmup: Some(Span {
            epochs: None,
            steps: Some(4),
        }),
        ..schedule(ScheduleKind::Steps)
    };
    let rate = LearningRate::new(&config, epoch(10, 1), None);
    assert_rates(&rate, &[2.0, 4.0, 6.0, 8.0, 4.0, 2.0, 2.0]);
}

/// A cosine without room after warm-up ends at the budget.
#[test]
fn warm_up_longer_than_the_run() {
    let warmup = Some(Span {
        epochs: None,
        steps: Some(8),
    });
    let config = ScheduleConfig {
        learning_rate: 8.0,
        warmup,
        ..schedule(ScheduleKind::Cosine)
    };
    let rate = LearningRate::new(&config, epoch(10, 1), Some(4));
    assert_rates(&rate, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0]);
}

/// `schedules.py` made the numbers.
#[test]
fn polynomials_and_cycles_match_pytorch() {
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("schedules.json")).unwrap();
    let polynomial = |power, warmup: Option<u64>| ScheduleConfig {
        power,
        warmup: warmup.map(|steps| Span {
            epochs: None,
            steps: Some(steps),
        }),
        ..schedule(ScheduleKind::Polynomial)
    };
    let cycle = schedule(ScheduleKind::OneCycle);
    let linear = ScheduleConfig {
        anneal: Anneal::Linear,
        ..cycle.clone()
    };
    let cases = [
        ("polynomial, power 1", polynomial(1.0, None)),
        ("polynomial, power 2", polynomial(2.0, None)),
        ("polynomial, warm-up", polynomial(2.0, Some(4))),
        ("one_cycle", cycle.clone()),
        ("one_cycle, linear", linear.clone()),
        (
            "one_cycle, divisors",
            ScheduleConfig {
                peak: 0.25,
                start_divisor: 5.0,
                final_divisor: 10.0,
                ..cycle
            },
        ),
        (
            "one_cycle, early peak",
            ScheduleConfig {
                peak: 0.05,
                ..linear
            },
        ),
    ];
    assert_eq!(cases.len() + 1, reference.as_object().unwrap().len());
    for (name, config) in cases {
        let expected: Vec<f64> = serde_json::from_value(reference[name].clone()).unwrap();
        let rate = LearningRate::new(&config, epoch(10, 1), Some(10));
        for (step, expected) in (0..).zip(&expected) {
            let found = rate.at(step);
            assert!(
                (found - expected).abs() < 1e-15,
                "{name}, step {step}: {found}, not {expected}"
            );
        }
        // Workers in async may be ahead of their mean.
        let last = *expected.last().unwrap();
        assert!(
            (rate.at(11) - last).abs() < 1e-15,
            "{name}: {}",
            rate.at(11)
        );
    }
}

/// A peak on the last step, by rounding, and a run of one step have rates too.
#[test]
fn short_cycles_have_a_rate() {
    for (peak, steps) in [(1.0 - f64::EPSILON / 2.0, 3), (0.3, 1), (0.5, 2)] {
        let config = ScheduleConfig {
            peak,
            ..schedule(ScheduleKind::OneCycle)
        };
        let rate = LearningRate::new(&config, epoch(10, 1), Some(steps));
        for step in 0..steps + 2 {
            let found = rate.at(step);
            assert!(found > 0.0 && found <= 0.1, "{peak}, step {step}: {found}");
        }
    }
}

proptest! {
    /// Every rate before the end is positive, finite and at most the configured one.
    #[test]
    fn positive_until_the_end(
        base in 1e-6..10.0f64,
        kind in prop_oneof![
            Just(ScheduleKind::Constant), Just(ScheduleKind::Steps), Just(ScheduleKind::Cosine),
            Just(ScheduleKind::Polynomial), Just(ScheduleKind::OneCycle),
        ],
        drops in proptest::collection::btree_map(1..1000u64, 0.01..=1.0f64, 0..4),
        warmup in proptest::option::of(1..100u64),
        total in 1..2000u64,
        at in 0.0..1.0f64,
    ) {
        let config = ScheduleConfig {
            learning_rate: base,
            kind,
            drops: drops.into_iter().map(|(steps, factor)| drop_at(steps, factor)).collect(),
            // As in a checked config.
            warmup: warmup
                .filter(|_| kind != ScheduleKind::OneCycle)
                .map(|steps| Span { epochs: None, steps: Some(steps) }),
            ..ScheduleConfig::default()
        };
        let rate = LearningRate::new(&config, epoch(15, 2), Some(total));
        let found = rate.at((at * total as f64) as u64);
        prop_assert!(found > 0.0 && found <= base, "{found}");
    }

    /// The rate never falls during warm-up and never rises after it.
    #[test]
    fn cosine_rises_then_falls(warmup in 0..50u64, length in 1..200u64) {
        let config = ScheduleConfig {
            warmup: Some(Span { epochs: None, steps: Some(warmup) }),
            ..schedule(ScheduleKind::Cosine)
        };
        let total = warmup + length;
        let rate = LearningRate::new(&config, epoch(1, 1), Some(total));
        for step in 0..total + 3 {
            let (now, next) = (rate.at(step), rate.at(step + 1));
            if step + 1 < warmup {
                prop_assert!(now < next, "step {step}: {now} then {next}");
            } else if step >= warmup && step < total {
                prop_assert!(now > next, "step {step}: {now} then {next}");
            }
        }
        prop_assert_eq!(rate.at(total), 0.0);
    }
}
