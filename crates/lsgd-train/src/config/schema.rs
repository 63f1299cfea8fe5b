//! Every key of a config and the type of its value.
//!
//! Serde would refuse the same configs, but says neither the key's table nor what was meant. This
//! list lets errors name both; a test holds it against the structs of [`super::types`].

use toml::{Table, Value};

use super::error::{ConfigError, Source, quote};

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A string; paths too.
    Text,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A boolean.
    Flag,
    /// An integer from 0.
    Whole,
    /// A float, or an integer that is taken as one.
    Number,
    /// Three integers from 0.
    Shape,
    /// A list of tables `{ epochs | steps, factor }`.
    Drops,
    /// A table `{ epochs | steps }`.
    Span,
    /// `"auto"` or a list of strings.
    Devices,
    /// A list of strings.
    Endpoints,
    /// A table `{ ca, certificate, key }`.
    Tls,
    /// A list of tables `{ worker, seconds }`.
    Deaths,
}

/// The methods.
const METHODS: &[&str] = &[
    "sgd",
    "data_parallel",
    "local_sgd",
    "easgd",
    "downpour",
    "diloco",
    "slowmo",
    "lsgd",
    "lsgd_plus",
    "leader_mean",
    "grawa",
    "grawa_layers",
];

/// Each key as `table.key`.
#[rustfmt::skip]
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("run.name", Kind::Text),
    ("run.folder", Kind::Text),
    ("run.seed", Kind::Whole),
    ("run.mode", Kind::Word(&["sync", "async"])),
    ("run.overwrite", Kind::Flag),
    ("data.name", Kind::Word(&["cifar10", "cifar100", "folder", "digits", "generated"])),
    ("data.folder", Kind::Text),
    ("data.batch_size", Kind::Whole),
    ("data.augment", Kind::Word(&["paper", "pad_crop", "none"])),
    ("data.examples", Kind::Whole),
    ("data.classes", Kind::Whole),
    ("data.shape", Kind::Shape),
    ("model.name", Kind::Text),
    ("model.width", Kind::Whole),
    ("model.dropout", Kind::Number),
    ("optimizer.name", Kind::Word(&["sgd", "adam", "adamw", "lars"])),
    ("optimizer.momentum", Kind::Number),
    ("optimizer.nesterov", Kind::Flag),
    ("optimizer.weight_decay", Kind::Number),
    ("optimizer.trust", Kind::Number),
    ("schedule.learning_rate", Kind::Number),
    ("schedule.kind", Kind::Word(&["constant", "steps", "cosine"])),
    ("schedule.drops", Kind::Drops),
    ("schedule.warmup", Kind::Span),
    ("method.name", Kind::Word(METHODS)),
    ("method.local_pull", Kind::Number),
    ("method.global_pull", Kind::Number),
    ("method.final_pull", Kind::Number),
    ("method.local_period", Kind::Whole),
    ("method.global_period", Kind::Whole),
    ("method.local_prox", Kind::Number),
    ("method.global_prox", Kind::Number),
    ("method.loss_window", Kind::Whole),
    ("method.max_staleness", Kind::Whole),
    ("method.batch_norm", Kind::Word(&["own", "leader", "mean"])),
    ("method.score", Kind::Word(&["training_loss", "probe_loss"])),
    ("method.probe_examples", Kind::Whole),
    ("method.margin", Kind::Number),
    ("method.beta", Kind::Number),
    ("method.leader_weight", Kind::Number),
    ("method.outer_rate", Kind::Number),
    ("method.outer_momentum", Kind::Number),
    ("workers.count", Kind::Whole),
    ("workers.devices", Kind::Devices),
    ("workers.threads", Kind::Whole),
    ("compute.cpu_kernels", Kind::Flag),
    ("budget.epochs", Kind::Number),
    ("budget.steps", Kind::Whole),
    ("budget.minutes", Kind::Number),
    ("evaluate.every_steps", Kind::Whole),
    ("evaluate.every_epochs", Kind::Number),
    ("evaluate.every_minutes", Kind::Number),
    ("evaluate.examples", Kind::Whole),
    ("evaluate.batch_norm_batches", Kind::Whole),
    ("checkpoint.every_steps", Kind::Whole),
    ("checkpoint.every_epochs", Kind::Number),
    ("checkpoint.every_minutes", Kind::Number),
    ("checkpoint.keep", Kind::Whole),
    ("cluster.node", Kind::Whole),
    ("cluster.nodes", Kind::Whole),
    ("cluster.listen", Kind::Endpoints),
    ("cluster.connect", Kind::Endpoints),
    ("cluster.wire", Kind::Word(&["f32", "bf16"])),
    ("cluster.tls", Kind::Tls),
    ("cluster.insecure", Kind::Flag),
    ("cluster.wait_seconds", Kind::Whole),
    ("cluster.round_limit_seconds", Kind::Whole),
    ("simulate.nodes", Kind::Whole),
    ("simulate.training", Kind::Flag),
    ("simulate.step_seconds", Kind::Number),
    ("simulate.step_sigma", Kind::Number),
    ("simulate.slow_workers", Kind::Whole),
    ("simulate.slow_factor", Kind::Number),
    ("simulate.latency_seconds", Kind::Number),
    ("simulate.bytes_per_second", Kind::Number),
    ("simulate.local_latency_seconds", Kind::Number),
    ("simulate.local_bytes_per_second", Kind::Number),
    ("simulate.deaths", Kind::Deaths),
];

/// Keys of one entry of `schedule.drops`.
const DROP: &[(&str, Kind)] = &[
    ("epochs", Kind::Number),
    ("steps", Kind::Whole),
    ("factor", Kind::Number),
];

/// Keys of `schedule.warmup`.
const SPAN: &[(&str, Kind)] = &[("epochs", Kind::Number), ("steps", Kind::Whole)];

/// Keys of `cluster.tls`, all needed.
const TLS: &[(&str, Kind)] = &[
    ("ca", Kind::Text),
    ("certificate", Kind::Text),
    ("key", Kind::Text),
];

/// Keys of one entry of `simulate.deaths`, all needed.
const DEATH: &[(&str, Kind)] = &[("worker", Kind::Whole), ("seconds", Kind::Number)];

/// Checks that every key of a whole file is known and every value of its key's type.
pub(super) fn check_tables(tables: &Table, source: &Source) -> Result<(), ConfigError> {
    for (table, value) in tables {
        if !is_table(table) {
            return Err(unknown(table, source));
        }
        let Value::Table(entries) = value else {
            return Err(wrong_type(
                table,
                value,
                format!("a table, [{table}]"),
                source,
            ));
        };
        for (key, value) in entries {
            check_value(&format!("{table}.{key}"), value, source)?;
        }
    }
    Ok(())
}

/// Checks that `key`, as `table.key`, is known and that `value` is of its type.
pub(super) fn check_value(key: &str, value: &Value, source: &Source) -> Result<(), ConfigError> {
    match KEYS.iter().find(|(known, _)| *known == key) {
        Some((_, kind)) => check_kind(key, *kind, value, source),
        None => Err(unknown(key, source)),
    }
}

/// Refuses `key`, as `table.key`, if no table has it.
pub(super) fn check_key(key: &str, source: &Source) -> Result<(), ConfigError> {
    if KEYS.iter().any(|(known, _)| *known == key) {
        return Ok(());
    }
    Err(unknown(key, source))
}

fn is_table(name: &str) -> bool {
    KEYS.iter()
        .any(|(key, _)| key.split('.').next() == Some(name))
}

fn check_kind(key: &str, kind: Kind, value: &Value, source: &Source) -> Result<(), ConfigError> {
    let fits = match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Boolean(_)) => true,
        (Kind::Number, Value::Float(_) | Value::Integer(_)) => true,
        (Kind::Word(words), Value::String(word)) => {
            if !words.contains(&word.as_str()) {
                let problem = format!("is not known; give {}", expected(kind));
                return Err(invalid(key, value, problem, source));
            }
            true
        }
        (Kind::Devices, Value::String(word)) => {
            if word != "auto" {
                let problem = format!("is not known; give {}", expected(kind));
                return Err(invalid(key, value, problem, source));
            }
            true
        }
        (Kind::Devices | Kind::Endpoints, Value::Array(list)) => list.iter().all(Value::is_str),
        (Kind::Tls, Value::Table(_)) => {
            check_entry(key, TLS, value, source)?;
            true
        }
        (Kind::Whole, Value::Integer(number)) => {
            if *number < 0 {
                let problem = String::from("is negative; give a whole number from 0");
                return Err(invalid(key, value, problem, source));
            }
            true
        }
        (Kind::Shape, Value::Array(list)) => {
            list.len() == 3 && list.iter().all(|n| n.as_integer().is_some_and(|n| n >= 0))
        }
        (Kind::Drops, Value::Array(list)) => {
            for (index, entry) in list.iter().enumerate() {
                check_entry(&format!("{key}[{index}]"), DROP, entry, source)?;
            }
            true
        }
        (Kind::Deaths, Value::Array(list)) => {
            for (index, entry) in list.iter().enumerate() {
                check_entry(&format!("{key}[{index}]"), DEATH, entry, source)?;
            }
            true
        }
        (Kind::Span, Value::Table(_)) => {
            check_entry(key, SPAN, value, source)?;
            true
        }
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(wrong_type(key, value, expected(kind), source))
    }
}

/// Checks an inline table against its own keys.
fn check_entry(
    key: &str,
    known: &[(&str, Kind)],
    value: &Value,
    source: &Source,
) -> Result<(), ConfigError> {
    let Value::Table(entries) = value else {
        return Err(wrong_type(key, value, expected_entry(known), source));
    };
    for (name, value) in entries {
        let path = format!("{key}.{name}");
        match known.iter().find(|(known, _)| known == name) {
            Some((_, kind)) => check_kind(&path, *kind, value, source)?,
            None => {
                let names = known.iter().map(|(name, _)| *name);
                return Err(ConfigError::UnknownKey {
                    source_name: source.clone(),
                    key: path,
                    suggestion: nearest(name, names).map(|name| format!("{key}.{name}")),
                });
            }
        }
    }
    let needed = |name: &str| name == "factor" || known == TLS || known == DEATH;
    let mut missing = known
        .iter()
        .filter(|(name, _)| !entries.contains_key(*name));
    if let Some((name, _)) = missing.find(|(name, _)| needed(name)) {
        let problem = format!("has no {name}; write {}", example_entry(known));
        return Err(invalid(key, value, problem, source));
    }
    Ok(())
}

/// `"a", "b" or "c"`.
fn list_words(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => String::from("a string in quotes"),
        Kind::Word(words) => list_words(words),
        Kind::Flag => String::from("true or false"),
        Kind::Whole => String::from("a whole number"),
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

fn unknown(key: &str, source: &Source) -> ConfigError {
    ConfigError::UnknownKey {
        source_name: source.clone(),
        key: super::error::shorten(key),
        suggestion: suggest(key),
    }
}

/// The known key, or table, that `key` is most like.
pub(super) fn suggest(key: &str) -> Option<String> {
    let known = || KEYS.iter().map(|(known, _)| *known);
    let Some((table, name)) = key.split_once('.') else {
        // A table misspelt, or a key written outside its table.
        let tables = known().filter_map(|known| known.split('.').next());
        let outside = || known().find(|known| known.split('.').nth(1) == Some(key));
        return nearest(key, tables).or_else(outside).map(String::from);
    };
    // A table inside a table: `schedule.warmup.epochs`.
    if let Some(outer) = known().find(|known| key.starts_with(&format!("{known}."))) {
        return Some(outer.to_string());
    }
    let same_table = known().filter(|known| known.split('.').next() == Some(table));
    let names = same_table.filter_map(|known| known.split('.').nth(1));
    if let Some(name) = nearest(name, names) {
        return Some(format!("{table}.{name}"));
    }
    let elsewhere = known().find(|known| known.split('.').nth(1) == Some(name));
    elsewhere
        .or_else(|| nearest(key, known()))
        .map(String::from)
}

/// The most similar of `known`, if it is similar enough to be what was meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells at length, and the comparison takes time that grows with the square.
    if name.len() > 64 {
        return None;
    }
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
