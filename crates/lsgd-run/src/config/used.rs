//! Keys that were given but are not used, such as those of another method.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Config;
use super::check::ConfigSources;
use super::error::{ConfigError, quote};
use super::key::{Key, Used};
use super::tables::TaskTables;
use crate::words::list;

/// The keys of `given` to drop, since `config`, which was read from it, does not use them.
///
/// For a key that is not used:
///
/// - its default is accepted, as in the template and a run's `config.toml`;
/// - a file's value is dropped if `--set` changes what it depends on, or if that is dropped itself;
/// - one of `shared` is dropped.
///
/// # Errors
///
/// [`ConfigError::Invalid`] for any other value.
pub(super) fn to_leave_out<T: TaskTables>(
    config: &Config<T>,
    given: &Table,
    sources: &ConfigSources,
    shared: &BTreeSet<String>,
) -> Result<Vec<&'static Key>, ConfigError> {
    let read = Table::try_from(config).map_err(ConfigError::unwritable)?;
    let defaults = Config::<T>::default();
    let defaults = Table::try_from(defaults).map_err(ConfigError::unwritable)?;
    let mut unused = Vec::new();
    for key in Config::<T>::keys() {
        let Some((used, value)) = key.used.zip(at(given, key.path)) else {
            continue;
        };
        let word = at(&read, used.by).and_then(Value::as_str).unwrap_or("");
        if used.is(word) || at(&read, key.path) == at(&defaults, key.path) {
            continue;
        }
        let changed = sources.set.contains(used.by) && !sources.set.contains(key.path);
        let left_out = sources.left_out.contains(used.by);
        if !(changed || left_out || shared.contains(key.path)) {
            let problem = problem(&used, word);
            return Err(sources.refuse_relation(&[key.path, used.by], quote(value), problem));
        }
        unused.push(key);
    }
    Ok(unused)
}

/// The value at `path`, which is `table.key`.
pub(super) fn at<'a>(tables: &'a Table, path: &str) -> Option<&'a Value> {
    let (table, key) = path.split_once('.')?;
    tables.get(table)?.get(key)
}

fn problem(used: &Used, word: &str) -> String {
    let only = match used.all_but {
        true => String::new(),
        false => format!(", only by {}", list(used.words)),
    };
    let by = used.by;
    format!("is not used by {by} \"{word}\"{only}; leave it out, or change {by}")
}
