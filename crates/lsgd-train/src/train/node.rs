//! The main thread of a run: receives what workers report, writes it down, evaluates at pauses.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use lsgd_core::{Candidate, Event, Rank, Snapshot, elect};

use super::crew::Crew;
use super::evaluation::{mean_statistics, statistics_batches, test_batches};
use super::intervals::Intervals;
use super::messages::{FromWorker, Paused};
use super::pace::{End, Pause};
use super::provenance;
use super::setup::Setup;
use crate::config::Config;
use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::{
    Checkpoint, CheckpointState, Checkpoints, Evaluation, ExchangeSummary, Metric, Recorder,
    RunFolder, Summary, TestError, WorkerScore,
};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Where everything is.
    pub folder: RunFolder,
    /// What stands in its `summary.json`.
    pub summary: Summary,
}

/// Trains as `config` says, into a folder of its own. `interrupted` ends the run early, with what
/// was trained kept.
///
/// # Errors
///
/// [`TrainError`]; what was recorded until then is in the run's folder.
pub fn train(
    config: Config,
    progress: Progress,
    interrupted: Arc<AtomicBool>,
) -> Result<Outcome, TrainError> {
    let began = Instant::now();
    let setup = Arc::new(Setup::new(config)?);
    let folder = RunFolder::create(&setup.config.run)?;
    let mut record = provenance::begin(&setup, SystemTime::now());
    folder.write_start(&setup.config.to_toml()?, &record)?;

    let mut node = Node {
        recorder: Recorder::create(&folder)?,
        checkpoints: Checkpoints::new(&folder, setup.config.checkpoint.keep),
        intervals: Intervals::new(setup.workers()),
        exchange: ExchangeSummary::default(),
        best: None,
        progress,
        setup: setup.clone(),
    };
    node.progress.began(&setup, &folder);
    let crew = Crew::start(&setup, interrupted)?;
    let last = node.run(&crew)?;
    drop(crew);

    let summary = node.summary(&last, began.elapsed().as_secs_f64());
    record.end = Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
    folder.write_end(&record, &summary)?;
    node.progress.ended();
    Ok(Outcome { folder, summary })
}

/// The state of the main thread.
struct Node {
    setup: Arc<Setup>,
    recorder: Recorder,
    checkpoints: Checkpoints,
    intervals: Intervals,
    exchange: ExchangeSummary,
    /// Lowest test error so far, and its step.
    best: Option<(f64, u64)>,
    progress: Progress,
}

/// A run at its last pause.
struct Last {
    end: End,
    workers: Vec<Paused>,
    evaluation: Evaluation,
}

impl Node {
    /// Until the run is over.
    fn run(&mut self, crew: &Crew) -> Result<Last, TrainError> {
        let mut paused: Vec<Paused> = Vec::new();
        crew.resume();
        loop {
            match crew.next()? {
                FromWorker::Stepped {
                    worker,
                    step,
                    loss,
                    rate,
                } => {
                    let seconds = crew.seconds();
                    self.progress.stepped(worker, step, loss, seconds);
                    let interval = self.intervals.add(worker, step, loss, rate, seconds);
                    if let Some(interval) = interval {
                        self.recorder.metric(&Metric::Interval(interval))?;
                    }
                }
                FromWorker::Event(event, seconds) => self.event(&event, seconds)?,
                FromWorker::Paused(worker) => paused.push(*worker),
                // Answers to tasks are received where the tasks are given.
                FromWorker::Ready
                | FromWorker::Scores { .. }
                | FromWorker::Statistics(_)
                | FromWorker::Ended(_) => {}
            }
            if paused.len() < self.setup.workers() {
                continue;
            }
            paused.sort_by_key(|paused| paused.worker);
            let pause = paused.first().map(|first| first.pause).unwrap_or_default();
            let evaluation = self.pause(crew, pause, &paused)?;
            if let (Some(end), Some(evaluation)) = (pause.end, evaluation) {
                return Ok(Last {
                    end,
                    workers: paused,
                    evaluation,
                });
            }
            paused.clear();
            crew.resume();
        }
    }

    fn event(&mut self, event: &Event, seconds: f64) -> Result<(), TrainError> {
        match event {
            Event::Exchange { bytes, .. } => {
                self.exchange.count += 1;
                self.exchange.bytes += bytes;
            }
            Event::Election { election, .. } => self.progress.led(election.leader),
            _ => {}
        }
        self.recorder.event(event, seconds)
    }

    /// Evaluates and writes a checkpoint, whichever is due; at the end both.
    fn pause(
        &mut self,
        crew: &Crew,
        pause: Pause,
        paused: &[Paused],
    ) -> Result<Option<Evaluation>, TrainError> {
        let seconds = crew.seconds();
        for interval in self.intervals.end(seconds) {
            self.recorder.metric(&Metric::Interval(interval))?;
        }
        let mean = self.mean(crew, paused)?;
        let ends = pause.end.is_some();
        let evaluation = match pause.evaluate || ends {
            true => Some(self.evaluate(crew, paused, mean.as_ref())?),
            false => None,
        };
        let better = evaluation.as_ref().is_some_and(|e| self.is_best(e));
        if let Some(evaluation) = &evaluation {
            self.progress.evaluated(evaluation);
            self.recorder
                .metric(&Metric::Evaluation(evaluation.clone()))?;
        }
        if pause.checkpoint || better || ends {
            let steps: Vec<u64> = paused.iter().map(|p| p.report.step).collect();
            let checkpoint = Checkpoint {
                state: CheckpointState {
                    step: mean_step(paused),
                    samples: self.samples(paused),
                    workers: paused.len(),
                    leader: leader(paused).map(|rank| rank.worker as usize),
                    steps,
                    classes: self.setup.dataset.classes(),
                    image: self.setup.dataset.shape(),
                    layout: self.setup.layout.digest().to_string(),
                    evaluation: evaluation.clone(),
                },
                workers: paused.iter().map(|p| p.snapshot.as_ref()).collect(),
                mean: mean.as_deref(),
            };
            self.checkpoints.write(&checkpoint, better)?;
            self.recorder.checkpoint(checkpoint.state.step, seconds)?;
        }
        self.recorder.flush()?;
        Ok(evaluation)
    }

    /// The replica mean, its BatchNorm statistics re-estimated; nothing if a worker has diverged, or
    /// the mean itself where the workers are only about to. The mean of one worker is that worker.
    fn mean(&self, crew: &Crew, paused: &[Paused]) -> Result<Option<Arc<Snapshot>>, TrainError> {
        let layout = &self.setup.layout;
        let sound = |snapshot: &Snapshot| snapshot.check(layout).is_ok();
        if !paused.iter().all(|p| sound(&p.snapshot)) {
            return Ok(None);
        }
        if let [only] = paused {
            return Ok(Some(only.snapshot.clone()));
        }
        let mean = Snapshot::mean(paused.iter().map(|p| p.snapshot.as_ref()));
        let Some(mean) = mean.ok().flatten().filter(sound).map(Arc::new) else {
            return Ok(None);
        };
        if layout.buffer_len() == 0 {
            return Ok(Some(mean));
        }
        let next: u64 = paused.iter().map(|p| p.report.step).sum();
        let count = self.setup.config.evaluate.batch_norm_batches;
        let statistics = crew.statistics(&mean, statistics_batches(next, count))?;
        let buffers = mean_statistics(statistics).unwrap_or_default();
        let mean = mean
            .with_buffers(buffers)
            .map_err(|why| TrainError::Unfit { why })?;
        Ok(Some(mean).filter(sound).map(Arc::new))
    }

    fn evaluate(
        &self,
        crew: &Crew,
        paused: &[Paused],
        mean: Option<&Arc<Snapshot>>,
    ) -> Result<Evaluation, TrainError> {
        let (config, dataset) = (&self.setup.config, &self.setup.dataset);
        let all = dataset.test_len();
        let examples = config.evaluate.examples.map_or(all, |some| some.min(all));
        let batches = test_batches(examples, scoring_batch(config));
        let layout = &self.setup.layout;
        let sound: Vec<&Paused> = paused
            .iter()
            .filter(|p| p.snapshot.check(layout).is_ok())
            .collect();
        let mut subjects: Vec<Arc<Snapshot>> = sound.iter().map(|p| p.snapshot.clone()).collect();
        subjects.extend(mean.filter(|_| paused.len() > 1).cloned());

        let scores = crew.score(&subjects, &batches)?;
        let mut scores_of = sound.iter().zip(&scores);
        let workers: Vec<WorkerScore> = paused
            .iter()
            .map(|p| {
                let own = |(sound, _): &(&&Paused, _)| sound.worker == p.worker;
                WorkerScore {
                    worker: p.report.rank,
                    training_loss: match p.report.loss {
                        lsgd_core::WindowLoss::Mean(loss) => Some(loss),
                        lsgd_core::WindowLoss::Filling { .. } => None,
                    },
                    test: scores_of.clone().find(own).and_then(|(_, score)| *score),
                    digest: p.snapshot.digest().to_string(),
                }
            })
            .collect();
        let first = scores_of.next().and_then(|(_, score)| *score);
        let leader = leader(paused);
        Ok(Evaluation {
            step: mean_step(paused),
            epoch: self.setup.epochs(total_steps(paused)),
            samples: self.samples(paused),
            seconds: crew.seconds(),
            examples,
            leader: workers
                .iter()
                .find(|score| Some(score.worker) == leader)
                .cloned(),
            replica_mean: match (mean, paused.len()) {
                (Some(_), 1) => first,
                (Some(_), _) => scores.last().copied().flatten(),
                (None, _) => None,
            },
            workers,
        })
    }

    /// Whether no evaluation so far was better; if so, remembers this one.
    fn is_best(&mut self, evaluation: &Evaluation) -> bool {
        let leader = evaluation.leader.as_ref().and_then(|leader| leader.test);
        let errors = leader.into_iter().chain(evaluation.replica_mean);
        let Some(lowest) = errors.map(|score| score.error).reduce(f64::min) else {
            return false;
        };
        let better = self.best.is_none_or(|(best, _)| lowest < best);
        if better {
            self.best = Some((lowest, evaluation.step));
        }
        better
    }

    fn samples(&self, paused: &[Paused]) -> u64 {
        total_steps(paused) * self.setup.config.data.batch_size as u64
    }

    fn summary(&self, last: &Last, seconds: f64) -> Summary {
        let Last {
            end,
            workers,
            evaluation,
        } = last;
        let mean_seconds = |time: fn(&Paused) -> std::time::Duration| {
            let sum: f64 = workers.iter().map(|p| time(p).as_secs_f64()).sum();
            sum / workers.len().max(1) as f64
        };
        let errors: Option<Vec<f64>> = evaluation
            .workers
            .iter()
            .map(|worker| worker.test.map(|test| test.error))
            .collect();
        Summary {
            method: self.setup.method.name().to_owned(),
            workers: workers.len(),
            end: *end,
            steps: evaluation.step,
            samples: evaluation.samples,
            epochs: evaluation.epoch,
            seconds,
            training_seconds: evaluation.seconds,
            samples_per_second: evaluation.samples as f64 / evaluation.seconds,
            test_error: TestError {
                leader: evaluation
                    .leader
                    .as_ref()
                    .and_then(|leader| leader.test)
                    .map(|test| test.error),
                replica_mean: evaluation.replica_mean.map(|test| test.error),
                worker_mean: errors
                    .map(|errors| errors.iter().sum::<f64>() / errors.len().max(1) as f64),
            },
            best_test_error: self.best.map(|(error, _)| error),
            best_step: self.best.map(|(_, step)| step),
            exchange: ExchangeSummary {
                seconds: mean_seconds(|p| p.times.exchange),
                wait_seconds: mean_seconds(|p| p.times.exchange_wait),
                ..self.exchange
            },
            data_wait_seconds: mean_seconds(|p| p.times.data_wait),
            digests: workers
                .iter()
                .map(|p| p.snapshot.digest().to_string())
                .collect(),
            peak_memory_bytes: provenance::peak_memory(),
        }
    }
}

/// Who leads at a pause: the election of the paper, over everybody's reports of this moment.
fn leader(paused: &[Paused]) -> Option<Rank> {
    let candidates: Vec<Candidate> = paused
        .iter()
        .map(|p| Candidate {
            report: p.report,
            age: 0,
        })
        .collect();
    elect(&candidates, 0).leader
}

fn total_steps(paused: &[Paused]) -> u64 {
    paused.iter().map(|p| p.report.step).sum()
}

fn mean_step(paused: &[Paused]) -> u64 {
    total_steps(paused) / paused.len().max(1) as u64
}

/// Test examples that are scored at once: as many as train at once, within bounds that keep small
/// batches from being slow and large ones from taking more memory than training does.
fn scoring_batch(config: &Config) -> usize {
    config.data.batch_size.clamp(32, 256)
}
