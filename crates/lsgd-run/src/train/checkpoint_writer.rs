//! Checkpoints are written by a thread of their own, while workers train or are evaluated.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use lsgd_core::Snapshot;

use super::journal::Journal;
use super::messages::ToMain;
use crate::error::{RunError, panic_message};
use crate::storage::{Checkpoint, CheckpointState, Checkpoints, CheckpointsSummary, Completion};

/// What is to be written: a checkpoint, what is added to it, or both. Without a checkpoint, it is added
/// to the one before, if that could be written.
#[derive(Debug, Default)]
pub struct Job {
    /// A checkpoint, and the training time in seconds that it is of.
    pub checkpoint: Option<(Checkpoint, f64)>,
    /// What completes it.
    pub completion: Option<Completion>,
    /// The mean over the workers of all nodes at the end of a run, and the step of its checkpoint.
    pub mean_of_all_nodes: Option<(u64, Arc<Snapshot>)>,
}

/// How far the thread is with a job.
enum Report {
    /// A checkpoint is on the disk; writing it took so long.
    Written {
        step: u64,
        seconds: f64,
        took: Duration,
    },
    /// The job is done, or has failed.
    Done(Result<(), RunError>),
}

/// The thread that writes checkpoints, one at a time: no second one waits in memory. Dropping it
/// waits until everything is written.
pub struct CheckpointWriter {
    jobs: Option<SyncSender<Job>>,
    reports: Receiver<Report>,
    thread: Option<JoinHandle<Checkpoints>>,
    /// Jobs that are not done.
    pending: usize,
    /// Whether a checkpoint that finds no room on the disk is an error.
    is_last: bool,
    cost: Cost,
}

/// What checkpoints have cost so far.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    written: u32,
    writing: Duration,
    /// Pauses for a checkpoint and nothing else.
    pauses: u32,
    paused: Duration,
}

impl CheckpointWriter {
    /// Starts the thread. It sends [`ToMain::Saved`] to `inbox` whenever there is something to
    /// [record](Self::record).
    ///
    /// # Errors
    ///
    /// [`RunError::NoThread`] if the system starts none.
    pub fn start(checkpoints: Checkpoints, inbox: Sender<ToMain>) -> Result<Self, RunError> {
        let (jobs, to_do) = sync_channel(1);
        let (sender, reports) = channel();
        let report = move |report| {
            // If nobody receives it, the run is over for another reason.
            let _ = sender.send(report);
            let _ = inbox.send(ToMain::Saved);
        };
        let thread = Builder::new()
            .name(String::from("checkpoints"))
            .spawn(move || write_all(checkpoints, &to_do, report))
            .map_err(|why| RunError::NoThread {
                thread: String::from("the thread that writes checkpoints"),
                why: why.to_string(),
            })?;
        Ok(Self {
            jobs: Some(jobs),
            reports,
            thread: Some(thread),
            pending: 0,
            is_last: false,
            cost: Cost::default(),
        })
    }

    /// Counts a pause for a checkpoint and nothing else.
    pub fn paused_for(&mut self, pause: Duration) {
        self.cost.pauses += 1;
        self.cost.paused += pause;
    }

    /// What checkpoints have cost.
    pub fn summary(&self) -> CheckpointsSummary {
        let mean =
            |time: Duration, count: u32| (count > 0).then(|| time.as_secs_f64() / f64::from(count));
        CheckpointsSummary {
            written: u64::from(self.cost.written),
            write_seconds: mean(self.cost.writing, self.cost.written),
            pause_seconds: mean(self.cost.paused, self.cost.pauses),
        }
    }

    /// From now on a full disk is an error: the run ends.
    pub fn expect_end(&mut self) {
        self.is_last = true;
    }

    /// Hands over a job. One with a checkpoint waits until all before it are done; what completes a
    /// checkpoint may wait behind it, while the main thread goes on.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn submit(&mut self, job: Job, journal: &mut Journal) -> Result<(), RunError> {
        if job.checkpoint.is_some() {
            self.wait(journal)?;
        }
        if let Some(jobs) = &self.jobs {
            // If the thread is gone, it has panicked: waiting for it says so.
            let _ = jobs.send(job);
            self.pending += 1;
        }
        Ok(())
    }

    /// Records what has been written since the last call.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] or [`RunError::Folder`] if it could not be written or recorded. A full disk
    /// is an error at the end of a run only.
    pub fn record(&mut self, journal: &mut Journal) -> Result<(), RunError> {
        while let Ok(report) = self.reports.try_recv() {
            self.take(report, journal)?;
        }
        Ok(())
    }

    /// Waits until everything is written, and records it.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record), and [`RunError::CheckpointsPanicked`].
    pub fn wait(&mut self, journal: &mut Journal) -> Result<(), RunError> {
        while self.pending > 0 {
            match self.reports.recv() {
                Ok(report) => self.take(report, journal)?,
                Err(_) => return self.close().map(drop),
            }
        }
        Ok(())
    }

    /// Ends the thread. Returns the checkpoints, unless they were returned before.
    ///
    /// # Errors
    ///
    /// [`RunError::CheckpointsPanicked`].
    pub fn close(&mut self) -> Result<Option<Checkpoints>, RunError> {
        self.jobs = None;
        self.pending = 0;
        let ended = self.thread.take().map(JoinHandle::join).transpose();
        ended.map_err(|panic| RunError::CheckpointsPanicked {
            message: panic_message(panic.as_ref()),
        })
    }

    fn take(&mut self, report: Report, journal: &mut Journal) -> Result<(), RunError> {
        match report {
            Report::Written {
                step,
                seconds,
                took,
            } => {
                self.cost.written += 1;
                self.cost.writing += took;
                journal.saved(step, seconds)
            }
            Report::Done(outcome) => {
                self.pending = self.pending.saturating_sub(1);
                match outcome {
                    Err(error) if error.is_full_disk() && !self.is_last => {
                        journal.not_saved(&error);
                        Ok(())
                    }
                    outcome => outcome,
                }
            }
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // Whoever wants to know of a panic has waited.
        let _ = self.close();
    }
}

/// The body of the thread.
fn write_all(
    mut checkpoints: Checkpoints,
    to_do: &Receiver<Job>,
    report: impl Fn(Report),
) -> Checkpoints {
    let mut last = None;
    for job in to_do {
        let done = write(&mut checkpoints, job, &mut last, &report);
        report(Report::Done(done));
    }
    checkpoints
}

/// Does a job. `last` is the state of the last checkpoint, if it was written.
fn write(
    checkpoints: &mut Checkpoints,
    job: Job,
    last: &mut Option<CheckpointState>,
    report: &impl Fn(Report),
) -> Result<(), RunError> {
    if let Some((mut checkpoint, seconds)) = job.checkpoint {
        *last = None;
        let began = Instant::now();
        checkpoints.write(&mut checkpoint)?;
        report(Report::Written {
            step: checkpoint.state.step,
            seconds,
            took: began.elapsed(),
        });
        *last = Some(checkpoint.state);
    }
    let Some(state) = last else {
        return Ok(());
    };
    if let Some(completion) = job.completion {
        checkpoints.complete(state, completion)?;
    }
    match job.mean_of_all_nodes {
        Some((step, mean)) if step == state.step => checkpoints.add_mean_of_all_nodes(state, &mean),
        _ => Ok(()),
    }
}
