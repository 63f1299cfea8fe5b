//! What is done while all workers of the node pause: evaluation, checkpoint, summary.

use std::ops::Range;
use std::sync::Arc;

use lsgd_core::Snapshot;

use super::crew::Crew;
use super::evaluation::Score;
use super::examination::{Examination, Scorers};
use super::inbox::Inbox;
use super::messages::Paused;
use super::node::{Last, Node};
use super::pace::Pause;
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
        let setup = self.setup.clone();
        let examination = Examination {
            setup: &setup,
            workers: paused,
            samples: self.samples(),
            seconds,
        };
        let inbox = &mut self.inbox;
        let mut scorers = PausedCrew { crew, inbox };
        let mean = examination.mean(&mut scorers)?;
        let ends = pause.end.is_some();
        let evaluation = match pause.evaluate || ends {
            true => Some(examination.evaluate(&mut scorers, mean.as_ref())?),
            false => None,
        };
        let better = evaluation.as_ref().is_some_and(|e| self.best.improves(e));
        if let Some(evaluation) = &evaluation {
            self.progress.evaluated(evaluation);
            self.recorder
                .metric(&Metric::Evaluation(evaluation.clone()))?;
        }
        if pause.checkpoint || better || ends {
            let checkpoint = examination.checkpoint(evaluation.as_ref(), mean.as_deref());
            self.checkpoints.write(&checkpoint, better)?;
            self.recorder.checkpoint(checkpoint.state.step, seconds)?;
        }
        self.recorder.flush()?;
        Ok(evaluation)
    }

    /// The test error of the mean of all nodes' workers.
    pub(super) fn score_mean(
        &mut self,
        crew: &Crew,
        mean: Arc<Snapshot>,
        paused: &[Paused],
    ) -> Result<Option<Score>, TrainError> {
        let setup = self.setup.clone();
        let examination = Examination {
            setup: &setup,
            workers: paused,
            samples: self.samples(),
            seconds: crew.seconds(),
        };
        let inbox = &mut self.inbox;
        examination.score_mean(&mut PausedCrew { crew, inbox }, mean)
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
        let examination = Examination {
            setup: &self.setup,
            workers,
            samples: evaluation.samples,
            seconds: evaluation.seconds,
        };
        let mut summary = examination.summary(*end, seconds, evaluation, self.best);
        summary.test_error.mean_of_all_nodes = of_all.map(|score| score.error);
        summary.exchange = ExchangeSummary {
            count: self.exchange.count,
            bytes: self.exchange.bytes,
            ..summary.exchange
        };
        summary
    }
}
