//! What is done while all workers of the node pause: evaluation, checkpoint, summary.

use std::ops::Range;
use std::sync::Arc;

use lsgd_core::Snapshot;

use super::crew::Crew;
use super::evaluation::Score;
use super::examination::{Examination, Scorers};
use super::inbox::Inbox;
use super::leaving;
use super::messages::{Paused, ToMain};
use super::node::{Last, Node};
use super::pace::Pause;
use super::setup::Setup;
use crate::error::TrainError;
use crate::run::{Evaluation, ExchangeSummary, Metric, Summary};

/// A crew that pauses, and where its answers come.
struct PausedCrew<'a> {
    crew: &'a Crew,
    inbox: &'a mut Inbox,
}

impl Scorers for PausedCrew<'_> {
    fn score(
        &mut self,
        subjects: &[Arc<Snapshot>],
        batches: &[(usize, Range<usize>)],
    ) -> Result<Vec<Option<Score>>, TrainError> {
        self.crew.score(self.inbox, subjects, batches)
    }

    fn statistics(
        &mut self,
        snapshot: &Arc<Snapshot>,
        batches: Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, TrainError> {
        self.crew.statistics(self.inbox, snapshot, batches)
    }
}

impl Node {
    /// Writes a checkpoint and evaluates, whichever is due; at the end both. What is to be saved is
    /// saved before anything is evaluated, and what is found out is added then: the replica mean with
    /// its statistics, the evaluation. Nothing comes of an evaluation that somebody has ended.
    pub(super) fn pause(
        &mut self,
        crew: &Crew,
        pause: Pause,
        paused: &[Paused],
    ) -> Result<Option<Evaluation>, TrainError> {
        let seconds = crew.seconds();
        self.end_intervals(seconds)?;
        let setup = self.setup.clone();
        let examination = self.examination(&setup, paused, seconds);
        let ends = pause.end.is_some();
        // One without a finite value would take the place of one that is of use.
        let saves = (pause.checkpoint || ends) && examination.is_sound();
        let mut checkpoint = examination.checkpoint();
        if saves {
            self.checkpoints.write(&checkpoint)?;
            self.recorder.checkpoint(checkpoint.state.step, seconds)?;
        }

        let inbox = &mut self.inbox;
        let mut scorers = PausedCrew { crew, inbox };
        let mean = examination.mean(&mut scorers)?;
        let evaluation = match pause.evaluate || ends {
            true => Some(examination.evaluate(&mut scorers, mean.as_ref())?),
            false => None,
        };
        if !crew.evaluates() {
            return Ok(ends.then(|| examination.unevaluated()));
        }
        let better = evaluation
            .as_ref()
            .is_some_and(|e| self.totals.best.improves(e));
        if let Some(evaluation) = &evaluation {
            self.progress.evaluated(evaluation);
            self.recorder
                .metric(&Metric::Evaluation(evaluation.clone()))?;
        }
        checkpoint.state.evaluation = evaluation.clone();
        if better && !saves {
            self.checkpoints.write(&checkpoint)?;
            self.recorder.checkpoint(checkpoint.state.step, seconds)?;
        }
        if better || saves {
            let state = &checkpoint.state;
            self.checkpoints.complete(state, mean.as_deref(), better)?;
        }
        Ok(evaluation)
    }

    /// The run ends with an error: saves what its workers have, as far as it can be read.
    pub(super) fn break_off(&mut self, crew: Crew, error: &TrainError) {
        let seconds = crew.seconds();
        let (left, heard) = crew.break_off(&mut self.inbox);
        let setup = self.setup.clone();
        let saved = heard
            .into_iter()
            .try_for_each(|message| match message {
                ToMain::Worker(news) => self.hear(news, seconds),
                ToMain::Nodes(_) => Ok(()),
            })
            .and_then(|()| self.end_intervals(seconds))
            .and_then(|()| {
                let left = self.examination(&setup, &left, seconds);
                leaving::save(left, &self.checkpoints, &mut self.recorder)
            });
        if let Some(line) = leaving::told(saved, Some(error)) {
            self.progress.warn(&line);
        }
    }

    /// Records the intervals that have begun.
    pub(super) fn end_intervals(&mut self, seconds: f64) -> Result<(), TrainError> {
        let mut intervals = self.intervals.end(seconds).into_iter();
        intervals.try_for_each(|interval| self.recorder.metric(&Metric::Interval(interval)))
    }

    /// The test error of the mean of all nodes' workers.
    pub(super) fn score_mean(
        &mut self,
        crew: &Crew,
        mean: Arc<Snapshot>,
        paused: &[Paused],
    ) -> Result<Option<Score>, TrainError> {
        let setup = self.setup.clone();
        let examination = self.examination(&setup, paused, crew.seconds());
        let inbox = &mut self.inbox;
        let score = examination.score_mean(&mut PausedCrew { crew, inbox }, mean)?;
        Ok(score.filter(|_| crew.evaluates()))
    }

    /// Since which step nothing of these workers is finite, if so.
    pub(super) fn diverged(&mut self, crew: &Crew, paused: &[Paused]) -> Option<u64> {
        let setup = self.setup.clone();
        self.examination(&setup, paused, crew.seconds())
            .diverged(&mut self.divergence)
    }

    fn examination<'a>(
        &self,
        setup: &'a Setup,
        workers: &'a [Paused],
        seconds: f64,
    ) -> Examination<'a> {
        Examination {
            setup,
            workers,
            samples: self.samples(),
            seconds,
        }
    }

    /// Training examples that this node's workers have seen, in all lives of the node.
    fn samples(&self) -> u64 {
        self.totals.steps * self.setup.config.data.batch_size as u64
    }

    /// What came of the run, `seconds` after its start.
    pub(super) fn summary(&self, last: &Last, seconds: f64) -> Summary {
        let Last {
            end,
            diverged,
            workers,
            evaluation,
            of_all,
        } = last;
        let examination = Examination {
            setup: &self.setup,
            workers,
            samples: evaluation.samples,
            seconds: evaluation.seconds,
        };
        let mut summary = examination.summary(*end, seconds, evaluation, self.totals.best);
        summary.diverged_since = *diverged;
        summary.test_error.mean_of_all_nodes = of_all
            .and_then(|of_all| of_all.score)
            .map(|score| score.error);
        let life = self.life(last);
        summary.samples_per_second = life.samples as f64 / life.training_seconds;
        summary.exchange = ExchangeSummary {
            count: self.totals.exchange.count,
            bytes: self.totals.exchange.bytes,
            ..summary.exchange
        };
        summary
    }
}
