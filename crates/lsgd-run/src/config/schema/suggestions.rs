//! Suggestions for unknown keys.

use super::Schema;
use crate::config::error::{ConfigError, ConfigSource, advice, shorten};
use crate::words::nearest;

impl Schema {
    /// The error for an unknown key or table.
    pub(super) fn unknown(&self, path: &str, source: &ConfigSource) -> ConfigError {
        let table = path.split('.').next().unwrap_or(path);
        let suggestion = self.suggest(path);
        let advice = match self.is_table(table) {
            false if table == "task" => {
                String::from("[task] is of a program with a task of its own; use that program")
            }
            true => {
                let same_table = self.names().filter(|(of, _)| *of == table);
                let names = same_table.map(|(_, name)| name);
                advice(suggestion, &format!("[{table}] has"), names)
            }
            false => {
                let mut tables: Vec<&str> = self.names().map(|(table, _)| table).collect();
                tables.dedup();
                advice(suggestion, "the tables are", tables)
            }
        };
        ConfigError::UnknownKey {
            source_name: source.clone(),
            key: shorten(path),
            advice,
        }
    }

    /// The known key or table most similar to `path`.
    pub(in crate::config) fn suggest(&self, path: &str) -> Option<String> {
        let keys = || self.names();
        let path_of = |(table, name): (&str, &str)| format!("{table}.{name}");
        let Some((table, name)) = path.split_once('.') else {
            // A misspelt table, or a key written outside its table.
            let table = nearest(path, keys().map(|(table, _)| table)).map(String::from);
            return table.or_else(|| keys().find(|(_, name)| *name == path).map(path_of));
        };
        // A table inside a table: `schedule.warmup.epochs`.
        let mut paths = keys().map(path_of);
        if let Some(outer) = paths.find(|outer| path.starts_with(&format!("{outer}."))) {
            return Some(outer);
        }
        let same_table = keys().filter(|(of, _)| *of == table);
        if let Some(name) = nearest(name, same_table.map(|(_, name)| name)) {
            return Some(format!("{table}.{name}"));
        }
        let elsewhere = keys().find(|(_, known)| *known == name).map(path_of);
        elsewhere.or_else(|| {
            let paths: Vec<String> = keys().map(path_of).collect();
            nearest(path, paths.iter().map(String::as_str)).map(String::from)
        })
    }

    /// All keys, each with its table.
    fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let declared = self.keys.iter().map(|key| (key.table(), key.name()));
        let open = self.open.iter().flat_map(|(table, entries)| {
            let names = entries
                .as_table()
                .into_iter()
                .flat_map(|entries| entries.keys());
            names.map(move |name| (table.as_str(), name.as_str()))
        });
        declared.chain(open)
    }
}
