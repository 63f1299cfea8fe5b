//! Checks shared by many keys, and the origin of each key.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::config::error::{ConfigError, ConfigSource, quote_number, shorten};
use crate::config::key::Key;

/// The origin of each key, for error messages.
#[derive(Debug, Clone)]
pub struct ConfigSources {
    /// The config file.
    pub(in crate::config) file: ConfigSource,
    /// The keys that `--set` gave, as `table.key`.
    pub(in crate::config) set: BTreeSet<String>,
    /// The keys that were given, by the file or by `--set`, as `table.key`.
    pub(in crate::config) given: BTreeSet<String>,
    /// The keys that were given and left out, since they are not used.
    pub(in crate::config) left_out: BTreeSet<String>,
}

impl ConfigSources {
    /// `key` was given but is not used.
    pub(in crate::config) fn leave_out(&mut self, key: &Key) {
        self.set.remove(key.path);
        self.given.remove(key.path);
        self.left_out.insert(key.path.to_string());
    }

    /// Whether `key`, as `table.key`, was given, by the file or by `--set`.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// `--set` if any of `keys` was given there, else the file.
    pub fn of(&self, keys: &[&str]) -> ConfigSource {
        // A key is given with its table, and a table with any of its keys.
        let within = |key: &str, outer: &str| {
            let rest = key.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_set = |key: &&str| {
            let mut set = self.set.iter();
            set.any(|set| within(key, set) || within(set, key))
        };
        match keys.iter().any(is_set) {
            true => ConfigSource::Set,
            false => self.file.clone(),
        }
    }

    /// Refuses the value of `key`.
    pub fn refuse(&self, key: &str, value: impl Display, problem: impl Display) -> ConfigError {
        self.refuse_relation(&[key], value, problem)
    }

    /// Refuses the value of the first of `keys`, which contradicts the others.
    pub fn refuse_relation(
        &self,
        keys: &[&str],
        value: impl Display,
        problem: impl Display,
    ) -> ConfigError {
        ConfigError::Invalid {
            source_name: self.of(keys),
            key: keys.first().copied().unwrap_or_default().to_string(),
            value: shorten(&value.to_string()),
            problem: problem.to_string(),
        }
    }

    /// Checks that at most one of `every_steps`, `every_epochs` and `every_minutes`, or of a
    /// budget's three keys, is given.
    pub(super) fn interval(
        &self,
        table: &str,
        prefix: &str,
        length: Length,
    ) -> Result<(), ConfigError> {
        let key = |unit: &str| format!("{table}.{prefix}{unit}");
        let (steps_key, epochs_key, minutes_key) = (key("steps"), key("epochs"), key("minutes"));
        let mut given = Vec::new();
        if let Some(epochs) = length.epochs {
            given.push((epochs_key.as_str(), quote_number(epochs)));
        }
        if let Some(steps) = length.steps {
            given.push((steps_key.as_str(), steps.to_string()));
        }
        if let Some(minutes) = length.minutes {
            given.push((minutes_key.as_str(), quote_number(minutes)));
        }
        if let [(first, value), (second, _), ..] = given.as_slice() {
            let problem = format!("is given together with {second}; give one of them");
            return Err(self.refuse_relation(&[first, second], value, problem));
        }
        Ok(())
    }
}

/// A length of training in any of three units.
pub(super) struct Length {
    pub epochs: Option<f64>,
    pub steps: Option<u64>,
    pub minutes: Option<f64>,
}
