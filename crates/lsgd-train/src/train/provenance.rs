//! Where a run comes from, for `run.json`.

use std::time::SystemTime;

use super::setup::Setup;
use crate::cluster::Traffic;
use crate::run::{LifeSummary, Machine, NodesSummary, RunRecord};

/// Version of Burn, which `Cargo.toml` pins.
const BURN: &str = "0.22.1";

/// The record of a run that begins at `start`.
pub fn begin(setup: &Setup, start: SystemTime) -> RunRecord {
    RunRecord {
        version: String::from(env!("CARGO_PKG_VERSION")),
        commit: option_env!("LSGD_COMMIT").map(str::to_owned),
        burn: String::from(BURN),
        machine: Machine {
            os: String::from(std::env::consts::OS),
            architecture: String::from(std::env::consts::ARCH),
            threads: std::thread::available_parallelism().map_or(0, usize::from),
        },
        devices: setup.devices.iter().map(|d| d.name.clone()).collect(),
        seed: setup.config.run.seed,
        data: setup.dataset.digest().to_owned(),
        layout: setup.layout.digest().to_string(),
        parameters: setup.layout.parameter_len(),
        start: humantime::format_rfc3339_seconds(start).to_string(),
        end: None,
    }
}

/// What passed between this node and the others in its last life.
pub fn nodes(setup: &Setup, traffic: Traffic, life: LifeSummary) -> NodesSummary {
    let n = u64::from(setup.nodes);
    let batches = setup.workers() * setup.config.data.batch_size;
    let steps = life.samples / (batches as u64).max(1);
    NodesSummary {
        nodes: setup.nodes,
        node: setup.node + 1,
        workers_in_mean: None,
        life,
        protocol_share: traffic.protocol_share(),
        traffic,
        data_parallel_bytes: steps * 2 * (n - 1) * 4 * setup.layout.parameter_len() as u64 / n,
    }
}

/// Most memory this process had at any time, in bytes; Linux alone tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kibibytes)
}
