//! The workers of a simulated training run: they step, and are evaluated and recorded at step
//! boundaries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Command, Event, Mode, SimDriver, WorkerId, WorkerTurn};

use super::durations::Durations;
use super::threads::{SimStep, Threads};
use super::{check_interrupted, global_rank, worker_id};
use crate::error::RunError;
use crate::observer::{Observer, Stepped};
use crate::storage::{
    Checkpoints, Completion, End, Evaluation, MetricRecord, Recorder, RunFolder, Summary,
};
use crate::task::Task;
use crate::train::averages::MeanWindow;
use crate::train::evaluation_pass::EvaluationPass;
use crate::train::full_disk::FullDisk;
use crate::train::intervals::Intervals;
use crate::train::journal::Journal;
use crate::train::messages::{PausedWorker, Start};
use crate::train::pause_schedule::Every;
use crate::train::requests::Requests;
use crate::train::salvage;
use crate::train::setup::{Ready, Setup};
use crate::train::totals::Totals;

/// The position of the last evaluation: after all others.
const AT_END: u64 = u64::MAX;

/// The workers of a simulated run.
pub struct TrainingSimulation {
    setup: Arc<Setup>,
    per_node: usize,
    threads: Threads,
    durations: Durations,
    journal: Journal,
    checkpoints: Checkpoints,
    requests: Arc<Requests>,
    /// Steps that each worker has taken.
    steps: Vec<u64>,
    /// The position of each worker's next evaluation.
    next: Vec<u64>,
    live: BTreeSet<usize>,
    /// Workers that wait for an evaluation which others have yet to reach, by its position.
    arrived: BTreeMap<u64, Vec<PausedWorker>>,
    /// The replica means of the last evaluations.
    window: MeanWindow,
    last: Option<(Vec<PausedWorker>, Evaluation)>,
}

impl TrainingSimulation {
    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that could not start.
    pub fn start<T: Task>(
        ready: &Ready<T>,
        per_node: usize,
        folder: &RunFolder,
        observer: Box<dyn Observer>,
        requests: Arc<Requests>,
    ) -> Result<Self, RunError> {
        let setup = &ready.0;
        let config = setup.settings();
        let count = setup.workers();
        let mut workers = Self {
            threads: Threads::start(ready, per_node)?,
            durations: Durations::new(&config.simulate, count, config.run.seed),
            journal: Journal {
                observer,
                recorder: Recorder::open(folder)?.recording(&config.record),
                totals: Totals::default(),
                intervals: Intervals::new(
                    (0..count).map(|global_rank| worker_id(global_rank, per_node)),
                ),
                divergence: setup.divergence(),
                disk: FullDisk::default(),
                step: 0,
                newest: None,
            },
            checkpoints: Checkpoints::new(folder, config.checkpoint.keep)?,
            steps: vec![0; count],
            next: vec![0; count],
            live: (0..count).collect(),
            arrived: BTreeMap::new(),
            window: MeanWindow::of(setup, &Start::default()),
            last: None,
            setup: setup.clone(),
            per_node,
            requests,
        };
        let first = workers.after(0);
        workers.next.fill(first);
        Ok(workers)
    }

    /// The summary of the run, `real` after its start.
    ///
    /// # Errors
    ///
    /// [`RunError::NobodyLeft`].
    pub fn finish(mut self, real: Duration) -> Result<Summary, RunError> {
        let (workers, evaluation) = self.last.as_ref().ok_or(RunError::NobodyLeft)?;
        let evaluation_pass = EvaluationPass {
            setup: &self.setup,
            workers,
            samples: evaluation.samples,
            seconds: evaluation.seconds,
        };
        let diverged = evaluation_pass.diverged(&mut self.journal.divergence);
        let end = diverged.map_or(End::Budget, |_| End::Diverged);
        let mut summary = evaluation_pass.summary(
            end,
            real.as_secs_f64(),
            evaluation,
            &self.journal.totals.best,
        );
        summary.diverged_since = diverged;
        summary.exchange = self.journal.totals.exchange;
        summary.exchange.wait_seconds = {
            let live = self.live.iter().copied();
            self.durations.waited(live, evaluation.seconds)
        };
        self.journal.recorder.finish()?;
        self.journal.observer.ended();
        Ok(summary)
    }

    fn global_rank(&self, id: WorkerId) -> usize {
        global_rank(id, self.per_node)
    }

    /// The position of a worker in the run: its own steps, or in `async` the mean of all.
    fn position(&self, worker: usize) -> u64 {
        match self.setup.plan.mode {
            Mode::Sync => self.steps.get(worker).copied().unwrap_or(0),
            Mode::Async => self.steps.iter().sum::<u64>() / self.steps.len().max(1) as u64,
        }
    }

    /// The position of the evaluation after `position`.
    fn after(&self, position: u64) -> u64 {
        let Every::Steps(every) = self.setup.plan.evaluate else {
            return AT_END;
        };
        let next = position.saturating_add(every.max(1));
        match self.setup.plan.steps {
            Some(steps) if next >= steps => AT_END,
            _ => next,
        }
    }

    /// A worker has reached the evaluation at position `at`.
    fn arrive(&mut self, worker: usize, at: u64, seconds: f64) -> Result<(), RunError> {
        let paused = self.threads.pause(worker)?;
        self.arrived.entry(at).or_default().push(paused);
        self.evaluate(seconds)
    }

    /// Runs the evaluations that all live workers have reached.
    fn evaluate(&mut self, seconds: f64) -> Result<(), RunError> {
        while let Some(entry) = self.arrived.first_entry() {
            let there: BTreeSet<usize> = entry.get().iter().map(|p| p.worker).collect();
            if !self.live.is_subset(&there) {
                return Ok(());
            }
            let (at, mut paused) = entry.remove_entry();
            paused.sort_by_key(|p| p.worker);
            self.evaluate_all(at, paused, seconds)?;
        }
        Ok(())
    }

    fn evaluation_pass<'a>(
        &self,
        setup: &'a Setup,
        workers: &'a [PausedWorker],
        seconds: f64,
    ) -> EvaluationPass<'a> {
        let steps: u64 = workers.iter().map(|p| p.report.step).sum();
        let there = |worker: usize| workers.iter().any(|p| p.worker == worker);
        let of_dead = self.steps.iter().enumerate();
        let of_dead = of_dead.filter(|(worker, _)| !there(*worker));
        let steps = steps + of_dead.map(|(_, steps)| steps).sum::<u64>();
        EvaluationPass {
            setup,
            workers,
            samples: setup.samples(steps),
            seconds,
        }
    }

    fn evaluate_all(
        &mut self,
        at: u64,
        paused: Vec<PausedWorker>,
        seconds: f64,
    ) -> Result<(), RunError> {
        self.journal.end_intervals(seconds)?;
        let setup = self.setup.clone();
        let evaluation_pass = self.evaluation_pass(&setup, &paused, seconds);
        evaluation_pass.diverged(&mut self.journal.divergence);
        let mut checkpoint = evaluation_pass.checkpoint();
        let saves = at == AT_END && evaluation_pass.is_sound();
        if saves {
            self.checkpoints.write(&mut checkpoint)?;
            self.journal.saved(checkpoint.state.step, seconds)?;
        }
        let mut evaluator = &self.threads;
        self.window = self
            .window
            .with(evaluation_pass.mean_step(), || evaluation_pass.plain_mean());
        let means = evaluation_pass.means(&mut evaluator, &self.window)?;
        let evaluation = evaluation_pass.evaluate(&mut evaluator, &means)?;
        let better = self
            .journal
            .totals
            .best
            .improves(&evaluation, setup.main_metric());
        self.journal.observer.evaluated(&evaluation);
        self.journal
            .recorder
            .metric(&MetricRecord::Evaluation(evaluation.clone()))?;
        if better && !saves {
            self.checkpoints.write(&mut checkpoint)?;
            self.journal.saved(checkpoint.state.step, seconds)?;
        }
        if better || saves {
            let completion = Completion {
                evaluation: evaluation.clone(),
                is_best: better,
                means: means.named(),
                evaluated: None,
            };
            self.checkpoints
                .complete(&mut checkpoint.state, completion)?;
        }
        if at == AT_END {
            self.last = Some((paused, evaluation));
        }
        Ok(())
    }
}

impl SimDriver for TrainingSimulation {
    type Error = RunError;

    fn check_interrupted(&self) -> Result<(), RunError> {
        check_interrupted(&self.requests)
    }

    fn begin(&mut self, id: WorkerId) -> Duration {
        let worker = self.global_rank(id);
        self.threads.step(worker);
        self.durations.draw(worker)
    }

    fn end(
        &mut self,
        id: WorkerId,
        at: Duration,
        commands: Vec<Command>,
    ) -> Result<WorkerTurn, RunError> {
        let worker = self.global_rank(id);
        let SimStep { turn, step, taken } = self.threads.exchange(worker, commands)?;
        if let Some(steps) = self.steps.get_mut(worker) {
            *steps = step;
        }
        let (loss, learning_rate) = taken;
        let stepped = Stepped {
            worker,
            step,
            loss,
            seconds: at.as_secs_f64(),
        };
        self.journal.stepped(stepped, learning_rate)?;
        Ok(turn)
    }

    fn handle(&mut self, id: WorkerId, command: Command) -> Result<WorkerTurn, RunError> {
        self.threads.handle(self.global_rank(id), command)
    }

    fn boundary(&mut self, id: WorkerId, at: Duration) -> Result<bool, RunError> {
        let (worker, seconds) = (self.global_rank(id), at.as_secs_f64());
        let position = self.position(worker);
        while let Some(&next) = self.next.get(worker)
            && next <= position
            && next != AT_END
        {
            let after = self.after(next);
            self.next[worker] = after;
            self.arrive(worker, next, seconds)?;
        }
        let is_lost = self
            .journal
            .divergence
            .is_permanent(self.live.iter().copied());
        let goes_on = self.setup.plan.steps.is_none_or(|steps| position < steps) && !is_lost;
        if !goes_on {
            self.arrive(worker, AT_END, seconds)?;
        }
        Ok(goes_on)
    }

    fn aborted(&mut self, at: Duration) {
        let live = self.live.iter();
        let left: Vec<PausedWorker> = live.filter_map(|w| self.threads.pause(*w).ok()).collect();
        let setup = self.setup.clone();
        let left = self.evaluation_pass(&setup, &left, at.as_secs_f64());
        let saved = salvage::save(left, &self.checkpoints, &mut self.journal);
        if let Some(line) = salvage::message(saved, None) {
            self.journal.observer.warn(&line);
        }
    }

    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), RunError> {
        let seconds = at.as_secs_f64();
        self.journal.totals.exchange.count(&event);
        if let Event::Election { election, .. } = &event {
            self.journal.observer.elected(election.leader);
        }
        let node = (self.setup.settings().simulate.nodes > 1).then_some(node);
        self.journal.recorder.event_of(node, &event, seconds)?;
        if let Event::Left { worker, .. } = event {
            let global_rank = self.global_rank(worker);
            self.live.remove(&global_rank);
            self.evaluate(seconds)?;
        }
        Ok(())
    }
}
