//! From a TOML value to the one that a key takes, or why it takes none.

use std::path::Path;

use toml::{Table, Value};

use super::suggestions::unknown;
use super::{DEATH, DROP, Kind, LARGEST, SPAN, TLS, is_table, kind_of};
use crate::config::error::{ConfigError, Source, quote};
use crate::home;
use crate::words::{did_you_mean, list, nearest};

/// Up to here every integer is a float.
const EXACT: f64 = (1u64 << 53) as f64;

/// A whole file: every key known, every value as its key takes it.
///
/// # Errors
///
/// [`ConfigError`] of the first key that is not known or whose value does not fit.
pub(in crate::config) fn convert_tables(
    tables: Table,
    source: &Source,
) -> Result<Table, ConfigError> {
    let convert_entries = |table: &str, entries: Table| {
        let entries = entries.into_iter().map(|(key, value)| {
            let path = format!("{table}.{key}");
            let kind = kind_of(&path, source)?;
            Ok((key, convert(&path, kind, value, source)?))
        });
        entries.collect::<Result<Table, ConfigError>>()
    };
    let tables = tables.into_iter().map(|(table, value)| match value {
        _ if !is_table(&table) => Err(unknown(&table, source)),
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

/// The value that `key`, of this kind, takes when it is given `value`.
///
/// # Errors
///
/// [`ConfigError`] if `value` does not fit.
pub(in crate::config) fn convert(
    key: &str,
    kind: Kind,
    value: Value,
    source: &Source,
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
        (Kind::Shape, Value::Array(sizes)) if sizes.len() == 3 => {
            let convert = |size| convert(key, Kind::Whole(0, LARGEST), size, source);
            let sizes: Result<_, _> = sizes.into_iter().map(convert).collect();
            Ok(Value::Array(sizes?))
        }
        (Kind::Drops, Value::Array(entries)) => convert_entries(key, DROP, entries, source),
        (Kind::Deaths, Value::Array(entries)) => convert_entries(key, DEATH, entries, source),
        (Kind::Span, value @ Value::Table(_)) => convert_entry(key, SPAN, value, source),
        (Kind::Tls, value @ Value::Table(_)) => convert_entry(key, TLS, value, source),
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
    known: &[(&str, Kind)],
    entries: Vec<Value>,
    source: &Source,
) -> Result<Value, ConfigError> {
    let entries = entries.into_iter().enumerate();
    let entries: Result<_, _> = entries
        .map(|(index, entry)| convert_entry(&format!("{key}[{index}]"), known, entry, source))
        .collect();
    Ok(Value::Array(entries?))
}

/// An inline table with keys of its own.
fn convert_entry(
    key: &str,
    known: &[(&str, Kind)],
    value: Value,
    source: &Source,
) -> Result<Value, ConfigError> {
    let Value::Table(entries) = value else {
        return Err(wrong_type(key, &value, expected_entry(known), source));
    };
    let needed = |name: &str| name == "factor" || known == TLS || known == DEATH;
    let mut missing = known
        .iter()
        .filter(|(name, _)| !entries.contains_key(*name));
    let missing = missing.find(|(name, _)| needed(name));
    let shown = quote(&Value::Table(entries.clone()));
    let converted = entries.into_iter().map(|(name, value)| {
        let path = format!("{key}.{name}");
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => Ok((name, convert(&path, *kind, value, source)?)),
            None => {
                let names = known.iter().map(|(name, _)| *name);
                Err(ConfigError::UnknownKey {
                    source_name: source.clone(),
                    key: path,
                    suggestion: nearest(&name, names).map(|name| format!("{key}.{name}")),
                })
            }
        }
    });
    let converted: Table = converted.collect::<Result<_, _>>()?;
    match missing {
        None => Ok(Value::Table(converted)),
        Some((name, _)) => Err(ConfigError::Invalid {
            source_name: source.clone(),
            key: key.to_string(),
            value: shown,
            problem: format!("has no {name}; write {}", example_entry(known)),
        }),
    }
}

impl Kind {
    /// Whether a value of this type can be one of this kind.
    pub(in crate::config) fn takes(self, value: &Value) -> bool {
        match self {
            Kind::Text | Kind::Path | Kind::Word(_) => value.is_str(),
            Kind::Flag => value.is_bool(),
            Kind::Whole(..) | Kind::Number => value.is_integer() || value.is_float(),
            Kind::Shape | Kind::Drops | Kind::Endpoints | Kind::Deaths => value.is_array(),
            Kind::Devices => value.is_str() || value.is_array(),
            Kind::Span | Kind::Tls => value.is_table(),
        }
    }

    /// What a value of this kind is, with an example where that is not clear.
    pub(in crate::config) fn expected(self) -> String {
        match self {
            Kind::Text | Kind::Path => String::from("a string in quotes"),
            Kind::Word(words) => list(words),
            Kind::Flag => String::from("true or false"),
            Kind::Whole(least, LARGEST) => format!("a whole number from {least}"),
            Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Number => String::from("a number"),
            Kind::Shape => String::from("three whole numbers, such as [3, 32, 32]"),
            Kind::Drops => String::from("a list, such as [{ epochs = 80, factor = 0.1 }]"),
            Kind::Deaths => format!("a list, such as [{}]", example_entry(DEATH)),
            Kind::Span => expected_entry(SPAN),
            Kind::Tls => expected_entry(TLS),
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

fn expected_entry(known: &[(&str, Kind)]) -> String {
    format!("a table, such as {}", example_entry(known))
}

fn example_entry(known: &[(&str, Kind)]) -> &'static str {
    match known.first() {
        Some(("ca", _)) => r#"{ ca = "ca.pem", certificate = "node.pem", key = "node.key" }"#,
        Some(("worker", _)) => "{ worker = 3, seconds = 60 }",
        _ if known.len() == DROP.len() => "{ epochs = 80, factor = 0.1 }",
        _ => "{ epochs = 5 } or { steps = 500 }",
    }
}

fn found(value: &Value) -> &'static str {
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

fn wrong_type(key: &str, value: &Value, expected: String, source: &Source) -> ConfigError {
    ConfigError::WrongType {
        source_name: source.clone(),
        key: key.to_string(),
        value: quote(value),
        found: found(value),
        expected,
    }
}

fn invalid(key: &str, value: &Value, problem: String, source: &Source) -> ConfigError {
    ConfigError::Invalid {
        source_name: source.clone(),
        key: key.to_string(),
        value: quote(value),
        problem,
    }
}
