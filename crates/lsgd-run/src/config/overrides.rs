//! `--set table.key=value`.

use std::collections::BTreeSet;
use std::num::IntErrorKind;

use toml::{Table, Value};

use super::error::{ConfigError, ConfigSource, quote, shorten};
use super::key::Kind;
use super::open;
use super::schema::{self, Known, Schema};

/// Keys of which one is given: the one that `--set` gives replaces the file's.
const ALTERNATIVES: &[(&str, [&str; 3])] = &[
    ("budget", ["epochs", "steps", "minutes"]),
    ("evaluate", ["every_epochs", "every_steps", "every_minutes"]),
    (
        "checkpoint",
        ["every_epochs", "every_steps", "every_minutes"],
    ),
];

/// Why a whole number is out of range.
const BEYOND: [IntErrorKind; 2] = [IntErrorKind::PosOverflow, IntErrorKind::NegOverflow];

/// All `--set` of a command line.
pub(super) struct Overrides(Vec<Override>);

impl Overrides {
    /// Parses each override.
    ///
    /// # Errors
    ///
    /// The first error of [`Override::parse`].
    pub(super) fn parse(given: &[String], schema: &Schema) -> Result<Self, ConfigError> {
        let parsed = given.iter().map(|text| Override::parse(text, schema));
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    /// Removes from `file` the alternatives to the keys that are set.
    pub(super) fn make_room(&self, file: &mut Table) {
        for Override { table, key, .. } in &self.0 {
            let group = ALTERNATIVES
                .iter()
                .find(|(of, group)| of == table && group.contains(&key.as_str()));
            let alternatives = group.map_or(&[] as &[&str], |(_, group)| group);
            if let Some(entries) = file.get_mut(table).and_then(Value::as_table_mut) {
                entries.retain(|entry, _| entry != key && !alternatives.contains(&entry));
            }
        }
    }

    /// Writes the overrides into `given`, in order, and returns the keys they set, as `table.key`.
    pub(super) fn write(self, given: &mut Table) -> BTreeSet<String> {
        let mut set = BTreeSet::new();
        for Override { table, key, value } in self.0 {
            let path = format!("{table}.{key}");
            let (outer, name) = path.rsplit_once('.').unwrap_or((&table, &key));
            if let Some(innermost) = outer.split('.').try_fold(&mut *given, table_in) {
                innermost.insert(name.to_string(), value);
            }
            set.insert(path);
        }
        set
    }
}

/// The table `key` of `outer`, created if absent.
fn table_in<'a>(outer: &'a mut Table, key: &str) -> Option<&'a mut Table> {
    let value = outer.entry(key).or_insert_with(|| Table::new().into());
    if !value.is_table() {
        *value = Table::new().into();
    }
    value.as_table_mut()
}

/// One `--set`, with a known key and a value of its type.
struct Override {
    /// `table`
    table: String,
    /// `key` without its table; in an open table it may include inner tables.
    key: String,
    /// What the key is set to.
    value: Value,
}

impl Override {
    /// Parses the text after `--set`: the key determines how the value is read.
    ///
    /// # Errors
    ///
    /// If there is no `=`, the key is unknown, or the key does not take the value.
    fn parse(given: &str, schema: &Schema) -> Result<Self, ConfigError> {
        let refuse = |reason: String| ConfigError::Override {
            given: shorten(given),
            reason,
        };
        let form = "write table.key=value, such as run.seed=2";
        let Some((path, text)) = given.split_once('=') else {
            return Err(refuse(format!("has no `=`; {form}")));
        };
        let (path, text) = (path.trim(), text.trim());
        let Some((table, key)) = path.split_once('.') else {
            let advice = match schema.suggest(path) {
                Some(key) if key.contains('.') => format!("did you mean {key}?"),
                _ => form.to_string(),
            };
            return Err(refuse(format!("the key has no table; {advice}")));
        };
        let known = schema.key(path, &ConfigSource::Set)?;
        if text.is_empty() {
            return Err(refuse(format!("has no value; {form}")));
        }
        let invalid = |value, problem| ConfigError::Invalid {
            source_name: ConfigSource::Set,
            key: path.to_string(),
            value,
            problem,
        };
        let not_toml = |reason| refuse(format!("the value is not TOML: {reason}"));
        let kind = match known {
            Known::Declared(kind) => kind,
            Known::Open(default) => {
                let value = open::read(text, default).map_err(not_toml)?;
                return Ok(Override {
                    table: table.to_string(),
                    key: key.to_string(),
                    value,
                });
            }
        };
        let value = read(kind, text).map_err(|problem| match problem {
            Problem::NotToml(reason) => not_toml(reason),
            Problem::Beyond(range) => invalid(shorten(text), range),
            Problem::Unfit => {
                let problem = format!("is not {}", kind.expected());
                invalid(quote(&Value::from(text)), problem)
            }
        })?;
        Ok(Override {
            table: table.to_string(),
            key: key.to_string(),
            value: schema::convert(path, kind, value, &ConfigSource::Set)?,
        })
    }
}

/// Why a text is not a value of a kind.
enum Problem {
    /// It begins like TOML but is not valid.
    NotToml(String),
    /// It is a whole number that TOML cannot express; the allowed range.
    Beyond(String),
    /// It has a type that the kind does not take.
    Unfit,
}

/// The value of `text` for a key of this kind.
///
/// A string is taken as typed, unless it is quoted as in TOML. A list of strings is TOML too, or
/// its entries separated by commas, with or without brackets: shells remove quotes. Everything else
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
                false => Ok(open::listed(text)),
            }
        }
        (_, Err(error)) if text.starts_with(['[', '{']) => Err(not_toml(error)),
        (Kind::Whole(least, most), Err(_)) => match text.parse::<i64>() {
            // With leading zeros, which TOML does not allow.
            Ok(number) => Ok(Value::Integer(number)),
            Err(error) if BEYOND.contains(error.kind()) => {
                Err(Problem::Beyond(schema::not_in_range(least, most)))
            }
            Err(_) => Err(Problem::Unfit),
        },
        _ => Err(Problem::Unfit),
    }
}
