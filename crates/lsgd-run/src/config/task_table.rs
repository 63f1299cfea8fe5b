//! `[task]`: a table made from any struct.

mod unset;

use std::fmt::{self, Debug};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::check::ConfigSources;
use super::error::{ConfigError, ConfigSource, advice, quote, shorten};
use super::open::at;
use super::schema::found;
use super::tables::TaskTables;
use crate::words::nearest;

/// The table's name.
const TASK: &str = "task";

/// A task's single table, `[task]`, whose keys are the fields of `C`.
///
/// A key that is absent from a config takes its value from `C::default()`. A key that holds a table
/// is read as serde reads it: with `#[serde(default)]` on that struct, its keys can be left out
/// too. A key that `C` does not write back after reading counts as unknown and is refused; so serde
/// must not skip a field that was given.
///
/// ```
/// use lsgd_run::config::{Config, TaskTable};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// struct Spiral {
///     points: usize,
///     noise: f64,
///     limit: Option<u32>,
/// }
///
/// impl Default for Spiral {
///     fn default() -> Self {
///         Self { points: 100, noise: 0.1, limit: None }
///     }
/// }
///
/// type SpiralConfig = Config<TaskTable<Spiral>>;
///
/// let config = SpiralConfig::from_toml("[task]\nnoise = 0.2\nlimit = 7", "spiral.toml", &[])?;
/// let Spiral { points, noise, limit } = config.task.task;
/// assert_eq!((points, noise, limit), (100, 0.2, Some(7)));
///
/// let refused = SpiralConfig::from_toml("[task]\nnoises = 0.2", "spiral.toml", &[]);
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "spiral.toml: unknown key task.noises; did you mean task.noise?",
/// );
/// # Ok::<(), lsgd_run::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskTable<C> {
    /// `[task]`
    pub task: C,
}

impl<C> TaskTables for TaskTable<C>
where
    C: Clone + Debug + Default + Serialize + DeserializeOwned,
{
    fn open() -> Result<Table, ConfigError> {
        let table = Value::Table(fields::<C>()?);
        Ok(Table::from_iter([(TASK.to_string(), table)]))
    }

    fn read(given: &Table, sources: &ConfigSources) -> Result<Self, ConfigError> {
        let defaults = fields::<C>()?;
        let none = Table::new();
        let given = given.get(TASK).and_then(Value::as_table).unwrap_or(&none);
        let mut whole = defaults.clone();
        whole.extend(given.clone());
        let read: Result<C, _> = whole.try_into();
        let read = read.map_err(|error| refuse::<C>(given, &defaults, &error, sources))?;
        let written = write(&read)?;
        match unknown(given, &written, TASK) {
            None => Ok(Self { task: read }),
            Some(Unknown { key, advice }) => Err(ConfigError::UnknownKey {
                source_name: sources.of(&[&key]),
                key: shorten(&key),
                advice,
            }),
        }
    }

    fn open_template() -> Result<String, ConfigError> {
        // In the order of the fields.
        let text = toml::to_string(&Self::default()).map_err(ConfigError::unwritable)?;
        let unset = unset::lines::<C>(&fields::<C>()?);
        Ok(unset::put(&text, TASK, &unset))
    }
}

/// The fields of `C` with their defaults.
fn fields<C: Default + Serialize>() -> Result<Table, ConfigError> {
    write(&C::default())
}

fn write(fields: &impl Serialize) -> Result<Table, ConfigError> {
    Table::try_from(fields).map_err(ConfigError::unwritable)
}

/// Finds the given key that `C` cannot read: each is tried by itself, among defaults.
fn refuse<C: DeserializeOwned>(
    given: &Table,
    defaults: &Table,
    error: &toml::de::Error,
    sources: &ConfigSources,
) -> ConfigError {
    for (key, value) in given {
        let reads = |value: Value| {
            let mut tried = defaults.clone();
            tried.insert(key.clone(), value);
            let read: Result<C, _> = tried.try_into();
            read.err()
        };
        if let Some(error) = reads(value.clone()) {
            let mut path = vec![key.as_str()];
            let found = narrow(value, &mut path, &|value| reads(value).is_none());
            let default = at(defaults, &path);
            let key = format!("{TASK}.{}", path.join("."));
            let source_name = sources.of(&[&key]);
            return refuse_key(key, found, default, &error, source_name);
        }
    }
    ConfigError::Unread {
        source_name: sources.of(&[TASK]),
        reason: format!("[{TASK}] does not fit: {}", shorten(error.message())),
    }
}

/// The part of `value` that does not fit, without which the rest does, or else `value` itself. The
/// keys that lead to it are appended to `path`.
fn narrow<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    fits: &dyn Fn(Value) -> bool,
) -> &'a Value {
    let Value::Table(entries) = value else {
        return value;
    };
    let without = |key: &str, other: Option<Value>| {
        let mut entries = entries.clone();
        match other {
            Some(other) => entries.insert(key.to_string(), other),
            None => entries.remove(key),
        };
        fits(Value::Table(entries))
    };
    match entries.iter().find(|(key, _)| without(key, None)) {
        Some((key, inner)) => {
            path.push(key);
            narrow(inner, path, &|inner| without(key, Some(inner)))
        }
        None => value,
    }
}

/// The error for a `value` that `key` does not take.
fn refuse_key(
    key: String,
    value: &Value,
    default: Option<&Value>,
    error: &toml::de::Error,
    source_name: ConfigSource,
) -> ConfigError {
    let message = error.message();
    let wanted = message.rsplit_once(", expected ").map(|(_, wanted)| wanted);
    let wrong_type = match default {
        Some(default) if !default.same_type(value) => Some(expected(default)),
        Some(_) => None,
        None if message.starts_with("invalid type: ") => wanted.and_then(expected_by_serde),
        None => None,
    };
    let range = wanted.filter(|_| value.is_integer()).and_then(Whole::of);
    match (wrong_type, range) {
        (Some(expected), _) => ConfigError::WrongType {
            source_name,
            key,
            value: quote(value),
            found: found(value),
            expected,
        },
        (None, range) => ConfigError::Invalid {
            source_name,
            key,
            value: quote(value),
            problem: match range {
                Some(range) => range.problem(),
                None => format!("does not fit: {}", shorten(message)),
            },
        },
    }
}

/// What to give for a key whose type serde's message calls `wanted`.
fn expected_by_serde(wanted: &str) -> Option<String> {
    let whole = || Whole::of(wanted).map(|range| range.to_string());
    let text = match wanted {
        "f32" | "f64" => "a number",
        "a string" | "path string" => "a string in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        _ => return whole(),
    };
    Some(String::from(text))
}

/// The range of an integer type.
struct Whole {
    least: i64,
    /// `None` if it is beyond TOML's integers.
    most: Option<i64>,
}

impl Whole {
    /// The range of the type that serde's message calls `wanted`.
    fn of(wanted: &str) -> Option<Self> {
        let (nonzero, name) = match wanted.strip_prefix("a nonzero ") {
            Some(name) => (true, name),
            None => (false, wanted),
        };
        let (least, most) = match name {
            "u8" => (0, Some(u8::MAX.into())),
            "u16" => (0, Some(u16::MAX.into())),
            "u32" => (0, Some(u32::MAX.into())),
            "u64" | "u128" | "usize" => (0, None),
            "i8" => (i8::MIN.into(), Some(i8::MAX.into())),
            "i16" => (i16::MIN.into(), Some(i16::MAX.into())),
            "i32" => (i32::MIN.into(), Some(i32::MAX.into())),
            "i64" | "i128" | "isize" => (i64::MIN, None),
            _ => return None,
        };
        let least = if nonzero && least == 0 { 1 } else { least };
        Some(Self { least, most })
    }

    /// What is wrong with a number out of the range, and what to do.
    fn problem(&self) -> String {
        match self.most {
            Some(most) => format!("is not in [{}, {most}]; give {self}", self.least),
            None => format!("is less than {}; give {self}", self.least),
        }
    }
}

impl fmt::Display for Whole {
    /// `a whole number from 0 to 255`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")?;
        match *self {
            Self {
                least: i64::MIN,
                most: None,
            } => Ok(()),
            Self { least, most: None } => write!(f, " from {least}"),
            Self {
                least,
                most: Some(most),
            } => write!(f, " from {least} to {most}"),
        }
    }
}

/// A description of the values of a key with this default.
fn expected(default: &Value) -> String {
    let text = match default {
        Value::String(_) => "a string in quotes",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => return format!("a list, such as {}", quote(default)),
        Value::Table(_) => return format!("a table, such as {}", quote(default)),
    };
    String::from(text)
}

/// An unknown key that was given.
struct Unknown {
    /// With the tables it stands in.
    key: String,
    /// The suggested key.
    advice: String,
}

/// The first key of `given`, the table `outer`, that was not written back after it had been read.
fn unknown(given: &Table, written: &Table, outer: &str) -> Option<Unknown> {
    given.iter().find_map(|(key, value)| {
        let path = format!("{outer}.{key}");
        match (value, written.get(key)) {
            (_, None) => {
                let known = || written.keys().map(String::as_str);
                let suggestion = nearest(key, known()).map(|known| format!("{outer}.{known}"));
                Some(Unknown {
                    key: path,
                    advice: advice(suggestion, &format!("[{outer}] has"), known()),
                })
            }
            (Value::Table(given), Some(Value::Table(written))) => unknown(given, written, &path),
            (Value::Array(given), Some(Value::Array(written))) => {
                let mut pairs = given.iter().zip(written).enumerate();
                pairs.find_map(|(index, (given, written))| {
                    let (given, written) = (given.as_table()?, written.as_table()?);
                    unknown(given, written, &format!("{path}[{index}]"))
                })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests;
