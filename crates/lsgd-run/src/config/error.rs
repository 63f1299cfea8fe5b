//! Errors of a config, one line each: where, which key, what value, what to do.

use std::fmt;
use std::path::PathBuf;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// A config file, by the name it was opened under.
    File(String),
    /// A `--set` on the command line.
    Set,
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigSource::File(name) => f.write_str(name),
            ConfigSource::Set => f.write_str("--set"),
        }
    }
}

/// Why a config is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist.
    #[error("{}: no such file; {advice}", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// The file exists but could not be read as UTF-8 text.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
    /// The file is larger than any reasonable config.
    #[error("{}: is larger than {limit} bytes; is it a config?", path.display())]
    TooLarge {
        /// The path as it was given.
        path: PathBuf,
        /// The maximum, in bytes.
        limit: u64,
    },
    /// The text is not TOML.
    #[error("{file}:{line}:{column}: {reason}")]
    Syntax {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The parser's error.
        reason: String,
    },
    /// A `--set` that is not `table.key=value`, or whose value is not TOML.
    #[error("--set {given}: {reason}")]
    Override {
        /// The text after `--set`.
        given: String,
        /// What is wrong with it and what to write.
        reason: String,
    },
    /// A key that no table has.
    #[error("{source_name}: unknown key {key}; {advice}")]
    UnknownKey {
        /// Where the key was given.
        source_name: ConfigSource,
        /// The key with its table, `table.key`.
        key: String,
        /// The most similar known key, or else a list of keys.
        advice: String,
    },
    /// A value of the wrong type.
    #[error("{source_name}: {key} {value} is {found}; give {expected}")]
    WrongType {
        /// Where the value was given.
        source_name: ConfigSource,
        /// The key with its table.
        key: String,
        /// The value, shortened if long.
        value: String,
        /// The type it has, with an article.
        found: &'static str,
        /// The expected type, with an article and an example.
        expected: String,
    },
    /// A value that is out of range or contradicts another key.
    #[error("{source_name}: {key} {value} {problem}")]
    Invalid {
        /// Where the value was given.
        source_name: ConfigSource,
        /// The key with its table.
        key: String,
        /// The value, shortened if long.
        value: String,
        /// What is wrong with it, then what to do.
        problem: String,
    },
    /// A key that other keys require is missing.
    #[error("{source_name}: {key} is not given; {problem}")]
    Absent {
        /// Where the keys that require it were given.
        source_name: ConfigSource,
        /// The key with its table.
        key: String,
        /// Why it is required and what to do.
        problem: String,
    },
    /// A task's settings are invalid, but not because of a single key.
    #[error("{source_name}: {reason}")]
    Unread {
        /// Where the keys were given.
        source_name: ConfigSource,
        /// The deserializer's error.
        reason: String,
    },
    /// A config that TOML cannot express: a path that is not UTF-8, or a number over 2^63 - 1. A
    /// config that was loaded never is.
    #[error("this config cannot be written as TOML: {reason}")]
    Unwritable {
        /// The serializer's error.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn unwritable(error: toml::ser::Error) -> Self {
        Self::Unwritable {
            reason: shorten(&error.to_string()),
        }
    }
}

/// Longest value quoted in an error, in characters.
const QUOTED: usize = 80;

/// What to do about an unknown key: a suggestion, or else the keys of `place`.
pub(super) fn advice<'a>(
    suggestion: Option<String>,
    place: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    match suggestion {
        Some(key) => format!("did you mean {key}?"),
        None => {
            let known: Vec<&str> = known.into_iter().collect();
            format!("{place} {}", known.join(", "))
        }
    }
}

/// `text` on one line, cut after [`QUOTED`] characters.
pub(super) fn shorten(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTED {
        return line;
    }
    let kept: String = line.chars().take(QUOTED).collect();
    format!("{kept}...")
}

/// A value as quoted in errors: TOML, on one line, cut if long.
pub(super) fn quote(value: &toml::Value) -> String {
    shorten(&whole(value))
}

/// A value quoted so that different values look different: a hash follows if the quotation is cut.
pub(super) fn quote_exactly(value: &toml::Value) -> String {
    let (quoted, whole) = (quote(value), whole(value));
    match quoted == whole {
        true => quoted,
        false => {
            let hash = blake3::hash(whole.as_bytes()).to_hex();
            format!("{quoted} (BLAKE3 {})", &hash[..16])
        }
    }
}

/// The whole value as TOML.
fn whole(value: &toml::Value) -> String {
    match value {
        // Debug keeps a string on one line; TOML might not.
        toml::Value::String(text) => format!("{text:?}"),
        toml::Value::Float(number) => quote_number(*number),
        other => other.to_string(),
    }
}

/// A number without needless digits: `1.5`, `2`, `1e300`.
pub(super) fn quote_number(number: f64) -> String {
    let text = format!("{number:?}");
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_string(),
        None => text,
    }
}
