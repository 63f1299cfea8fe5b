//! The config of a run as keys and values, and where those of several runs differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Value;

use crate::error::RunError;
use crate::storage::read_bounded;

/// Largest config that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// Where a run is, which says nothing about it.
const PLACES: [&str; 2] = ["run.folder", "run.name"];

/// Keys as `table.key`, and their values as TOML has them.
pub type Settings = BTreeMap<String, String>;

/// Reads a `config.toml`.
///
/// # Errors
///
/// [`RunError::Read`], or [`RunError::Damaged`] if it is not TOML.
pub fn read(path: &Path) -> Result<Settings, RunError> {
    let text = read_bounded(path, MAX_CONFIG)?;
    let text = String::from_utf8(text).map_err(|_| RunError::damaged(path, "not UTF-8 text"))?;
    let table: toml::Table = text.parse().map_err(|why| RunError::damaged(path, why))?;
    let mut settings = Settings::new();
    for (key, value) in &table {
        flatten(key, value, &mut settings);
    }
    Ok(settings)
}

fn flatten(key: &str, value: &Value, settings: &mut Settings) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(&format!("{key}.{name}"), value, settings);
            }
        }
        value => drop(settings.insert(key.to_owned(), value.to_string())),
    }
}

/// The keys that do not have the same value in all runs, each with the values of all of them.
pub fn differences<'a>(runs: &[&'a Settings]) -> Vec<(&'a str, Vec<Option<&'a str>>)> {
    let keys: BTreeSet<&'a String> = runs.iter().flat_map(|run| run.keys()).collect();
    let keys = keys
        .into_iter()
        .filter(|key| !PLACES.contains(&key.as_str()));
    let values = keys.map(|key| {
        let of = |run: &&'a Settings| run.get(key).map(String::as_str);
        (key.as_str(), runs.iter().map(of).collect::<Vec<_>>())
    });
    let differs = |values: &[Option<&str>]| values.windows(2).any(|pair| pair[0] != pair[1]);
    values.filter(|(_, values)| differs(values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        read(&path).unwrap()
    }

    #[test]
    fn keys_that_differ_are_named_with_all_their_values() {
        let one = settings("[run]\nname = 'one'\nseed = 1\n[method]\npull = 0.1\nname = 'lsgd'");
        let two = settings("[run]\nname = 'two'\nseed = 1\n[method]\npull = 0.5\nname = 'lsgd'");
        let three = settings("[run]\nname = 'three'\nseed = 1\n[method]\nname = 'lsgd'");
        let expected = vec![("method.pull", vec![Some("0.1"), Some("0.5"), None])];
        assert_eq!(differences(&[&one, &two, &three]), expected);
        assert_eq!(differences(&[&one, &one]), []);
        assert_eq!(differences(&[&one]), []);
    }
}
