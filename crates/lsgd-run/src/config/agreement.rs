//! The settings that must be equal on all nodes of a run.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;
use super::error::{ConfigError, quote_exactly};
use super::tables::TaskTables;

/// Tables and keys of the engine in which the nodes of a run may differ.
const OWN: &[&str] = &[
    "run.folder",
    "run.overwrite",
    "workers.devices",
    "workers.threads",
    "workers.loaders",
    "workers.count",
    "evaluate",
    "simulate",
    "checkpoint",
    "faults",
    "record",
    "cluster.node",
    "cluster.listen",
    "cluster.connect",
    "cluster.tls",
    "cluster.insecure",
    "cluster.wait_seconds",
    "cluster.round_limit_seconds",
];

impl<T: TaskTables> Config<T> {
    /// The settings that must be equal on all nodes: each key, as `table.key`, with its value as
    /// text. A long value is cut and followed by its hash. The number of workers is not included, since it
    /// may depend on a node's devices.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unwritable`] as [`to_toml`](Self::to_toml).
    pub fn description(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let own = |key: &str| OWN.contains(&key) || T::OWN.contains(&key);
        let tables = Table::try_from(self).map_err(ConfigError::unwritable)?;
        let mut shared = BTreeMap::new();
        for (table, entries) in &tables {
            if !own(table) {
                collect(table, entries, &own, &mut shared);
            }
        }
        Ok(shared)
    }
}

/// Adds the keys of `value` that must be equal to `shared`; `path` is the path of `value`.
fn collect(
    path: &str,
    value: &Value,
    own: &impl Fn(&str) -> bool,
    shared: &mut BTreeMap<String, String>,
) {
    match value {
        Value::Table(entries) => {
            for (key, value) in entries {
                let path = format!("{path}.{key}");
                if !own(&path) {
                    collect(&path, value, own, shared);
                }
            }
        }
        value => {
            shared.insert(path.to_string(), quote_exactly(value));
        }
    }
}
