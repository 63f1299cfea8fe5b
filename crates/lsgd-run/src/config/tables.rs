//! The tables that a task adds to a config.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use super::check::ConfigSources;
use super::error::ConfigError;
use super::key::{Key, TableDoc};
use super::types::Settings;

/// The tables of a task, next to those of the engine.
///
/// The type is a struct of tables that serde reads and writes. `T::default()` has the defaults of
/// all keys; a table or key that is absent from a config takes that default.
///
/// `()` is the task without tables, and [`TaskTable`](super::TaskTable) makes a single table
/// `[task]` of any struct.
pub trait TaskTables: Clone + Debug + Default + Serialize + DeserializeOwned {
    /// The first lines of the template: comments.
    const HEAD: &'static str = "\
# Every key is here with its default; a key that is left out has that default, and one behind a # has
# none. Change a key for one run with `--set`, such as `--set run.seed=2`.
# Where a comment begins with names, such as \"lsgd, lsgd_plus:\", the key is used by these alone.
# Paths are relative to the directory the program is started in; ~/ is the home folder.
# Whole numbers may be written as 1e3.
";

    /// The tables of [`KEYS`](Self::KEYS), in the order of the template.
    const TABLES: &'static [TableDoc] = &[];

    /// Every key of these tables.
    const KEYS: &'static [Key] = &[];

    /// Tables, and keys as `table.key`, in which the nodes of a run may differ: paths, and settings
    /// that do not affect the result.
    const OWN: &'static [&'static str] = &[];

    /// What to do if there is no config file, for the error.
    const MISSING: &'static str = "check the path";

    /// What to do if there is no bench file, for an error to say.
    const MISSING_BENCH: &'static str = "give a bench file; bench --help shows one";

    /// Tables whose keys are not declared, with the defaults of their keys: [`read`](Self::read)
    /// decides what they may have.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unwritable`] if TOML cannot express the defaults.
    fn open() -> Result<Table, ConfigError> {
        Ok(Table::new())
    }

    /// These tables as the template has them.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn open_template() -> Result<String, ConfigError> {
        toml::to_string(&Self::open()?).map_err(ConfigError::unwritable)
    }

    /// Reads the tables from `given`, which includes the engine's, with every declared key of its
    /// type.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if they cannot be read.
    fn read(given: &Table, sources: &ConfigSources) -> Result<Self, ConfigError> {
        super::read(given, sources)
    }

    /// Fills in the defaults that depend on other keys.
    fn resolve(&mut self, settings: &Settings, sources: &ConfigSources) {
        let _ = (settings, sources);
    }

    /// Checks values, their relations to each other and to the engine's `settings`, which have been
    /// checked already.
    ///
    /// # Errors
    ///
    /// The first value that is out of range or contradicts another.
    fn check(&self, settings: &Settings, sources: &ConfigSources) -> Result<(), ConfigError> {
        let _ = (settings, sources);
        Ok(())
    }
}

impl TaskTables for () {
    fn read(_: &Table, _: &ConfigSources) -> Result<Self, ConfigError> {
        Ok(())
    }
}
