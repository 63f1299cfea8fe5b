//! What documents say of keys is what is declared.

use std::fmt::Write;

use lsgd_run::config::{Key, Kind};
use lsgd_train::image_config::Config;
use toml::Table;

use super::workspace;

const BEGIN: &str = "<!-- keys of [method]: a test of lsgd-train writes this table -->\n\n";
const END: &str = "\n<!-- end -->";

/// What a key takes.
fn values(kind: Kind) -> String {
    match kind {
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(", ")
        }
        Kind::Whole(least, most) if most < 1_000_000 => format!("{least} to {most}"),
        Kind::Whole(least, _) => format!("from {least}"),
        Kind::Number(range) => range.to_string(),
        other => panic!("how is {other:?} to be written?"),
    }
}

/// Which methods use a key.
fn users(key: &Key) -> String {
    match key.used {
        None => String::from("all"),
        Some(used) => {
            let words: Vec<String> = used.words.iter().map(|word| format!("`{word}`")).collect();
            let words = words.join(", ");
            match (used.by, used.all_but) {
                ("method.name", false) => words,
                ("method.name", true) => format!("all but {words}"),
                (by, _) => format!("where `{by}` is {words}"),
            }
        }
    }
}

fn table() -> String {
    let defaults = Table::try_from(Config::default()).unwrap();
    let mut text =
        String::from("| key | values | default | used by | what |\n|---|---|---|---|---|\n");
    let keys = Config::keys().filter(|key| key.table() == "method" && key.name() != "name");
    for key in keys {
        let default = defaults["method"].get(key.name());
        let default = default
            .map(|value| format!("`{value}`"))
            .unwrap_or_default();
        let doc = key.doc.replace('\n', "; ");
        let (name, values, users) = (key.name(), values(key.kind), users(key));
        writeln!(
            text,
            "| `{name}` | {values} | {default} | {users} | {doc} |"
        )
        .unwrap();
    }
    text
}

#[test]
fn the_keys_of_methods_stand_in_their_document() {
    let path = workspace().join("docs/methods.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (_, rest) = text
        .split_once(BEGIN)
        .expect("the table's beginning is marked");
    let (written, _) = rest.split_once(END).expect("its end is marked");
    let table = table();
    assert!(
        written == table,
        "the table of keys in {} is not what is declared; put this in its place:\n\n{table}",
        path.display()
    );
}
