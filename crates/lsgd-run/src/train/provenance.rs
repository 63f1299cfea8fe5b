//! The origin of a run, for `run.json`.

use std::time::SystemTime;

use super::setup::Setup;
use crate::storage::{FORMAT, IncarnationSummary, Machine, NodesSummary, RunRecord, Traffic};

/// Version of Burn, which `Cargo.toml` pins.
const BURN: &str = "0.22.1";

/// The record of a run that starts at `start`.
pub fn begin(setup: &Setup, start: SystemTime) -> RunRecord {
    RunRecord {
        format: FORMAT,
        version: String::from(env!("CARGO_PKG_VERSION")),
        commit: option_env!("LSGD_COMMIT").map(str::to_owned),
        burn: String::from(BURN),
        machine: Machine {
            os: String::from(std::env::consts::OS),
            architecture: String::from(std::env::consts::ARCH),
            threads: std::thread::available_parallelism().map_or(0, usize::from),
        },
        devices: setup.devices.iter().map(|d| d.name.clone()).collect(),
        seed: setup.settings().run.seed,
        agreement: setup.facts.agreement.clone(),
        simulated: false,
        settings: setup.job.shared.clone(),
        layout: setup.layout.digest().to_string(),
        parameters: setup.layout.parameter_len(),
        metrics: setup.facts.metrics.iter().map(Into::into).collect(),
        examples: Some(setup.facts.unit.to_owned()),
        start: humantime::format_rfc3339_seconds(start).to_string(),
        end: None,
    }
}

/// The traffic between this node and the others in its last incarnation.
pub fn nodes(setup: &Setup, traffic: Traffic, incarnation: IncarnationSummary) -> NodesSummary {
    let n = u64::from(setup.nodes);
    let steps = incarnation.samples / setup.samples(setup.workers() as u64).max(1);
    NodesSummary {
        nodes: setup.nodes,
        node: setup.node + 1,
        workers_in_mean: None,
        incarnation,
        protocol_share: protocol_share(&traffic),
        traffic,
        data_parallel_bytes: steps * 2 * (n - 1) * 4 * setup.layout.parameter_len() as u64 / n,
    }
}

#[cfg(feature = "nodes")]
fn protocol_share(traffic: &Traffic) -> Option<f64> {
    traffic.protocol_share()
}

#[cfg(not(feature = "nodes"))]
fn protocol_share(_: &Traffic) -> Option<f64> {
    None
}

/// Peak memory of this process, in bytes; only on Linux.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kibibytes)
}
