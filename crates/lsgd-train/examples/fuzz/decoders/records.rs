//! Records of a run, as a bench or a run that continues reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::WireFormat;
use lsgd_run::RunError;
use lsgd_run::bench::{self, Changes};
use lsgd_run::config::TaskTable;
use lsgd_run::storage::{
    MetricRecord, RecordLengths, Recorder, ResumedRecords, RunFolder, is_run, is_unfinished,
    read_lines,
};
use lsgd_run::train::{Replay, Shape};

use super::kib;
use crate::changes::Form;
use crate::harness::Decoder;
use crate::toy::{self, Toy};

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    let config = toy::config(folder, &["checkpoint.every_steps=2"]);
    let outcome = toy::run(config).expect("the toy can be trained");
    let run = outcome.folder.path().to_owned();
    let record = |file, form, read: fn(&Path) -> Result<(), RunError>| {
        let valid = vec![fs::read(run.join(file)).expect("the run has the file")];
        (run.clone(), file, form, valid, read)
    };
    let mut decoders: Vec<Decoder> = [
        (
            "records run.json",
            record("run.json", Form::Json, run_record),
        ),
        (
            "records summary.json",
            record("summary.json", Form::Json, summary),
        ),
        (
            "records metrics.jsonl",
            record("metrics.jsonl", Form::JsonLines, lines),
        ),
        (
            "records events.jsonl",
            record("events.jsonl", Form::JsonLines, lines),
        ),
    ]
    .into_iter()
    .map(|(name, (run, file, form, valid, read))| {
        let original = valid[0].clone();
        Decoder {
            name,
            form,
            valid,
            bound: kib(512, 64),
            share: 20,
            read: Box::new(move |bytes| {
                fs::write(run.join(file), bytes).expect("the file can be written");
                let outcome = read(&run);
                fs::write(run.join(file), &original).expect("the file can be written");
                is_accepted(outcome)
            }),
        }
    })
    .collect();
    decoders.extend(benches(folder));
    decoders.extend(replays(folder));
    decoders
}

/// Whether the outcome is no error; an error is one line.
pub fn is_accepted<T>(outcome: Result<T, RunError>) -> bool {
    if let Err(error) = &outcome {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    outcome.is_ok()
}

fn run_record(run: &Path) -> Result<(), RunError> {
    is_run(run);
    is_unfinished(run, true);
    RunFolder::open(run)?.record().map(drop)
}

fn summary(run: &Path) -> Result<(), RunError> {
    is_unfinished(run, true);
    RunFolder::open(run)?.summary().map(drop)
}

/// The records, continued from half of what there is.
fn lines(run: &Path) -> Result<(), RunError> {
    read_lines(&run.join("metrics.jsonl"), |_: MetricRecord| {})?;
    let whole_lines = |file: &str| {
        let text = fs::read(run.join(file)).expect("the run has the file");
        let half = &text[..text.len() / 2];
        half.iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at as u64 + 1)
    };
    let folder = RunFolder::open(run)?;
    let lengths = RecordLengths {
        metrics: whole_lines("metrics.jsonl"),
        events: whole_lines("events.jsonl"),
    };
    let before = ["metrics.jsonl", "events.jsonl"].map(|file| fs::read(run.join(file)));
    let resumed = Recorder::resume(
        &folder,
        ResumedRecords {
            lengths,
            step: 2,
            seconds: 1.0,
            writes_again: false,
            changes: Vec::new(),
        },
    );
    for (file, content) in ["metrics.jsonl", "events.jsonl"].into_iter().zip(before) {
        let content = content.expect("it was read before");
        fs::write(run.join(file), content).expect("the file can be written");
    }
    resumed.map(drop)
}

/// What a replay would do by the records of an async run.
fn replays(folder: &Path) -> Vec<Decoder> {
    let made = |name: &'static str, method: &str, file: &'static str| {
        let folder = folder.join(format!("{method}-{file}"));
        let set = ["run.mode=async", &format!("method.name={method}")];
        let config = toy::config(&folder, &set);
        let outcome = toy::run(config).expect("the toy can be trained");
        let run = outcome.folder.path().to_owned();
        let shape = Shape {
            workers: 2,
            wire: WireFormat::F32,
            has_centre: method == "easgd",
            budget_counts: false,
        };
        let original = fs::read(run.join(file)).expect("the run has the file");
        Decoder {
            name,
            form: Form::JsonLines,
            valid: vec![original.clone()],
            bound: kib(512, 128),
            share: 20,
            read: Box::new(move |bytes| {
                fs::write(run.join(file), bytes).expect("the file can be written");
                let replay = Replay::of(&run, Some(3)).expect("the run is there");
                let outcome = replay.lines(shape);
                fs::write(run.join(file), &original).expect("the file can be written");
                is_accepted(outcome)
            }),
        }
    };
    vec![
        made(
            "records replay of lsgd events.jsonl",
            "lsgd",
            "events.jsonl",
        ),
        made(
            "records replay of easgd events.jsonl",
            "easgd",
            "events.jsonl",
        ),
        made("records replay of metrics.jsonl", "lsgd", "metrics.jsonl"),
    ]
}

/// The report of a bench whose only run has another file.
fn benches(folder: &Path) -> Vec<Decoder> {
    let base = folder.join("bench.toml");
    let plan = folder.join("plan.toml");
    let text = toy::config(folder, &[])
        .to_toml()
        .expect("it was read from TOML");
    fs::write(&base, text).expect("the file can be written");
    let content = format!(
        "name = \"bench\"\nhow = \"train\"\nfolder = {folder:?}\nconfig = {base:?}\nseeds = [1]\n\
         workers = [2]\nperiods = [2]\ntargets = [0.5]\n\n[[method]]\nlabel = \"lsgd\"\n"
    );
    fs::write(&plan, content).expect("the file can be written");
    report(&plan).expect("the bench can be made");
    let run = folder.join("bench/runs/lsgd-w2-p2-s1");
    [
        ("records bench of run.json", "run.json", Form::Json),
        ("records bench of summary.json", "summary.json", Form::Json),
        (
            "records bench of metrics.jsonl",
            "metrics.jsonl",
            Form::JsonLines,
        ),
        (
            "records bench of events.jsonl",
            "events.jsonl",
            Form::JsonLines,
        ),
    ]
    .into_iter()
    .map(|(name, file, form)| {
        let (run, plan) = (run.clone(), plan.clone());
        let original = fs::read(run.join(file)).expect("the run has the file");
        Decoder {
            name,
            form,
            valid: vec![original.clone()],
            bound: kib(8 << 10, 64),
            share: 1,
            read: Box::new(move |bytes| {
                fs::write(run.join(file), bytes).expect("the file can be written");
                let outcome = report(&plan);
                fs::write(run.join(file), &original).expect("the file can be written");
                is_accepted(outcome)
            }),
        }
    })
    .collect()
}

fn report(plan: &Path) -> Result<PathBuf, RunError> {
    bench::run::<TaskTable<Toy>>(plan, Changes::default(), &Arc::default(), |_| {})
}
