//! What `events.jsonl` says, thinned while it is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use lsgd_core::{Scope, VectorKind, WorkerId};

use super::event_line::{Kind, Line};
use super::leadership::Leadership;
use super::links::Links;
use super::marks::Marks;
use super::thinning::{Point, Spent, Thinned};
use crate::error::RunError;
use crate::storage::read_whole_lines;
use crate::wording::Told;

/// Most lines of the log that are kept: the newest.
pub const LOG: usize = 50;

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
    /// The newest of it in words, in order.
    pub log: VecDeque<Told>,
    /// Workers that have left, with their last step, since the node was last started.
    pub left: BTreeMap<WorkerId, u64>,
    /// Other nodes, from 0, that this one goes on without.
    pub lost: BTreeSet<u32>,
    /// What was exchanged with other nodes.
    pub links: Links,
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
    /// seconds of the evaluations, in order; `own` is the node whose record it is, from 0.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn read(
        path: &Path,
        own: u32,
        evaluated: &[f64],
        threads: usize,
    ) -> Result<Self, RunError> {
        let mut events = Self {
            between: vec![0; evaluated.len()],
            leadership: Leadership::of(own),
            ..Self::default()
        };
        if path.exists() {
            let parse = |line: &[u8]| Line::parse(line, own);
            read_whole_lines(path, threads, parse, |line| {
                events.add(line, evaluated);
                Ok(())
            })?;
        }
        Ok(events)
    }

    fn add(&mut self, line: Line, evaluated: &[f64]) {
        let at = Spent::new(line.seconds, line.step);
        // Bytes are counted whether or not anything goes on.
        if !matches!(line.event, Kind::Traffic) {
            self.end = Some(at);
        }
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
            (Kind::Traffic, _) => {
                if let Some(peers) = line.peers {
                    self.links.add(line.seconds, peers);
                }
            }
            _ => self.rare(line),
        }
    }

    /// What does not happen in every exchange.
    fn rare(&mut self, line: Line) {
        match (line.event, line.worker, line.node) {
            // Its workers begin, all of them; perhaps in a new process, which counts bytes from zero.
            (Kind::Resumed, ..) => {
                self.left.clear();
                self.lost.clear();
                self.links = Links::default();
            }
            // Nodes that were lost before may still be.
            (Kind::Joined, ..) => {
                self.left.clear();
                self.links = Links::default();
            }
            (Kind::Left, Some(worker), _) => drop(self.left.insert(worker, line.step)),
            (Kind::Restarted, Some(worker), _) => drop(self.left.remove(&worker)),
            (Kind::NodeLost, _, Some(node)) => drop(self.lost.insert(node)),
            (Kind::NodeConnected, _, Some(node)) => drop(self.lost.remove(&node)),
            _ => {}
        }
        let (Some(happened), Some(told)) = (line.happened(), line.told) else {
            return;
        };
        let at = Spent::new(line.seconds, line.step);
        self.marks.add(happened, at, || told.clone());
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(Told {
            seconds: line.seconds,
            line: told,
        });
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

#[cfg(test)]
mod tests {
    use super::super::marks::Happened;
    use super::*;

    fn read(text: &str, evaluated: &[f64]) -> Events {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, text).unwrap();
        Events::read(&path, 0, evaluated, 1).unwrap()
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
        let told = "node 2 disconnected at step 4; continuing without it";
        assert_eq!(of.marks[0].text, told);
        assert_eq!((events.log.len(), &*events.log[0].line), (1, told));
    }

    #[test]
    fn who_is_gone_is_known_until_it_comes_back() {
        let of = |event: &str, fields: &str| {
            format!("{{\"event\":\"{event}\",\"step\":4,{fields},\"seconds\":1.0}}\n")
        };
        let worker = |worker: u32| format!("\"worker\":{{\"node\":0,\"worker\":{worker}}}");
        let lost = "\"node\":1,\"why\":\"disconnected\"";
        let gone = of("left", &worker(2)) + &of("left", &worker(3)) + &of("node_lost", lost);
        let events = read(&gone, &[]);
        let left: Vec<u32> = events.left.keys().map(|id| id.worker).collect();
        assert_eq!((left, events.lost), (vec![2, 3], BTreeSet::from([1])));
        let back = of("restarted", &worker(2)) + &of("node_connected", "\"node\":1");
        let events = read(&(gone.clone() + &back), &[]);
        let left: Vec<u32> = events.left.keys().map(|id| id.worker).collect();
        assert_eq!((left, events.lost), (vec![3], BTreeSet::new()));
        let events = read(&(gone + &of("resumed", "\"changes\":[]")), &[]);
        assert!(events.left.is_empty() && events.lost.is_empty());
    }

    #[test]
    fn the_newest_lines_of_the_log_stay() {
        let line = |step: u64| {
            format!("{{\"event\":\"checkpoint\",\"step\":{step},\"seconds\":{step}.0}}\n")
        };
        let events = read(&(0..200).map(line).collect::<String>(), &[]);
        assert_eq!(events.log.len(), LOG);
        assert_eq!(events.log[LOG - 1].line, "step 199: checkpoint");
    }
}
