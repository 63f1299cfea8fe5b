//! The template of a config: every table and key as it is declared.

use std::fmt::Write;

use toml::{Table, Value};

use super::error::ConfigError;
use super::key::{Key, TableDoc};
use super::keys;
use super::tables::TaskTables;

/// Column of comments, unless an entry of the table is longer.
const COLUMN: usize = 24;
/// Longest entry that moves its table's comments.
const MAX_LEN: usize = 32;
/// Longest line.
const WIDTH: usize = 106;

/// The template of a config with the tables of `T`: the task's come after `[run]`.
///
/// # Errors
///
/// [`ConfigError::Unwritable`] if TOML cannot express the task's defaults.
pub(super) fn template<T: TaskTables>() -> Result<String, ConfigError> {
    let defaults = super::Config::<T>::default();
    let defaults = Table::try_from(defaults).map_err(ConfigError::unwritable)?;
    let open = T::open_template()?;
    let all = |text: &mut String, tables: &[TableDoc], keys: &[Key]| {
        for table in tables {
            let keys = keys.iter().filter(|key| key.table() == table.name);
            section(text, table, keys, &defaults);
        }
    };
    let mut text = String::from(T::HEAD);
    let (first, rest) = keys::TABLES.split_at(1);
    all(&mut text, first, keys::KEYS);
    all(&mut text, T::TABLES, T::KEYS);
    if !open.is_empty() {
        text.push('\n');
        text.push_str(&open);
    }
    all(&mut text, rest, keys::KEYS);
    Ok(text)
}

fn section<'a>(
    text: &mut String,
    table: &TableDoc,
    keys: impl Iterator<Item = &'a Key>,
    defaults: &Table,
) {
    let defaults = defaults.get(table.name);
    let head = (format!("[{}]", table.name), table.doc.to_string());
    let entries = keys.map(|key| {
        let default = defaults.and_then(|table| table.get(key.name()));
        (assignment(key, default), comment(key))
    });
    let entries: Vec<(String, String)> = [head].into_iter().chain(entries).collect();
    let lengths = entries.iter().map(|(assignment, _)| assignment.len());
    let longest = lengths.filter(|length| *length <= MAX_LEN).max();
    let column = longest.map_or(COLUMN, |longest| COLUMN.max(longest + 1));
    text.push('\n');
    for (assignment, comment) in &entries {
        entry(text, assignment, comment, column);
    }
}

/// `key = value`, commented out if the key has no default.
fn assignment(key: &Key, default: Option<&Value>) -> String {
    let name = key.name();
    match (default, key.example) {
        (Some(default), "") => format!("{name} = {default}"),
        (Some(_), example) => format!("{name} = {example}"),
        (None, example) => format!("# {name} = {example}"),
    }
}

/// The key's meaning, use and range.
fn comment(key: &Key) -> String {
    let used = key.used.map(|used| format!("{used}: ")).unwrap_or_default();
    let range = key.kind.range();
    let range = range.map(|range| format!("; {range}")).unwrap_or_default();
    format!("{used}{}{range}", key.doc)
}

/// An entry with its comment next to it, or above it if the entry is too long.
fn entry(text: &mut String, assignment: &str, comment: &str, column: usize) {
    let lines = comment.lines();
    let mut lines = lines.flat_map(|line| wrap(line, WIDTH - column - 2));
    let first = match assignment.len() < column {
        true => lines.next(),
        false => None,
    };
    // Writing to a string cannot fail.
    let _ = match first {
        Some(first) => writeln!(text, "{assignment:column$}# {first}"),
        None => writeln!(text, "{assignment}"),
    };
    for rest in lines {
        let _ = writeln!(text, "{:column$}# {rest}", "");
    }
}

/// `line`, broken between words if it is too long.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let text = line.trim_start();
    let mut current = " ".repeat(line.len() - text.len());
    let mut lines = Vec::new();
    for word in text.split_inclusive(' ') {
        if current.len() + word.trim_end().len() > width && !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
        current.push_str(word);
    }
    lines.push(current);
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}
