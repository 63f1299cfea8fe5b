//! Compares the list with the structs.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::*;
use crate::config::Tls;
use crate::config::schema::{Schema, convert};
use crate::config::{ConfigSource, Death, Drop, Settings, Span, Variation};

/// A config in which every key is set, so that serde writes them all.
fn full() -> Table {
    let mut config = Settings::default();
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
    config.method.quadratic_period = Some(0.5);
    config.method.max_staleness = Some(1);
    config.workers.count = Some(1);
    config.workers.loaders = Some(1);
    config.workers.vary = vec![Variation {
        // Left out of files at its default.
        weight_decay: 2.0,
        ..Variation::default()
    }];
    config.budget.epochs = Some(1.0);
    config.budget.steps = Some(1);
    config.budget.minutes = Some(1.0);
    config.budget.patience = Some(1);
    config.evaluate.every_steps = Some(1);
    config.evaluate.every_epochs = Some(1.0);
    config.evaluate.every_minutes = Some(1.0);
    config.evaluate.examples = Some(1);
    config.average.ema_decay = Some(0.5);
    config.average.window = Some(2);
    config.checkpoint.every_steps = Some(1);
    config.checkpoint.every_epochs = Some(1.0);
    config.checkpoint.every_minutes = Some(1.0);
    config.faults.bad_steps = Some(1);
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

fn source() -> ConfigSource {
    ConfigSource::File(String::from("full"))
}

/// Fails if a key is added to the structs and forgotten here, or the other way round.
#[test]
fn the_list_has_the_keys_of_the_structs() {
    let listed: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_string()).collect();
    assert_eq!(listed.len(), KEYS.len());
    assert_eq!(listed, keys_of(&full()));

    let full = full();
    for (entry, written) in [
        (DROP, &full["schedule"]["drops"][0]),
        (SPAN, &full["schedule"]["warmup"]),
        (VARY, &full["workers"]["vary"][0]),
        (TLS, &full["cluster"]["tls"]),
        (DEATH, &full["simulate"]["deaths"][0]),
    ] {
        let listed: BTreeSet<&str> = entry.fields.iter().map(|field| field.name).collect();
        let written = written.as_table().unwrap().keys().map(String::as_str);
        assert_eq!(listed, written.collect());
    }
}

#[test]
fn every_table_is_listed() {
    let of_keys: BTreeSet<&str> = KEYS.iter().map(Key::table).collect();
    let listed: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
    assert_eq!(listed, of_keys);
    assert_eq!(listed.len(), TABLES.len());
}

/// The conditions name values that the other key can have.
#[test]
fn keys_are_used_by_words_that_there_are() {
    for used in KEYS.iter().filter_map(|key| key.used) {
        let by = KEYS.iter().find(|key| key.path == used.by).unwrap();
        let Kind::Word(words) = by.kind else {
            panic!("{by:?}");
        };
        assert!(
            used.words.iter().all(|word| words.contains(word)),
            "{used:?}"
        );
    }
}

#[test]
fn the_types_are_those_that_serde_writes() {
    let schema = Schema::of::<()>().unwrap();
    assert_eq!(schema.convert_tables(full(), &source()).unwrap(), full());
}

/// For every key: a value that this list accepts is one that serde accepts.
#[test]
fn what_passes_here_passes_serde() {
    let samples = |kind: Kind| -> Vec<Value> {
        let entry = |entry: &Entry| entry.example.split(" or ").next().unwrap().to_string();
        let texts: Vec<String> = match kind {
            Kind::Text => vec!["'x'".into()],
            Kind::Path => vec!["'x'".into(), "'~/x'".into()],
            Kind::Word(words) => return words.iter().map(|word| Value::from(*word)).collect(),
            Kind::Flag => vec!["true".into()],
            Kind::Whole(least, most) => {
                let ends = [least, most].map(|end| Value::Integer(end as i64));
                return ends.into_iter().chain([Value::Float(2.0)]).collect();
            }
            Kind::Number(_) => vec!["1".into(), "0.5".into()],
            Kind::Shape => vec!["[1, 2, 3]".into()],
            Kind::Entries(of) => vec!["[]".into(), format!("[{}]", entry(of))],
            Kind::Entry(of) => vec![entry(of)],
            Kind::Devices => vec!["'auto'".into(), "[]".into(), "['cpu']".into()],
            Kind::Endpoints => vec!["[]".into(), "['tcp/localhost:1', '']".into()],
        };
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    for Key { path, kind, .. } in KEYS {
        let (table, key) = path.split_once('.').unwrap();
        for value in samples(*kind) {
            let Ok(value) = convert(path, *kind, value.clone(), &source()) else {
                // A fraction that does not include 1, or the other way round.
                assert!(matches!(kind, Kind::Number(_)), "{path} = {value}");
                continue;
            };
            let mut tables = full();
            tables[table]
                .as_table_mut()
                .unwrap()
                .insert(key.to_string(), value.clone());
            let read: Result<Settings, _> = tables.try_into();
            assert!(read.is_ok(), "{path} = {value}: {read:?}");
        }
    }
}

/// The words of every enum are those of serde.
#[test]
fn the_words_are_those_of_the_enums() {
    for Key { path, kind, .. } in KEYS {
        let Kind::Word(words) = kind else { continue };
        let (table, key) = path.split_once('.').unwrap();
        let mut tables = full();
        tables[table]
            .as_table_mut()
            .unwrap()
            .insert(key.to_string(), "?".into());
        let read: Result<Settings, _> = tables.try_into();
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

/// As the template writes a key, it can be set: its default, or an example if it has none.
#[test]
fn examples_are_values_of_their_keys() {
    let schema = Schema::of::<()>().unwrap();
    let defaults = Table::try_from(Settings::default()).unwrap();
    for key in KEYS {
        let default = defaults[key.table()].get(key.name());
        assert!(default.is_some() || !key.example.is_empty(), "{}", key.path);
        if key.example.is_empty() {
            continue;
        }
        let text = format!("{} = {}", key.path, key.example);
        let read = schema.convert_tables(text.parse().unwrap(), &source());
        let read = read.unwrap();
        if let Some(default) = default {
            assert_eq!(&read[key.table()][key.name()], default, "{}", key.path);
        }
    }
}

#[test]
fn a_range_says_what_is_in_it() {
    let ends = [
        (Range::FRACTION, "[0, 1]", "from 0 to 1"),
        (
            Range::from(0.0).under(1.0),
            "[0, 1)",
            "from 0 to less than 1",
        ),
        (Range::over(0.0), "(0, inf)", "over 0"),
        (Range::from(0.0), "[0, inf)", "from 0"),
        (
            Range::over(0.0).to(1e9),
            "(0, 1000000000]",
            "over 0, at most 1000000000",
        ),
        (
            Range::from(1.0).to(f64::INFINITY),
            "[1, inf]",
            "from 1, or inf",
        ),
    ];
    for (range, interval, words) in ends {
        assert_eq!(range.to_string(), interval);
        assert_eq!(range.words(), words);
        assert!(!range.contains(f64::NAN) && !range.contains(-1.0));
        assert_eq!(range.contains(0.0), interval.starts_with("[0"));
        assert_eq!(range.contains(1.0), !interval.ends_with("1)"));
        assert_eq!(range.contains(f64::INFINITY), interval.ends_with("inf]"));
    }
}
