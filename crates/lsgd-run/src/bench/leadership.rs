//! The leaders of a run, over time and how often, according to its elections.

use std::collections::BTreeMap;

use lsgd_core::{Scope, WorkerId};

/// A term: consecutive elections won by one worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// The leader.
    pub leader: WorkerId,
    /// The step of its first election.
    pub from: u64,
    /// The step of the election after its last, or of its last if none followed.
    pub to: u64,
    /// The number of elections.
    pub elections: u64,
}

/// The leaders within each node, and over all nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leadership {
    /// Within each node, in order.
    pub local: BTreeMap<u32, Vec<Term>>,
    /// Over all nodes, as recorded by one of them.
    pub global: Vec<Term>,
}

/// How often a worker led its node.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TermCounts {
    /// Elections won.
    pub elections: u64,
    /// How many times it took over.
    pub terms: u64,
    /// The most in a row.
    pub longest: u64,
}

impl Leadership {
    /// An election that a worker won, as node `node` recorded it, in the order of the record.
    pub fn add(&mut self, scope: Scope, node: u32, step: u64, leader: WorkerId) {
        let terms = match scope {
            Scope::Local => self.local.entry(node).or_default(),
            Scope::Global if node == 0 => &mut self.global,
            Scope::Global => return,
        };
        if let Some(last) = terms.last_mut() {
            last.to = step;
            if last.leader == leader {
                last.elections += 1;
                return;
            }
        }
        terms.push(Term {
            leader,
            from: step,
            to: step,
            elections: 1,
        });
    }

    /// How often each worker led its node.
    pub fn counts(&self) -> BTreeMap<WorkerId, TermCounts> {
        let mut term_counts: BTreeMap<WorkerId, TermCounts> = BTreeMap::new();
        for term in self.local.values().flatten() {
            let of = term_counts.entry(term.leader).or_default();
            of.elections += term.elections;
            of.terms += 1;
            of.longest = of.longest.max(term.elections);
        }
        term_counts
    }

    /// Elections that a worker won, of all nodes.
    pub fn elections(&self) -> u64 {
        self.counts()
            .values()
            .map(|term_counts| term_counts.elections)
            .sum()
    }

    /// How often a node's leader differed from that of its previous election.
    pub fn changes(&self) -> u64 {
        let of_node = |terms: &Vec<Term>| terms.len().saturating_sub(1) as u64;
        self.local.values().map(of_node).sum()
    }

    /// The most consecutive elections of a node with the same leader.
    pub fn longest(&self) -> u64 {
        self.counts()
            .values()
            .map(|term_counts| term_counts.longest)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reigns_are_counted_node_by_node() {
        let mut leadership = Leadership::default();
        let id = |worker| WorkerId::new(0, worker);
        for (step, worker) in [(4, 1), (8, 1), (12, 0), (16, 1)] {
            leadership.add(Scope::Local, 0, step, id(worker));
        }
        leadership.add(Scope::Local, 1, 4, WorkerId::new(1, 0));
        for node in [0, 1] {
            leadership.add(Scope::Global, node, 16, id(1));
        }
        let term_counts = leadership.counts();
        let expected = TermCounts {
            elections: 3,
            terms: 2,
            longest: 2,
        };
        assert_eq!(term_counts[&id(1)], expected);
        assert_eq!(
            (
                leadership.elections(),
                leadership.changes(),
                leadership.longest()
            ),
            (5, 2, 2)
        );
        let first = leadership.local[&0][0];
        assert_eq!((first.from, first.to), (4, 12));
        assert_eq!(leadership.global.len(), 1);
    }
}
