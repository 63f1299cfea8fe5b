//! Converts a TOML value to one that a key takes, or says why it cannot.

use std::path::Path;

use toml::{Table, Value};

use super::{Known, Schema};
use crate::config::error::{ConfigError, ConfigSource, advice, quote};
use crate::config::key::{EXACT, Entry, Kind, MAX_INTEGER};
use crate::config::open;
use crate::home;
use crate::words::{did_you_mean, list, nearest};

impl Schema {
    /// A whole file: every key known, every value converted.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] of the first key that is unknown or whose value does not fit.
    pub(in crate::config) fn convert_tables(
        &self,
        tables: Table,
        source: &ConfigSource,
    ) -> Result<Table, ConfigError> {
        let convert_entries = |table: &str, entries: Table| {
            let entries = entries.into_iter().map(|(key, value)| {
                let path = format!("{table}.{key}");
                let value = match self.key(&path, source)? {
                    Known::Declared(kind) => convert(&path, kind, value, source)?,
                    Known::Open(default) => open::convert(value, default),
                };
                Ok((key, value))
            });
            entries.collect::<Result<Table, ConfigError>>()
        };
        let tables = tables.into_iter().map(|(table, value)| match value {
            _ if !self.is_table(&table) => Err(self.unknown(&table, source)),
            Value::Table(entries) => {
                let entries = convert_entries(&table, entries)?;
                Ok((table, Value::Table(entries)))
            }
            value => {
                let expected = format!("a table, [{table}]");
                Err(wrong_type(&table, &value, expected, source))
            }
        });
        tables.collect()
    }
}

/// The value of `key`, which has this kind, when it is given `value`.
///
/// # Errors
///
/// [`ConfigError`] if `value` does not fit.
pub(in crate::config) fn convert(
    key: &str,
    kind: Kind,
    value: Value,
    source: &ConfigSource,
) -> Result<Value, ConfigError> {
    let refuse = |value: &Value, problem: String| Err(invalid(key, value, problem, source));
    match (kind, value) {
        (Kind::Path, Value::String(path)) => match expand(&path) {
            Ok(path) => Ok(Value::String(path)),
            Err(problem) => refuse(&Value::String(path), problem),
        },
        (Kind::Word(words), Value::String(word)) if !words.contains(&word.as_str()) => {
            let meant = did_you_mean(&word, words.iter().copied());
            let problem = format!("is not known; give {}{meant}", list(words));
            refuse(&Value::String(word), problem)
        }
        (Kind::Devices, Value::String(word)) if word != "auto" => {
            let problem = format!("is not known; give {}", kind.expected());
            refuse(&Value::String(word), problem)
        }
        (Kind::Whole(least, most), Value::Float(number)) if number.fract() == 0.0 => {
            let value = Value::Float(number);
            match number.abs() <= EXACT {
                true => convert(key, kind, Value::Integer(number as i64), source),
                false if number < 0.0 || number > most as f64 => {
                    refuse(&value, not_in_range(least, most))
                }
                false => refuse(
                    &value,
                    String::from("is too large for a float to hold exactly; write all its digits"),
                ),
            }
        }
        (Kind::Whole(least, most), Value::Integer(number)) => {
            let value = Value::Integer(number);
            let fits = u64::try_from(number).is_ok_and(|n| (least..=most).contains(&n));
            match fits {
                true => Ok(value),
                false => refuse(&value, not_in_range(least, most)),
            }
        }
        (Kind::Number(range), Value::Float(number)) if !range.contains(number) => {
            let problem = format!("is not in {range}; give a number {}", range.words());
            let value = Value::Float(number);
            refuse(&value, problem)
        }
        (Kind::Number(_), Value::Integer(number)) => {
            convert(key, kind, Value::Float(number as f64), source)
        }
        (Kind::Shape, Value::Array(sizes)) if sizes.len() == 3 => {
            let convert = |size| convert(key, Kind::Whole(0, MAX_INTEGER), size, source);
            let sizes: Result<_, _> = sizes.into_iter().map(convert).collect();
            Ok(Value::Array(sizes?))
        }
        (Kind::Entries(entry), Value::Array(entries)) => {
            convert_entries(key, entry, entries, source)
        }
        (Kind::Entry(entry), value @ Value::Table(_)) => convert_entry(key, entry, value, source),
        (Kind::Devices | Kind::Endpoints, Value::Array(list)) if list.iter().all(Value::is_str) => {
            Ok(Value::Array(list))
        }
        (
            Kind::Shape | Kind::Devices | Kind::Endpoints | Kind::Whole(..),
            value @ (Value::Array(_) | Value::Float(_)),
        ) => Err(wrong_type(key, &value, kind.expected(), source)),
        (_, value) if kind.takes(&value) => Ok(value),
        (_, value) => Err(wrong_type(key, &value, kind.expected(), source)),
    }
}

/// A path with `~` expanded, or what is wrong with it.
fn expand(path: &str) -> Result<String, String> {
    let expanded = home::expand(Path::new(path)).map_err(|error| error.to_string())?;
    let text = expanded.to_str().map(String::from);
    text.ok_or_else(|| String::from("is in a home folder whose name is not UTF-8"))
}

/// A list of tables.
fn convert_entries(
    key: &str,
    entry: &Entry,
    entries: Vec<Value>,
    source: &ConfigSource,
) -> Result<Value, ConfigError> {
    let entries = entries.into_iter().enumerate();
    let entries: Result<_, _> = entries
        .map(|(index, value)| convert_entry(&format!("{key}[{index}]"), entry, value, source))
        .collect();
    Ok(Value::Array(entries?))
}

/// An inline table with keys of its own.
fn convert_entry(
    key: &str,
    entry: &Entry,
    value: Value,
    source: &ConfigSource,
) -> Result<Value, ConfigError> {
    let Value::Table(entries) = value else {
        return Err(wrong_type(key, &value, expected_entry(entry), source));
    };
    let mut fields = entry.fields.iter();
    let missing = fields.find(|field| field.needed && !entries.contains_key(field.name));
    let shown = quote(&Value::Table(entries.clone()));
    let converted = entries.into_iter().map(|(name, value)| {
        let path = format!("{key}.{name}");
        match entry.fields.iter().find(|field| field.name == name) {
            Some(field) => Ok((name, convert(&path, field.kind, value, source)?)),
            None => {
                let names = || entry.fields.iter().map(|field| field.name);
                let suggestion = nearest(&name, names()).map(|name| format!("{key}.{name}"));
                Err(ConfigError::UnknownKey {
                    source_name: source.clone(),
                    key: path,
                    advice: advice(suggestion, "it has", names()),
                })
            }
        }
    });
    let converted: Table = converted.collect::<Result<_, _>>()?;
    match missing {
        None => Ok(Value::Table(converted)),
        Some(field) => Err(ConfigError::Invalid {
            source_name: source.clone(),
            key: key.to_string(),
            value: shown,
            problem: format!("has no {}; write {}", field.name, entry.example),
        }),
    }
}

impl Kind {
    /// Whether a value of this type can be one of this kind.
    pub(in crate::config) fn takes(self, value: &Value) -> bool {
        match self {
            Kind::Text | Kind::Path | Kind::Word(_) => value.is_str(),
            Kind::Flag => value.is_bool(),
            Kind::Whole(..) | Kind::Number(_) => value.is_integer() || value.is_float(),
            Kind::Shape | Kind::Entries(_) | Kind::Endpoints => value.is_array(),
            Kind::Devices => value.is_str() || value.is_array(),
            Kind::Entry(_) => value.is_table(),
        }
    }

    /// A description of a value of this kind, with an example where that helps.
    pub(in crate::config) fn expected(self) -> String {
        match self {
            Kind::Text | Kind::Path => String::from("a string in quotes"),
            Kind::Word(words) => list(words),
            Kind::Flag => String::from("true or false"),
            Kind::Whole(least, MAX_INTEGER) => format!("a whole number from {least}"),
            Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Number(_) => String::from("a number"),
            Kind::Shape => String::from("three whole numbers, such as [3, 32, 32]"),
            Kind::Entries(entry) => format!("a list, such as [{}]", entry.example),
            Kind::Entry(entry) => expected_entry(entry),
            Kind::Endpoints => String::from(
                "a list of endpoints, such as [\"tcp/10.0.0.1:7400\", \"tcp/10.0.0.2:7400\"]",
            ),
            Kind::Devices => {
                String::from("\"auto\" or a list of one name a worker, such as [\"cpu\", \"cpu\"]")
            }
        }
    }
}

/// What is wrong with a whole number that is not from `least` to `most`.
pub(in crate::config) fn not_in_range(least: u64, most: u64) -> String {
    format!("is not in [{least}, {most}]; give a whole number from {least} to {most}")
}

fn expected_entry(entry: &Entry) -> String {
    format!("a table, such as {}", entry.example)
}

/// A description of a value's type, with an article.
pub(in crate::config) fn found(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn wrong_type(key: &str, value: &Value, expected: String, source: &ConfigSource) -> ConfigError {
    ConfigError::WrongType {
        source_name: source.clone(),
        key: key.to_string(),
        value: quote(value),
        found: found(value),
        expected,
    }
}

fn invalid(key: &str, value: &Value, problem: String, source: &ConfigSource) -> ConfigError {
    ConfigError::Invalid {
        source_name: source.clone(),
        key: key.to_string(),
        value: quote(value),
        problem,
    }
}
