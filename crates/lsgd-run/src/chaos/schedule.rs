//! Which faults come when: a function of the plan alone.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::fault::{Act, Fault, Kind};
use crate::task::generator;

/// How faults are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// Seed of the schedule.
    pub seed: u64,
    /// How many faults an hour; the number is exact, their times are uniformly random.
    pub per_hour: f64,
    /// How often each kind is drawn, relative to the others.
    pub weights: BTreeMap<Kind, f64>,
}

/// Where and when faults may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// Number of nodes, two or more.
    pub nodes: u32,
    /// Workers of each.
    pub workers: u32,
    /// No fault is earlier, in seconds since the first exchange.
    pub first: f64,
    /// No fault is later.
    pub last: f64,
}

impl Room {
    /// Number of faults that are drawn.
    pub fn faults(&self, per_hour: f64) -> usize {
        (per_hour * (self.last - self.first).max(0.0) / 3600.0).ceil() as usize
    }
}

/// The faults of a run, in order of time: those that are `given`, and those that are drawn.
///
/// No kind is drawn of which the weight is zero. Weights are finite, not negative, and not all zero.
pub fn schedule(given: &[Fault], random: Option<&Random>, room: Room) -> Vec<Fault> {
    let mut faults = given.to_vec();
    faults.extend(random.into_iter().flat_map(|random| draw(random, room)));
    faults.sort_by(|a, b| a.at.total_cmp(&b.at));
    faults
}

fn draw(random: &Random, room: Room) -> Vec<Fault> {
    let fault = |number: usize| {
        // A generator for each: a longer schedule begins with other times but the same faults.
        let mut generator = generator("lsgd chaos schedule", &[random.seed, number as u64]);
        let at = between(&mut generator, room.first, room.last);
        let kind = kind(&random.weights, generator.random())?;
        let act = act(kind, &mut generator, room);
        Some(Fault { at, act })
    };
    let numbers = 0..room.faults(random.per_hour);
    numbers.filter_map(fault).collect()
}

/// The kind that is `at` so much of the way through all weights; `at` is from 0 to less than 1.
fn kind(weights: &BTreeMap<Kind, f64>, at: f64) -> Option<Kind> {
    let mut rest = at * weights.values().sum::<f64>();
    let mut with_weight = weights.iter().filter(|(_, weight)| **weight > 0.0);
    let last = with_weight.clone().next_back();
    let found = with_weight.find(|(_, weight)| {
        rest -= **weight;
        rest < 0.0
    });
    // Rounding may lead beyond the last.
    found.or(last).map(|(kind, _)| *kind)
}

/// A fault of this kind. Some stops and cuts are too short to be noticed, most are not.
fn act(kind: Kind, generator: &mut ChaCha8Rng, room: Room) -> Act {
    let node = generator.random_range(1..=room.nodes);
    // Any other.
    let peer = (node - 1 + generator.random_range(1..room.nodes)) % room.nodes + 1;
    let worker = generator.random_range(0..room.workers);
    match kind {
        Kind::Kill => Act::Kill { node },
        Kind::KillAll => Act::KillAll,
        Kind::Stop => Act::Stop {
            node,
            seconds: between(generator, 0.5, 5.0),
        },
        Kind::Panic => Act::Panic { node, worker },
        Kind::NanGradient => Act::NanGradient { node, worker },
        Kind::Cut => Act::Cut {
            node,
            peer,
            seconds: between(generator, 1.0, 8.0),
        },
        Kind::CutOneWay => Act::CutOneWay {
            node,
            peer,
            seconds: between(generator, 1.0, 8.0),
        },
        Kind::Delay => Act::Delay {
            node,
            peer,
            seconds: between(generator, 5.0, 20.0),
            millis: generator.random_range(20..=200),
        },
        Kind::Loss => Act::Loss {
            node,
            peer,
            seconds: between(generator, 5.0, 20.0),
            percent: between(generator, 1.0, 10.0),
        },
        Kind::DiskFull => Act::DiskFull {
            node,
            seconds: between(generator, 5.0, 20.0),
        },
        Kind::DiskSlow => Act::DiskSlow {
            node,
            seconds: between(generator, 5.0, 20.0),
            millis: generator.random_range(10..=200),
        },
        Kind::ClockJump => Act::ClockJump {
            node,
            jump: match between(generator, -3600.0, 3600.0) {
                0.0 => 1.0,
                jump => jump,
            },
        },
    }
}

/// A number from `low` to `high`, to a thousandth, as it is written.
fn between(generator: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    let drawn = low + (high - low).max(0.0) * generator.random::<f64>();
    ((drawn * 1000.0).round() / 1000.0).clamp(low, high.max(low))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn room() -> Room {
        Room {
            nodes: 4,
            workers: 2,
            first: 10.0,
            last: 1810.0,
        }
    }

    fn random(per_hour: f64, weights: &[(Kind, f64)]) -> Random {
        Random {
            seed: 7,
            per_hour,
            weights: weights.iter().copied().collect(),
        }
    }

    #[test]
    fn there_are_as_many_faults_as_are_asked_for() {
        let all: Vec<_> = Kind::ALL.map(|kind| (kind, 1.0)).into();
        let drawn = schedule(&[], Some(&random(125.0, &all)), room());
        assert_eq!(drawn.len(), 63);
        let kinds: BTreeSet<Kind> = drawn.iter().map(|fault| fault.act.kind()).collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
        assert!(schedule(&[], Some(&random(0.0, &all)), room()).is_empty());
        assert!(schedule(&[], None, room()).is_empty());
    }

    #[test]
    fn faults_that_are_given_stand_among_those_that_are_drawn() {
        let given = [900.0, 1e6].map(|at| Fault {
            at,
            act: Act::KillAll,
        });
        let drawn = schedule(&given, Some(&random(60.0, &[(Kind::Panic, 1.0)])), room());
        assert_eq!(drawn.len(), 32);
        let all: Vec<f64> = drawn.iter().map(|fault| fault.at).collect();
        assert!(all.is_sorted());
        assert_eq!(*drawn.last().unwrap(), given[1]);
        let others = drawn.iter().filter(|fault| fault.act != Act::KillAll);
        assert!(others.clone().all(|fault| fault.act.kind() == Kind::Panic));
        assert_eq!(others.count(), 30);
    }

    proptest! {
        #[test]
        fn a_schedule_is_a_function_of_its_plan_and_stays_in_its_room(
            seed: u64,
            per_hour in 0.0..2000.0,
            nodes in 2..9u32,
            workers in 1..5u32,
            weights in prop::collection::vec(0.0..5.0, Kind::ALL.len()),
        ) {
            prop_assume!(weights.iter().sum::<f64>() > 0.1);
            let weights: BTreeMap<Kind, f64> = Kind::ALL.into_iter().zip(weights).collect();
            let random = Random { seed, per_hour, weights: weights.clone() };
            let room = Room { nodes, workers, first: 3.0, last: 603.0 };
            let faults = schedule(&[], Some(&random), room);
            prop_assert_eq!(&faults, &schedule(&[], Some(&random), room));
            prop_assert_eq!(faults.len(), (per_hour / 6.0).ceil() as usize);
            for Fault { at, act } in &faults {
                prop_assert!((3.0..=603.0).contains(at));
                prop_assert!(weights[&act.kind()] > 0.0);
                let node = act.node();
                prop_assert!(node.is_none_or(|node| (1..=nodes).contains(&node)));
                prop_assert_eq!(act.peer().is_some(), act.kind().is_of_a_link());
                let peer = act.peer();
                prop_assert!(peer.is_none_or(|peer| (1..=nodes).contains(&peer) && peer != node.unwrap()));
                if let Act::Panic { worker, .. } | Act::NanGradient { worker, .. } = *act {
                    prop_assert!(worker < workers);
                }
            }
            // As it is written, so it is read.
            let text = serde_json::to_string(&faults).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vec<Fault>>(&text).unwrap(), faults);
        }
    }
}
