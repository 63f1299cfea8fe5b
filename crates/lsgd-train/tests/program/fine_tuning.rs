//! A run that begins with the weights of another, or of a PyTorch state dict.

use std::fs;

use safetensors::SafeTensors;
use serde_json::json;

use super::program::{Run, Runs, SMOKE};

/// One worker that changes nothing: what it begins with is what it exports.
const STILL: [&str; 5] = [
    "workers.count=1",
    "budget.steps=1",
    "schedule.learning_rate=1e-30",
    "evaluate.batch_norm_batches=1",
    "model.width=4",
];

fn still(runs: &Runs, name: &str, set: &[&str]) -> Run {
    runs.train(SMOKE, name, &[&STILL[..], set].concat())
}

/// The values of a tensor in an exported file.
fn tensor(file: &[u8], name: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(file).unwrap();
    file.tensor(name).unwrap().data().to_vec()
}

#[test]
fn a_run_begins_with_the_weights_of_a_run_or_a_file() {
    let runs = Runs::new();
    let first = runs.train(SMOKE, "first", &["run.seed=5"]);
    let expected = first.export("leader");
    let file = runs.path().join("weights.safetensors");
    fs::write(&file, &expected).unwrap();
    for (name, from) in [("of-run", &first.path), ("of-file", &file)] {
        let from = format!("model.init_from={}", from.display());
        let begun = still(&runs, name, &[&from]);
        for name in [
            "conv1.weight",
            "layer3.0.conv2.weight",
            "fc.weight",
            "fc.bias",
        ] {
            let (found, expected) = (begun.export("worker-0"), tensor(&expected, name));
            assert_eq!(tensor(&found, name), expected, "{name}");
        }
    }
    let other = still(&runs, "random", &[]);
    let name = "conv1.weight";
    assert_ne!(
        tensor(&other.export("worker-0"), name),
        tensor(&expected, name)
    );
}

/// All workers have the same, and the run is another than one of random weights.
#[test]
fn a_head_of_another_size_is_drawn_and_said() {
    let runs = Runs::new();
    let first = runs.train(SMOKE, "first", &[]);
    let expected = first.export("leader");
    let from = format!("model.init_from={}", first.path.display());
    let set = [&STILL[..], &[&from, "data.classes=7"]].concat();
    let ran = runs.start(SMOKE, "seven", &set);
    let said = format!(
        "{}: its last layer has another size than [16, 7]; it is drawn anew",
        first.path.display()
    );
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    ran.well();
    let begun = runs.get("seven").export("worker-0");
    let name = "layer3.0.conv2.weight";
    assert_eq!(tensor(&begun, name), tensor(&expected, name));
    assert_eq!(tensor(&begun, "fc.bias").len(), 4 * 7);
    let state = runs.get("seven").json("checkpoints/step-1/state.json");
    assert_eq!(state["classes"], json!(7));
}

/// A run that was stopped early has neither a leader nor a mean, but workers to make one from.
#[test]
fn a_run_begins_with_the_mean_of_one_that_was_not_evaluated() {
    let runs = Runs::new();
    let set = ["checkpoint.every_steps=8", "checkpoint.keep=2"];
    let first = runs.train(SMOKE, "first", &set);
    fs::remove_dir_all(first.join("checkpoints/step-16")).unwrap();
    let mut state = first.json("checkpoints/step-8/state.json");
    state["leader"] = json!(null);
    fs::write(
        first.join("checkpoints/step-8/state.json"),
        state.to_string(),
    )
    .unwrap();
    assert!(!first.join("checkpoints/step-8/mean.safetensors").exists());

    let from = format!("model.init_from={}", first.path.display());
    let begun = still(&runs, "begun", &[&from]);
    let values = |file: &[u8]| -> Vec<f32> {
        let bytes = tensor(file, "conv1.weight");
        let values = bytes.as_chunks::<4>().0.iter();
        values.map(|value| f32::from_le_bytes(*value)).collect()
    };
    let found = values(&begun.export("worker-0"));
    let workers = ["worker-0", "worker-1"].map(|which| values(&first.export(which)));
    assert_eq!(found.len(), 4 * 3 * 3 * 3);
    for (at, found) in found.iter().enumerate() {
        let mean = (workers[0][at] + workers[1][at]) / 2.0;
        assert!((found - mean).abs() < 1e-6, "{at}: {found}, not {mean}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let runs = Runs::new();
    let first = runs.train(SMOKE, "first", &[]);
    let file = runs.path().join("weights.safetensors");
    fs::write(&file, first.export("leader")).unwrap();
    let path = file.display();
    let from = format!("model.init_from={path}");
    let refused = |set: &[&str], text: &str| {
        let ran = runs.start(SMOKE, "other", &[&[from.as_str()], set].concat());
        ran.failed(1, text);
        assert!(!runs.get("other").path.exists());
    };
    refused(
        &["model.width=8"],
        &format!(
            "{path}: conv1.weight is [4, 3, 3, 3], not [8, 3, 3, 3]; is it a model of another width?"
        ),
    );
    refused(
        &["model.name=resnet14"],
        &format!("{path}: it lacks layer1.1.conv1.weight, which resnet14 has"),
    );
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 4]).unwrap();
    let ran = runs.start(SMOKE, "other", &[&from]);
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1));
    fs::remove_file(&file).unwrap();
    let ran = runs.start(SMOKE, "other", &[&from]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("weights.safetensors"), "{}", ran.stderr);
}
