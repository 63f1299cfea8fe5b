//! A run's config: a TOML file and `--set` overrides become one checked [`Config`].
//!
//! What is wrong is said once, here, in one line: where, which key, what value, what to do.
//! Nothing later checks again. All paths in a config are relative to the directory the program is
//! started in, but for those that begin with `~/`, the home folder.
//!
//! ```
//! use lsgd_train::config::Config;
//!
//! let text = "[method]\nlocal_period = 8";
//! let config = Config::from_toml(text, "mine.toml", &[String::from("data.batch_size=64")])?;
//! assert_eq!(config.data.batch_size, 64);
//! assert_eq!(config.method.global_period, 32);
//!
//! let refused = Config::from_toml(text, "mine.toml", &[String::from("method.local_pull=2")]);
//! assert_eq!(
//!     refused.unwrap_err().to_string(),
//!     "--set: method.local_pull 2 is not in [0, 1]; give a number from 0 to 1",
//! );
//! # Ok::<(), lsgd_train::config::ConfigError>(())
//! ```

mod check;
mod cluster;
mod defaults;
mod error;
mod overrides;
mod schema;
mod simulate;
mod types;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::Table;

pub use error::{ConfigError, Source};
pub use types::*;

/// The config that `lsgd-train init` writes: every key with its default, unit and meaning.
pub const TEMPLATE: &str = include_str!("template.toml");

/// Largest config file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

impl Config {
    /// Reads the file at `path`, applies `overrides` (`table.key=value`, the last one of a key
    /// wins; one of `budget.epochs`, `budget.steps` and `budget.minutes`, or of the `every_` keys
    /// of a table, takes the place of the file's), fills in defaults and checks the whole.
    ///
    /// # Errors
    ///
    /// If the file is not there, is not readable or not TOML; if it or an override has an unknown
    /// key, a value of the wrong type or out of range, or keys at odds with each other.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let unreadable = |reason: std::io::Error| match reason.kind() {
            ErrorKind::NotFound => ConfigError::Missing {
                path: path.to_path_buf(),
            },
            _ => ConfigError::Unreadable {
                path: path.to_path_buf(),
                reason,
            },
        };
        let file = File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        let read = file
            .take(LARGEST_FILE + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if read as u64 > LARGEST_FILE {
            return Err(ConfigError::TooLarge {
                path: path.to_path_buf(),
                limit: LARGEST_FILE,
            });
        }
        Self::from_toml(&text, &path.display().to_string(), overrides)
    }

    /// [`Config::load`] of a text; errors call it `file_name`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`], the reading of the file apart.
    pub fn from_toml(
        text: &str,
        file_name: &str,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let file = Source::File(file_name.to_string());
        let given: Table = text
            .parse()
            .map_err(|error| syntax_error(text, file_name, &error))?;
        let mut given = schema::convert_tables(given, &file)?;
        let set = overrides::apply(overrides, &mut given)?;

        // The schema has refused all that could fail here; should it ever lag behind the structs,
        // serde still does.
        let mut config: Config = given
            .clone()
            .try_into()
            .map_err(|error| syntax_error(text, file_name, &error))?;
        defaults::resolve(&mut config, &given);
        check::check(&config, &check::Sources { file, set })?;
        Ok(config)
    }

    /// The config as TOML, every default filled in: loading it gives the same config.
    ///
    /// # Errors
    ///
    /// If a path is not UTF-8 or an integer exceeds 2^63 - 1, which no loaded config has.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Unwritable {
            reason: error.to_string(),
        })
    }
}

/// Line and column of what the parser objects to.
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
