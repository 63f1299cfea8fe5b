//! `--set table.key=value`.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::error::{ConfigError, Source, shorten};
use super::schema;

/// Keys of which one is given: one that `--set` gives takes the place of the file's.
const ALTERNATIVES: &[(&str, [&str; 3])] = &[
    ("budget", ["epochs", "steps", "minutes"]),
    ("evaluate", ["every_epochs", "every_steps", "every_minutes"]),
    (
        "checkpoint",
        ["every_epochs", "every_steps", "every_minutes"],
    ),
];

/// Writes `overrides` over `given`, in order, and returns the keys they set, as `table.key`.
///
/// # Errors
///
/// The first override that [`Override::parse`] refuses.
pub(super) fn apply(
    overrides: &[String],
    given: &mut Table,
) -> Result<BTreeSet<String>, ConfigError> {
    let mut set = BTreeSet::new();
    for text in overrides {
        let Override { table, key, value } = Override::parse(text)?;
        let entries = given.entry(&table).or_insert_with(|| Table::new().into());
        let Some(entries) = entries.as_table_mut() else {
            continue;
        };
        for (_, group) in ALTERNATIVES.iter().filter(|(of, _)| *of == table) {
            if group.contains(&key.as_str()) {
                // Two overrides of one group stay, to be refused like two keys of a file.
                entries.retain(|entry, _| {
                    !group.contains(&entry) || set.contains(&format!("{table}.{entry}"))
                });
            }
        }
        set.insert(format!("{table}.{key}"));
        entries.insert(key, value);
    }
    Ok(set)
}

/// One `--set`, its key known and its value of the key's type.
struct Override {
    /// `table`
    table: String,
    /// `key` without its table.
    key: String,
    /// What the key is set to.
    value: Value,
}

impl Override {
    /// Parses what stands after `--set`.
    ///
    /// # Errors
    ///
    /// If there is no `=`, the key is not known, or the value is not TOML or of the wrong type.
    fn parse(given: &str) -> Result<Self, ConfigError> {
        let refuse = |reason: String| ConfigError::Override {
            given: shorten(given),
            reason,
        };
        let form = "write table.key=value, such as data.batch_size=64";
        let Some((path, text)) = given.split_once('=') else {
            return Err(refuse(format!("has no `=`; {form}")));
        };
        let (path, text) = (path.trim(), text.trim());
        let Some((table, key)) = path.split_once('.') else {
            let advice = match schema::suggest(path) {
                Some(key) if key.contains('.') => format!("did you mean {key}?"),
                _ => form.to_string(),
            };
            return Err(refuse(format!("the key has no table; {advice}")));
        };
        schema::check_key(path, &Source::Set)?;
        if text.is_empty() {
            return Err(refuse(format!("has no value; {form}")));
        }
        let value = parse_value(text).map_err(refuse)?;
        schema::check_value(path, &value, &Source::Set)?;
        Ok(Override {
            table: table.to_string(),
            key: key.to_string(),
            value,
        })
    }
}

/// A TOML value; a bare word is a string.
fn parse_value(text: &str) -> Result<Value, String> {
    match text.parse::<Value>() {
        Ok(value) => Ok(value),
        // These open a TOML value that then went wrong.
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => Err(format!(
            "the value is not TOML: {}",
            shorten(error.message())
        )),
        Err(_) => Ok(Value::String(text.to_string())),
    }
}
