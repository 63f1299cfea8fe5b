//! Which key was meant.

use super::KEYS;
use crate::config::error::{ConfigError, Source, shorten};
use crate::words::nearest;

/// The refusal of a key, or a table, that there is not.
pub(super) fn unknown(key: &str, source: &Source) -> ConfigError {
    ConfigError::UnknownKey {
        source_name: source.clone(),
        key: shorten(key),
        suggestion: suggest(key),
    }
}

/// The known key, or table, that `key` is most like.
pub(in crate::config) fn suggest(key: &str) -> Option<String> {
    let known = || KEYS.iter().map(|(known, _)| *known);
    let Some((table, name)) = key.split_once('.') else {
        // A table misspelt, or a key written outside its table.
        let tables = known().filter_map(|known| known.split('.').next());
        let outside = || known().find(|known| known.split('.').nth(1) == Some(key));
        return nearest(key, tables).or_else(outside).map(String::from);
    };
    // A table inside a table: `schedule.warmup.epochs`.
    if let Some(outer) = known().find(|known| key.starts_with(&format!("{known}."))) {
        return Some(outer.to_string());
    }
    let same_table = known().filter(|known| known.split('.').next() == Some(table));
    let names = same_table.filter_map(|known| known.split('.').nth(1));
    if let Some(name) = nearest(name, names) {
        return Some(format!("{table}.{name}"));
    }
    let elsewhere = known().find(|known| known.split('.').nth(1) == Some(name));
    elsewhere
        .or_else(|| nearest(key, known()))
        .map(String::from)
}
