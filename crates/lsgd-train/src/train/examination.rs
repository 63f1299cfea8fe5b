//! What is found out about workers that stand still: test errors, the mean of them all, a
//! checkpoint, and at the end a summary.

use std::ops::Range;
use std::sync::Arc;

use lsgd_core::{Candidate, Rank, Snapshot, elect};

use super::divergence::Divergence;
use super::evaluation::{Score, mean_statistics, statistics_batches, test_batches};
use super::messages::Paused;
use super::pace::End;
use super::provenance;
use super::setup::Setup;
use crate::config::Config;
use crate::error::TrainError;
use crate::run::{
    Checkpoint, CheckpointState, Evaluation, ExchangeSummary, Summary, TestError, WorkerScore,
};

/// Those who score snapshots, each on a part of the batches.
pub trait Scorers {
    /// Scores of several snapshots on test examples, in the order of `subjects`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of one that has failed.
    fn score(
        &mut self,
        subjects: &[Arc<Snapshot>],
        batches: &[(usize, Range<usize>)],
    ) -> Result<Vec<Option<Score>>, TrainError>;

    /// BatchNorm statistics of a snapshot on each of several training batches.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of one that has failed.
    fn statistics(
        &mut self,
        snapshot: &Arc<Snapshot>,
        batches: Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, TrainError>;
}

/// Workers that stand still.
#[derive(Debug, Clone, Copy)]
pub struct Examination<'a> {
    /// What they share.
    pub setup: &'a Setup,
    /// They, by number.
    pub workers: &'a [Paused],
    /// Training examples that they have seen together.
    pub samples: u64,
    /// Seconds of training.
    pub seconds: f64,
}

impl Examination<'_> {
    /// The replica mean, its BatchNorm statistics re-estimated; nothing if a worker has diverged, or
    /// the mean itself where the workers are only about to. The mean of one worker is that worker.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a scorer.
    pub fn mean(&self, scorers: &mut impl Scorers) -> Result<Option<Arc<Snapshot>>, TrainError> {
        let layout = &self.setup.layout;
        let sound = |snapshot: &Snapshot| snapshot.check(layout).is_ok();
        if !self.workers.iter().all(|p| sound(&p.snapshot)) {
            return Ok(None);
        }
        if let [only] = self.workers {
            return Ok(Some(only.snapshot.clone()));
        }
        let mean = Snapshot::mean(self.workers.iter().map(|p| p.snapshot.as_ref()));
        let Some(mean) = mean.ok().flatten().filter(sound).map(Arc::new) else {
            return Ok(None);
        };
        self.estimate_statistics(scorers, mean)
    }

    /// A mean with BatchNorm statistics of its own, estimated on batches that come after those all
    /// have trained on.
    fn estimate_statistics(
        &self,
        scorers: &mut impl Scorers,
        mean: Arc<Snapshot>,
    ) -> Result<Option<Arc<Snapshot>>, TrainError> {
        let layout = &self.setup.layout;
        if layout.buffer_len() == 0 {
            return Ok(Some(mean));
        }
        let next = self.total_steps() * u64::from(self.setup.nodes.max(1));
        let count = self.setup.config.evaluate.batch_norm_batches;
        let statistics = scorers.statistics(&mean, statistics_batches(next, count))?;
        // None if the evaluation was broken off.
        let Some(buffers) = mean_statistics(statistics) else {
            return Ok(None);
        };
        let mean = mean
            .with_buffers(buffers)
            .map_err(|why| TrainError::Unfit { why })?;
        let sound = mean.check(layout).is_ok();
        Ok(sound.then(|| Arc::new(mean)))
    }

    /// The test error of a mean of more workers than these.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a scorer.
    pub fn score_mean(
        &self,
        scorers: &mut impl Scorers,
        mean: Arc<Snapshot>,
    ) -> Result<Option<Score>, TrainError> {
        let Some(mean) = self.estimate_statistics(scorers, mean)? else {
            return Ok(None);
        };
        let scores = scorers.score(&[mean], &self.test_batches())?;
        Ok(scores.first().copied().flatten())
    }

    /// Test errors of all, and of the replica mean if there is one.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a scorer.
    pub fn evaluate(
        &self,
        scorers: &mut impl Scorers,
        mean: Option<&Arc<Snapshot>>,
    ) -> Result<Evaluation, TrainError> {
        let paused = self.workers;
        let layout = &self.setup.layout;
        let sound: Vec<&Paused> = paused
            .iter()
            .filter(|p| p.snapshot.check(layout).is_ok())
            .collect();
        let mut subjects: Vec<Arc<Snapshot>> = sound.iter().map(|p| p.snapshot.clone()).collect();
        subjects.extend(mean.filter(|_| paused.len() > 1).cloned());

        let scores = scorers.score(&subjects, &self.test_batches())?;
        let replica_mean = match (mean, paused.len()) {
            (Some(_), 1) => scores.first().copied().flatten(),
            (Some(_), _) => scores.last().copied().flatten(),
            (None, _) => None,
        };
        let of_workers: Vec<(usize, Option<Score>)> =
            sound.iter().map(|p| p.worker).zip(scores).collect();
        Ok(Evaluation {
            examples: self.test_examples(),
            replica_mean,
            ..self.evaluation(&of_workers)
        })
    }

    /// How far all are, with nobody evaluated.
    pub fn unevaluated(&self) -> Evaluation {
        self.evaluation(&[])
    }

    fn evaluation(&self, scores: &[(usize, Option<Score>)]) -> Evaluation {
        let score_of = |worker: usize| scores.iter().find(|(scored, _)| *scored == worker);
        let workers: Vec<WorkerScore> = self
            .workers
            .iter()
            .map(|p| WorkerScore {
                worker: p.report.rank,
                training_loss: match p.loss {
                    lsgd_core::WindowLoss::Mean(loss) => Some(loss),
                    lsgd_core::WindowLoss::Filling { .. } => None,
                },
                test: score_of(p.worker).and_then(|(_, score)| *score),
                digest: p.snapshot.digest().to_string(),
            })
            .collect();
        let leader = self.leader().map(|leader| leader.report.rank);
        Evaluation {
            step: self.mean_step(),
            epoch: self.setup.epochs(self.total_steps()),
            samples: self.samples,
            seconds: self.seconds,
            examples: 0,
            leader: workers
                .iter()
                .find(|score| Some(score.worker) == leader)
                .cloned(),
            replica_mean: None,
            workers,
        }
    }

    /// Tells `divergence` how they stand. Since which step nothing of them is finite, if so.
    pub fn diverged(&self, divergence: &mut Divergence) -> Option<u64> {
        for p in self.workers {
            let is_finite = p.snapshot.check(&self.setup.layout).is_ok();
            divergence.stands(p.worker, p.report.step, is_finite);
        }
        divergence.of_paused(self.workers.iter().map(|p| p.worker))
    }

    /// Whether anything of them is finite.
    pub fn is_sound(&self) -> bool {
        let layout = &self.setup.layout;
        let mut snapshots = self.workers.iter().map(|p| &p.snapshot);
        snapshots.any(|snapshot| snapshot.check(layout).is_ok())
    }

    /// All of them, to be written to disk.
    pub fn checkpoint(&self) -> Checkpoint<'_> {
        let workers = || self.workers.iter();
        let steps_of = |worker| {
            workers()
                .find(|p| p.worker == worker)
                .map(|p| p.report.step)
        };
        Checkpoint {
            state: CheckpointState {
                step: self.mean_step(),
                samples: self.samples,
                workers: self.setup.workers(),
                leader: self.leader().map(|leader| leader.worker),
                steps: (0..self.setup.workers()).map(steps_of).collect(),
                broken_off: false,
                classes: self.setup.dataset.classes(),
                class_names: self.setup.dataset.class_names().to_vec(),
                image: self.setup.dataset.shape(),
                layout: self.setup.layout.digest().to_string(),
                evaluation: None,
            },
            workers: workers().map(|p| (p.worker, p.snapshot.as_ref())).collect(),
        }
    }

    /// What came of a run, `seconds` after its start.
    pub fn summary(&self, end: End, seconds: f64, evaluation: &Evaluation, best: Best) -> Summary {
        let errors: Option<Vec<f64>> = evaluation
            .workers
            .iter()
            .map(|worker| worker.test.map(|test| test.error))
            .collect();
        Summary {
            method: self.setup.method.name().to_owned(),
            workers: self.workers.len(),
            end,
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
                mean_of_all_nodes: None,
                worker_mean: errors
                    .map(|errors| errors.iter().sum::<f64>() / errors.len().max(1) as f64),
            },
            best_test_error: best.0.map(|(error, _)| error),
            best_step: best.0.map(|(_, step)| step),
            exchange: ExchangeSummary {
                seconds: self.mean_seconds(|p| p.times.exchange),
                wait_seconds: self.mean_seconds(|p| p.times.exchange_wait),
                ..ExchangeSummary::default()
            },
            data_wait_seconds: self.mean_seconds(|p| p.times.data_wait),
            diverged_since: None,
            digests: self
                .workers
                .iter()
                .map(|p| p.snapshot.digest().to_string())
                .collect(),
            nodes: None,
            simulated: None,
            peak_memory_bytes: provenance::peak_memory(),
        }
    }

    fn mean_seconds(&self, time: fn(&Paused) -> std::time::Duration) -> f64 {
        let sum: f64 = self.workers.iter().map(|p| time(p).as_secs_f64()).sum();
        sum / self.workers.len().max(1) as f64
    }

    /// The test examples that are evaluated, in batches.
    fn test_batches(&self) -> Vec<(usize, Range<usize>)> {
        let batch_size = scoring_batch(&self.setup.config);
        test_batches(self.test_examples(), batch_size)
    }

    fn test_examples(&self) -> usize {
        let all = self.setup.dataset.test_len();
        let some = self.setup.config.evaluate.examples;
        some.map_or(all, |some| some.min(all))
    }

    /// Who leads: the election of the paper, over everybody's reports of this moment.
    fn leader(&self) -> Option<&Paused> {
        let candidate = |p: &Paused| Candidate {
            report: p.report,
            age: 0,
        };
        let candidates: Vec<Candidate> = self.workers.iter().map(candidate).collect();
        let rank: Rank = elect(&candidates, 0).leader?;
        self.workers.iter().find(|p| p.report.rank == rank)
    }

    fn total_steps(&self) -> u64 {
        self.workers.iter().map(|p| p.report.step).sum()
    }

    fn mean_step(&self) -> u64 {
        self.total_steps() / self.workers.len().max(1) as u64
    }
}

/// The lowest test error so far, in percent, and its step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Best(Option<(f64, u64)>);

impl Best {
    /// The step of that evaluation, if there was one.
    pub fn step(&self) -> Option<u64> {
        self.0.map(|(_, step)| step)
    }

    /// Whether no evaluation so far was better; if so, remembers this one.
    pub fn improves(&mut self, evaluation: &Evaluation) -> bool {
        let leader = evaluation.leader.as_ref().and_then(|leader| leader.test);
        let errors = leader.into_iter().chain(evaluation.replica_mean);
        let Some(lowest) = errors.map(|score| score.error).reduce(f64::min) else {
            return false;
        };
        let better = self.0.is_none_or(|(best, _)| lowest < best);
        if better {
            self.0 = Some((lowest, evaluation.step));
        }
        better
    }
}

/// Test examples that are scored at once: as many as train at once, within bounds that keep small
/// batches from being slow and large ones from taking more memory than training does.
pub fn scoring_batch(config: &Config) -> usize {
    config.data.batch_size.clamp(32, 256)
}
