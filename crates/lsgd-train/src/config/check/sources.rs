//! The checks that many keys share, and where a key was written.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::config::error::{ConfigError, Source, quote_number, shorten};

/// Longest run, in epochs.
pub(super) const MOST_EPOCHS: f64 = 1e9;
/// Longest run, in minutes: nineteen years.
pub(super) const MOST_MINUTES: f64 = 1e7;

/// Where each key was written, for errors to say.
pub(in crate::config) struct Sources {
    /// The config file.
    pub file: Source,
    /// The keys that `--set` gave, as `table.key`.
    pub set: BTreeSet<String>,
}

impl Sources {
    /// `--set` if any of `keys` was given there, else the file.
    pub(super) fn of(&self, keys: &[&str]) -> Source {
        if keys.iter().any(|key| self.set.contains(*key)) {
            return Source::Set;
        }
        self.file.clone()
    }

    /// Refuses the value of `key`.
    pub(super) fn refuse(
        &self,
        key: &str,
        value: impl Display,
        problem: impl Display,
    ) -> ConfigError {
        self.refuse_relation(&[key], value, problem)
    }

    /// Refuses the value of the first of `keys`, which the others are at odds with.
    pub(super) fn refuse_relation(
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

    /// Refuses a number that is not over 0, or over `most`, or not finite.
    pub(super) fn positive(&self, key: &str, value: f64, most: f64) -> Result<(), ConfigError> {
        if value > 0.0 && value <= most {
            return Ok(());
        }
        let most = quote_number(most);
        let problem = format!("is not in (0, {most}]; give a number over 0, at most {most}");
        Err(self.refuse(key, quote_number(value), problem))
    }

    /// Refuses a number outside [0, 1].
    pub(super) fn fraction(&self, key: &str, value: f64) -> Result<(), ConfigError> {
        if (0.0..=1.0).contains(&value) {
            return Ok(());
        }
        let problem = "is not in [0, 1]; give a number from 0 to 1";
        Err(self.refuse(key, quote_number(value), problem))
    }

    /// Refuses a number outside [0, 1).
    pub(super) fn under_one(&self, key: &str, value: f64) -> Result<(), ConfigError> {
        if (0.0..1.0).contains(&value) {
            return Ok(());
        }
        let problem = "is not in [0, 1); give a number from 0 to less than 1";
        Err(self.refuse(key, quote_number(value), problem))
    }

    /// Checks `every_steps`, `every_epochs` and `every_minutes`, or a budget's three.
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
            self.positive(&epochs_key, epochs, MOST_EPOCHS)?;
            given.push((epochs_key.as_str(), quote_number(epochs)));
        }
        if let Some(steps) = length.steps {
            given.push((steps_key.as_str(), steps.to_string()));
        }
        if let Some(minutes) = length.minutes {
            self.positive(&minutes_key, minutes, MOST_MINUTES)?;
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
