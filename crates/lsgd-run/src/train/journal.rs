//! Records and progress of a running run.

use lsgd_core::Event;

use super::divergence::{self, Divergence};
use super::full_disk::FullDisk;
use super::intervals::Intervals;
use super::messages::FromWorker;
use super::totals::Totals;
use crate::error::RunError;
use crate::observer::{Observer, Stepped};
use crate::storage::{MetricRecord, Recorder, Traffic};

/// The records and the observer of a run, and the counters behind both.
pub(super) struct Journal {
    pub observer: Box<dyn Observer>,
    pub recorder: Recorder,
    /// Totals over all incarnations.
    pub totals: Totals,
    pub intervals: Intervals,
    pub divergence: Divergence,
    pub disk: FullDisk,
    /// The furthest step of a worker in this incarnation.
    pub step: u64,
    /// The step of the newest checkpoint, if there is one.
    pub newest: Option<u64>,
}

impl Journal {
    /// Handles an unrequested message of a worker, `seconds` into the run's training.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] or [`RunError::Folder`].
    pub fn on_message(&mut self, message: FromWorker, seconds: f64) -> Result<(), RunError> {
        match message {
            FromWorker::Stepped {
                worker,
                step,
                loss,
                rate,
            } => {
                let stepped = Stepped {
                    worker,
                    step,
                    loss,
                    seconds,
                };
                self.stepped(stepped, rate)
            }
            FromWorker::Event(event, seconds) => self.event(&event, seconds),
            // Answers are received where they were requested.
            FromWorker::Ready
            | FromWorker::Paused(_)
            | FromWorker::Scores { .. }
            | FromWorker::Statistics(_)
            | FromWorker::Ended(_) => Ok(()),
        }
    }

    /// Records a step of a worker, taken at this learning rate.
    ///
    /// # Errors
    ///
    /// As [`on_message`](Self::on_message).
    pub fn stepped(&mut self, stepped: Stepped, learning_rate: f64) -> Result<(), RunError> {
        let Stepped {
            worker,
            step,
            loss,
            seconds,
        } = stepped;
        self.totals.steps += 1;
        self.step = self.step.max(step);
        self.observer.stepped(stepped);
        if let Some(since) = self.divergence.observe(worker, step, loss) {
            self.observer.warn(&divergence::line(worker, since));
            if let Some(id) = self.intervals.id(worker) {
                self.recorder.diverged(id, since, seconds)?;
            }
        }
        if let Some(interval) = self.intervals.add(stepped, learning_rate) {
            self.recorder.metric(&MetricRecord::Interval(interval))?;
        }
        self.look_at_disk();
        Ok(())
    }

    /// Records an event of an exchange.
    ///
    /// # Errors
    ///
    /// As [`on_message`](Self::on_message).
    pub fn event(&mut self, event: &Event, seconds: f64) -> Result<(), RunError> {
        let seconds = self.totals.event(event, seconds);
        if let Event::Election { election, .. } = event {
            self.observer.elected(election.leader);
        }
        self.recorder.event(event, seconds)
    }

    /// Records the bytes exchanged with other nodes since the node was last started.
    ///
    /// # Errors
    ///
    /// As [`on_message`](Self::on_message).
    pub fn traffic(&mut self, traffic: &Traffic, seconds: f64) -> Result<(), RunError> {
        let seconds = self.totals.record(seconds);
        self.recorder.traffic(traffic, self.step, seconds)
    }

    /// Records that a checkpoint is on the disk, `seconds` into the run's training.
    ///
    /// # Errors
    ///
    /// As [`on_message`](Self::on_message).
    pub fn saved(&mut self, step: u64, seconds: f64) -> Result<(), RunError> {
        self.newest = Some(step);
        let _ = self.disk.checkpoint_failed(false);
        self.recorder.checkpoint(step, self.totals.record(seconds))
    }

    /// Tells the user that the disk has no room for a checkpoint.
    pub fn not_saved(&mut self, error: &RunError) {
        if self.disk.checkpoint_failed(true) {
            self.warn_of_full_disk(&error.to_string());
        }
    }

    /// Tells the user that the disk has no room for lines, if so.
    fn look_at_disk(&mut self) {
        let error = self.recorder.full_disk();
        if self.disk.lines_wait(error.is_some())
            && let Some(error) = error.map(ToString::to_string)
        {
            self.warn_of_full_disk(&error);
        }
    }

    fn warn_of_full_disk(&mut self, error: &str) {
        let newest = match self.newest {
            Some(step) => format!("the newest checkpoint is of step {step}"),
            None => String::from("there is no checkpoint yet"),
        };
        let line = format!("{error}; training goes on; {newest}");
        self.observer.warn(&line);
    }

    /// Whether a checkpoint can be written now: not while lines before it wait for room on the disk, which
    /// a run that continues from it would lack. At the `end` of a run that is an error.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn can_save(&mut self, end: bool) -> Result<bool, RunError> {
        match self.recorder.finish() {
            Err(error) if error.is_full_disk() && !end => {
                self.not_saved(&error);
                Ok(false)
            }
            finished => finished.map(|()| true),
        }
    }

    /// Records the unfinished intervals.
    ///
    /// # Errors
    ///
    /// As [`on_message`](Self::on_message).
    pub fn end_intervals(&mut self, seconds: f64) -> Result<(), RunError> {
        let mut intervals = self.intervals.end(seconds).into_iter();
        intervals.try_for_each(|interval| self.recorder.metric(&MetricRecord::Interval(interval)))
    }
}
