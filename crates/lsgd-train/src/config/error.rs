//! What can be wrong with a config, one line each: where, which key, what value, what to do.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A config file, by the name it was opened under.
    File(String),
    /// A `--set` on the command line.
    Set,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(name) => f.write_str(name),
            Source::Set => f.write_str("--set"),
        }
    }
}

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file of that name.
    #[error(
        "{}: no such file; check the path, or write a config with `lsgd-train init`", path.display()
    )]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file is there and could not be read as UTF-8 text.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file is larger than any config has reason to be.
    #[error("{}: is larger than {limit} bytes; is it a config?", path.display())]
    TooLarge {
        /// The path as it was given.
        path: PathBuf,
        /// The most that is read, in bytes.
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
        /// What the parser says.
        reason: String,
    },
    /// A `--set` that is not `table.key=value`, or whose value is not TOML.
    #[error("--set {given}: {reason}")]
    Override {
        /// What stood after `--set`.
        given: String,
        /// What is wrong with it and what to write.
        reason: String,
    },
    /// A key that no table has.
    #[error("{source_name}: unknown key {key}{}", advice(.suggestion))]
    UnknownKey {
        /// Where the key stands.
        source_name: Source,
        /// The key with its table, `table.key`.
        key: String,
        /// The known key it is most like, if any is like it.
        suggestion: Option<String>,
    },
    /// A value of a type that the key does not take.
    #[error("{source_name}: {key} {value} is {found}; give {expected}")]
    WrongType {
        /// Where the value stands.
        source_name: Source,
        /// The key with its table.
        key: String,
        /// The value, shortened if long.
        value: String,
        /// The type it has, with an article.
        found: &'static str,
        /// The type it should have, with an article and an example.
        expected: String,
    },
    /// A value out of its range, or at odds with another key.
    #[error("{source_name}: {key} {value} {problem}")]
    Invalid {
        /// Where the value stands.
        source_name: Source,
        /// The key with its table.
        key: String,
        /// The value, shortened if long.
        value: String,
        /// What is wrong with it, then what to do.
        problem: String,
    },
    /// A key that other keys make necessary is absent.
    #[error("{source_name}: {key} is not given; {problem}")]
    Absent {
        /// Where the keys that need it stand.
        source_name: Source,
        /// The key with its table.
        key: String,
        /// Why it is needed and what to do.
        problem: String,
    },
    /// A config that TOML cannot say: a path that is not UTF-8, or a number over 2^63 - 1. No
    /// config that was loaded is one.
    #[error("this config cannot be written as TOML: {reason}")]
    Unwritable {
        /// What the writer says.
        reason: String,
    },
}

fn advice(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(key) => format!("; did you mean {key}?"),
        None => String::from("; `lsgd-train init` writes a config with every key"),
    }
}

/// Longest value that an error quotes, in characters.
const QUOTED: usize = 80;

/// `text` on one line, cut after [`QUOTED`] characters.
pub(super) fn shorten(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTED {
        return line;
    }
    let kept: String = line.chars().take(QUOTED).collect();
    format!("{kept}...")
}

/// A value as an error quotes it: TOML, on one line, cut if long.
pub(super) fn quote(value: &toml::Value) -> String {
    match value {
        // Debug keeps a string on one line where TOML would write it over several.
        toml::Value::String(text) => shorten(&format!("{text:?}")),
        toml::Value::Float(number) => quote_number(*number),
        other => shorten(&other.to_string()),
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
