//! The metrics of a run as TensorBoard reads them, in one file of its own format.
//!
//! A file is a sequence of frames, `TFRecord`s: length, a checksum of it, an `Event` as protocol buffer, a
//! checksum of that. TensorBoard reads on where it was, so the file only grows: where a run continues,
//! an event tells TensorBoard to forget what it has, and all lines that are still true follow once more.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lsgd_core::WorkerId;
use prost::Message;

use super::lines::read_lines;
use super::records::{Evaluation, Interval, MetricRecord, Score};
use crate::error::RunError;
use crate::open_files::when_free;

/// Its name in a run's folder. TensorBoard reads files that have `tfevents` in their names.
pub const EVENT_FILE: &str = "metrics.tfevents";

/// How a file of this version of the format begins.
const VERSION: &str = "brain.Event:2";

/// `tensorflow.SessionLog.START`: a session begins. At the second and later ones TensorBoard forgets all
/// events of this step and of later ones.
const START: i32 = 1;

/// Longest frame that is taken for one, in bytes.
const MAX_FRAME: u64 = 16 << 20;

/// `tensorflow.Event`, the fields used of it.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.Summary`
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value`
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// `tensorflow.SessionLog`
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A checksum as frames have it: rotated and moved, so that it is not one of a text that holds its own.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes);
    sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn frame(event: &Event) -> Vec<u8> {
    let event = event.encode_to_vec();
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), &event, &checksum(&event)].concat()
}

/// Reads a frame; nothing at the end, or where there is no whole one. Also returns its length.
fn read_frame(file: &mut impl Read) -> std::io::Result<Option<u64>> {
    let mut head = [0; 12];
    let mut tail = [0; 4];
    let read: std::io::Result<Option<u64>> = (|| {
        file.read_exact(&mut head)?;
        let (length, sum) = head.split_at(8);
        let bytes = length.try_into().map_or(0, u64::from_le_bytes);
        if sum != checksum(length) || bytes > MAX_FRAME {
            return Ok(None);
        }
        let mut event = vec![0; bytes as usize];
        file.read_exact(&mut event)?;
        file.read_exact(&mut tail)?;
        Ok((tail == checksum(&event)).then_some(bytes + 16))
    })();
    match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        read => read,
    }
}

/// Length of a file's whole frames, in bytes.
fn whole_frames(file: &File) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut length = 0;
    while let Some(frame) = read_frame(&mut reader)? {
        length += frame;
    }
    Ok(length)
}

/// What a worker is called in a tag.
fn worker(id: WorkerId) -> String {
    match id.node {
        0 => format!("worker-{}", id.worker),
        node => format!("node-{}-worker-{}", u64::from(node) + 1, id.worker),
    }
}

/// The values of a metrics line, and its step.
fn scalars(record: &MetricRecord) -> (u64, Vec<Scalar>) {
    let scalar = |tag: String, value: f64| Scalar {
        tag,
        simple_value: Some(value as f32),
    };
    match record {
        MetricRecord::Interval(Interval {
            step,
            worker: id,
            loss,
            learning_rate,
            ..
        }) => {
            let worker = worker(*id);
            let values = vec![
                scalar(format!("training_loss/{worker}"), *loss),
                scalar(format!("learning_rate/{worker}"), *learning_rate),
            ];
            (*step, values)
        }
        MetricRecord::Evaluation(evaluation) => {
            let Evaluation {
                step,
                leader,
                replica_mean,
                ema,
                lawa,
                workers,
                ..
            } = evaluation;
            let leader = leader.as_ref().and_then(|leader| leader.test.as_ref());
            let of_all = [
                ("leader", leader),
                ("replica_mean", replica_mean.as_ref()),
                ("ema", ema.as_ref()),
                ("lawa", lawa.as_ref()),
            ];
            let of_all = of_all.map(|(who, score)| (String::from(who), score));
            let of_each = workers
                .iter()
                .map(|of| (worker(of.worker), of.test.as_ref()));
            let scored = of_all.into_iter().chain(of_each);
            let values = scored.flat_map(|(who, score)| {
                let metrics = score.into_iter().flat_map(Score::metrics);
                metrics
                    .map(|(metric, value)| scalar(format!("{metric}/{who}"), value))
                    .collect::<Vec<_>>()
            });
            (*step, values.collect())
        }
    }
}

/// The file, open for more.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens or makes the file in a run's folder, so that it has what the run's `metrics.jsonl` has. An
    /// unfinished frame of a killed process is removed.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], and [`RunError`] of reading `metrics.jsonl`.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(EVENT_FILE);
        let opened = (|| {
            let mut options = File::options();
            let options = options.read(true).append(true).create(true);
            let mut file = when_free(|| options.open(&path))?;
            let whole = whole_frames(&file)?;
            file.set_len(whole)?;
            file.seek(SeekFrom::Start(whole))?;
            Ok((file, whole))
        })();
        let (file, whole) = opened.map_err(RunError::write(&path))?;
        let mut event_file = Self { path, file };
        let now = now();
        if whole == 0 {
            event_file.write(Event {
                wall_time: now,
                file_version: Some(String::from(VERSION)),
                ..Event::default()
            })?;
        }
        event_file.write(Event {
            wall_time: now,
            session_log: Some(SessionLog { status: START }),
            ..Event::default()
        })?;
        event_file.add_all(&folder.join("metrics.jsonl"), now)?;
        Ok(event_file)
    }

    /// Adds the lines of `metrics.jsonl`, as if the last were of now.
    fn add_all(&mut self, metrics: &Path, now: f64) -> Result<(), RunError> {
        let mut end = 0.0;
        read_lines(metrics, |record: MetricRecord| end = seconds(&record))?;
        let mut added = Ok(());
        read_lines(metrics, |record: MetricRecord| {
            if added.is_ok() {
                added = self.add_at(&record, now - end + seconds(&record));
            }
        })?;
        added
    }

    /// Adds the values of a metrics line.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn add(&mut self, record: &MetricRecord) -> Result<(), RunError> {
        self.add_at(record, now())
    }

    fn add_at(&mut self, record: &MetricRecord, wall_time: f64) -> Result<(), RunError> {
        let (step, value) = scalars(record);
        self.write(Event {
            wall_time,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            summary: Some(Summary { value }),
            ..Event::default()
        })
    }

    fn write(&mut self, event: Event) -> Result<(), RunError> {
        let frame = frame(&event);
        self.file
            .write_all(&frame)
            .map_err(RunError::write(&self.path))
    }
}

/// Seconds of training.
fn seconds(record: &MetricRecord) -> f64 {
    match record {
        MetricRecord::Interval(interval) => interval.seconds,
        MetricRecord::Evaluation(evaluation) => evaluation.seconds,
    }
}

/// This moment, in seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `event_file/fixture.py` with TensorBoard's own writer.
    const FIXTURE: &[u8] = include_bytes!("event_file/fixture.tfevents");

    #[test]
    fn frames_are_those_of_tensorboard() {
        let scalar = |tag: &str, value| Scalar {
            tag: String::from(tag),
            simple_value: Some(value),
        };
        let value = vec![
            scalar("training_loss/worker-0", 2.25),
            scalar("learning_rate/worker-0", 0.1),
            scalar("error/replica_mean", f32::NAN),
        ];
        let events = [
            Event {
                wall_time: 1_700_000_000.5,
                file_version: Some(String::from(VERSION)),
                ..Event::default()
            },
            Event {
                wall_time: 1_700_000_001.25,
                step: 300,
                summary: Some(Summary { value }),
                ..Event::default()
            },
            Event {
                wall_time: 1_700_000_002.0,
                step: 301,
                session_log: Some(SessionLog { status: START }),
                ..Event::default()
            },
        ];
        let frames: Vec<u8> = events.iter().flat_map(frame).collect();
        assert_eq!(frames, FIXTURE);
    }

    #[test]
    fn an_unfinished_or_damaged_end_is_cut_off_at_any_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(EVENT_FILE);
        let mut ends = vec![0];
        let mut rest = FIXTURE;
        while let Some(length) = read_frame(&mut rest).unwrap() {
            ends.push(ends.last().unwrap() + length);
        }
        assert_eq!((ends.len(), ends[3]), (4, FIXTURE.len() as u64));
        for cut in 0..FIXTURE.len() {
            for damaged in [false, true] {
                let mut bytes = FIXTURE[..cut].to_vec();
                if damaged {
                    bytes.extend([0x5a; 64]);
                }
                std::fs::write(&path, bytes).unwrap();
                let whole = ends.iter().rfind(|end| **end <= cut as u64).unwrap();
                let file = File::open(&path).unwrap();
                assert_eq!(whole_frames(&file).unwrap(), *whole, "{cut}");
            }
        }
        std::fs::write(&path, &FIXTURE[..FIXTURE.len() - 1]).unwrap();
        std::fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
        EventFile::open(folder.path()).unwrap();
        let read = events(&path);
        assert_eq!(read.len(), 3);
        assert_eq!(read[2].session_log, Some(SessionLog { status: START }));
    }

    fn events(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let mut after = rest;
            let length = read_frame(&mut after).unwrap().unwrap() as usize;
            events.push(Event::decode(&rest[12..length - 4]).unwrap());
            rest = after;
        }
        events
    }

    #[test]
    fn a_run_that_continues_tells_all_again_that_is_still_true() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = folder.path().join("metrics.jsonl");
        let interval = |step: u64, node| {
            MetricRecord::Interval(Interval {
                step,
                steps: 10,
                seconds: step as f64 / 4.0,
                worker: WorkerId::new(node, 3),
                loss: f64::NAN,
                learning_rate: 0.25,
            })
        };
        std::fs::write(&metrics, "").unwrap();
        let mut file = EventFile::open(folder.path()).unwrap();
        file.add(&interval(10, 0)).unwrap();
        file.add(&interval(20, 0)).unwrap();
        file.add(&interval(30, 0)).unwrap();
        drop(file);
        // The last line is cut off: it happens again.
        let kept = [interval(10, 0), interval(20, 0)];
        let lines = kept.map(|line| serde_json::to_string(&line).unwrap() + "\n");
        std::fs::write(&metrics, lines.concat()).unwrap();
        let mut file = EventFile::open(folder.path()).unwrap();
        file.add(&interval(30, 1)).unwrap();

        let events = events(&folder.path().join(EVENT_FILE));
        let steps: Vec<i64> = events.iter().map(|event| event.step).collect();
        assert_eq!(steps, [0, 0, 10, 20, 30, 0, 10, 20, 30]);
        assert_eq!(events[0].file_version.as_deref(), Some(VERSION));
        for start in [1, 5] {
            assert_eq!(
                events[start].session_log,
                Some(SessionLog { status: START })
            );
        }
        let apart = events[7].wall_time - events[6].wall_time;
        assert!((apart - 2.5).abs() < 1e-3, "{apart}");
        let tags = |event: &Event| {
            let values = &event.summary.as_ref().unwrap().value;
            values
                .iter()
                .map(|value| (value.tag.clone(), value.simple_value.unwrap()))
                .collect::<Vec<_>>()
        };
        let (first, last) = (tags(&events[2]), tags(&events[8]));
        assert_eq!(first[0].0, "training_loss/worker-3");
        assert!(first[0].1.is_nan());
        assert_eq!(first[1], (String::from("learning_rate/worker-3"), 0.25));
        assert_eq!(last[0].0, "training_loss/node-2-worker-3");
    }
}
