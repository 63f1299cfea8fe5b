//! `--set table.key=value`.

use std::collections::BTreeSet;
use std::num::IntErrorKind;

use toml::{Table, Value};

use super::error::{ConfigError, Source, quote, shorten};
use super::schema::{self, Kind};

/// Keys of which one is given: one that `--set` gives takes the place of the file's.
const ALTERNATIVES: &[(&str, [&str; 3])] = &[
    ("budget", ["epochs", "steps", "minutes"]),
    ("evaluate", ["every_epochs", "every_steps", "every_minutes"]),
    (
        "checkpoint",
        ["every_epochs", "every_steps", "every_minutes"],
    ),
];

/// Why a whole number is beyond all that TOML has.
const BEYOND: [IntErrorKind; 2] = [IntErrorKind::PosOverflow, IntErrorKind::NegOverflow];

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
    /// Parses what stands after `--set`: the key decides how the value is read.
    ///
    /// # Errors
    ///
    /// If there is no `=`, the key is not known, or the value is not one that the key takes.
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
        let kind = schema::kind_of(path, &Source::Set)?;
        if text.is_empty() {
            return Err(refuse(format!("has no value; {form}")));
        }
        let invalid = |value, problem| ConfigError::Invalid {
            source_name: Source::Set,
            key: path.to_string(),
            value,
            problem,
        };
        let value = read(kind, text).map_err(|problem| match problem {
            Problem::NotToml(reason) => refuse(format!("the value is not TOML: {reason}")),
            Problem::Beyond(range) => invalid(shorten(text), range),
            Problem::Unfit => {
                let problem = format!("is not {}", kind.expected());
                invalid(quote(&Value::from(text)), problem)
            }
        })?;
        Ok(Override {
            table: table.to_string(),
            key: key.to_string(),
            value: schema::convert(path, kind, value, &Source::Set)?,
        })
    }
}

/// Why a text is no value of a kind.
enum Problem {
    /// It begins as TOML and does not go on so.
    NotToml(String),
    /// It is a whole number beyond all that TOML has; what range is allowed.
    Beyond(String),
    /// It is of no type that the kind takes.
    Unfit,
}

/// The value that `text` stands for where one of this kind is wanted.
///
/// A string is what was typed, unless it stands in quotes of TOML. A list of strings is TOML too, or
/// its entries with commas between them, in brackets or not: shells take quotes away. Everything else
/// is TOML.
fn read(kind: Kind, text: &str) -> Result<Value, Problem> {
    let not_toml = |error: toml::de::Error| Problem::NotToml(shorten(error.message()));
    let quoted = text.starts_with(['"', '\'']);
    match (kind, text.parse::<Value>()) {
        (Kind::Text | Kind::Path | Kind::Word(_), parsed) if quoted => parsed.map_err(not_toml),
        (Kind::Text | Kind::Path | Kind::Word(_), _) => Ok(Value::from(text)),
        (Kind::Devices, _) if text == "auto" => Ok(Value::from(text)),
        (_, Ok(value)) if kind.takes(&value) => Ok(value),
        (Kind::Devices | Kind::Endpoints, Err(error)) => {
            let open = text.starts_with('[') && !text.ends_with(']');
            match open || text.contains(['"', '\'']) {
                true => Err(not_toml(error)),
                false => Ok(listed(text)),
            }
        }
        (_, Err(error)) if text.starts_with(['[', '{']) => Err(not_toml(error)),
        (Kind::Whole(least, most), Err(_)) => match text.parse::<i64>() {
            // With zeros before it, which TOML does not take.
            Ok(number) => Ok(Value::Integer(number)),
            Err(error) if BEYOND.contains(error.kind()) => {
                Err(Problem::Beyond(schema::not_in_range(least, most)))
            }
            Err(_) => Err(Problem::Unfit),
        },
        _ => Err(Problem::Unfit),
    }
}

/// The entries of a list of strings without quotes.
fn listed(text: &str) -> Value {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let entries = inner.unwrap_or(text).split(',').map(str::trim);
    Value::Array(entries.map(Value::from).collect())
}
