//! What documents say of keys is what is declared.

use std::fmt::Write;

use lsgd_run::config::{Entry, Key, Kind};
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
        Kind::Text => String::from("text"),
        Kind::Path => String::from("path"),
        Kind::Flag => String::from("`true`, `false`"),
        Kind::Shape => String::from("three whole numbers"),
        Kind::Devices => String::from("`\"auto\"` or a list of names"),
        Kind::Endpoints => String::from("list of endpoints"),
        Kind::Entry(entry) => format!("`{{ {} }}`", fields(entry)),
        Kind::Entries(entry) => format!("list of `{{ {} }}`", fields(entry)),
    }
}

fn fields(entry: &Entry) -> String {
    let names: Vec<String> = entry
        .fields
        .iter()
        .map(|field| match field.needed {
            true => field.name.to_owned(),
            false => format!("{}?", field.name),
        })
        .collect();
    names.join(", ")
}

/// Which methods use a key.
fn users(key: &Key) -> String {
    match key.used {
        None if key.table() == "method" => String::from("all"),
        None => String::new(),
        Some(used) => {
            let words: Vec<String> = used.words.iter().map(|word| format!("`{word}`")).collect();
            let words = words.join(", ");
            match (used.by, used.all_but) {
                ("method.name", false) => words,
                ("method.name", true) => format!("all but {words}"),
                (by, false) => format!("where `{by}` is {words}"),
                (by, true) => format!("where `{by}` is not {words}"),
            }
        }
    }
}

/// A key's meaning on one line: a line that is indented goes on with the one before.
fn meaning(doc: &str) -> String {
    let lines = doc.lines().map(|line| match line.strip_prefix(' ') {
        Some(rest) => format!(" {}", rest.trim_start()),
        None => format!("; {line}"),
    });
    let text: String = lines.collect();
    text.trim_start_matches("; ").replace('|', "\\|")
}

/// The keys of a table.
fn table(name: &str, used: &str) -> String {
    let defaults = Table::try_from(Config::default()).unwrap();
    let mut text = format!("| key | values | default | {used} | what |\n|---|---|---|---|---|\n");
    let keys = Config::keys().filter(|key| key.table() == name && key.path != "method.name");
    for key in keys {
        let default = defaults[name].get(key.name());
        let default = default
            .map(|value| format!("`{value}`"))
            .unwrap_or_default();
        let doc = meaning(key.doc);
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
    let table = table("method", "used by");
    assert!(
        written == table,
        "the table of keys in {} is not what is declared; put this in its place:\n\n{table}",
        path.display()
    );
}

const ALL_KEYS: &str = "\
# Every key of a config

A config is a TOML file of tables; a key is written `table.key` on the command line (`--set run.seed=2`). What is left
out has its default; `lsgd-train init` writes a file with all of them. A key that would have no effect, such as one of
another method, is an error. Of `evaluate.every_*`, of `checkpoint.every_*` and of `budget.epochs`, `steps` and `minutes`,
only one may be given. In a list of tables, a `?` marks what may be left out.

A test of lsgd-train compares this page with what is declared, and with `LSGD_WRITE_DOCS=1` writes it.
";

/// The page of all keys.
fn all_keys() -> String {
    let mut text = String::from(ALL_KEYS);
    let mut tables: Vec<&str> = Vec::new();
    for key in Config::keys() {
        if !tables.contains(&key.table()) {
            tables.push(key.table());
        }
    }
    for name in tables {
        write!(text, "\n## [{name}]\n\n").unwrap();
        if name == "method" {
            text += "`method.name` is one of those in [methods.md](methods.md), by default `\"lsgd\"`.\n\n";
        }
        text += &table(name, "used with");
    }
    text
}

#[test]
fn every_key_stands_in_the_reference() {
    let path = workspace().join("docs/config.md");
    let expected = all_keys();
    if std::env::var_os("LSGD_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "{} is not what is declared: run this test with LSGD_WRITE_DOCS=1",
        path.display()
    );
}
