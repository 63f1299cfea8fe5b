//! The lines of `metrics.jsonl` as MLflow's metrics: a file for each, a line for each value.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::names::Names;
use crate::error::RunError;
use crate::report::csv;
use crate::storage::{Evaluation, Interval, MetricRecord, RunFolder, read_whole_lines};

/// Names that are no task's metrics.
const OWN: [&str; 6] = [
    "training_loss",
    "learning_rate",
    "interval_steps",
    "window_loss",
    "step",
    "run",
];

/// Bytes that wait in memory until they are written, of all files together.
const WAITING: usize = 8 << 20;

/// Writes the metrics of the run in `folder`, which started at `start` (milliseconds since 1970), to files
/// in `place`, reading on up to `threads` threads. A last line that is not finished is left out.
///
/// # Errors
///
/// [`RunError::Read`], [`RunError::Damaged`] or [`RunError::Write`].
pub fn write(folder: &RunFolder, start: u64, place: &Path, threads: usize) -> Result<(), RunError> {
    let path = folder.join("metrics.jsonl");
    let mut files = Files {
        place: place.to_owned(),
        waiting: BTreeMap::new(),
        bytes: 0,
    };
    let mut names = Names::but(&OWN);
    if path.exists() {
        read_whole_lines(&path, threads, csv::parse, |line| {
            let (step, seconds) = match &line {
                MetricRecord::Interval(line) => (line.step, line.seconds),
                MetricRecord::Evaluation(line) => (line.step, line.seconds),
            };
            let at = start.saturating_add((seconds * 1000.0).round() as u64);
            for (name, value) in figures(&line, &mut names) {
                files.add(name, &format!("{at} {} {step}\n", number(value)));
            }
            match files.bytes > WAITING {
                true => files.flush(),
                false => Ok(()),
            }
        })?;
    }
    files.flush()
}

/// The figures of a line by name: those that the table has.
fn figures(line: &MetricRecord, names: &mut Names) -> Vec<(String, f64)> {
    match line {
        MetricRecord::Interval(interval) => of_interval(interval),
        MetricRecord::Evaluation(evaluation) => of_evaluation(evaluation, names),
    }
}

fn of_interval(interval: &Interval) -> Vec<(String, f64)> {
    let worker = csv::name(interval.worker);
    vec![
        (format!("training_loss/{worker}"), interval.loss),
        (format!("learning_rate/{worker}"), interval.learning_rate),
        (format!("interval_steps/{worker}"), interval.steps as f64),
    ]
}

fn of_evaluation(evaluation: &Evaluation, names: &mut Names) -> Vec<(String, f64)> {
    let mut figures = vec![
        (String::from("run/epoch"), evaluation.epoch),
        (String::from("run/samples"), evaluation.samples as f64),
        (String::from("run/examples"), evaluation.examples as f64),
        (
            String::from("run/was_due"),
            f64::from(u8::from(evaluation.was_due)),
        ),
    ];
    if let Some(leader) = &evaluation.leader {
        let id = leader.worker;
        figures.push((String::from("run/leader_node"), f64::from(id.node)));
        figures.push((String::from("run/leader_worker"), f64::from(id.worker)));
        let loss = leader.training_loss;
        figures.extend(loss.map(|loss| (String::from("window_loss/leader"), loss)));
    }
    for worker in &evaluation.workers {
        let name = csv::name(worker.worker);
        let step = worker.step.map(|step| step as f64);
        figures.extend(step.map(|step| (format!("step/{name}"), step)));
        let loss = worker.training_loss;
        figures.extend(loss.map(|loss| (format!("window_loss/{name}"), loss)));
    }
    for (scored, score) in csv::scores(evaluation) {
        let of = csv::scored_name(scored);
        for (metric, value) in score.metrics() {
            figures.push((format!("{}/{of}", names.of(metric)), value));
        }
    }
    figures
}

/// A number in as few digits as tell it from others, as Python reads it.
fn number(value: f64) -> String {
    match value.is_finite() {
        // A number: nothing in it can fail.
        true => serde_json::to_string(&value).unwrap_or_default(),
        false => String::from("nan"),
    }
}

/// Files that grow, of which none stays open: there may be more than a process may have open.
struct Files {
    place: PathBuf,
    waiting: BTreeMap<String, Vec<u8>>,
    /// Bytes that wait.
    bytes: usize,
}

impl Files {
    fn add(&mut self, name: String, line: &str) {
        self.bytes += line.len();
        let waiting = self.waiting.entry(name).or_default();
        waiting.extend_from_slice(line.as_bytes());
    }

    fn flush(&mut self) -> Result<(), RunError> {
        self.bytes = 0;
        for (name, lines) in std::mem::take(&mut self.waiting) {
            let path = self.place.join(name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(RunError::write(folder))?;
            }
            let opened = File::options().create(true).append(true).open(&path);
            let written = opened.and_then(|mut file| file.write_all(&lines));
            written.map_err(RunError::write(&path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lsgd_core::WorkerId;

    use super::*;

    #[test]
    fn numbers_are_as_python_reads_them() {
        assert_eq!(number(0.1), "0.1");
        assert_eq!(number(1e-7), "1e-7");
        assert_eq!(number(12.0), "12.0");
        assert_eq!(number(f64::NEG_INFINITY), "nan");
    }

    #[test]
    fn an_interval_has_the_names_of_its_worker() {
        let interval = Interval {
            step: 10,
            steps: 10,
            seconds: 1.0,
            worker: WorkerId::new(1, 3),
            loss: 2.5,
            learning_rate: 0.1,
        };
        let line = MetricRecord::Interval(interval);
        let figures = figures(&line, &mut Names::but(&OWN));
        let of = |name: &str| format!("{name}/node-2-worker-3");
        let expected = [
            (of("training_loss"), 2.5),
            (of("learning_rate"), 0.1),
            (of("interval_steps"), 10.0),
        ];
        assert_eq!(figures, expected);
    }
}
