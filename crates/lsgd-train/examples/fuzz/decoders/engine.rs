//! Runs that continue from changed files: the whole engine behind every file of a run's folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::kib;
use super::records::is_accepted;
use crate::changes::Form;
use crate::harness::Decoder;
use crate::toy;

/// The step of the checkpoint from which the runs continue.
const STEP: u64 = 4;

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    let set = ["method.name=lsgd_plus", "method.local_prox=0.1"];
    let original = folder.join("original");
    toy::run(toy::config(&original, &set)).expect("the toy can be trained");
    let original = original.join("run");
    let state = checkpoint(&original).join("state.json");
    let text = fs::read(&state).expect("there is a checkpoint");
    let mut value: Value = serde_json::from_slice(&text).expect("it is JSON");
    value["files"] = serde_json::json!({});
    fs::write(&state, value.to_string()).expect("the file can be written");
    let at = format!("checkpoints/step-{STEP}");
    [
        ("engine run.json", String::from("run.json"), Form::Json),
        (
            "engine metrics.jsonl",
            String::from("metrics.jsonl"),
            Form::JsonLines,
        ),
        (
            "engine events.jsonl",
            String::from("events.jsonl"),
            Form::JsonLines,
        ),
        ("engine state.json", format!("{at}/state.json"), Form::Json),
        (
            "engine state.safetensors",
            format!("{at}/state.safetensors"),
            Form::Safetensors,
        ),
        (
            "engine optimizer.bpk",
            format!("{at}/worker-0.optimizer.bpk"),
            Form::Burnpack,
        ),
    ]
    .into_iter()
    .map(|(name, file, form)| {
        let (original, place) = (original.clone(), folder.join("continued"));
        Decoder {
            name,
            form,
            valid: vec![fs::read(original.join(&file)).expect("the run has the file")],
            bound: kib(16 << 10, 64),
            share: 1,
            read: Box::new(move |bytes| {
                let run = place.join("run");
                copy(&original, &run);
                fs::write(run.join(&file), bytes).expect("the file can be written");
                let longer = [set[0], set[1], "budget.steps=6"];
                let outcome = toy::run(toy::config(&place, &longer));
                fs::remove_dir_all(&place).expect("the folder is there");
                is_accepted(outcome)
            }),
        }
    })
    .collect()
}

fn checkpoint(run: &Path) -> PathBuf {
    run.join(format!("checkpoints/step-{STEP}"))
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).expect("the file can be copied")),
        }
    }
}
