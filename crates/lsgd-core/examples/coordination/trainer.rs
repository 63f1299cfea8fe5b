//! Workers that pretend to train: steps take time, values come from the seed.

#![allow(
    dead_code,
    reason = "shared by examples and tests, each of which uses a part"
)]

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{ExchangeOutcome, Layout, Mode, NodeUpdate, Snapshot, Source, WorkerId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::network::Setting;

/// The workers of a node.
pub struct Trainer {
    node: u32,
    seed: u64,
    layout: Arc<Layout>,
    elects: bool,
    has_centre: bool,
    averages: bool,
    filters: bool,
    /// Whether workers come with weighted sums.
    weighs: bool,
    /// Share of vectors that are not finite.
    spoilt: f64,
    period: u64,
    step: u64,
    /// Grows whenever workers start again.
    generation: u64,
    /// Updates since then.
    updates: u64,
    values: Vec<f32>,
    /// `sync`: since when they have waited for the result of their update.
    waits: Option<Duration>,
    settled: bool,
    stands_still: bool,
    over: bool,
    /// How long the run had been trained when they began.
    pub began_at: Duration,
    /// At the end of the run, the workers in the mean of all that was to be evaluated here; 0 if
    /// none was.
    pub concluded: Option<usize>,
}

impl Trainer {
    /// Workers of a node.
    pub const WORKERS: u32 = 2;
    const SUM: Source = Source::Sum {
        workers: Self::WORKERS as usize,
    };

    pub fn new(node: u32, setting: &Setting) -> Self {
        let periods = setting.method.periods();
        Self {
            node,
            seed: setting.seed,
            layout: setting.layout.clone(),
            elects: setting.method.elects(),
            has_centre: setting.method.has_centre(),
            averages: setting.method.averages().is_some(),
            filters: setting.method.filter_margin().is_some(),
            weighs: setting.method.weights_of(Self::SUM, &setting.layout) > 0,
            spoilt: setting.harshness.spoilt,
            period: match setting.mode {
                Mode::Sync => periods.global,
                Mode::Async => periods.local,
            },
            step: 0,
            generation: 0,
            updates: 0,
            values: vec![0.0; setting.layout.parameter_len()],
            waits: None,
            settled: false,
            stands_still: false,
            over: false,
            began_at: Duration::ZERO,
            concluded: None,
        }
    }

    /// Steps between two updates.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Steps until the next update.
    pub fn steps_to_update(&self) -> u64 {
        self.period - self.step % self.period
    }

    /// Steps that a worker has taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The loss of a node once losses have settled. No two nodes have the same.
    pub fn settled_loss(node: u32, seed: u64) -> f64 {
        let mut draws = ChaCha8Rng::seed_from_u64(seed ^ u64::from(node));
        draws.random_range(0.5..1.5)
    }

    pub fn settle(&mut self) {
        self.settled = true;
        self.spoilt = 0.0;
    }

    pub fn stand_still(&mut self) {
        self.settled = true;
        self.stands_still = true;
    }

    /// Workers begin at `step`.
    pub fn begin(&mut self, step: u64, parameters: Option<&Snapshot>) {
        self.generation += 1;
        self.updates = 0;
        self.step = step;
        self.waits = None;
        if let Some(parameters) = parameters {
            self.values = parameters.parameters().to_vec();
        }
    }

    /// Workers continue at `step` with values that they had then. Their loss windows are full.
    pub fn begin_again(&mut self, step: u64, values: &[f32]) {
        self.begin(step, None);
        self.updates = 1;
        self.values = values.to_vec();
    }

    /// The workers have reached the end of a period.
    pub fn update(&mut self, now: Duration, draws: &mut ChaCha8Rng) -> NodeUpdate {
        let taken = self.steps_to_update() * u64::from(Self::WORKERS);
        self.step += self.steps_to_update();
        self.updates += 1;
        self.waits = Some(now);
        for value in self.values.iter_mut().filter(|_| !self.stands_still) {
            *value += draws.random_range(-1.0..1.0);
        }
        let id = WorkerId::new(self.node, draws.random_range(0..Self::WORKERS));
        let loss = match self.settled {
            true => Self::settled_loss(self.node, self.seed),
            false => draws.random_range(0.1..3.0),
        };
        // At first no loss window is full. Later one may be broken by a loss that overflows; a sum
        // that does leaves all nodes without a mean, so it is rarer.
        let broken = if self.averages { 0.002 } else { 0.1 };
        let nobody = self.updates == 1 || !self.settled && draws.random_bool(broken);
        let spoilt = self.spoilt > 0.0 && draws.random_bool(self.spoilt);
        let spoil = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][draws.random_range(0..3)];
        let weight = draws.random_range(0.5..2.0);
        let vector = |source| {
            let mut values = match source {
                Self::SUM => self.sum(weight),
                _ => self.values.clone(),
            };
            if spoilt {
                values[0] = spoil;
            }
            let vector = Snapshot::new(self.layout.clone(), source, values, vec![]);
            let mut vector = vector.expect("as long as its layout");
            if self.weighs && source == Self::SUM {
                vector = vector.with_weights(vec![weight]).expect("one weight");
            }
            Arc::new(vector)
        };
        NodeUpdate {
            step: self.step,
            taken,
            workers: Self::WORKERS,
            leader: match self.has_centre {
                true => Some((
                    vector(Source::Centre {
                        version: self.updates,
                    }),
                    0.0,
                )),
                false => (self.elects && !nobody).then(|| (vector(self.of(id)), loss)),
            },
            sum: (self.averages && !nobody).then(|| {
                let loss = if self.filters { loss } else { 0.0 };
                (vector(Self::SUM), loss)
            }),
        }
    }

    /// The result of the exchange; how long the workers waited for it.
    pub fn deliver(&mut self, delivered: &ExchangeOutcome, now: Duration) -> Option<Duration> {
        for vector in delivered.vectors() {
            for (value, target) in self.values.iter_mut().zip(vector.parameters()) {
                *value += 0.5 * (target - *value);
            }
        }
        self.waits.take().map(|since| now - since)
    }

    /// Time that passed while the process was stopped is no time that its workers waited.
    pub fn thaw(&mut self, now: Duration) {
        self.waits = self.waits.and(Some(now));
    }

    /// The workers have finished.
    pub fn stop(&mut self) -> Snapshot {
        self.generation += 1;
        self.over = true;
        let sum = Snapshot::new(self.layout.clone(), Self::SUM, self.sum(1.0), vec![]);
        sum.expect("as before")
    }

    /// The sum over all workers, who have the same values and this weight in sum.
    fn sum(&self, weight: f32) -> Vec<f32> {
        let by = match self.weighs {
            true => weight,
            false => Self::WORKERS as f32,
        };
        self.values.iter().map(|value| value * by).collect()
    }

    fn of(&self, id: WorkerId) -> Source {
        let step = self.step;
        Source::Worker { id, step }
    }
}
