//! A run's config: a TOML file and `--set` overrides become one checked [`Config`].
//!
//! The engine's tables are [`Settings`]; a task adds its own tables, [`TaskTables`], or a single
//! table `[task]`, which can be any struct: [`TaskTable`].
//!
//! Errors are reported once, here, in one line: where, which key, what value, what to do. Nothing
//! later checks again. Paths in a config are relative to the directory in which the program is
//! started, except those that begin with `~/`, the home folder.
//!
//! ```
//! use lsgd_run::config::Config;
//!
//! let text = "[method]\nlocal_period = 8";
//! let config = Config::<()>::from_toml(text, "mine.toml", &[String::from("run.seed=2")])?;
//! assert_eq!(config.settings.run.seed, 2);
//! assert_eq!(config.settings.method.global_period, 32);
//!
//! let refused = Config::<()>::from_toml(text, "mine.toml", &[String::from("method.local_pull=2")]);
//! assert_eq!(
//!     refused.unwrap_err().to_string(),
//!     "--set: method.local_pull 2 is not in [0, 1]; give a number from 0 to 1",
//! );
//! # Ok::<(), lsgd_run::config::ConfigError>(())
//! ```

mod agreement;
mod check;
mod cluster;
mod defaults;
mod error;
mod key;
mod keys;
mod open;
mod overrides;
mod schema;
mod simulate;
mod tables;
mod task_table;
mod template;
mod types;
mod used;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use check::ConfigSources;
pub use error::{ConfigError, ConfigSource};
pub use key::{Entry, Field, Key, Kind, Range, TableDoc, Used};
pub(crate) use keys::MAX_MEANS;
pub use tables::TaskTables;
pub use task_table::TaskTable;
pub use types::*;

use overrides::Overrides;
use schema::Schema;

/// Largest config file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Whether a text that some other file should have is the config of a run: TOML with a table of one, and
/// without the keys that files about several runs have.
#[cfg(any(feature = "bench", all(feature = "cli", unix)))]
pub(crate) fn looks_like_config(text: &str) -> bool {
    let Ok(table) = text.parse::<Table>() else {
        return false;
    };
    let is_table = |name: &&str| table.get(*name).is_some_and(Value::is_table);
    let is_other = |name: &&str| table.contains_key(*name);
    ["run", "method", "workers", "budget"].iter().any(is_table)
        && !["config", "seeds", "nodes"].iter().any(is_other)
}

/// A whole run, as in `config.toml`: the engine's tables and those of a task.
///
/// A value from [`Config::load`] has been checked as a whole: nothing later checks again.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Config<T> {
    /// The engine's settings.
    #[serde(flatten)]
    pub settings: Settings,
    /// The task's settings.
    #[serde(flatten)]
    pub task: T,
}

impl<T: TaskTables> Config<T> {
    /// A config to start from: every key with its default, unit and meaning.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unwritable`] if TOML cannot express the task's defaults.
    pub fn template() -> Result<String, ConfigError> {
        template::template::<T>()
    }

    /// All declared keys: the engine's, then the task's.
    pub fn keys() -> impl Iterator<Item = &'static Key> {
        keys::KEYS.iter().chain(T::KEYS)
    }

    /// Reads the file at `path`, applies `overrides` (`table.key=value`; the last one of a key
    /// wins, and one of `budget.epochs`, `budget.steps` and `budget.minutes`, or of a table's
    /// `every_` keys, replaces the file's), fills in defaults and checks the whole.
    ///
    /// A key that is not used, such as one of another method, may have its default; any other value
    /// is refused, unless an override changes what the file's key depends on: then it is dropped.
    ///
    /// # Errors
    ///
    /// If the file does not exist, is not readable or not TOML; if it or an override has an unknown
    /// key, an unused key, a value of the wrong type or out of range, or contradictory keys.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::load_shared(path, overrides, &BTreeSet::new())
    }

    /// Like [`load`](Self::load), for one of several configs that share overrides: those of the
    /// keys `shared`, as `table.key`, are dropped where they are not used.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_shared(
        path: &Path,
        overrides: &[String],
        shared: &BTreeSet<String>,
    ) -> Result<Self, ConfigError> {
        let unreadable = |reason: std::io::Error| match reason.kind() {
            ErrorKind::NotFound => ConfigError::Missing {
                path: path.to_path_buf(),
                advice: T::MISSING,
            },
            _ => ConfigError::Unreadable {
                path: path.to_path_buf(),
                reason,
            },
        };
        let file = File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        let read = file
            .take(MAX_FILE + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if read as u64 > MAX_FILE {
            return Err(ConfigError::TooLarge {
                path: path.to_path_buf(),
                limit: MAX_FILE,
            });
        }
        Self::read(&text, &path.display().to_string(), overrides, shared)
    }

    /// [`Config::load`] of a text; errors call it `file_name`.
    ///
    /// # Errors
    ///
    /// Like [`Config::load`], without reading the file.
    pub fn from_toml(
        text: &str,
        file_name: &str,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        Self::read(text, file_name, overrides, &BTreeSet::new())
    }

    fn read(
        text: &str,
        file_name: &str,
        overrides: &[String],
        shared: &BTreeSet<String>,
    ) -> Result<Self, ConfigError> {
        let file = ConfigSource::File(file_name.to_string());
        let schema = Schema::of::<T>()?;
        let mut given: Table = text
            .parse()
            .map_err(|error| syntax_error(text, file_name, &error))?;
        let overrides = Overrides::parse(overrides, &schema)?;
        overrides.make_room(&mut given);
        let mut given = schema.convert_tables(given, &file)?;
        let mut sources = ConfigSources {
            file,
            set: overrides.write(&mut given),
            given: paths(&given).collect(),
            left_out: BTreeSet::new(),
        };
        let mut config = Self::of_tables(&given, &sources)?;
        // Other keys may depend on what is dropped.
        loop {
            let unused = used::to_leave_out(&config, &given, &sources, shared)?;
            if unused.is_empty() {
                break;
            }
            for key in unused {
                sources.leave_out(key);
                if let Some(entries) = given.get_mut(key.table()).and_then(Value::as_table_mut) {
                    entries.remove(key.name());
                }
            }
            config = Self::of_tables(&given, &sources)?;
        }
        let Self { settings, task } = &mut config;
        defaults::resolve(settings, &sources);
        task.resolve(settings, &sources);
        check::check(settings, &sources)?;
        task.check(settings, &sources)?;
        Ok(config)
    }

    fn of_tables(given: &Table, sources: &ConfigSources) -> Result<Self, ConfigError> {
        Ok(Self {
            settings: read(given, sources)?,
            task: T::read(given, sources)?,
        })
    }

    /// The config as TOML, with all defaults filled in: loading it gives the same config.
    ///
    /// # Errors
    ///
    /// If a path is not UTF-8 or an integer exceeds 2^63 - 1, which never holds for a loaded
    /// config.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(ConfigError::unwritable)
    }
}

/// The tables of `C` among those of `given`. The schema has refused everything that could fail
/// here; if it ever lags behind the structs, serde still does.
fn read<C: DeserializeOwned>(given: &Table, sources: &ConfigSources) -> Result<C, ConfigError> {
    let read: Result<C, _> = given.clone().try_into();
    read.map_err(|error| ConfigError::Unread {
        source_name: sources.file.clone(),
        reason: error::shorten(&error.to_string()),
    })
}

/// Each key of `tables`, as `table.key`.
fn paths(tables: &Table) -> impl Iterator<Item = String> {
    tables.iter().flat_map(|(table, entries)| {
        let keys = entries.as_table().into_iter().flat_map(Table::keys);
        keys.map(move |key| format!("{table}.{key}"))
    })
}

/// Line and column of the parser's error.
fn syntax_error(text: &str, file_name: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Syntax {
        file: file_name.to_string(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        reason: error::shorten(error.message()),
    }
}
