//! The workers of a simulated run, as the simulation sees them: they step, and at step boundaries are
//! evaluated and recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{Event, Fleet, Mode, Order, Rank, Turn};

use super::durations::Durations;
use super::threads::{Ended, Threads};
use super::{place, rank, unless};
use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::{Checkpoints, Evaluation, ExchangeSummary, Metric, Recorder, RunFolder, Summary};
use crate::train::divergence::{self, Divergence};
use crate::train::examination::{Best, Examination};
use crate::train::intervals::Intervals;
use crate::train::leaving;
use crate::train::messages::Paused;
use crate::train::pace::{End, Every};
use crate::train::requests::Requests;
use crate::train::setup::Setup;

/// The position of the last evaluation: after all others.
const AT_END: u64 = u64::MAX;

/// The workers of a simulated run.
pub struct Workers {
    setup: Arc<Setup>,
    per_node: usize,
    threads: Threads,
    durations: Durations,
    recorder: Recorder,
    checkpoints: Checkpoints,
    intervals: Intervals,
    progress: Progress,
    requests: Arc<Requests>,
    exchange: ExchangeSummary,
    best: Best,
    divergence: Divergence,
    /// Steps that each worker has taken.
    steps: Vec<u64>,
    /// The position of the next evaluation of each.
    next: Vec<u64>,
    live: BTreeSet<usize>,
    /// Those that stand at an evaluation which others have yet to come to, by its position.
    standing: BTreeMap<u64, Vec<Paused>>,
    last: Option<(Vec<Paused>, Evaluation)>,
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a worker that could not begin.
    pub fn start(
        setup: &Arc<Setup>,
        per_node: usize,
        folder: &RunFolder,
        progress: Progress,
        requests: Arc<Requests>,
    ) -> Result<Self, TrainError> {
        let config = &setup.config;
        let count = setup.workers();
        let mut workers = Self {
            threads: Threads::start(setup, per_node)?,
            durations: Durations::new(&config.simulate, count, config.run.seed),
            recorder: Recorder::open(folder)?,
            checkpoints: Checkpoints::new(folder, config.checkpoint.keep, None),
            intervals: Intervals::new((0..count).map(|place| rank(place, per_node))),
            exchange: ExchangeSummary::default(),
            best: Best::default(),
            divergence: setup.divergence(),
            steps: vec![0; count],
            next: vec![0; count],
            live: (0..count).collect(),
            standing: BTreeMap::new(),
            last: None,
            setup: setup.clone(),
            per_node,
            progress,
            requests,
        };
        let first = workers.after(0);
        workers.next.fill(first);
        Ok(workers)
    }

    /// What came of the run, `real` after its start.
    ///
    /// # Errors
    ///
    /// [`TrainError::NobodyLeft`].
    pub fn finish(mut self, real: Duration) -> Result<Summary, TrainError> {
        let (workers, evaluation) = self.last.as_ref().ok_or(TrainError::NobodyLeft)?;
        let examination = Examination {
            setup: &self.setup,
            workers,
            samples: evaluation.samples,
            seconds: evaluation.seconds,
        };
        let diverged = examination.diverged(&mut self.divergence);
        let end = diverged.map_or(End::Budget, |_| End::Diverged);
        let mut summary = examination.summary(end, real.as_secs_f64(), evaluation, self.best);
        summary.diverged_since = diverged;
        summary.exchange = self.exchange;
        summary.exchange.wait_seconds = {
            let live = self.live.iter().copied();
            self.durations.waited(live, evaluation.seconds)
        };
        self.progress.ended();
        Ok(summary)
    }

    fn place(&self, rank: Rank) -> usize {
        place(rank, self.per_node)
    }

    /// How far the run has come for a worker: its own steps, or in `async` the mean of all.
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

    /// A worker stands at the evaluation of position `at`.
    fn stand(&mut self, worker: usize, at: u64, seconds: f64) -> Result<(), TrainError> {
        let paused = self.threads.stand(worker)?;
        self.standing.entry(at).or_default().push(paused);
        self.evaluate(seconds)
    }

    /// Evaluates all, wherever all that live have come.
    fn evaluate(&mut self, seconds: f64) -> Result<(), TrainError> {
        while let Some(entry) = self.standing.first_entry() {
            let there: BTreeSet<usize> = entry.get().iter().map(|p| p.worker).collect();
            if !self.live.is_subset(&there) {
                return Ok(());
            }
            let (at, mut paused) = entry.remove_entry();
            paused.sort_by_key(|p| p.worker);
            self.examine(at, paused, seconds)?;
        }
        Ok(())
    }

    fn examination<'a>(
        &self,
        setup: &'a Setup,
        workers: &'a [Paused],
        seconds: f64,
    ) -> Examination<'a> {
        let steps: u64 = workers.iter().map(|p| p.report.step).sum();
        let there = |worker: usize| workers.iter().any(|p| p.worker == worker);
        let of_dead = self.steps.iter().enumerate();
        let of_dead = of_dead.filter(|(worker, _)| !there(*worker));
        let steps = steps + of_dead.map(|(_, steps)| steps).sum::<u64>();
        Examination {
            setup,
            workers,
            samples: steps * setup.config.data.batch_size as u64,
            seconds,
        }
    }

    fn examine(&mut self, at: u64, paused: Vec<Paused>, seconds: f64) -> Result<(), TrainError> {
        for interval in self.intervals.end(seconds) {
            self.recorder.metric(&Metric::Interval(interval))?;
        }
        let setup = self.setup.clone();
        let examination = self.examination(&setup, &paused, seconds);
        examination.diverged(&mut self.divergence);
        let mut checkpoint = examination.checkpoint();
        let saves = at == AT_END && examination.is_sound();
        if saves {
            self.checkpoints.write(&checkpoint)?;
            self.recorder.checkpoint(checkpoint.state.step, seconds)?;
        }
        let mut scorers = &self.threads;
        let mean = examination.mean(&mut scorers)?;
        let evaluation = examination.evaluate(&mut scorers, mean.as_ref())?;
        let better = self.best.improves(&evaluation);
        self.progress.evaluated(&evaluation);
        self.recorder
            .metric(&Metric::Evaluation(evaluation.clone()))?;
        checkpoint.state.evaluation = Some(evaluation.clone());
        if better && !saves {
            self.checkpoints.write(&checkpoint)?;
            self.recorder.checkpoint(checkpoint.state.step, seconds)?;
        }
        if better || saves {
            let state = &checkpoint.state;
            self.checkpoints.complete(state, mean.as_deref(), better)?;
        }
        if at == AT_END {
            self.last = Some((paused, evaluation));
        }
        Ok(())
    }
}

impl Fleet for Workers {
    type Error = TrainError;

    fn goes_on(&self) -> Result<(), TrainError> {
        unless(&self.requests)
    }

    fn begin(&mut self, rank: Rank) -> Duration {
        let worker = self.place(rank);
        self.threads.step(worker);
        self.durations.draw(worker)
    }

    fn end(&mut self, rank: Rank, at: Duration, orders: Vec<Order>) -> Result<Turn, TrainError> {
        let worker = self.place(rank);
        let Ended { turn, step, loss } = self.threads.exchange(worker, orders)?;
        if let Some(steps) = self.steps.get_mut(worker) {
            *steps = step;
        }
        let (seconds, rate) = (at.as_secs_f64(), self.setup.rate.at(step.saturating_sub(1)));
        self.progress.stepped(worker, step, loss, seconds);
        if let Some(since) = self.divergence.observe(worker, step, loss) {
            self.progress.warn(&divergence::line(worker, since));
            self.recorder.diverged(rank, since, seconds)?;
        }
        let interval = self.intervals.add(worker, step, loss, rate, seconds);
        if let Some(interval) = interval {
            self.recorder.metric(&Metric::Interval(interval))?;
        }
        Ok(turn)
    }

    fn obey(&mut self, rank: Rank, order: Order) -> Result<Turn, TrainError> {
        self.threads.obey(self.place(rank), order)
    }

    fn boundary(&mut self, rank: Rank, at: Duration) -> Result<bool, TrainError> {
        let (worker, seconds) = (self.place(rank), at.as_secs_f64());
        let position = self.position(worker);
        while let Some(&next) = self.next.get(worker)
            && next <= position
            && next != AT_END
        {
            let after = self.after(next);
            self.next[worker] = after;
            self.stand(worker, next, seconds)?;
        }
        let is_lost = self.divergence.is_for_good(self.live.iter().copied());
        let goes_on = self.setup.plan.steps.is_none_or(|steps| position < steps) && !is_lost;
        if !goes_on {
            self.stand(worker, AT_END, seconds)?;
        }
        Ok(goes_on)
    }

    fn broke_off(&mut self, at: Duration) {
        let live = self.live.iter();
        let left: Vec<Paused> = live.filter_map(|w| self.threads.stand(*w).ok()).collect();
        let setup = self.setup.clone();
        let left = self.examination(&setup, &left, at.as_secs_f64());
        let saved = leaving::save(left, &self.checkpoints, &mut self.recorder);
        if let Some(line) = leaving::told(saved, None) {
            self.progress.warn(&line);
        }
    }

    fn record(&mut self, node: u32, event: Event, at: Duration) -> Result<(), TrainError> {
        let seconds = at.as_secs_f64();
        self.exchange.count(&event);
        if let Event::Election { election, .. } = &event {
            self.progress.led(election.leader);
        }
        let node = (self.setup.config.simulate.nodes > 1).then_some(node);
        self.recorder.event_of(node, &event, seconds)?;
        if let Event::Left { worker, .. } = event {
            let place = self.place(worker);
            self.live.remove(&place);
            self.evaluate(seconds)?;
        }
        Ok(())
    }
}
