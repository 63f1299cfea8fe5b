//! What `events.jsonl` says, thinned while it is read.

use std::path::Path;

use lsgd_core::{Scope, VectorKind, WorkerId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::leadership::Leadership;
use super::marks::{Happened, Marks};
use super::thinning::{Point, Spent, Thinned};
use crate::error::RunError;
use crate::storage::{Written, read_whole_lines};

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Election,
    Exchange,
    Adoption,
    Refused,
    NodeConnected,
    NodeLost,
    Joined,
    NotFetched,
    Restarted,
    Left,
    Checkpoint,
    Resumed,
    Diverged,
    #[default]
    #[serde(other)]
    Other,
}

/// The fields used of a line.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Line {
    event: Kind,
    #[serde(default)]
    step: u64,
    seconds: f64,
    scope: Option<Scope>,
    vector: Option<VectorKind>,
    /// That there is one.
    source: Option<IgnoredAny>,
    bytes: Option<u64>,
    leader: Option<WorkerId>,
    worker: Option<WorkerId>,
    node: Option<u32>,
    strength: Option<f64>,
    staleness: Option<u64>,
    why: Option<Value>,
    changes: Option<Vec<String>>,
    recorded_by: Option<u32>,
}

impl Line {
    fn parse(line: &[u8]) -> serde_json::Result<Self> {
        // There are far more of them than of all others.
        let written = Self::adoption(line).or_else(|| Self::exchange(line));
        written.map_or_else(|| serde_json::from_slice(line), Ok)
    }

    /// A pull toward a worker's parameters, in a line as this version writes it.
    fn adoption(line: &[u8]) -> Option<Self> {
        let mut line = Written::new(line);
        let step = line.whole("{\"event\":\"adoption\",\"step\":")?;
        line.text(",\"worker\":")?;
        let worker = line.worker()?;
        let scope = line.field(",\"scope\":")?;
        line.text(",\"source\":")?;
        line.source()?;
        let strength = line.field(",\"strength\":")?;
        let staleness = Some(line.whole(",\"staleness\":")?);
        line.digest()?;
        Some(Self {
            event: Kind::Adoption,
            step,
            worker: Some(worker),
            scope,
            source: Some(IgnoredAny),
            strength,
            staleness,
            seconds: Self::seconds(line)?,
            ..Self::default()
        })
    }

    /// An exchange of a worker's parameters, in a line as this version writes it.
    fn exchange(line: &[u8]) -> Option<Self> {
        let mut line = Written::new(line);
        let step = line.whole("{\"event\":\"exchange\",\"step\":")?;
        line.whole::<u64>(",\"exchange\":")?;
        let scope = line.field(",\"scope\":")?;
        let vector = line.field(",\"vector\":")?;
        line.text(",\"source\":")?;
        line.source()?;
        line.whole::<u64>(",\"workers\":")?;
        let bytes = Some(line.whole(",\"bytes\":")?);
        let staleness = Some(line.whole(",\"staleness\":")?);
        line.digest()?;
        Some(Self {
            event: Kind::Exchange,
            step,
            scope,
            vector,
            source: Some(IgnoredAny),
            bytes,
            staleness,
            seconds: Self::seconds(line)?,
            ..Self::default()
        })
    }

    /// The time, which ends a line.
    fn seconds(mut line: Written) -> Option<f64> {
        let seconds = line.field(",\"seconds\":")?;
        line.text("}")?;
        line.end()?;
        Some(seconds)
    }
}

/// Exchanges of one kind.
#[derive(Debug, Clone)]
pub struct Exchanges {
    /// Within the node or over all nodes.
    pub scope: Scope,
    /// What they carried.
    pub vector: VectorKind,
    /// How many.
    pub count: u64,
    /// Their payload in bytes.
    pub bytes: u64,
    /// Bytes so far, at each.
    pub course: Thinned,
}

/// Pulls of workers toward what exchanges of one scope delivered.
#[derive(Debug, Clone)]
pub struct Pulls {
    /// Within the node or over all nodes.
    pub scope: Scope,
    /// How many.
    pub count: u64,
    /// The sum of their strengths.
    pub strength: f64,
    /// The sum of their staleness, in steps.
    pub staleness: f64,
    /// How many so far, at each.
    pub course: Thinned,
}

/// What `events.jsonl` says.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// Who led when.
    pub leadership: Leadership,
    /// Exchanges, by kind.
    pub exchanges: Vec<Exchanges>,
    /// Pulls, by scope.
    pub pulls: Vec<Pulls>,
    /// What does not happen in every exchange.
    pub marks: Marks,
    /// Bytes of all exchanges so far, at each.
    pub bytes: Thinned,
    /// The last moment on record.
    pub end: Option<Spent>,
    total: u64,
    /// Bytes of the exchanges between each evaluation and the one before.
    between: Vec<u64>,
}

impl Events {
    /// Reads the file on up to `threads` threads; of one that is not there yet, nothing. `evaluated` are the
    /// seconds of the evaluations, in order.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn read(path: &Path, evaluated: &[f64], threads: usize) -> Result<Self, RunError> {
        let mut events = Self {
            between: vec![0; evaluated.len()],
            ..Self::default()
        };
        if path.exists() {
            read_whole_lines(path, threads, Line::parse, |line| {
                events.add(line, evaluated);
                Ok(())
            })?;
        }
        Ok(events)
    }

    fn add(&mut self, line: Line, evaluated: &[f64]) {
        let at = Spent::new(line.seconds, line.step);
        self.end = Some(at);
        match (line.event, line.scope) {
            (Kind::Election, Some(scope)) => {
                let Line {
                    recorded_by,
                    leader,
                    ..
                } = line;
                self.leadership.add(scope, recorded_by, at, leader);
            }
            (Kind::Exchange, Some(scope)) => self.exchange(&line, scope, evaluated),
            (Kind::Adoption, Some(scope)) => self.pull(&line, scope),
            _ => {
                if let Some(happened) = happened(&line) {
                    self.marks.add(happened, at, || told(&line));
                }
            }
        }
    }

    fn exchange(&mut self, line: &Line, scope: Scope, evaluated: &[f64]) {
        let (Some(vector), Some(bytes), Some(_)) = (line.vector, line.bytes, &line.source) else {
            return;
        };
        let at = Spent::new(line.seconds, line.step);
        self.total = self.total.saturating_add(bytes);
        let y = self.total as f64;
        self.bytes.add(Point { at, y });
        let next = evaluated.partition_point(|seconds| *seconds < line.seconds);
        if let Some(between) = self.between.get_mut(next) {
            *between = between.saturating_add(bytes);
        }
        let is_of = |known: &Exchanges| (known.scope, known.vector) == (scope, vector);
        let index = self.exchanges.iter().position(is_of).unwrap_or_else(|| {
            self.exchanges.push(Exchanges {
                scope,
                vector,
                count: 0,
                bytes: 0,
                course: Thinned::default(),
            });
            self.exchanges.len() - 1
        });
        let of = &mut self.exchanges[index];
        of.count += 1;
        of.bytes = of.bytes.saturating_add(bytes);
        let y = of.bytes as f64;
        of.course.add(Point { at, y });
    }

    fn pull(&mut self, line: &Line, scope: Scope) {
        let at = Spent::new(line.seconds, line.step);
        let is_of = |known: &Pulls| known.scope == scope;
        let index = self.pulls.iter().position(is_of).unwrap_or_else(|| {
            self.pulls.push(Pulls {
                scope,
                count: 0,
                strength: 0.0,
                staleness: 0.0,
                course: Thinned::default(),
            });
            self.pulls.len() - 1
        });
        let of = &mut self.pulls[index];
        of.count += 1;
        of.strength += line.strength.unwrap_or(0.0);
        of.staleness += line.staleness.unwrap_or(0) as f64;
        let y = of.count as f64;
        of.course.add(Point { at, y });
    }

    /// Bytes of all exchanges up to each evaluation; nothing if no exchange is on record.
    pub fn bytes_until(&self) -> Option<Vec<f64>> {
        let sum = |so_far: &mut u64, more: &u64| {
            *so_far = so_far.saturating_add(*more);
            Some(*so_far as f64)
        };
        (self.total > 0).then(|| self.between.iter().scan(0, sum).collect())
    }

    /// Bytes of all exchanges.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }
}

/// What a line says that does not happen in every exchange.
fn happened(line: &Line) -> Option<Happened> {
    Some(match line.event {
        Kind::Checkpoint => Happened::Checkpoint,
        Kind::Resumed => Happened::Resumed,
        // Every run begins so.
        Kind::Joined if line.source.is_none() && line.step == 0 => return None,
        Kind::Joined => Happened::Joined,
        Kind::NodeConnected => Happened::NodeConnected,
        Kind::NodeLost => Happened::NodeLost,
        Kind::Restarted => Happened::Restarted,
        Kind::Left => Happened::Left,
        Kind::Diverged => Happened::Diverged,
        Kind::Refused => Happened::Refused,
        Kind::NotFetched => Happened::NotFetched,
        Kind::Election | Kind::Exchange | Kind::Adoption | Kind::Other => return None,
    })
}

/// Who it happened to, and why.
fn told(line: &Line) -> String {
    let worker = line
        .worker
        .map(|id| format!("worker {} of node {}", id.worker, u64::from(id.node) + 1));
    let node = line
        .node
        .map(|node| format!("node {}", u64::from(node) + 1));
    let why = line.why.as_ref().map(|why| match why {
        Value::String(why) => why.clone(),
        other => other.to_string(),
    });
    let changes = line.changes.as_ref().filter(|changes| !changes.is_empty());
    let changes = changes.map(|changes| changes.join("; "));
    let parts: Vec<String> = [worker, node, why, changes].into_iter().flatten().collect();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, evaluated: &[f64]) -> Events {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, text).unwrap();
        Events::read(&path, evaluated, 1).unwrap()
    }

    fn exchange(seconds: f64, scope: &str, bytes: u64) -> String {
        format!(
            "{{\"event\":\"exchange\",\"step\":4,\"exchange\":1,\"scope\":\"{scope}\",\
             \"vector\":\"parameters\",\"source\":{{\"worker\":{{}}}},\"workers\":2,\
             \"bytes\":{bytes},\"staleness\":0,\"seconds\":{seconds}}}\n"
        )
    }

    #[test]
    fn bytes_are_those_of_the_exchanges_until_each_evaluation() {
        let text: String = [(1.0, 5), (2.0, 7), (2.5, u64::MAX), (9.0, 1)]
            .map(|(seconds, bytes)| exchange(seconds, "local", bytes))
            .concat();
        let events = read(&text, &[0.5, 2.0, 3.0]);
        let expected = [0.0, 12.0, u64::MAX as f64];
        assert_eq!(events.bytes_until().unwrap(), expected);
        assert_eq!(read("", &[1.0]).bytes_until(), None);
    }

    #[test]
    fn exchanges_are_counted_by_kind_and_events_of_later_versions_left_out() {
        let text = exchange(1.0, "local", 5)
            + &exchange(2.0, "global", 7)
            + &exchange(3.0, "local", 5)
            + "{\"event\":\"of a later version\",\"seconds\":4.0}\n"
            + "{\"event\":\"node_lost\",\"step\":4,\"node\":1,\"why\":\"disconnected\",\"seconds\":5.0}\n";
        let events = read(&text, &[]);
        let counts: Vec<(u64, u64)> = events
            .exchanges
            .iter()
            .map(|e| (e.count, e.bytes))
            .collect();
        assert_eq!(counts, [(2, 10), (1, 7)]);
        let (happened, of) = events.marks.kinds().next().unwrap();
        assert_eq!((*happened, of.count), (Happened::NodeLost, 1));
        assert_eq!(of.marks[0].text, "node 2: disconnected");
    }
    /// A line is the same whether it is read as this version writes it or as a general parser does.
    #[test]
    fn a_line_is_what_a_general_parser_makes_of_it() {
        let source = r#"{"worker":{"id":{"node":1,"worker":7},"step":12}}"#;
        let adoption = |source: &str, more: &str| {
            format!(
                r#"{{"event":"adoption","step":16,"worker":{{"node":0,"worker":3}},"scope":"global","source":{source},"strength":0.1,"staleness":2{more},"seconds":0.8}}"#
            )
        };
        let exchange = |source: &str, more: &str| {
            format!(
                r#"{{"event":"exchange","step":16,"exchange":1,"scope":"local","vector":"mean","source":{source},"workers":4,"bytes":18446744073709551615,"staleness":0{more},"seconds":0.8}}"#
            )
        };
        let digest = r#","digest":"0123456789abcdef""#;
        for (line, is_short) in [
            (adoption(source, ""), true),
            (adoption(source, digest), true),
            (adoption("\"mean\"", ""), false),
            (exchange(source, ""), true),
            (exchange(source, digest), true),
            (exchange(source, r#","averaged":[[0,1]]"#), false),
            (exchange("null", ""), false),
        ] {
            let line = line.as_bytes();
            let written = Line::adoption(line).or_else(|| Line::exchange(line));
            let general: Line = serde_json::from_slice(line).unwrap();
            assert_eq!(written.is_some(), is_short, "{general:?}");
            assert_eq!(
                written.unwrap_or_else(|| Line::parse(line).unwrap()),
                general
            );
            for end in 0..line.len() {
                let cut = &line[..end];
                assert_eq!(Line::adoption(cut).or_else(|| Line::exchange(cut)), None);
                assert!(Line::parse(cut).is_err());
            }
        }
    }
}
