//! The work at a pause of all the node's workers: evaluation, checkpoint, summary.

use std::sync::Arc;

use lsgd_core::Snapshot;

use super::answers::Answers;
use super::checkpoint_writer::Job;
use super::cluster::Cluster;
use super::evaluation::Scored;
use super::evaluation_pass::{EvaluationPass, Evaluator, RunPosition, ScoredMean};
use super::messages::{FromCluster, PausedWorker, ToMain};
use super::pause_schedule::Pause;
use super::run_loop::{FinalPause, RunLoop};
use super::salvage;
use super::setup::Setup;
use super::training_clock::Leave;
use super::worker_pool::WorkerPool;
use crate::error::RunError;
use crate::storage::{Completion, End, Evaluation, ExchangeSummary, MetricRecord, Score, Summary};
use crate::task::Task;

/// A paused pool, and its answers.
struct PausedPool<'a> {
    pool: &'a WorkerPool,
    answers: Answers<'a>,
}

impl Evaluator for PausedPool<'_> {
    fn score(
        &mut self,
        subjects: &[Arc<Snapshot>],
        parts: &[usize],
    ) -> Result<Vec<Option<Scored>>, RunError> {
        self.pool.score(&mut self.answers, subjects, parts)
    }

    fn statistics(
        &mut self,
        snapshot: &Arc<Snapshot>,
        batches: std::ops::Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, RunError> {
        self.pool.statistics(&mut self.answers, snapshot, batches)
    }
}

impl<T: Task> RunLoop<T> {
    /// Has a checkpoint written and evaluates, whichever is due; both at the end. The checkpoint is
    /// written while the workers are evaluated, and the results are added afterwards: the replica
    /// mean with its statistics, the scores. Training goes on while they are written. `None` if no
    /// evaluation was due, or it was interrupted.
    pub(super) fn pause(
        &mut self,
        pool: &WorkerPool,
        pause: Pause,
        paused: &[PausedWorker],
    ) -> Result<Option<Evaluation>, RunError> {
        let seconds = pool.seconds();
        let ends = pause.end.is_some();
        // The event of the checkpoint before comes before the lengths of the records are taken.
        self.writer.wait(&mut self.journal)?;
        if ends {
            self.writer.expect_end();
        }
        self.journal.end_intervals(seconds)?;
        let setup = self.setup.clone();
        let evaluation_pass = self.evaluation_pass(&setup, paused, seconds);
        let scores = pause.evaluate || ends;
        let window = self.window.with(evaluation_pass.mean_step(), || {
            scores.then(|| evaluation_pass.plain_mean()).flatten()
        });
        if pause.evaluate {
            self.window = window.clone();
        }
        // A checkpoint without finite values would replace a useful one.
        let saves = (pause.checkpoint || ends)
            && evaluation_pass.is_sound()
            && self.journal.can_save(ends)?;
        let checkpoint = evaluation_pass.resumable_checkpoint(RunPosition {
            leader: pool.leader(),
            cluster: self.cluster.as_ref().and_then(Cluster::state),
            window: self.window.clone(),
            evaluates: pause.evaluate,
            records: self.journal.recorder.lengths(),
        });
        let mut unsaved = Some((checkpoint, seconds));
        if saves {
            let job = Job {
                checkpoint: unsaved.take(),
                ..Job::default()
            };
            self.writer.submit(job, &mut self.journal)?;
        }

        if !scores {
            return Ok(None);
        }

        let mut evaluator = self.paused(pool);
        let means = evaluation_pass.means(&mut evaluator, &window)?;
        let mut evaluation = evaluation_pass.evaluate(&mut evaluator, &means)?;
        evaluation.was_due = pause.evaluate || pause.end != Some(End::Interrupted);
        // The checkpoint's event comes before the evaluation is recorded.
        self.writer.wait(&mut self.journal)?;
        if !pool.evaluates() {
            return Ok(ends.then(|| evaluation_pass.unevaluated()));
        }
        let totals = &mut self.journal.totals;
        let better = totals.best.improves(&evaluation, setup.main_metric());
        let ends = ends || totals.best.exhausts(setup.patience(), evaluation.step);
        self.journal.observer.evaluated(&evaluation);
        self.journal
            .recorder
            .metric(&MetricRecord::Evaluation(evaluation.clone()))?;
        if ends {
            self.writer.expect_end();
        }
        let completes = better || saves || ends && evaluation_pass.is_sound();
        if completes && self.journal.can_save(ends)? {
            let job = Job {
                checkpoint: unsaved,
                completion: Some(Completion {
                    evaluation: evaluation.clone(),
                    is_best: better,
                    means: means.named(),
                    evaluated: Some(self.journal.recorder.lengths()),
                }),
                mean_of_all_nodes: None,
            };
            self.writer.submit(job, &mut self.journal)?;
        }
        if ends {
            self.writer.wait(&mut self.journal)?;
        }
        Ok(Some(evaluation))
    }

    /// The run ends with an error: saves its workers, as far as they can be read.
    pub(super) fn break_off(&mut self, mut pool: WorkerPool, error: &RunError) {
        // On record wherever the failure was found: one at a pause ends the run at once.
        for worker in self.inbox.failed() {
            pool.leave_out(worker);
        }
        pool.clock().leave(Leave::Saved);
        let seconds = pool.seconds();
        let (left, heard) = pool.break_off(&mut self.inbox);
        self.writer.expect_end();
        let written = self.writer.wait(&mut self.journal);
        let setup = self.setup.clone();
        let saved = heard
            .into_iter()
            .try_for_each(|message| match message {
                ToMain::Worker(message) => self.journal.on_message(message, seconds),
                ToMain::Cluster(FromCluster::Event(event)) => self.journal.event(&event, seconds),
                ToMain::Cluster(_) | ToMain::Saved => Ok(()),
            })
            .and(written)
            .and_then(|()| self.journal.end_intervals(seconds))
            .and_then(|()| {
                let left = self.evaluation_pass(&setup, &left, seconds);
                match self.writer.close()? {
                    Some(checkpoints) => salvage::save(left, &checkpoints, &mut self.journal),
                    None => Ok(None),
                }
            });
        if let Some(line) = salvage::message(saved, Some(error)) {
            self.journal.observer.warn(&line);
        }
    }

    fn paused<'a>(&'a mut self, pool: &'a WorkerPool) -> PausedPool<'a> {
        PausedPool {
            pool,
            answers: Answers {
                seconds: pool.seconds(),
                inbox: &mut self.inbox,
                journal: &mut self.journal,
                writer: &mut self.writer,
            },
        }
    }

    /// The score of the mean over all nodes' workers, which is added to the last checkpoint.
    pub(super) fn score_mean(
        &mut self,
        pool: &WorkerPool,
        mean: Arc<Snapshot>,
        paused: &[PausedWorker],
    ) -> Result<Option<Score>, RunError> {
        let setup = self.setup.clone();
        let evaluation_pass = self.evaluation_pass(&setup, paused, pool.seconds());
        let scored = evaluation_pass.score_mean(&mut self.paused(pool), mean)?;
        let Some(ScoredMean { mean, score }) = scored.filter(|_| pool.evaluates()) else {
            return Ok(None);
        };
        let job = Job {
            mean_of_all_nodes: Some((evaluation_pass.mean_step(), mean)),
            ..Job::default()
        };
        let kept = self.writer.submit(job, &mut self.journal);
        let kept = kept.and_then(|()| self.writer.wait(&mut self.journal));
        match kept {
            // Everything else has been saved.
            Err(error) if error.is_full_disk() => {
                let line = format!("{error}; the mean over all nodes is scored, but not kept");
                self.journal.observer.warn(&line);
            }
            kept => kept?,
        }
        Ok(score)
    }

    /// The step since which all of these workers have diverged, if they have.
    pub(super) fn diverged(&mut self, pool: &WorkerPool, paused: &[PausedWorker]) -> Option<u64> {
        let setup = self.setup.clone();
        self.evaluation_pass(&setup, paused, pool.seconds())
            .diverged(&mut self.journal.divergence)
    }

    fn evaluation_pass<'a>(
        &self,
        setup: &'a Setup,
        workers: &'a [PausedWorker],
        seconds: f64,
    ) -> EvaluationPass<'a> {
        EvaluationPass {
            setup,
            workers,
            samples: self.samples(),
            seconds,
        }
    }

    /// Training examples that this node's workers have seen, in all incarnations of the node.
    fn samples(&self) -> u64 {
        self.setup.samples(self.journal.totals.steps)
    }

    /// The summary of the run, `seconds` after its start.
    pub(super) fn summary(&self, last: &FinalPause, seconds: f64) -> Summary {
        let FinalPause {
            end,
            diverged,
            workers,
            evaluation,
            cluster_mean,
        } = last;
        let evaluation_pass = EvaluationPass {
            setup: &self.setup,
            workers,
            samples: evaluation.samples,
            seconds: evaluation.seconds,
        };
        let mut summary =
            evaluation_pass.summary(*end, seconds, evaluation, &self.journal.totals.best);
        summary.diverged_since = *diverged;
        summary.checkpoints = self.writer.summary();
        summary.test.mean_of_all_nodes = cluster_mean
            .as_ref()
            .and_then(|cluster_mean| cluster_mean.score.clone());
        let incarnation = self.incarnation(last);
        summary.samples_per_second = incarnation.samples as f64 / incarnation.training_seconds;
        summary.exchange = ExchangeSummary {
            count: self.journal.totals.exchange.count,
            bytes: self.journal.totals.exchange.bytes,
            ..summary.exchange
        };
        summary
    }
}
