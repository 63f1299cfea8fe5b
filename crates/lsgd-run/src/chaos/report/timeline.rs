//! When a run trained, and when each of its nodes was there to train.

use crate::chaos::fault::Act;
use crate::chaos::log::{Entry, What};

/// From a second to another.
type Span = (f64, f64);

/// When a run trained, and when its nodes ran. Nodes count from 0; seconds are those of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The first exchange of any node.
    pub first: f64,
    /// The last one.
    pub last: f64,
    /// When each node's process ran, and was not frozen.
    pub up: Vec<Vec<Span>>,
}

impl Timeline {
    /// Of a run of `nodes` nodes; `None` if no node has trained.
    pub fn of(log: &[Entry], nodes: usize) -> Option<Self> {
        let mut trained = log.iter().filter_map(|entry| match entry.what {
            What::Trained { .. } => Some(entry.at),
            _ => None,
        });
        let first = trained.next()?;
        let last = trained.next_back().unwrap_or(first);
        let up = (1..=nodes).map(|node| up(log, node as u32, last)).collect();
        Some(Self { first, last, up })
    }

    /// How long the run trained.
    pub fn seconds(&self) -> f64 {
        self.last - self.first
    }

    /// Whether a node was there at a moment.
    pub fn is_up(&self, node: usize, at: f64) -> bool {
        let mut spans = self.up[node].iter();
        spans.any(|(from, to)| (*from..*to).contains(&at))
    }

    /// How long a node was there while the run trained.
    pub fn up_seconds(&self, node: usize) -> f64 {
        let spans = self.up[node].iter();
        let within = spans.map(|(from, to)| (to.min(self.last) - from.max(self.first)).max(0.0));
        within.sum()
    }

    /// The share of all nodes' time in which they were there, while the run trained.
    pub fn capacity(&self) -> f64 {
        let up: f64 = (0..self.up.len()).map(|node| self.up_seconds(node)).sum();
        up / (self.seconds() * self.up.len() as f64)
    }
}

/// When a node, from 1, ran and was not frozen, until `end` at most.
fn up(log: &[Entry], node: u32, end: f64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut since: Option<f64> = None;
    let mut runs = false;
    // The numbers of the stops that last.
    let mut stops: Vec<usize> = Vec::new();
    for Entry { at, what } in log {
        let was_up = runs && stops.is_empty();
        match what {
            What::Started { node: of, .. } if *of == node => {
                // A new process is not frozen by what froze another.
                (runs, stops) = (true, Vec::new());
            }
            What::Ended { node: of, .. } if *of == node => runs = false,
            What::Fault {
                number,
                act: Act::Stop { node: of, .. },
            } if *of == node => stops.push(*number),
            What::Healed { number } => stops.retain(|stop| stop != number),
            _ => {}
        }
        match (was_up, runs && stops.is_empty()) {
            (false, true) => since = Some(*at),
            (true, false) => spans.extend(since.take().map(|since| (since, *at))),
            _ => {}
        }
    }
    spans.extend(since.map(|since| (since, end.max(since))));
    spans
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, ended, fault, healed, started, trained};
    use super::*;

    #[test]
    fn a_node_is_up_while_its_process_runs_and_is_not_frozen() {
        let stop = |seconds| Act::Stop { node: 1, seconds };
        let log = [
            at(0.0, started(1)),
            at(0.5, started(2)),
            at(1.0, trained(1, 4)),
            at(2.0, fault(0, stop(3.0))),
            at(3.0, fault(1, stop(1.0))),
            at(4.0, healed(1)),
            at(5.0, healed(0)),
            at(6.0, ended(1)),
            at(8.0, started(1)),
            at(
                9.0,
                fault(
                    2,
                    Act::Stop {
                        node: 2,
                        seconds: 9.0,
                    },
                ),
            ),
            at(9.5, ended(2)),
            at(10.0, started(2)),
            at(11.0, trained(2, 40)),
            at(12.0, ended(1)),
        ];
        let timeline = Timeline::of(&log, 2).unwrap();
        assert_eq!((timeline.first, timeline.last), (1.0, 11.0));
        assert_eq!(timeline.up[0], [(0.0, 2.0), (5.0, 6.0), (8.0, 12.0)]);
        assert_eq!(timeline.up[1], [(0.5, 9.0), (10.0, 11.0)]);
        assert_eq!(timeline.up_seconds(0), 1.0 + 1.0 + 3.0);
        assert_eq!(timeline.up_seconds(1), 8.0 + 1.0);
        assert_eq!(timeline.capacity(), 14.0 / 20.0);
        assert!(timeline.is_up(0, 5.5) && !timeline.is_up(0, 2.0) && !timeline.is_up(1, 9.0));
        assert_eq!(Timeline::of(&log[..2], 2), None);
    }
}
