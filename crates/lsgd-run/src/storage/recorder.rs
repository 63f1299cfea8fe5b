//! Writes metrics and events during a run.

use std::time::{Duration, Instant};

use lsgd_core::{Event, WorkerId};
use serde::{Deserialize, Serialize};

use super::event_file::EventFile;
use super::folder::RunFolder;
use super::lines::{Lines, check_length, read_lines};
use super::records::{MetricRecord, Traffic};
use super::resume_record::RecordLengths;
use crate::config::RecordConfig;
use crate::error::RunError;
use crate::injection::Disk;

/// A line of `events.jsonl`.
#[derive(Serialize)]
struct TimedEvent<'a, E: Serialize> {
    #[serde(flatten)]
    event: &'a E,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_by: Option<u32>,
}

/// The bytes so far, as a line of `events.jsonl`.
#[derive(Serialize)]
struct TrafficEvent<'a> {
    event: &'a str,
    step: u64,
    #[serde(flatten)]
    traffic: &'a Traffic,
}

/// Where the records of a run continue.
#[derive(Debug, Clone)]
pub struct ResumedRecords {
    /// Their lengths.
    pub lengths: RecordLengths,
    /// The checkpoint's step.
    pub step: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Whether the run writes the checkpoint again.
    pub writes_again: bool,
    /// What is different from now on, in words that begin with the key.
    pub changes: Vec<String>,
}

/// The fields of an event that tell which checkpoint it is of.
#[derive(Deserialize)]
struct CheckpointEvent {
    event: String,
    #[serde(default)]
    step: u64,
}

/// How often the files are checked to be still in place.
const LOOK: Duration = Duration::from_secs(1);

/// Writes metrics and events as they occur: each line is passed to the system before the next, so a
/// killed process loses none. While the disk is full they wait in memory, up to 8 MiB of each file.
#[derive(Debug)]
pub struct Recorder {
    folder: RunFolder,
    metrics: Lines,
    events: Lines,
    event_file: Option<EventFile>,
    looked: Instant,
}

impl Recorder {
    /// Opens `metrics.jsonl` and `events.jsonl`; existing lines stay.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn open(folder: &RunFolder) -> Result<Self, RunError> {
        Ok(Self {
            metrics: Lines::open(folder.join("metrics.jsonl"))?,
            events: Lines::open(folder.join("events.jsonl"))?,
            event_file: None,
            folder: folder.clone(),
            looked: Instant::now(),
        })
    }

    /// With what else is to be recorded. If that cannot be, it is a warning: the run's own records have
    /// everything.
    #[must_use]
    pub fn recording(self, config: &RecordConfig) -> Self {
        let event_file = match config.tensorboard {
            true => EventFile::open(self.folder.path()).map_err(|error| {
                tracing::warn!("TensorBoard gets nothing of this run: {error}");
            }),
            false => Err(()),
        };
        Self {
            event_file: event_file.ok(),
            ..self
        }
    }

    /// With the faults of this disk.
    #[must_use]
    pub(crate) fn on(self, disk: &Disk) -> Self {
        Self {
            metrics: self.metrics.on(disk),
            events: self.events.on(disk),
            ..self
        }
    }

    /// Opens them for a run that continues from a checkpoint: later lines are removed, since what
    /// they tell happens again. The event of the checkpoint itself is there afterwards, once.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], or [`RunError::Damaged`] if lines are missing or damaged.
    pub fn resume(folder: &RunFolder, at: ResumedRecords) -> Result<Self, RunError> {
        let ResumedRecords {
            lengths,
            step,
            seconds,
            writes_again,
            changes,
        } = at;
        let mut recorder = Self::open(folder)?;
        recorder.metrics.truncate(lengths.metrics)?;
        recorder.events.truncate(lengths.events)?;
        let mut is_told = writes_again;
        read_lines(recorder.events.path(), |line: CheckpointEvent| {
            is_told |= line.event == "checkpoint" && line.step == step;
        })?;
        if !is_told {
            recorder.checkpoint(step, seconds)?;
        }
        let event = serde_json::json!({ "event": "resumed", "step": step, "changes": changes });
        recorder.own_event(&event, seconds)?;
        Ok(recorder)
    }

    /// Writes the lines that wait for room on the disk.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] if there is no room for all of them.
    pub fn finish(&mut self) -> Result<(), RunError> {
        self.metrics.finish()?;
        self.events.finish()
    }

    /// Why lines wait, if any do: the disk is full.
    pub fn full_disk(&self) -> Option<&RunError> {
        self.metrics.full().or(self.events.full())
    }

    /// Checks that both files have these lengths at least, and that a line ends there.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn check(folder: &RunFolder, lengths: RecordLengths) -> Result<(), RunError> {
        check_length(&folder.join("metrics.jsonl"), lengths.metrics)?;
        check_length(&folder.join("events.jsonl"), lengths.events)
    }

    /// The lengths of both files, without lines that wait.
    pub fn lengths(&self) -> RecordLengths {
        RecordLengths {
            metrics: self.metrics.length(),
            events: self.events.length(),
        }
    }

    /// Adds a line to `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], and [`RunError::Folder`] within a second of lines.
    pub fn metric(&mut self, metric: &MetricRecord) -> Result<(), RunError> {
        self.look()?;
        if let Some(Err(error)) = self.event_file.as_mut().map(|file| file.add(metric)) {
            // The run's own records have everything.
            tracing::warn!("TensorBoard gets no more of this run: {error}");
            self.event_file = None;
        }
        self.metrics.add(metric)
    }

    /// Adds a line to `events.jsonl`.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn event(&mut self, event: &Event, seconds: f64) -> Result<(), RunError> {
        self.event_of(None, event, seconds)
    }

    /// Adds a line to `events.jsonl` with the node that recorded it, if the file holds events of
    /// several nodes.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn event_of(
        &mut self,
        node: Option<u32>,
        event: &Event,
        seconds: f64,
    ) -> Result<(), RunError> {
        self.look()?;
        self.events.add(&TimedEvent {
            event,
            seconds,
            recorded_by: node,
        })
    }

    /// Adds the event that a checkpoint was written.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn checkpoint(&mut self, step: u64, seconds: f64) -> Result<(), RunError> {
        self.look()?;
        // Relative to the run, which may be moved.
        let path = format!("checkpoints/step-{step}");
        let event = serde_json::json!({ "event": "checkpoint", "step": step, "path": path });
        self.own_event(&event, seconds)
    }

    /// Adds the event that a worker has diverged, and since which step.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn diverged(&mut self, worker: WorkerId, step: u64, seconds: f64) -> Result<(), RunError> {
        let event = serde_json::json!({ "event": "diverged", "step": step, "worker": worker });
        self.own_event(&event, seconds)
    }

    /// Adds the event that says how many bytes this node has exchanged with others since it was last
    /// started, by node and kind.
    ///
    /// # Errors
    ///
    /// As [`metric`](Self::metric).
    pub fn traffic(&mut self, traffic: &Traffic, step: u64, seconds: f64) -> Result<(), RunError> {
        self.look()?;
        self.events.add(&TimedEvent {
            event: &TrafficEvent {
                event: "traffic",
                step,
                traffic,
            },
            seconds,
            recorded_by: None,
        })
    }

    /// Adds an event that does not come from an exchange.
    fn own_event(&mut self, event: &serde_json::Value, seconds: f64) -> Result<(), RunError> {
        self.events.add(&TimedEvent {
            event,
            seconds,
            recorded_by: None,
        })
    }

    /// Checks now and then that the files are still in place: writing to a removed file causes no
    /// error.
    fn look(&mut self) -> Result<(), RunError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.folder.check()?;
        self.metrics.check()?;
        self.events.check()
    }
}
