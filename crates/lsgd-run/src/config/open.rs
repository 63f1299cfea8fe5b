//! Values of open tables, whose keys and types are determined by serde.

use toml::{Table, Value};

use super::error::shorten;
use super::key::EXACT;

/// Converts `value` to the type of the default: a whole number may be written for a float.
pub(super) fn convert(value: Value, default: Option<&Value>) -> Value {
    match (value, default) {
        (Value::Float(number), Some(Value::Integer(_)))
            if number.fract() == 0.0 && number.abs() <= EXACT =>
        {
            Value::Integer(number as i64)
        }
        (Value::Table(entries), Some(Value::Table(defaults))) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let value = convert(value, defaults.get(&key));
                (key, value)
            });
            Value::Table(entries.collect())
        }
        (value, _) => value,
    }
}

/// The value of `text`, typed after `--set`, for a key with this default.
///
/// If the default is a string, the text is taken as typed, unless it is quoted as in TOML.
/// Everything else is TOML, or else a string.
///
/// # Errors
///
/// Why `text` is not TOML, if it begins like TOML.
pub(super) fn read(text: &str, default: Option<&Value>) -> Result<Value, String> {
    let quoted = text.starts_with(['"', '\'']);
    let is_text = default.is_some_and(Value::is_str);
    match text.parse::<Value>() {
        Ok(value) if quoted || !is_text => Ok(convert(value, default)),
        Err(error) if quoted || text.starts_with(['[', '{']) && !is_text => {
            Err(shorten(error.message()))
        }
        Err(_) if default.is_some_and(Value::is_array) => Ok(listed(text)),
        _ => Ok(Value::from(text)),
    }
}

/// The value at `path`: a key, preceded by its tables.
pub(super) fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(*first)?;
    rest.iter().try_fold(value, |value, key| value.get(key))
}

/// The entries of a list of strings without quotes.
pub(super) fn listed(text: &str) -> Value {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let entries = inner.unwrap_or(text).split(',').map(str::trim);
    Value::Array(entries.map(Value::from).collect())
}
