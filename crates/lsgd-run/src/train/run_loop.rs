//! The main thread of a run: receives and records messages of workers and other nodes, and
//! evaluates at pauses.

use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Snapshot, Source};

use super::answers::Answers;
use super::averages::MeanWindow;
use super::checkpoint_writer::CheckpointWriter;
use super::cluster::Cluster;
use super::failures::Failures;
use super::inbox::Inbox;
use super::journal::Journal;
use super::messages::{FromCluster, FromWorker, PausedWorker, Start, ToMain};
use super::pause_schedule::Pause;
use super::requests::Requests;
use super::setup::{Ready, Setup};
use super::training_clock::Leave;
use super::worker_pool::WorkerPool;
use crate::error::RunError;
use crate::storage::{End, Evaluation, IncarnationSummary, Score};
use crate::task::Task;

/// How often a waiting node checks for requests to stop.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The state of the main thread.
pub(super) struct RunLoop<T> {
    /// What worker pools are made of.
    pub(super) ready: Ready<T>,
    pub(super) setup: Arc<Setup>,
    pub(super) inbox: Inbox,
    pub(super) journal: Journal,
    pub(super) writer: CheckpointWriter,
    pub(super) incarnation: Incarnation,
    /// The exchange with other nodes, if there are any.
    pub(super) cluster: Option<Cluster>,
    pub(super) requests: Arc<Requests>,
    pub(super) failures: Failures,
    /// The replica means of the last evaluations.
    pub(super) window: MeanWindow,
}

/// Totals before the current incarnation, to be subtracted.
#[derive(Debug)]
pub(super) struct Incarnation {
    /// Steps that its workers had taken together.
    pub steps_before: u64,
    /// How long the run was trained without this node: before it started, and while it was behind.
    pub trained_without: Duration,
}

/// The mean over all nodes' workers, once a node has evaluated it.
#[derive(Debug, Clone, Default)]
pub(super) struct ClusterMean {
    /// Number of workers in it, if this node evaluated it.
    pub workers: Option<usize>,
    /// Its score; `None` if its values are not finite.
    pub score: Option<Score>,
}

/// The run at its last pause.
pub(super) struct FinalPause {
    pub end: End,
    /// The step since which it has diverged, if it has.
    pub diverged: Option<u64>,
    pub workers: Vec<PausedWorker>,
    pub evaluation: Evaluation,
    /// The mean over all nodes' workers, if there are other nodes and this one stayed until the
    /// mean was evaluated.
    pub cluster_mean: Option<ClusterMean>,
}

/// Why training stops.
enum Stop {
    /// The run is over.
    Over(FinalPause),
    /// The other nodes have moved on without this one, which has to restart.
    LeftBehind(Start),
}

impl<T: Task> RunLoop<T> {
    /// Runs until the end of the run.
    pub(super) fn run(&mut self, start: Start) -> Result<FinalPause, RunError> {
        let mut pool = self.pool(start, Duration::ZERO, self.journal.totals.trained)?;
        loop {
            match self.train(&mut pool) {
                Ok(Stop::Over(last)) => return Ok(last),
                Ok(Stop::LeftBehind(start)) => {
                    pool.clock().leave(Leave::Empty);
                    let trained = pool.elapsed();
                    drop(pool);
                    for message in self.inbox.rest_of_workers() {
                        self.journal.on_message(message, trained.as_secs_f64())?;
                    }
                    self.journal.end_intervals(trained.as_secs_f64())?;
                    self.writer.wait(&mut self.journal)?;
                    self.journal.divergence = self.setup.divergence();
                    pool = self.pool(start, trained, trained)?;
                }
                Err(error) => {
                    self.break_off(pool, &error);
                    self.requests.set_unsaved(false);
                    return Err(error);
                }
            }
        }
    }

    /// Starts a pool of workers as `start` says. The clock is that of the run: it continues from
    /// the others' time, or from the time `known` to this node, whichever is greater. `counted` is
    /// the part of it that the current incarnation has counted already.
    fn pool(
        &mut self,
        mut start: Start,
        counted: Duration,
        known: Duration,
    ) -> Result<WorkerPool, RunError> {
        start.trained = start.trained.max(known);
        self.incarnation.trained_without += start.trained - counted;
        self.journal
            .observer
            .starts(start.step, start.trained.as_secs_f64());
        self.window = MeanWindow::of(&self.setup, &start);
        let requests = self.requests.clone();
        let mut answers = Answers {
            seconds: start.trained.as_secs_f64(),
            inbox: &mut self.inbox,
            journal: &mut self.journal,
            writer: &mut self.writer,
        };
        let pool = WorkerPool::start(&self.ready, start, &mut answers, requests)?;
        self.requests.set_unsaved(true);
        if let Some(cluster) = &mut self.cluster {
            cluster.begun(&pool);
        }
        pool.resume();
        Ok(pool)
    }

    /// Trains until the workers have to stop.
    fn train(&mut self, pool: &mut WorkerPool) -> Result<Stop, RunError> {
        let mut paused: Vec<PausedWorker> = Vec::new();
        loop {
            if self.requests.ends_soon() {
                // Wherever the workers are: the next pause may be far off, if they wait for another
                // node.
                return Err(RunError::Interrupted);
            }
            match self.inbox.next(POLL_INTERVAL) {
                Ok(None) => {}
                Ok(Some(ToMain::Cluster(FromCluster::Begin(start)))) => {
                    return Ok(Stop::LeftBehind(start));
                }
                Ok(Some(ToMain::Worker(FromWorker::Paused(worker)))) => paused.push(*worker),
                Ok(Some(message)) => self.on_message(message, pool)?,
                Err(failed) => self.on_failure(failed, pool)?,
            }
            if paused.is_empty() || paused.len() < pool.live().count() {
                continue;
            }
            paused.sort_by_key(|paused| paused.worker);
            let pause = paused.first().map(|first| first.pause).unwrap_or_default();
            let diverged = self.diverged(pool, &paused);
            let end = match (pause.end, diverged) {
                (Some(_), Some(_)) => Some(End::Diverged),
                (Some(End::Diverged), None) => {
                    // A delivery from other nodes has recovered a worker meanwhile.
                    pool.recovered();
                    None
                }
                (end, _) => end,
            };
            let pause = Pause { end, ..pause };
            if let (Some(cluster), Some(_)) = (&self.cluster, pause.end) {
                let sum = Snapshot::sum(paused.iter().map(|p| p.snapshot.as_ref()));
                cluster.finish(sum.ok().flatten());
            }
            let evaluation = self.pause(pool, pause, &paused)?;
            let is_out_of_patience = |evaluation: &Evaluation| {
                let best = &self.journal.totals.best;
                best.exhausts(self.setup.patience(), evaluation.step)
            };
            let end = pause.end.or_else(|| {
                let out_of_patience = evaluation.as_ref().is_some_and(is_out_of_patience);
                out_of_patience.then_some(End::Budget)
            });
            if let (Some(end), Some(evaluation)) = (end, evaluation) {
                let end = match end {
                    // Its final evaluation was skipped.
                    End::Budget if !pool.evaluates() => End::Interrupted,
                    end => end,
                };
                let cluster_mean = match (&self.cluster, end) {
                    (Some(_), End::Budget) => self.mean_of_all(pool, &paused)?,
                    _ => None,
                };
                self.requests.set_unsaved(false);
                return Ok(Stop::Over(FinalPause {
                    end,
                    diverged,
                    workers: paused,
                    evaluation,
                    cluster_mean,
                }));
            }
            if pause.checkpoint && !pause.evaluate {
                let all_paused = paused.iter().map(|paused| paused.since).max();
                let pause = all_paused.map(|since| since.elapsed());
                self.writer.paused_for(pause.unwrap_or_default());
            }
            paused.clear();
            pool.resume();
        }
    }

    /// Handles a message that needs no answer.
    fn on_message(&mut self, message: ToMain, pool: &WorkerPool) -> Result<(), RunError> {
        match message {
            ToMain::Worker(message) => {
                self.journal.on_message(message, pool.seconds())?;
                if self.journal.divergence.is_permanent(pool.live()) {
                    pool.diverged();
                }
                Ok(())
            }
            ToMain::Saved => self.writer.record(&mut self.journal),
            ToMain::Cluster(FromCluster::Failed(error)) => Err(error),
            ToMain::Cluster(FromCluster::Notice(line)) => {
                self.journal.observer.notice(&line);
                Ok(())
            }
            ToMain::Cluster(FromCluster::Event(event)) => {
                self.journal.event(&event, pool.seconds())
            }
            ToMain::Cluster(FromCluster::Traffic(traffic)) => {
                self.journal.traffic(&traffic, pool.seconds())
            }
            // These are handled where they are waited for: before the start, and after the end.
            ToMain::Cluster(
                FromCluster::Begin(_) | FromCluster::Resume { .. } | FromCluster::Concluded(_),
            ) => Ok(()),
        }
    }

    /// The score of the mean over all nodes' workers, if this node evaluates it.
    ///
    /// Waits for the other nodes to finish, unless the run is asked to stop.
    fn mean_of_all(
        &mut self,
        pool: &WorkerPool,
        paused: &[PausedWorker],
    ) -> Result<Option<ClusterMean>, RunError> {
        let mean = loop {
            if self.requests.ends() {
                return Ok(None);
            }
            match self.inbox.next(POLL_INTERVAL)? {
                Some(ToMain::Cluster(FromCluster::Concluded(mean))) => break mean,
                Some(ToMain::Worker(_)) | None => {}
                Some(message) => self.on_message(message, pool)?,
            }
        };
        let Some(mean) = mean else {
            return Ok(Some(ClusterMean::default()));
        };
        let workers = match mean.source() {
            Source::Mean { workers } => Some(workers),
            _ => None,
        };
        let score = self.score_mean(pool, mean, paused)?;
        Ok(Some(ClusterMean { workers, score }))
    }

    /// The totals of the current incarnation.
    pub(super) fn incarnation(&self, last: &FinalPause) -> IncarnationSummary {
        let steps = self.journal.totals.steps - self.incarnation.steps_before;
        IncarnationSummary {
            samples: self.setup.samples(steps),
            training_seconds: last.evaluation.seconds
                - self.incarnation.trained_without.as_secs_f64(),
        }
    }
}
