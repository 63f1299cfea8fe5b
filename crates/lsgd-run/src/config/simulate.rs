//! `[simulate]`: what `lsgd-train simulate` simulates.

use serde::{Deserialize, Serialize};

/// `[simulate]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulateConfig {
    /// Nodes, each of `workers.count` workers.
    pub nodes: u64,
    /// Whether workers train; `false` simulates only the costs of a run.
    pub training: bool,
    /// Median time of a worker's step, in seconds of the virtual clock.
    pub step_seconds: f64,
    /// Steps take log-normal times with this sigma; 0: all the same.
    pub step_sigma: f64,
    /// Number of slow workers, the last ones.
    pub slow_workers: u64,
    /// How many times longer they take.
    pub slow_factor: f64,
    /// Between nodes: latency, in seconds.
    pub latency_seconds: f64,
    /// Between nodes: bytes per second that a node can send, and as many that it can receive.
    pub bytes_per_second: f64,
    /// Between a worker and its node's leader: latency, in seconds.
    pub local_latency_seconds: f64,
    /// Between a worker and its node's leader: bytes per second.
    pub local_bytes_per_second: f64,
    /// Workers that die.
    pub deaths: Vec<Death>,
}

/// The death of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Death {
    /// The worker, from 0, over all nodes in order.
    pub worker: u64,
    /// The time, in seconds of the virtual clock.
    pub seconds: f64,
}

impl Default for SimulateConfig {
    fn default() -> Self {
        Self {
            nodes: 1,
            training: true,
            step_seconds: 0.1,
            step_sigma: 0.0,
            slow_workers: 0,
            slow_factor: 2.0,
            latency_seconds: 0.001,
            bytes_per_second: 125e6,
            local_latency_seconds: 0.0001,
            local_bytes_per_second: 10e9,
            deaths: Vec::new(),
        }
    }
}
