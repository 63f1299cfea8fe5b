//! `[cluster]`: the other nodes of a run, and what all of them must have in common.

use std::collections::BTreeMap;

use lsgd_core::Wire;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::{ConfigError, quote};
use super::types::Config;
use crate::cluster::Tls;

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// This node, from 1.
    pub node: Option<u64>,
    /// Nodes of the run.
    pub nodes: u64,
    /// Where this node can be reached; its own entry of `connect` when absent and `connect` lists
    /// all nodes in order.
    pub listen: Vec<String>,
    /// Where the other nodes can be reached; this node's own endpoint among them does no harm.
    pub connect: Vec<String>,
    /// How values cross the network.
    pub wire: Wire,
    /// Certificates for `tls/` endpoints. Both sides of a connection show one.
    pub tls: Option<Tls>,
    /// Allow endpoints that others on the network can reach without certificates.
    pub insecure: bool,
    /// How long a node waits for the others at the start.
    pub wait_seconds: u64,
    /// `sync`: how long the others wait for a node that makes no progress.
    pub round_limit_seconds: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            node: None,
            nodes: 1,
            listen: Vec::new(),
            connect: Vec::new(),
            wire: Wire::F32,
            tls: None,
            insecure: false,
            wait_seconds: 300,
            round_limit_seconds: 30,
        }
    }
}

/// Tables and keys in which the nodes of a run may differ.
const OWN: &[&str] = &[
    "run.folder",
    "run.overwrite",
    "data.folder",
    "workers.devices",
    "workers.threads",
    "workers.count",
    "compute.cpu_kernels",
    "evaluate",
    "simulate",
    "checkpoint",
    "cluster.node",
    "cluster.listen",
    "cluster.connect",
    "cluster.tls",
    "cluster.insecure",
    "cluster.wait_seconds",
    "cluster.round_limit_seconds",
];

impl Config {
    /// What all nodes of a run must have in common: each key, as `table.key`, with its value as
    /// text. The number of workers is not among it, since it may be left to the devices a node has.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unwritable`] as [`to_toml`](Self::to_toml).
    pub fn description(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let unwritable = |error: toml::ser::Error| ConfigError::Unwritable {
            reason: error.to_string(),
        };
        let tables = Table::try_from(self).map_err(unwritable)?;
        let mut shared = BTreeMap::new();
        for (table, entries) in &tables {
            let Value::Table(entries) = entries else {
                continue;
            };
            for (key, value) in entries {
                let path = format!("{table}.{key}");
                if !OWN.contains(&table.as_str()) && !OWN.contains(&path.as_str()) {
                    shared.insert(path, quote(value));
                }
            }
        }
        Ok(shared)
    }
}
