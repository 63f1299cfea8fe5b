//! Who led when, in bounded memory.

use std::collections::BTreeMap;

use lsgd_core::{Scope, WorkerId};

use super::thinning::Spent;

/// Most bands of one leadership that are kept. An even number, so that pairs of them can be merged.
const BANDS: usize = 2000;

/// Most leaders of one band: as many as a simulation has workers.
const LEADERS: usize = 1024;

/// A time in which one worker led, or, where there were too many of these, several in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// The workers, lowest id first.
    pub leaders: Vec<WorkerId>,
    /// The first election.
    pub from: Spent,
    /// The next election that another won, or the last one that is recorded.
    pub to: Spent,
}

/// The leaders of one node, or over all nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bands {
    bands: Vec<Band>,
    /// Terms of a band, of the last one perhaps fewer.
    width: u64,
    /// Terms of the last band.
    terms: u64,
    /// Who leads since the last band began; nobody after an election without a winner.
    leader: Option<WorkerId>,
    /// Since when.
    since: Option<Spent>,
    /// Who led last.
    last: Option<WorkerId>,
    /// Elections that each worker has won.
    pub won: BTreeMap<WorkerId, u64>,
    /// How often the leader was another than at the election before.
    pub changes: u64,
    /// Whether there were too many bands, and neighbours were merged.
    pub is_coarse: bool,
}

impl Bands {
    /// An election and its winner, if there was one, in the order of the record.
    pub fn add(&mut self, at: Spent, winner: Option<WorkerId>) {
        if let Some(band) = self.bands.last_mut().filter(|_| self.leader.is_some()) {
            band.to = at;
        }
        let goes_on = self.leader == winner;
        self.leader = winner;
        if !goes_on {
            self.since = Some(at);
        }
        let Some(leader) = winner else { return };
        *self.won.entry(leader).or_default() += 1;
        if goes_on {
            return;
        }
        let before = self.last.replace(leader);
        self.changes += u64::from(before.is_some_and(|before| before != leader));
        let term = Band {
            leaders: vec![leader],
            from: at,
            to: at,
        };
        if let Some(band) = self.bands.last_mut().filter(|_| self.terms < self.width) {
            *band = merged(&[band.clone(), term]);
            self.terms += 1;
            return;
        }
        if self.bands.len() == BANDS {
            self.bands = self.bands.chunks(2).map(merged).collect();
            self.width = 2 * self.width.max(1);
            self.is_coarse = true;
        }
        self.bands.push(term);
        self.terms = 1;
    }

    /// The bands, in order of time; the one that goes on lasts until `end`.
    pub fn until(&self, end: Spent) -> Vec<Band> {
        let mut bands = self.bands.clone();
        if let Some(last) = bands.last_mut().filter(|_| self.leader.is_some()) {
            last.to = end;
        }
        bands
    }

    /// Who leads after the last election, and since when.
    pub fn now(&self) -> Option<(WorkerId, Spent)> {
        self.leader.zip(self.since)
    }

    /// Number of elections that had a winner.
    pub fn elections(&self) -> u64 {
        self.won.values().sum()
    }
}

/// One band of two neighbours, with the leaders of both.
fn merged(pair: &[Band]) -> Band {
    let (first, last) = (&pair[0], &pair[pair.len() - 1]);
    let mut leaders: Vec<WorkerId> = pair
        .iter()
        .flat_map(|band| &band.leaders)
        .copied()
        .collect();
    leaders.sort_unstable();
    leaders.dedup();
    leaders.truncate(LEADERS);
    Band {
        leaders,
        from: first.from,
        to: last.to,
    }
}

/// The leaders within each node, and over all nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leadership {
    /// Within each node.
    pub local: BTreeMap<u32, Bands>,
    /// Over all nodes, as recorded by one of them.
    pub global: Bands,
    /// The node whose record it is, from 0.
    own: u32,
}

impl Leadership {
    /// Of the record of node `own`, from 0.
    pub fn of(own: u32) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

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
                let node = node.or(winner.map(|winner| winner.node));
                let node = node.unwrap_or(self.own);
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
        let one = |band: &Band| (band.leaders[0].worker, band.from.seconds, band.to.seconds);
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
        let now = bands.now().map(|(id, since)| (id.worker, since.seconds));
        assert_eq!(now, Some((0, 4.0)));
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
        assert!(bands.now().is_none());
    }

    /// However often the leader changes, the counts are exact, and the bands bounded, in order and those of
    /// all that led.
    #[test]
    fn of_too_many_bands_neighbours_are_merged() {
        let mut bands = Bands::default();
        for second in 0..20_000 {
            // In the second half another one takes part; it begins with the same leader again.
            let winner = if second < 10_000 {
                second % 2
            } else {
                second % 3
            };
            bands.add(at(second), Some(worker(winner)));
        }
        let kept = bands.until(at(20_000));
        assert!(bands.is_coarse && kept.len() <= BANDS, "{}", kept.len());
        let (first, last) = (&kept[0], &kept[kept.len() - 1]);
        assert_eq!((first.from.seconds, last.to.seconds), (0.0, 20_000.0));
        assert!(
            kept.windows(2)
                .all(|pair| pair[0].to.seconds == pair[1].from.seconds)
        );
        assert_eq!(kept[0].leaders, [worker(0), worker(1)]);
        // All of them cover 16 terms, the last perhaps fewer. One term lasts two seconds, the others one.
        let longest = kept.iter().map(|band| band.to.seconds - band.from.seconds);
        assert!(longest.fold(0.0, f64::max) <= 17.0);
        let middle = kept
            .iter()
            .find(|band| band.from.seconds > 10_100.0)
            .unwrap();
        assert_eq!(middle.leaders, [worker(0), worker(1), worker(2)]);
        assert_eq!((bands.elections(), bands.changes), (20_000, 19_998));
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
        // Nobody was elected in node 2, whose record it is.
        let mut leadership = Leadership::of(1);
        for winner in [Some(WorkerId::new(1, 1)), None] {
            leadership.add(Scope::Local, None, at(3), winner);
        }
        assert_eq!(leadership.local.len(), 1);
        assert!(leadership.local[&1].now().is_none());
    }
}
