use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::Config;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Spiral {
    points: u32,
    noise: f64,
    label: String,
    shuffle: bool,
    shape: Shape,
    limit: Option<u64>,
    sizes: Vec<usize>,
    names: Vec<String>,
    optimizer: Optimizer,
    rule: Rule,
    weights: BTreeMap<String, f64>,
    views: Vec<View>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Round,
    Square,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Optimizer {
    rate: f64,
    momentum: Option<f64>,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            rate: 0.1,
            momentum: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Rule {
    Near { radius: f64 },
    Most { votes: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct View {
    angle: f64,
}

impl Default for Spiral {
    fn default() -> Self {
        Self {
            points: 100,
            noise: 0.1,
            label: String::from("a"),
            shuffle: true,
            shape: Shape::Round,
            limit: None,
            sizes: vec![8, 8],
            names: Vec::new(),
            optimizer: Optimizer::default(),
            rule: Rule::Near { radius: 1.0 },
            weights: BTreeMap::new(),
            views: Vec::new(),
        }
    }
}

type SpiralConfig = Config<TaskTable<Spiral>>;

fn load(text: &str, set: &[&str]) -> Result<Spiral, String> {
    let set: Vec<String> = set.iter().map(|set| set.to_string()).collect();
    let config = SpiralConfig::from_toml(text, "c.toml", &set);
    config
        .map(|config| config.task.task)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, set: &[&str], expected: &str) {
    assert_eq!(load(text, set).unwrap_err(), expected, "{text} {set:?}");
}

#[test]
fn keys_that_are_not_given_have_their_defaults() {
    assert_eq!(load("", &[]).unwrap(), Spiral::default());
    let some = load("[task]\nnoise = 1\nlimit = 3\npoints = 1e3", &[]).unwrap();
    let expected = Spiral {
        noise: 1.0,
        limit: Some(3),
        points: 1000,
        ..Spiral::default()
    };
    assert_eq!(some, expected);
}

#[test]
fn the_engines_tables_stand_beside_it() {
    let text = "[run]\nname = \"spiral\"\n[task]\npoints = 5";
    let config = SpiralConfig::from_toml(text, "c.toml", &[]).unwrap();
    assert_eq!(config.settings.run.name, "spiral");
    assert_eq!(config.task.task.points, 5);
    let again = SpiralConfig::from_toml(&config.to_toml().unwrap(), "again", &[]).unwrap();
    assert_eq!(again, config);
    let tables = "run, schedule, method, workers, budget, evaluate, average, checkpoint, faults, \
                  record, cluster, simulate";
    let expected = format!("c.toml: unknown key model; the tables are {tables}, task");
    refused("model.width = 4", &[], &expected);
}

#[test]
fn tables_in_it_are_read_as_serde_reads_them() {
    let text = "[task.optimizer]\nmomentum = 0.9\n[task.rule]\nkind = \"most\"\nvotes = 3\n\
                [task.weights]\nred = 0.5\n[[task.views]]\nangle = 1";
    let read = load(text, &[]).unwrap();
    assert_eq!(
        read.optimizer,
        Optimizer {
            rate: 0.1,
            momentum: Some(0.9)
        }
    );
    assert_eq!(read.rule, Rule::Most { votes: 3 });
    assert_eq!(read.weights["red"], 0.5);
    assert_eq!(read.views, [View { angle: 1.0 }]);
}

#[test]
fn any_key_can_be_set() {
    let set = [
        "task.points=7",
        "task.label=7",
        "task.shape=square",
        "task.limit=9",
        "task.sizes=[1, 2, 3]",
        "task.names=a,b",
        "task.optimizer.rate=1",
        "task.weights={ red = 1 }",
        "task.weights.green=2",
    ];
    let text = "[task.optimizer]\nmomentum = 0.5";
    let expected = Spiral {
        points: 7,
        label: String::from("7"),
        shape: Shape::Square,
        limit: Some(9),
        sizes: vec![1, 2, 3],
        names: vec![String::from("a"), String::from("b")],
        optimizer: Optimizer {
            rate: 1.0,
            momentum: Some(0.5),
        },
        weights: BTreeMap::from([(String::from("red"), 1.0), (String::from("green"), 2.0)]),
        ..Spiral::default()
    };
    assert_eq!(load(text, &set).unwrap(), expected);
}

#[test]
fn unknown_keys_are_refused() {
    refused(
        "task.point = 5",
        &[],
        "c.toml: unknown key task.point; did you mean task.points?",
    );
    refused(
        "points = 5",
        &[],
        "c.toml: unknown key points; did you mean task.points?",
    );
    refused(
        "",
        &["task.nois=5"],
        "--set: unknown key task.nois; did you mean task.noise?",
    );
    refused(
        "task.optimizer = { rat = 5 }",
        &[],
        "c.toml: unknown key task.optimizer.rat; did you mean task.optimizer.rate?",
    );
    refused(
        "",
        &["task.optimizer.rat=5"],
        "--set: unknown key task.optimizer.rat; did you mean task.optimizer.rate?",
    );
    refused(
        "[task.rule]\nkind = \"most\"\nvotes = 3\nradius = 4",
        &[],
        "c.toml: unknown key task.rule.radius; [task.rule] has kind, votes",
    );
    refused(
        "[[task.views]]\nangle = 1\n[[task.views]]\nangle = 2\nangel = 2",
        &[],
        "c.toml: unknown key task.views[1].angel; did you mean task.views[1].angle?",
    );
}

#[test]
fn values_that_do_not_fit_are_refused_in_one_line() {
    for (text, expected) in [
        (
            "points = \"x\"",
            "task.points \"x\" is a string; give a whole number",
        ),
        (
            "noise = true",
            "task.noise true is a boolean; give a number",
        ),
        (
            "label = 3",
            "task.label 3 is an integer; give a string in quotes",
        ),
        (
            "sizes = 3",
            "task.sizes 3 is an integer; give a list, such as [8, 8]",
        ),
        (
            "points = 1.5",
            "task.points 1.5 is a float; give a whole number",
        ),
        (
            "points = -1",
            "task.points -1 is not in [0, 4294967295]; give a whole number from 0 to 4294967295",
        ),
        (
            "limit = -1",
            "task.limit -1 is less than 0; give a whole number from 0",
        ),
        (
            "sizes = [8, -1]",
            "task.sizes [8, -1] does not fit: invalid value: integer `-1`, expected usize",
        ),
        (
            "shape = \"rond\"",
            "task.shape \"rond\" does not fit: unknown variant `rond`, expected `round` or `square`",
        ),
        (
            "limit = \"x\"",
            "task.limit \"x\" is a string; give a whole number from 0",
        ),
        (
            "optimizer = { momentum = 0, rate = \"x\" }",
            "task.optimizer.rate \"x\" is a string; give a number",
        ),
        (
            "rule = { kind = \"most\" }",
            "task.rule { kind = \"most\" } does not fit: missing field `votes`",
        ),
    ] {
        refused(
            &format!("[task]\n{text}"),
            &[],
            &format!("c.toml: {expected}"),
        );
    }
    refused(
        "",
        &["task.points=many"],
        "--set: task.points \"many\" is a string; give a whole number",
    );
    refused(
        "",
        &["task.sizes=[1, 2"],
        "--set task.sizes=[1, 2: the value is not TOML: unclosed array, expected `]`",
    );
    refused(
        "task = 3",
        &[],
        "c.toml: task 3 is an integer; give a table, [task]",
    );
}

#[test]
fn the_template_has_it_with_its_defaults() {
    let template = SpiralConfig::template().unwrap();
    assert!(template.contains("\n[task]\npoints = 100\n"), "{template}");
    assert!(template.contains("\n# limit = 1\n\n[task."), "{template}");
    let read = SpiralConfig::from_toml(&template, "template", &[]).unwrap();
    let empty = SpiralConfig::from_toml("", "empty", &[]).unwrap();
    assert_eq!(read, empty);
}

#[test]
fn nodes_share_all_of_it() {
    let describe = |text: &str| {
        let config = SpiralConfig::from_toml(text, "c.toml", &[]).unwrap();
        config.description().unwrap()
    };
    let (here, there) = (describe(""), describe("[task.optimizer]\nrate = 0.2"));
    let differing: Vec<&String> = here
        .keys()
        .filter(|key| here[*key] != there[*key])
        .collect();
    assert_eq!(differing, ["task.optimizer.rate"]);
}

#[test]
fn long_values_that_differ_past_the_cut_have_different_descriptions() {
    let label = |label: &str| {
        let mut config = SpiralConfig::default();
        config.task.task.label = label.to_owned();
        config.description().unwrap()["task.label"].clone()
    };
    let long = |end: &str| format!("{}{end}", "a".repeat(300));
    assert_ne!(label(&long("1")), label(&long("2")));
    assert_eq!(label(&long("1")), label(&long("1")));
    assert!(label(&long("1")).len() < 120, "{}", label(&long("1")));
    assert_ne!(label("a  b"), label("a b"));
    assert_eq!(label("a b"), "\"a b\"");
}

#[test]
fn what_is_not_a_struct_is_an_error() {
    let number: Result<Config<TaskTable<u8>>, _> = Config::from_toml("", "c.toml", &[]);
    assert!(matches!(number, Err(ConfigError::Unwritable { .. })));
}
