//! All keys of a config, with the values that they take.
//!
//! Serde would refuse the same configs, but without naming the key's table or a suggestion.

mod suggestions;
mod values;

use toml::{Table, Value};

use super::Config;
use super::error::{ConfigError, ConfigSource};
use super::key::{Key, Kind};
use super::tables::TaskTables;
pub(super) use values::{convert, found, not_in_range};

/// All keys of a config.
pub(super) struct Schema {
    /// The declared keys.
    keys: Vec<&'static Key>,
    /// Tables with the defaults of their keys; serde decides what else they may have.
    open: Table,
}

/// What is known about a key.
pub(super) enum Known<'a> {
    /// The values it takes.
    Declared(Kind),
    /// It is in an open table, with this default, if it has one.
    Open(Option<&'a Value>),
}

impl Schema {
    /// The engine's keys and those of a task.
    pub(super) fn of<T: TaskTables>() -> Result<Self, ConfigError> {
        Ok(Self {
            keys: Config::<T>::keys().collect(),
            open: T::open()?,
        })
    }

    /// What is known about `path`, given as `table.key`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownKey`] if no table has the key.
    pub(super) fn key(&self, path: &str, source: &ConfigSource) -> Result<Known<'_>, ConfigError> {
        if let Some(key) = self.keys.iter().find(|key| key.path == path) {
            return Ok(Known::Declared(key.kind));
        }
        let mut steps = path.split('.');
        let table = steps.next().and_then(|table| self.open.get(table));
        match table {
            Some(table) => Ok(Known::Open(
                steps.try_fold(table, |table, key| table.get(key)),
            )),
            None => Err(self.unknown(path, source)),
        }
    }

    fn is_table(&self, name: &str) -> bool {
        self.open.contains_key(name) || self.keys.iter().any(|key| key.table() == name)
    }
}
