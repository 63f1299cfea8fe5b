//! Who led when, in bounded memory.

use std::collections::BTreeMap;

use lsgd_core::{Scope, WorkerId};

use super::thinning::Spent;

/// Most bands of one leadership that are kept. An even number, so that pairs of them can be merged.
const BANDS: usize = 2000;

/// A time in which one worker led.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// The worker.
    pub leader: WorkerId,
    /// Its first election.
    pub from: Spent,
    /// The next election that another won, or the last one that is recorded.
    pub to: Spent,
}

/// The leaders of one node, or over all nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bands {
    bands: Vec<Band>,
    /// Whether the last band is still going on.
    goes_on: bool,
    /// Elections that each worker has won.
    pub won: BTreeMap<WorkerId, u64>,
    /// How often the leader was another than at the election before.
    pub changes: u64,
    /// Whether there were too many bands, and of each two neighbours only the longer one is left.
    pub is_coarse: bool,
}

impl Bands {
    /// An election and its winner, if there was one, in the order of the record.
    pub fn add(&mut self, at: Spent, winner: Option<WorkerId>) {
        if let Some(last) = self.bands.last_mut().filter(|_| self.goes_on) {
            last.to = at;
        }
        let Some(leader) = winner else {
            self.goes_on = false;
            return;
        };
        *self.won.entry(leader).or_default() += 1;
        match self.bands.last() {
            Some(last) if last.leader == leader && self.goes_on => return,
            Some(last) if last.leader != leader => self.changes += 1,
            _ => {}
        }
        self.goes_on = true;
        if self.bands.len() == BANDS {
            self.bands = halve(&self.bands);
            self.is_coarse = true;
        }
        self.bands.push(Band {
            leader,
            from: at,
            to: at,
        });
    }

    /// The bands, in order of time; the one that goes on lasts until `end`.
    pub fn until(&self, end: Spent) -> Vec<Band> {
        let mut bands = self.bands.clone();
        if let Some(last) = bands.last_mut().filter(|_| self.goes_on) {
            last.to = end;
        }
        bands
    }

    /// Number of elections that had a winner.
    pub fn elections(&self) -> u64 {
        self.won.values().sum()
    }
}

/// One band of every two: as long as both, and the longer one's leader.
fn halve(bands: &[Band]) -> Vec<Band> {
    let length = |band: &Band| band.to.seconds - band.from.seconds;
    let pairs = bands.chunks(2).map(|pair| {
        let (first, last) = (pair[0], pair[pair.len() - 1]);
        let leader = match length(&last) > length(&first) {
            true => last.leader,
            false => first.leader,
        };
        Band {
            leader,
            from: first.from,
            to: last.to,
        }
    });
    pairs.collect()
}

/// The leaders within each node, and over all nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leadership {
    /// Within each node.
    pub local: BTreeMap<u32, Bands>,
    /// Over all nodes, as recorded by one of them.
    pub global: Bands,
}

impl Leadership {
    /// An election, as node `recorded_by` recorded it. In the file of one node, that is nothing.
    pub fn add(
        &mut self,
        scope: Scope,
        recorded_by: Option<u32>,
        at: Spent,
        winner: Option<WorkerId>,
    ) {
        match (scope, recorded_by) {
            (Scope::Local, node) => {
                let node = node.or(winner.map(|winner| winner.node)).unwrap_or(0);
                self.local.entry(node).or_default().add(at, winner);
            }
            (Scope::Global, None | Some(0)) => self.global.add(at, winner),
            (Scope::Global, Some(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u32) -> Spent {
        Spent::new(f64::from(seconds), u64::from(seconds))
    }

    fn worker(worker: u32) -> WorkerId {
        WorkerId::new(0, worker)
    }

    fn shown(bands: &[Band]) -> Vec<(u32, f64, f64)> {
        let one = |band: &Band| (band.leader.worker, band.from.seconds, band.to.seconds);
        bands.iter().map(one).collect()
    }

    #[test]
    fn a_band_lasts_until_another_wins() {
        let mut bands = Bands::default();
        for (seconds, winner) in [(1, 0), (2, 0), (3, 1), (4, 0)] {
            bands.add(at(seconds), Some(worker(winner)));
        }
        let expected = [(0, 1.0, 3.0), (1, 3.0, 4.0), (0, 4.0, 9.0)];
        assert_eq!(shown(&bands.until(at(9))), expected);
        assert_eq!((bands.elections(), bands.changes), (4, 2));
        assert_eq!(bands.won[&worker(0)], 3);
    }

    #[test]
    fn nobody_leads_after_an_election_without_a_winner() {
        let mut bands = Bands::default();
        for (seconds, winner) in [(1, Some(0)), (2, None), (3, None), (4, Some(0)), (5, None)] {
            bands.add(at(seconds), winner.map(worker));
        }
        let expected = [(0, 1.0, 2.0), (0, 4.0, 5.0)];
        assert_eq!(shown(&bands.until(at(9))), expected);
        assert_eq!((bands.elections(), bands.changes), (2, 0));
    }

    /// However often the leader changes, the counts are exact, and the bands bounded and in order.
    #[test]
    fn of_too_many_bands_the_longer_ones_stay() {
        let mut bands = Bands::default();
        let mut seconds = 0;
        for _ in 0..10_000 {
            // Worker 1 leads three times as long as worker 0.
            bands.add(at(seconds), Some(worker(0)));
            bands.add(at(seconds + 1), Some(worker(1)));
            seconds += 4;
        }
        let kept = bands.until(at(seconds));
        assert!(bands.is_coarse && kept.len() <= BANDS, "{}", kept.len());
        assert!(
            kept.windows(2)
                .all(|pair| pair[0].to.seconds <= pair[1].from.seconds)
        );
        assert_eq!(kept[0].leader, worker(1));
        assert_eq!(kept[0].from.seconds, 0.0);
        assert_eq!((bands.elections(), bands.changes), (20_000, 19_999));
    }

    /// Every node records a global election; local ones are each its own.
    #[test]
    fn a_global_election_counts_once() {
        let mut leadership = Leadership::default();
        for node in [0, 1] {
            let winner = Some(WorkerId::new(1, 2));
            leadership.add(Scope::Global, Some(node), at(1), winner);
            leadership.add(
                Scope::Local,
                Some(node),
                at(1),
                Some(WorkerId::new(node, 0)),
            );
        }
        assert_eq!(leadership.global.elections(), 1);
        assert_eq!(leadership.local.len(), 2);
        // In a node's own file.
        leadership.add(Scope::Local, None, at(2), Some(WorkerId::new(1, 1)));
        assert_eq!(leadership.local[&1].elections(), 2);
    }
}
