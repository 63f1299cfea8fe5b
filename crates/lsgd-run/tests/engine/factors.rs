//! Factors of the hyperparameters of a task whose optimizer has no weight decay.

use std::fs;

use lsgd_run::config::Variation;
use serde_json::Value;

use crate::toy::{Toy, run, settings};

#[test]
fn a_factor_for_a_weight_decay_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = settings(folder.path(), |settings| {
        settings.workers.vary = vec![
            Variation::default(),
            Variation {
                worker: 1,
                weight_decay: 2.0,
                ..Variation::default()
            },
        ];
    });
    let error = run(Toy::default(), set).unwrap_err();
    assert_eq!(
        error.to_string(),
        "workers.vary[1].weight_decay 2 makes no difference: the optimizer of a line on points has no \
         weight decay; leave it out"
    );
    assert_eq!(error.exit_code(), 2);
}

/// Learning rates spread by chance alone, and stay near those of the leaders.
#[test]
fn only_the_learning_rate_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let set = settings(folder.path(), |settings| {
        settings.method.adopt = true;
        settings.method.adopt_spread = 0.2;
    });
    let outcome = run(Toy::default(), set).unwrap();
    let text = fs::read_to_string(outcome.folder.join("events.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let adoptions: Vec<Value> = lines.filter(|line| line["event"] == "adoption").collect();
    assert_eq!(adoptions.len(), 10);
    for adoption in &adoptions {
        let factors = &adoption["factors"];
        assert_eq!(factors["weight_decay"], 1.0, "{adoption}");
        let rate = factors["learning_rate"].as_f64().unwrap();
        assert!(rate != 1.0 && (0.1..10.0).contains(&rate), "{adoption}");
    }
}
