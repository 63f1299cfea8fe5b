//! Runs as the scripts of `tests/reference` wrote them, and how they are compared.

use std::fmt::Debug;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use lsgd_core::{Exchange, LeaderSgd, Method, Objective, Periods, Worker};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::setting::{Bowl, Place};

/// What every stored run says: its settings, and every worker's x after every step.
#[derive(Debug, Deserialize)]
pub struct Run {
    pub nodes: u32,
    /// Per node.
    pub workers: u32,
    pub steps: u64,
    learning_rate: f64,
    momentum: f64,
    local_period: u64,
    global_period: u64,
    trace: Vec<Vec<[f32; 2]>>,
}

/// The runs of a file.
pub fn read<Case: DeserializeOwned>(file: &str) -> Vec<Case> {
    serde_json::from_str(file).expect("as the script wrote it")
}

impl Run {
    pub fn periods(&self) -> Periods {
        Periods {
            local: self.local_period,
            global: self.global_period,
        }
    }

    /// The number of a worker over all nodes.
    pub fn number(&self, id: lsgd_core::WorkerId) -> u32 {
        id.node * self.workers + id.worker
    }

    /// Worker `exchange.id()`, at `start`.
    pub fn worker<M: Place>(
        &self,
        method: Method,
        exchange: impl Exchange + 'static,
        start: [f32; 2],
    ) -> Worker<M, Bowl>
    where
        Bowl: Objective<M>,
    {
        let mut bowl = Bowl::new(self.number(exchange.id()));
        bowl.rate = self.learning_rate;
        let optimizer = LeaderSgd::new(with_momentum(self.momentum), method, exchange);
        Worker::new(M::place(&start), optimizer, bowl)
    }

    /// That the workers are where the script's were after `step` steps.
    pub fn compare<'a, M: Place + 'a>(
        &self,
        case: &impl Debug,
        step: u64,
        workers: impl Iterator<Item = &'a Worker<M, Bowl>>,
    ) where
        Bowl: Objective<M>,
    {
        let expected = &self.trace[step as usize - 1];
        let ends: Vec<Vec<f32>> = workers
            .map(|worker| Place::values(worker.module()))
            .collect();
        assert_eq!(ends.len(), expected.len(), "{case:?}");
        for (number, (end, expected)) in ends.iter().zip(expected).enumerate() {
            for (a, b) in end.iter().zip(expected) {
                assert!(
                    (a - b).abs() < 5e-6,
                    "{case:?}, step {step}, worker {number}: {a}, not {b}"
                );
            }
        }
    }
}

pub fn with_momentum(momentum: f64) -> ModuleOptimizer {
    let momentum = MomentumConfig {
        momentum,
        dampening: 0.0,
        nesterov: false,
    };
    SgdConfig::new().with_momentum(Some(momentum)).init()
}
