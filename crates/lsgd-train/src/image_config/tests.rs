//! Compares the list of keys with the structs.

use std::collections::BTreeSet;

use toml::Table;

use super::*;

/// A config in which every key is set, so that serde writes them all.
fn full() -> Config {
    let mut config = Config::from_toml("", "empty", &[]).unwrap();
    config.task.data.folder = Some("data".into());
    config.task.model.init_from = Some("run".into());
    config.task.data.holdout = Some(0.1);
    config.task.data.jitter = Some(Jitter {
        hue: 0.1,
        ..Jitter::default()
    });
    config.task.data.split = Some(Split { dirichlet: 0.3 });
    config.task.data.vary = vec![DataVariation {
        // Left out of files at its default.
        augment: false,
        ..DataVariation::default()
    }];
    config.task.data.cutout = Some(8);
    config.task.data.mixup = Some(0.2);
    config.task.data.cutmix = Some(1.0);
    config.task.optimizer.clip_norm = Some(1.0);
    config.task.optimizer.clip_value = Some(0.5);
    config
}

fn tables() -> Table {
    Table::try_from(full().task).unwrap()
}

fn keys_of(tables: &Table) -> BTreeSet<String> {
    let keys = tables.iter().flat_map(|(table, entries)| {
        let entries = entries.as_table().unwrap();
        entries.keys().map(move |key| format!("{table}.{key}"))
    });
    keys.collect()
}

/// A key added to the structs but not to the list, or the other way round, fails this test.
#[test]
fn the_list_has_the_keys_of_the_structs() {
    let listed: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_string()).collect();
    assert_eq!(listed.len(), KEYS.len());
    assert_eq!(listed, keys_of(&tables()));
}

#[test]
fn the_types_are_those_that_serde_writes() {
    let [mut of_norm, mut of_value] = [full(), full()];
    // One limit on gradients excludes the other.
    of_norm.task.optimizer.clip_value = None;
    of_value.task.optimizer.clip_norm = None;
    for full in [of_norm, of_value] {
        let written = full.to_toml().unwrap();
        assert_eq!(Config::from_toml(&written, "full", &[]).unwrap(), full);
    }
}

/// Serde's own list of the values of every enum is the same as this one; models are listed by their
/// own crate.
#[test]
fn the_words_are_those_of_the_enums() {
    for key in KEYS.iter().filter(|key| key.path != "model.name") {
        let Kind::Word(words) = key.kind else {
            continue;
        };
        let (table, name) = key.path.split_once('.').unwrap();
        let mut tables = tables();
        let entries = tables[table].as_table_mut().unwrap();
        entries.insert(name.to_string(), "?".into());
        let read: Result<ImageConfig, _> = tables.try_into();
        let error = read.unwrap_err().to_string();
        let quoted: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(quoted.get(..words.len()), Some(words), "{error}");
    }
}

#[test]
fn every_table_is_listed() {
    let of_keys: BTreeSet<&str> = KEYS.iter().map(Key::table).collect();
    let listed: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
    assert_eq!(listed, of_keys);
}
