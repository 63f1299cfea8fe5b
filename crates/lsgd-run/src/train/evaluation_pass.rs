//! The evaluation of paused workers: their scores, their mean, a checkpoint, and at the end a
//! summary.

use std::ops::Range;
use std::sync::Arc;

use lsgd_core::{Candidate, GlobalLeaderState, LocalLeaderState, Snapshot, WorkerId, elect};

use super::averages::{MeanWindow, Means};
use super::best::Best;
use super::divergence::Divergence;
use super::evaluation::{Scored, mean_of, statistics_batches, with_statistics};
use super::messages::PausedWorker;
use super::provenance;
use super::setup::Setup;
use crate::error::RunError;
use crate::storage::{
    Checkpoint, CheckpointState, CheckpointsSummary, End, Evaluation, ExchangeSummary, HeldOut,
    RecordLengths, RunState, Score, StatisticsBatches, Summary, WorkerScore,
};

/// Scores snapshots, distributed over workers or threads.
pub trait Evaluator {
    /// Scores of several snapshots on parts of the held-out examples, in the order of `subjects`.
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that has failed.
    fn score(
        &mut self,
        subjects: &[Arc<Snapshot>],
        parts: &[usize],
    ) -> Result<Vec<Option<Scored>>, RunError>;

    /// Running statistics of a snapshot on each of several training batches.
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that has failed.
    fn statistics(
        &mut self,
        snapshot: &Arc<Snapshot>,
        batches: Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, RunError>;
}

/// Where a run pauses, apart from its workers.
#[derive(Debug)]
pub struct RunPosition {
    /// What the workers' leader remembers.
    pub leader: LocalLeaderState,
    /// What the node remembers of the exchange with others.
    pub cluster: Option<GlobalLeaderState>,
    /// The replica means of the last evaluations.
    pub window: MeanWindow,
    /// Whether an evaluation is due.
    pub evaluates: bool,
    /// Lengths of the records.
    pub records: RecordLengths,
}

/// Paused workers.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationPass<'a> {
    /// Their common setup.
    pub setup: &'a Setup,
    /// The paused workers, ordered by number.
    pub workers: &'a [PausedWorker],
    /// Training examples that they have seen together.
    pub samples: u64,
    /// Seconds of training.
    pub seconds: f64,
}

/// A mean, and its score on the held-out examples, if there are any.
#[derive(Debug)]
pub struct ScoredMean {
    /// The mean.
    pub mean: Arc<Snapshot>,
    /// Its score.
    pub score: Option<Score>,
}

impl EvaluationPass<'_> {
    /// The means to be scored, with re-estimated running statistics. The replica mean of one worker is
    /// that worker.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the evaluator.
    pub fn means(
        &self,
        evaluator: &mut impl Evaluator,
        window: &MeanWindow,
    ) -> Result<Means, RunError> {
        let mut estimated = |mean: Option<Arc<Snapshot>>| match mean {
            Some(mean) => self.estimate_statistics(evaluator, mean),
            None => Ok(None),
        };
        let replicas = match self.workers.len() {
            1 => self.plain_mean(),
            _ => estimated(self.plain_mean())?,
        };
        Ok(Means {
            replicas,
            ema: estimated(self.mean_average())?,
            lawa: estimated(window.mean(&self.setup.layout))?,
        })
    }

    /// The mean of the workers' values; `None` if a worker has diverged or the mean overflows.
    pub fn plain_mean(&self) -> Option<Arc<Snapshot>> {
        let workers: Vec<_> = self.workers.iter().map(|p| p.snapshot.clone()).collect();
        mean_of(&workers, &self.setup.layout)
    }

    /// The mean of the workers' moving averages. A moving average is linear, so this is that of the replica
    /// mean. `None` if they keep none, or as for [`plain_mean`](Self::plain_mean).
    fn mean_average(&self) -> Option<Arc<Snapshot>> {
        let averages = self.workers.iter().map(PausedWorker::averaged);
        let averages: Vec<_> = averages.collect::<Option<_>>()?;
        mean_of(&averages, &self.setup.layout)
    }

    /// A mean with its own running statistics, estimated on the batches that were trained on last.
    fn estimate_statistics(
        &self,
        evaluator: &mut impl Evaluator,
        mean: Arc<Snapshot>,
    ) -> Result<Option<Arc<Snapshot>>, RunError> {
        if !self.setup.facts.re_estimates {
            return Ok(Some(mean));
        }
        let statistics = evaluator.statistics(&mean, self.statistics_batches().range())?;
        with_statistics(&mean, statistics)
    }

    fn statistics_batches(&self) -> StatisticsBatches {
        let settings = self.setup.settings();
        let steps = self.total_steps() * u64::from(self.setup.nodes.max(1));
        let next = steps * settings.workers.accumulate;
        let batches = statistics_batches(next, settings.evaluate.batch_norm_batches);
        StatisticsBatches {
            seed: settings.run.seed,
            first: batches.start,
            end: batches.end,
        }
    }

    /// A mean over more workers than these, with its own running statistics, and its score. `None` if
    /// its values are not finite.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the evaluator.
    pub fn score_mean(
        &self,
        evaluator: &mut impl Evaluator,
        mean: Arc<Snapshot>,
    ) -> Result<Option<ScoredMean>, RunError> {
        let Some(mean) = self.estimate_statistics(evaluator, mean)? else {
            return Ok(None);
        };
        let scores = evaluator.score(std::slice::from_ref(&mean), &self.parts())?;
        let scored = scores.into_iter().next().flatten();
        Ok(Some(ScoredMean {
            mean,
            score: scored.map(|scored| scored.score),
        }))
    }

    /// Scores of all workers, and of the means that there are.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the evaluator.
    pub fn evaluate(
        &self,
        evaluator: &mut impl Evaluator,
        means: &Means,
    ) -> Result<Evaluation, RunError> {
        let paused = self.workers;
        let layout = &self.setup.layout;
        let sound: Vec<&PausedWorker> = paused
            .iter()
            .filter(|p| p.snapshot.check(layout).is_ok())
            .collect();
        let mut subjects: Vec<Arc<Snapshot>> = sound.iter().map(|p| p.snapshot.clone()).collect();
        let of_several = means.replicas.as_ref().filter(|_| paused.len() > 1);
        let others = [of_several, means.ema.as_ref(), means.lawa.as_ref()];
        subjects.extend(others.into_iter().flatten().cloned());

        let scored = evaluator.score(&subjects, &self.parts())?;
        let examples = scored.iter().flatten().map(|scored| scored.examples).max();
        let mut scores = scored
            .into_iter()
            .map(|scored| scored.map(|scored| scored.score));
        let workers = sound.iter().map(|p| p.worker);
        let of_workers: Vec<(usize, Option<Score>)> = workers.zip(scores.by_ref()).collect();
        let [replica_mean, ema, lawa] =
            others.map(|other| other.and_then(|_| scores.next().flatten()));
        let replica_mean = match (&means.replicas, of_workers.as_slice()) {
            (Some(_), [(_, only)]) => only.clone(),
            _ => replica_mean,
        };
        Ok(Evaluation {
            examples: examples.unwrap_or(0),
            replica_mean,
            ema,
            lawa,
            ..self.evaluation(&of_workers)
        })
    }

    /// The progress of all workers, without scores.
    pub fn unevaluated(&self) -> Evaluation {
        self.evaluation(&[])
    }

    fn evaluation(&self, scores: &[(usize, Option<Score>)]) -> Evaluation {
        let score_of = |worker: usize| scores.iter().find(|(scored, _)| *scored == worker);
        let workers: Vec<WorkerScore> = self
            .workers
            .iter()
            .map(|p| WorkerScore {
                worker: p.report.id,
                step: Some(p.report.step),
                training_loss: match p.loss {
                    lsgd_core::WindowLoss::Mean(loss) => Some(loss),
                    lsgd_core::WindowLoss::Filling { .. } => None,
                },
                test: score_of(p.worker).and_then(|(_, score)| score.clone()),
                digest: p.snapshot.digest().to_string(),
            })
            .collect();
        let leader = self.leader().map(|leader| leader.report.id);
        Evaluation {
            step: self.mean_step(),
            epoch: self.setup.epochs(self.total_steps()),
            samples: self.samples,
            seconds: self.seconds,
            examples: 0,
            was_due: true,
            leader: workers
                .iter()
                .find(|score| Some(score.worker) == leader)
                .cloned(),
            replica_mean: None,
            ema: None,
            lawa: None,
            workers,
        }
    }

    /// Passes the workers' state to `divergence`. Returns the step since which all have diverged,
    /// if they have.
    pub fn diverged(&self, divergence: &mut Divergence) -> Option<u64> {
        for p in self.workers {
            let is_finite = p.snapshot.check(&self.setup.layout).is_ok();
            divergence.observe_values(p.worker, p.report.step, is_finite);
        }
        divergence.of_paused(self.workers.iter().map(|p| p.worker))
    }

    /// Whether any worker's values are finite.
    pub fn is_sound(&self) -> bool {
        let layout = &self.setup.layout;
        let mut snapshots = self.workers.iter().map(|p| &p.snapshot);
        snapshots.any(|snapshot| snapshot.check(layout).is_ok())
    }

    /// A checkpoint of all workers.
    pub fn checkpoint(&self) -> Checkpoint {
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
                workers_of_all_nodes: None,
                layout: self.setup.layout.digest().to_string(),
                evaluation: None,
                is_best: false,
                statistics_batches: Some(self.statistics_batches()),
                resume: None,
                files: Default::default(),
                notes: self.setup.facts.notes.clone(),
            },
            workers: workers().map(|p| (p.worker, p.snapshot.clone())).collect(),
            averages: workers()
                .filter_map(|p| Some((p.worker, p.averaged()?)))
                .collect(),
            frozen: self.setup.frozen.clone(),
            run_state: None,
        }
    }

    /// The same with all that the run continues from.
    pub fn resumable_checkpoint(&self, run: RunPosition) -> Checkpoint {
        let RunPosition {
            leader,
            cluster,
            window,
            evaluates,
            records,
        } = run;
        let run_state = RunState {
            workers: self.workers.iter().map(PausedWorker::saved).collect(),
            leader,
            cluster,
            window: window.means().to_vec(),
            evaluates,
            seconds: self.seconds,
            records,
        };
        let mut checkpoint = self.checkpoint();
        checkpoint.run_state = Some(run_state);
        checkpoint
    }

    /// The summary of a run, `seconds` after its start.
    pub fn summary(&self, end: End, seconds: f64, evaluation: &Evaluation, best: &Best) -> Summary {
        let scores = evaluation.workers.iter().map(|worker| worker.test.as_ref());
        let scores: Option<Vec<&Score>> = scores.collect();
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
            test: HeldOut {
                leader: evaluation
                    .leader
                    .as_ref()
                    .and_then(|leader| leader.test.clone()),
                replica_mean: evaluation.replica_mean.clone(),
                mean_of_all_nodes: None,
                worker_mean: scores.as_deref().and_then(Score::mean),
                ema: evaluation.ema.clone(),
                lawa: evaluation.lawa.clone(),
            },
            best: best.score(),
            exchange: ExchangeSummary {
                seconds: self.mean_seconds(|p| p.times.exchange),
                wait_seconds: self.mean_seconds(|p| p.times.exchange_wait),
                ..ExchangeSummary::default()
            },
            data_wait_seconds: self.mean_seconds(|p| p.times.data_wait),
            checkpoints: CheckpointsSummary::default(),
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

    fn mean_seconds(&self, time: fn(&PausedWorker) -> std::time::Duration) -> f64 {
        let sum: f64 = self.workers.iter().map(|p| time(p).as_secs_f64()).sum();
        sum / self.workers.len().max(1) as f64
    }

    fn parts(&self) -> Vec<usize> {
        (0..self.setup.facts.parts).collect()
    }

    /// The leader: the paper's election, over the current reports of all workers.
    fn leader(&self) -> Option<&PausedWorker> {
        let candidate = |p: &PausedWorker| Candidate {
            report: p.report,
            age: 0,
        };
        let candidates: Vec<Candidate> = self.workers.iter().map(candidate).collect();
        let id: WorkerId = elect(&candidates, 0).leader?;
        self.workers.iter().find(|p| p.report.id == id)
    }

    fn total_steps(&self) -> u64 {
        self.workers.iter().map(|p| p.report.step).sum()
    }

    /// Steps of a worker; in `async` the mean.
    pub fn mean_step(&self) -> u64 {
        self.total_steps() / self.workers.len().max(1) as u64
    }
}
