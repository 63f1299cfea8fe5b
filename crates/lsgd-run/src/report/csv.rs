//! The lines of `metrics.jsonl` as a table in CSV, for spreadsheets and notebooks: a row for each line, a
//! column for each figure.
//!
//! The file is read twice, since the names of the columns come first: whose scores there are is known only
//! once all evaluations are. Neither time is more than a little of it in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use lsgd_core::WorkerId;

use super::metrics::Scored;
use crate::error::RunError;
use crate::output::Output;
use crate::storage::{
    Evaluation, Interval, MetricInfo, MetricRecord, RunFolder, Score, WorkerScore, read_whole_lines,
};
use crate::words::csv_field;

/// The columns that every table has: `node` and `worker` are those of an interval.
const FIXED: [&str; 15] = [
    "kind",
    "step",
    "seconds",
    "node",
    "worker",
    "steps",
    "loss (nats)",
    "learning_rate",
    "epoch",
    "samples",
    "examples",
    "was_due",
    "leader.node",
    "leader.worker",
    "leader.training_loss (nats)",
];

/// Those of them that a line of each kind has in common.
const OF_ALL: usize = 3;
/// Those that an interval has, after these.
const OF_INTERVALS: usize = 5;

/// Writes the lines of `metrics.jsonl` of the run in `folder` to `output`, reading on up to `threads` threads.
/// A last line that is not finished is left out.
///
/// # Errors
///
/// [`RunError`] if the run cannot be read, or `output` not be written.
pub fn write(folder: &Path, threads: usize, output: &Output) -> Result<(), RunError> {
    let folder = RunFolder::read_only(folder)?;
    let metrics = folder.join("metrics.jsonl");
    let mut columns = Columns::new(folder.record()?.metrics);
    let mut lines = 0_u64;
    if metrics.exists() {
        read_whole_lines(&metrics, threads, parse, |line| {
            if let MetricRecord::Evaluation(evaluation) = line {
                columns.see(&evaluation);
            }
            lines += 1;
            Ok(())
        })?;
    }
    output.fill(|file| {
        let mut table = Table {
            file: BufWriter::with_capacity(1 << 16, file),
            columns: &columns,
            scores: columns.count(),
            row: Vec::new(),
        };
        let failed = || RunError::write(output.path());
        table.head().map_err(failed())?;
        if metrics.exists() {
            read_whole_lines(&metrics, threads, parse, |line| {
                // Lines that a running process has written since may need other columns.
                if lines == 0 {
                    return Ok(());
                }
                lines -= 1;
                let written = match line {
                    MetricRecord::Interval(interval) => table.interval(&interval),
                    MetricRecord::Evaluation(evaluation) => table.evaluation(&evaluation),
                };
                written.map_err(failed())
            })?;
        }
        table.file.flush().map_err(failed())
    })
}

/// A line of `metrics.jsonl`.
///
/// # Errors
///
/// If the line is not a metrics record.
pub fn parse(line: &[u8]) -> serde_json::Result<MetricRecord> {
    match Interval::written(line) {
        Some(interval) => Ok(MetricRecord::Interval(interval)),
        None => serde_json::from_slice(line),
    }
}

/// Which columns of scores a table has, after the fixed ones.
struct Columns {
    /// The task's metrics, the main one first.
    metrics: Vec<MetricInfo>,
    scores: BTreeMap<Scored, BTreeSet<String>>,
    workers: BTreeSet<WorkerId>,
}

impl Columns {
    fn new(metrics: Vec<MetricInfo>) -> Self {
        Self {
            metrics,
            scores: BTreeMap::new(),
            workers: BTreeSet::new(),
        }
    }

    fn see(&mut self, evaluation: &Evaluation) {
        for (scored, score) in scores(evaluation) {
            let known = self.scores.entry(scored).or_default();
            for (metric, _) in score.metrics() {
                if !known.contains(metric) {
                    known.insert(metric.to_owned());
                }
            }
        }
        self.workers
            .extend(evaluation.workers.iter().map(|worker| worker.worker));
    }

    /// The metrics that are known of someone, those of the task in its order and first.
    fn of(&self, scored: Scored) -> impl Iterator<Item = &str> {
        let known = self.scores.get(&scored);
        let is_known = move |name: &&str| known.is_some_and(|known| known.contains(*name));
        let of_task = self.metrics.iter().map(|metric| metric.name.as_str());
        let is_other = |name: &&str| self.metrics.iter().all(|metric| metric.name != *name);
        let others = known.into_iter().flatten().map(String::as_str);
        of_task.filter(is_known).chain(others.filter(is_other))
    }

    /// How many columns there are for scores and losses.
    fn count(&self) -> usize {
        let of_all = OF_ALL_WORKERS.map(|(scored, _)| self.of(scored).count());
        let of_worker = |id: &WorkerId| 2 + self.of(Scored::Worker(*id)).count();
        of_all
            .into_iter()
            .chain(self.workers.iter().map(of_worker))
            .sum()
    }

    fn heading(&self, of: &str, metric: &str) -> String {
        let unit = self.metrics.iter().find(|known| known.name == metric);
        match unit.map(|known| known.unit.as_str()) {
            None | Some("") => format!("{of}.{metric}"),
            Some(unit) => format!("{of}.{metric} ({unit})"),
        }
    }
}

/// Those whose scores are no worker's.
const OF_ALL_WORKERS: [(Scored, &str); 4] = [
    (Scored::Leader, "leader"),
    (Scored::ReplicaMean, "replica_mean"),
    (Scored::Ema, "ema"),
    (Scored::Lawa, "lawa"),
];

/// What a worker is called in a heading, as in TensorBoard.
pub fn name(id: WorkerId) -> String {
    match id.node {
        0 => format!("worker-{}", id.worker),
        node => format!("node-{}-worker-{}", u64::from(node) + 1, id.worker),
    }
}

/// What someone whose scores are on record is called in a heading.
pub fn scored_name(scored: Scored) -> String {
    let of_all = OF_ALL_WORKERS.iter().find(|(of, _)| *of == scored);
    match (of_all, scored) {
        (Some((_, name)), _) => (*name).to_owned(),
        (None, Scored::Worker(id)) => name(id),
        // No line has it.
        (None, _) => String::from("worker_mean"),
    }
}

/// All scores of an evaluation.
pub fn scores(evaluation: &Evaluation) -> impl Iterator<Item = (Scored, &Score)> {
    let leader = evaluation.leader.as_ref();
    let of_all = [
        (
            Scored::Leader,
            leader.and_then(|leader| leader.test.as_ref()),
        ),
        (Scored::ReplicaMean, evaluation.replica_mean.as_ref()),
        (Scored::Ema, evaluation.ema.as_ref()),
        (Scored::Lawa, evaluation.lawa.as_ref()),
    ];
    let of_worker = |worker: &'_ WorkerScore| Scored::Worker(worker.worker);
    let of_each = evaluation.workers.iter();
    let of_each = of_each.map(move |worker| (of_worker(worker), worker.test.as_ref()));
    let all = of_all.into_iter().chain(of_each);
    all.filter_map(|(scored, score)| Some((scored, score?)))
}

/// A table that is being written.
struct Table<'a> {
    file: BufWriter<&'a mut dyn Write>,
    columns: &'a Columns,
    /// Cells after those of [`FIXED`].
    scores: usize,
    /// The row that is being made: every cell begins with a comma.
    row: Vec<u8>,
}

impl Table<'_> {
    fn head(&mut self) -> io::Result<()> {
        let columns = self.columns;
        for heading in FIXED {
            self.text(heading);
        }
        for (scored, of) in OF_ALL_WORKERS {
            for metric in columns.of(scored) {
                self.text(&columns.heading(of, metric));
            }
        }
        for id in &columns.workers {
            let of = name(*id);
            self.text(&format!("{of}.step"));
            self.text(&format!("{of}.training_loss (nats)"));
            for metric in columns.of(Scored::Worker(*id)) {
                self.text(&columns.heading(&of, metric));
            }
        }
        self.end()
    }

    fn interval(&mut self, interval: &Interval) -> io::Result<()> {
        self.text("interval");
        self.whole(interval.step);
        self.number(interval.seconds);
        self.whole(interval.worker.node.into());
        self.whole(interval.worker.worker.into());
        self.whole(interval.steps);
        self.number(interval.loss);
        self.number(interval.learning_rate);
        self.empty(FIXED.len() - OF_ALL - OF_INTERVALS + self.scores);
        self.end()
    }

    fn evaluation(&mut self, evaluation: &Evaluation) -> io::Result<()> {
        self.text("evaluation");
        self.whole(evaluation.step);
        self.number(evaluation.seconds);
        self.empty(OF_INTERVALS);
        self.number(evaluation.epoch);
        self.whole(evaluation.samples);
        self.whole(evaluation.examples);
        self.text(if evaluation.was_due { "true" } else { "false" });
        match &evaluation.leader {
            Some(leader) => {
                self.whole(leader.worker.node.into());
                self.whole(leader.worker.worker.into());
                self.number_if_any(leader.training_loss);
            }
            None => self.empty(3),
        }
        let columns = self.columns;
        let scores: BTreeMap<Scored, &Score> = scores(evaluation).collect();
        for (scored, _) in OF_ALL_WORKERS {
            self.scores(scored, &scores);
        }
        let workers = evaluation.workers.iter();
        let workers: BTreeMap<WorkerId, &WorkerScore> =
            workers.map(|worker| (worker.worker, worker)).collect();
        for id in &columns.workers {
            let worker = workers.get(id);
            match worker.and_then(|worker| worker.step) {
                Some(step) => self.whole(step),
                None => self.empty(1),
            }
            self.number_if_any(worker.and_then(|worker| worker.training_loss));
            self.scores(Scored::Worker(*id), &scores);
        }
        self.end()
    }

    fn scores(&mut self, scored: Scored, scores: &BTreeMap<Scored, &Score>) {
        for metric in self.columns.of(scored) {
            let score = scores.get(&scored);
            self.number_if_any(score.and_then(|score| score.get(metric)));
        }
    }

    /// A cell with a text, in quotes where it needs them.
    fn text(&mut self, text: &str) {
        self.row.push(b',');
        self.row.extend_from_slice(csv_field(text).as_bytes());
    }

    fn whole(&mut self, number: u64) {
        self.number_of(number);
    }

    /// A cell with a number, in as few digits as tell it from others; of one that is not finite, with `NaN`.
    fn number(&mut self, number: f64) {
        match number.is_finite() {
            true => self.number_of(number),
            false => self.text("NaN"),
        }
    }

    fn number_of(&mut self, number: impl serde::Serialize) {
        self.row.push(b',');
        // Into memory, and a number: nothing in it can fail.
        let _ = serde_json::to_writer(&mut self.row, &number);
    }

    fn number_if_any(&mut self, number: Option<f64>) {
        match number {
            Some(number) => self.number(number),
            None => self.empty(1),
        }
    }

    fn empty(&mut self, cells: usize) {
        self.row.resize(self.row.len() + cells, b',');
    }

    fn end(&mut self) -> io::Result<()> {
        self.row.push(b'\n');
        let written = self.file.write_all(&self.row[1..]);
        self.row.clear();
        written
    }
}
