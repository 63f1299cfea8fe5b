//! What `metrics.jsonl` says, thinned while it is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use lsgd_core::WorkerId;
use serde::Deserialize;

use super::events::LOG;
use super::thinning::{Point, Spent, Thinned};
use crate::error::RunError;
use crate::storage::{Interval, MetricInfo, Score, WorkerScore, read_whole_lines};
use crate::wording::{self, Told};

/// Most workers that have a series of their own; of more, those with the lowest ids.
pub const WORKERS: usize = 16;

/// Most metrics of a task that are shown.
const METRICS: usize = 16;

/// Whose scores a series has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scored {
    /// The leader's.
    Leader,
    /// The replica mean's.
    ReplicaMean,
    /// The mean over the workers.
    WorkerMean,
    /// Those of the mean of the workers' moving averages.
    Ema,
    /// Those of the mean of the last replica means.
    Lawa,
    /// A worker's.
    Worker(WorkerId),
}

/// A worker's training.
#[derive(Debug, Clone, Default)]
pub struct Training {
    /// Its mean training loss over each interval, in nats.
    pub loss: Thinned,
    /// Its steps per second in each interval, evaluations and checkpoints left out.
    pub pace: Thinned,
    /// Its learning rate at the end of each.
    pub rate: Thinned,
    /// When its last interval ended.
    pub last: Option<Spent>,
}

/// What `metrics.jsonl` says.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The training of the first workers.
    pub training: BTreeMap<WorkerId, Training>,
    /// Every worker that has an interval or a score.
    pub workers: BTreeSet<WorkerId>,
    /// Scores on held-out examples, by metric.
    pub scores: BTreeMap<String, BTreeMap<Scored, Thinned>>,
    /// Training examples per second between evaluations, of all workers.
    pub throughput: Thinned,
    /// Training loss over the loss window, mean over the workers, at evaluations.
    pub training_loss: Thinned,
    /// The last evaluation's workers.
    pub last_workers: Vec<WorkerScore>,
    /// The last moment on record.
    pub end: Option<Spent>,
    /// The newest evaluations, as they stand in the file.
    newest: VecDeque<Vec<u8>>,
    last_evaluation: Option<Spent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Interval,
    Evaluation,
    /// Of a later version.
    #[serde(other)]
    Other,
}

/// What is used of a line.
#[derive(Debug)]
enum Line {
    Interval(Interval),
    /// With the line itself.
    Evaluation(Box<Fields>, Vec<u8>),
    Other,
}

/// The fields used of a line. One type for both kinds: serde reads a tagged enum at half the speed.
#[derive(Debug, Deserialize)]
struct Fields {
    kind: Kind,
    step: u64,
    seconds: f64,
    #[serde(default)]
    steps: u64,
    worker: Option<WorkerId>,
    loss: Option<f64>,
    learning_rate: Option<f64>,
    #[serde(default)]
    samples: u64,
    leader: Option<WorkerScore>,
    replica_mean: Option<Score>,
    ema: Option<Score>,
    lawa: Option<Score>,
    #[serde(default)]
    workers: Vec<WorkerScore>,
}

impl Line {
    fn parse(line: &[u8]) -> serde_json::Result<Self> {
        // There are millions of them.
        if let Some(interval) = Interval::written(line) {
            return Ok(Self::Interval(interval));
        }
        let fields: Fields = serde_json::from_slice(line)?;
        Ok(match fields.kind {
            Kind::Interval => match fields.worker {
                Some(worker) => Self::Interval(Interval {
                    step: fields.step,
                    steps: fields.steps,
                    seconds: fields.seconds,
                    worker,
                    loss: fields.loss.unwrap_or(f64::NAN),
                    learning_rate: fields.learning_rate.unwrap_or(f64::NAN),
                }),
                None => Self::Other,
            },
            Kind::Evaluation => Self::Evaluation(Box::new(fields), line.to_vec()),
            Kind::Other => Self::Other,
        })
    }
}

impl Metrics {
    /// Reads the file on up to `threads` threads; of one that is not there yet, nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn read(path: &Path, threads: usize) -> Result<Self, RunError> {
        let mut metrics = Self::default();
        if path.exists() {
            read_whole_lines(path, threads, Line::parse, |line| {
                match line {
                    Line::Interval(interval) => metrics.interval(&interval),
                    Line::Evaluation(fields, line) => {
                        metrics.evaluation(*fields);
                        if metrics.newest.len() == LOG {
                            metrics.newest.pop_front();
                        }
                        metrics.newest.push_back(line);
                    }
                    Line::Other => {}
                }
                Ok(())
            })?;
        }
        Ok(metrics)
    }

    fn interval(&mut self, line: &Interval) {
        let at = Spent::new(line.seconds, line.step);
        self.end = Some(at);
        let Some(training) = shown(&mut self.training, &mut self.workers, line.worker) else {
            return;
        };
        let value = |y: f64| Point { at, y };
        training.loss.add(value(line.loss));
        if !line.learning_rate.is_nan() {
            training.rate.add(value(line.learning_rate));
        }
        let before = training.last.replace(at).map_or(0.0, |last| last.seconds);
        let seconds = line.seconds - before;
        if seconds > 0.0 && line.steps > 0 {
            training.pace.add(value(line.steps as f64 / seconds));
        }
    }

    fn evaluation(&mut self, line: Fields) {
        let at = Spent {
            samples: line.samples as f64,
            ..Spent::new(line.seconds, line.step)
        };
        self.end = Some(at);
        let before = self.last_evaluation.replace(at);
        let (samples, seconds) = before.map_or((0.0, 0.0), |last| (last.samples, last.seconds));
        if at.seconds > seconds && at.samples >= samples {
            let y = (at.samples - samples) / (at.seconds - seconds);
            self.throughput.add(Point { at, y });
        }
        let losses: Option<Vec<f64>> = line.workers.iter().map(|w| w.training_loss).collect();
        if let Some(losses) = losses.filter(|losses| !losses.is_empty()) {
            let y = losses.iter().sum::<f64>() / losses.len() as f64;
            self.training_loss.add(Point { at, y });
        }
        let all: Option<Vec<&Score>> = line.workers.iter().map(|w| w.test.as_ref()).collect();
        let mean = all.and_then(|all| Score::mean(&all));
        let leader = line.leader.and_then(|leader| leader.test);
        let of_all = [
            (Scored::Leader, leader),
            (Scored::ReplicaMean, line.replica_mean),
            (Scored::WorkerMean, mean),
            (Scored::Ema, line.ema),
            (Scored::Lawa, line.lawa),
        ];
        for (scored, score) in of_all {
            if let Some(score) = score {
                self.score(scored, &score, at);
            }
        }
        for worker in &line.workers {
            let is_shown = shown(&mut self.training, &mut self.workers, worker.worker).is_some();
            if let (true, Some(score)) = (is_shown, &worker.test) {
                self.score(Scored::Worker(worker.worker), score, at);
            }
        }
        self.last_workers = line.workers;
    }

    fn score(&mut self, scored: Scored, score: &Score, at: Spent) {
        for (metric, y) in score.metrics() {
            if !self.scores.contains_key(metric) {
                if self.scores.len() == METRICS {
                    continue;
                }
                self.scores.insert(metric.to_owned(), BTreeMap::new());
            }
            if let Some(of) = self.scores.get_mut(metric) {
                of.entry(scored).or_default().add(Point { at, y });
            }
        }
    }

    /// The newest evaluations in words, in order, of a run whose task has these metrics. One of a version that
    /// lacks what the words are made of is left out.
    pub fn log(&self, metrics: &[MetricInfo]) -> Vec<Told> {
        let told = |line: &Vec<u8>| wording::metric(line, metrics).ok().flatten();
        self.newest.iter().filter_map(told).collect()
    }

    /// How many workers have no series of their own.
    pub fn left_out(&self) -> usize {
        self.workers.len().saturating_sub(self.training.len())
    }

    /// When evaluations were, as far as they are shown: seconds in order, each once.
    pub fn evaluated(&self) -> Vec<f64> {
        let series = self.scores.values().flat_map(BTreeMap::values);
        let series = series.chain([&self.throughput, &self.training_loss]);
        let mut seconds: Vec<f64> = series
            .flat_map(|series| series.points())
            .map(|point| point.at.seconds)
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds.dedup();
        seconds
    }
}

/// A worker's series, unless there are [`WORKERS`] with lower ids. A worker that turns up late with a low
/// id takes the place of the one with the highest, which never comes back.
fn shown<'a>(
    training: &'a mut BTreeMap<WorkerId, Training>,
    workers: &mut BTreeSet<WorkerId>,
    id: WorkerId,
) -> Option<&'a mut Training> {
    if !training.contains_key(&id) {
        workers.insert(id);
        let highest = training.last_key_value().map(|(id, _)| *id);
        match highest {
            Some(highest) if training.len() == WORKERS && highest < id => return None,
            Some(highest) if training.len() == WORKERS => drop(training.remove(&highest)),
            _ => {}
        }
    }
    Some(training.entry(id).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(worker: u32, step: u64) -> String {
        format!(
            "{{\"kind\":\"interval\",\"step\":{step},\"steps\":10,\"seconds\":{step}.0,\
             \"worker\":{{\"node\":0,\"worker\":{worker}}},\"loss\":null,\"learning_rate\":0.1}}\n"
        )
    }

    fn read(text: &str) -> Metrics {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, text).unwrap();
        Metrics::read(&path, 1).unwrap()
    }

    #[test]
    fn of_many_workers_those_with_the_lowest_ids_are_shown() {
        let text: String = (0..40).rev().map(|worker| interval(worker, 10)).collect();
        let metrics = read(&text);
        let shown: Vec<u32> = metrics.training.keys().map(|id| id.worker).collect();
        assert_eq!(shown, (0..16).collect::<Vec<u32>>());
        assert_eq!(metrics.left_out(), 24);
    }

    #[test]
    fn a_worker_that_has_diverged_has_a_loss_that_is_no_number() {
        let metrics = read(&(interval(0, 10) + &interval(0, 15)));
        let training = &metrics.training[&WorkerId::new(0, 0)];
        assert!(training.loss.points().iter().all(|point| point.y.is_nan()));
        let pace: Vec<f64> = training.pace.points().iter().map(|point| point.y).collect();
        assert_eq!(pace, [1.0, 2.0]);
    }
}
