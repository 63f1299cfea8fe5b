//! What is done while all workers of the node pause: evaluation, checkpoint, summary.

use std::ops::Range;
use std::sync::Arc;

use lsgd_core::{Candidate, Rank, Snapshot, elect};

use super::crew::Crew;
use super::evaluation::{Score, mean_statistics, statistics_batches, test_batches};
use super::messages::Paused;
use super::node::{Last, Node};
use super::pace::Pause;
use super::provenance;
use crate::config::Config;
use crate::error::TrainError;
use crate::run::{
    Checkpoint, CheckpointState, Evaluation, ExchangeSummary, Metric, Summary, TestError,
    WorkerScore,
};

impl Node {
    /// Evaluates and writes a checkpoint, whichever is due; at the end both.
    pub(super) fn pause(
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
                    samples: self.samples(),
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
    fn mean(
        &mut self,
        crew: &Crew,
        paused: &[Paused],
    ) -> Result<Option<Arc<Snapshot>>, TrainError> {
        let layout = self.setup.layout.clone();
        let sound = |snapshot: &Snapshot| snapshot.check(&layout).is_ok();
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
        self.estimate_statistics(crew, mean, paused)
    }

    /// A mean with BatchNorm statistics of its own, estimated on batches that come after those all
    /// have trained on.
    fn estimate_statistics(
        &mut self,
        crew: &Crew,
        mean: Arc<Snapshot>,
        paused: &[Paused],
    ) -> Result<Option<Arc<Snapshot>>, TrainError> {
        let layout = self.setup.layout.clone();
        if layout.buffer_len() == 0 {
            return Ok(Some(mean));
        }
        let next = total_steps(paused) * u64::from(self.setup.nodes.max(1));
        let count = self.setup.config.evaluate.batch_norm_batches;
        let statistics =
            crew.statistics(&mut self.inbox, &mean, statistics_batches(next, count))?;
        let buffers = mean_statistics(statistics).unwrap_or_default();
        let mean = mean
            .with_buffers(buffers)
            .map_err(|why| TrainError::Unfit { why })?;
        let sound = mean.check(&layout).is_ok();
        Ok(sound.then(|| Arc::new(mean)))
    }

    /// The test error of the mean of all nodes' workers.
    pub(super) fn score_mean(
        &mut self,
        crew: &Crew,
        mean: Arc<Snapshot>,
        paused: &[Paused],
    ) -> Result<Option<Score>, TrainError> {
        let Some(mean) = self.estimate_statistics(crew, mean, paused)? else {
            return Ok(None);
        };
        let batches = self.test_batches();
        let scores = crew.score(&mut self.inbox, &[mean], &batches)?;
        Ok(scores.first().copied().flatten())
    }

    /// The test examples that are evaluated, in batches.
    fn test_batches(&self) -> Vec<(usize, Range<usize>)> {
        let config = &self.setup.config;
        test_batches(self.test_examples(), scoring_batch(config))
    }

    fn test_examples(&self) -> usize {
        let all = self.setup.dataset.test_len();
        let some = self.setup.config.evaluate.examples;
        some.map_or(all, |some| some.min(all))
    }

    fn evaluate(
        &mut self,
        crew: &Crew,
        paused: &[Paused],
        mean: Option<&Arc<Snapshot>>,
    ) -> Result<Evaluation, TrainError> {
        let batches = self.test_batches();
        let setup = self.setup.clone();
        let layout = &setup.layout;
        let sound: Vec<&Paused> = paused
            .iter()
            .filter(|p| p.snapshot.check(layout).is_ok())
            .collect();
        let mut subjects: Vec<Arc<Snapshot>> = sound.iter().map(|p| p.snapshot.clone()).collect();
        subjects.extend(mean.filter(|_| paused.len() > 1).cloned());

        let scores = crew.score(&mut self.inbox, &subjects, &batches)?;
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
            samples: self.samples(),
            seconds: crew.seconds(),
            examples: self.test_examples(),
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

    /// Training examples that this node's workers have seen, in this life of the node.
    fn samples(&self) -> u64 {
        self.taken * self.setup.config.data.batch_size as u64
    }

    /// What came of the run, `seconds` after its start.
    pub(super) fn summary(&self, last: &Last, seconds: f64) -> Summary {
        let Last {
            end,
            workers,
            evaluation,
            of_all,
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
                mean_of_all_nodes: of_all.map(|score| score.error),
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
            nodes: None,
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
