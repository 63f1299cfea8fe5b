//! Holds the list against the structs and the template.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::*;
use crate::cluster::Tls;
use crate::config::{Config, Death, Drop, Span, TEMPLATE};

/// A config in which no key is absent, so that serde writes them all.
fn full() -> Table {
    let mut config = Config::default();
    config.data.folder = Some("data".into());
    config.schedule.drops = vec![Drop {
        epochs: Some(1.0),
        steps: Some(1),
        factor: 0.1,
    }];
    config.schedule.warmup = Some(Span {
        epochs: Some(1.0),
        steps: Some(1),
    });
    config.method.final_pull = Some(0.5);
    config.method.max_staleness = Some(1);
    config.workers.count = Some(1);
    config.budget.epochs = Some(1.0);
    config.budget.steps = Some(1);
    config.budget.minutes = Some(1.0);
    config.evaluate.every_steps = Some(1);
    config.evaluate.every_epochs = Some(1.0);
    config.evaluate.every_minutes = Some(1.0);
    config.evaluate.examples = Some(1);
    config.checkpoint.every_steps = Some(1);
    config.checkpoint.every_epochs = Some(1.0);
    config.checkpoint.every_minutes = Some(1.0);
    config.cluster.node = Some(1);
    config.cluster.tls = Some(Tls {
        ca: "ca.pem".into(),
        certificate: "node.pem".into(),
        key: "node.key".into(),
    });
    config.simulate.deaths = vec![Death {
        worker: 3,
        seconds: 1.5,
    }];
    Table::try_from(config).unwrap()
}

fn keys_of(tables: &Table) -> BTreeSet<String> {
    let keys = tables.iter().flat_map(|(table, entries)| {
        let entries = entries.as_table().unwrap();
        entries.keys().map(move |key| format!("{table}.{key}"))
    });
    keys.collect()
}

fn source() -> Source {
    Source::File(String::from("full"))
}

/// A key added to the structs and forgotten here, or the other way round, ends this test.
#[test]
fn the_list_has_the_keys_of_the_structs() {
    let listed: BTreeSet<String> = KEYS.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(listed.len(), KEYS.len());
    assert_eq!(listed, keys_of(&full()));

    let names = |entries: &Value| entries.as_table().unwrap().keys().cloned().collect();
    let listed = |known: &[(&str, Kind)]| known.iter().map(|(k, _)| k.to_string()).collect();
    let schedule = full()["schedule"].clone();
    let (drop, span): (BTreeSet<String>, BTreeSet<String>) = (listed(DROP), listed(SPAN));
    let tls: BTreeSet<String> = listed(TLS);
    assert_eq!(tls, names(&full()["cluster"]["tls"]));
    let death: BTreeSet<String> = listed(DEATH);
    assert_eq!(death, names(&full()["simulate"]["deaths"][0]));
    assert_eq!(drop, names(&schedule["drops"][0]));
    assert_eq!(span, names(&schedule["warmup"]));
}

#[test]
fn the_types_are_those_that_serde_writes() {
    assert_eq!(convert_tables(full(), &source()).unwrap(), full());
}

/// For every key: a value that this list takes is one that serde takes.
#[test]
fn what_passes_here_passes_serde() {
    let samples = |kind: Kind| -> Vec<Value> {
        let texts: Vec<&str> = match kind {
            Kind::Text => vec!["'x'"],
            Kind::Path => vec!["'x'", "'~/x'"],
            Kind::Word(words) => return words.iter().map(|word| Value::from(*word)).collect(),
            Kind::Flag => vec!["true"],
            Kind::Whole(least, most) => {
                let ends = [least, most].map(|end| Value::Integer(end as i64));
                return ends.into_iter().chain([Value::Float(2.0)]).collect();
            }
            Kind::Number => vec!["1", "-2.5", "inf"],
            Kind::Shape => vec!["[1, 2, 3]"],
            Kind::Drops => vec!["[]", "[{ epochs = 1, factor = 2 }, { factor = 1.0 }]"],
            Kind::Span => vec!["{}", "{ epochs = 1, steps = 2 }"],
            Kind::Devices => vec!["'auto'", "[]", "['cpu']"],
            Kind::Endpoints => vec!["[]", "['tcp/localhost:1', '']"],
            Kind::Deaths => vec!["[]", "[{ worker = 3, seconds = 1.5 }]"],
            Kind::Tls => vec!["{ ca = 'a', certificate = '', key = 'k' }"],
        };
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    for (path, kind) in KEYS {
        let (table, key) = path.split_once('.').unwrap();
        for value in samples(*kind) {
            let value = convert(path, *kind, value, &source()).unwrap();
            let mut tables = full();
            tables[table]
                .as_table_mut()
                .unwrap()
                .insert(key.to_string(), value.clone());
            let read: Result<Config, _> = tables.try_into();
            assert!(read.is_ok(), "{path} = {value}: {read:?}");
        }
    }
}

/// Serde's own list of the words of every enum is this one's; models are listed by their own crate.
#[test]
fn the_words_are_those_of_the_enums() {
    for (path, kind) in KEYS.iter().filter(|(path, _)| *path != "model.name") {
        let Kind::Word(words) = kind else { continue };
        let (table, key) = path.split_once('.').unwrap();
        let mut tables = full();
        tables[table]
            .as_table_mut()
            .unwrap()
            .insert(key.to_string(), "?".into());
        let read: Result<Config, _> = tables.try_into();
        let error = read.unwrap_err().to_string();
        let listed: Vec<&str> = error
            .split('`')
            .skip(3)
            .step_by(2)
            .take(words.len() + 1)
            .collect();
        assert!(listed.starts_with(words), "{path}: {error}");
        assert_eq!(
            error.matches('`').count(),
            2 * (words.len() + 1) + 2,
            "{path}: {error}"
        );
    }
}

/// The template shows every key in its table, in use or behind a `#`.
#[test]
fn the_template_has_every_key() {
    let mut shown = BTreeSet::new();
    let mut table = "";
    for line in TEMPLATE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.split(']').next().unwrap();
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let key = line.split_once(" = ").map(|(key, _)| key.trim_end());
        if let Some(key) = key.filter(|key| !key.contains(' ')) {
            shown.insert(format!("{table}.{key}"));
        }
    }
    assert_eq!(shown, keys_of(&full()));
}
