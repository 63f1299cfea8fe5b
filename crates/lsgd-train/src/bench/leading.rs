//! Who led a run, over time and how often, from its elections.

use std::collections::BTreeMap;

use lsgd_core::{Rank, Scope};

/// Elections in a row that one worker won.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reign {
    /// Who.
    pub leader: Rank,
    /// The step of the first.
    pub from: u64,
    /// The step of the election after the last; that of the last itself where none came after it.
    pub to: u64,
    /// How many.
    pub elections: u64,
}

/// Who led within each node, and over all nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leading {
    /// Within each node, in order.
    pub local: BTreeMap<u32, Vec<Reign>>,
    /// Over all nodes, as one of them has recorded it.
    pub global: Vec<Reign>,
}

/// How often a worker led its node.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Led {
    /// Elections that it won.
    pub elections: u64,
    /// How many times it took over.
    pub reigns: u64,
    /// The most in a row.
    pub longest: u64,
}

impl Leading {
    /// An election that somebody won, as node `node` has recorded it; in the order of the record.
    pub fn add(&mut self, scope: Scope, node: u32, step: u64, leader: Rank) {
        let reigns = match scope {
            Scope::Local => self.local.entry(node).or_default(),
            Scope::Global if node == 0 => &mut self.global,
            Scope::Global => return,
        };
        if let Some(last) = reigns.last_mut() {
            last.to = step;
            if last.leader == leader {
                last.elections += 1;
                return;
            }
        }
        reigns.push(Reign {
            leader,
            from: step,
            to: step,
            elections: 1,
        });
    }

    /// How often each worker led its node.
    pub fn led(&self) -> BTreeMap<Rank, Led> {
        let mut led: BTreeMap<Rank, Led> = BTreeMap::new();
        for reign in self.local.values().flatten() {
            let of = led.entry(reign.leader).or_default();
            of.elections += reign.elections;
            of.reigns += 1;
            of.longest = of.longest.max(reign.elections);
        }
        led
    }

    /// Elections that somebody won, of all nodes.
    pub fn elections(&self) -> u64 {
        self.led().values().map(|led| led.elections).sum()
    }

    /// How often another led a node than in its election before.
    pub fn changes(&self) -> u64 {
        let of_node = |reigns: &Vec<Reign>| reigns.len().saturating_sub(1) as u64;
        self.local.values().map(of_node).sum()
    }

    /// The most elections of a node in a row with one leader.
    pub fn longest(&self) -> u64 {
        self.led()
            .values()
            .map(|led| led.longest)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reigns_are_counted_node_by_node() {
        let mut leading = Leading::default();
        let rank = |worker| Rank::new(0, worker);
        for (step, worker) in [(4, 1), (8, 1), (12, 0), (16, 1)] {
            leading.add(Scope::Local, 0, step, rank(worker));
        }
        leading.add(Scope::Local, 1, 4, Rank::new(1, 0));
        for node in [0, 1] {
            leading.add(Scope::Global, node, 16, rank(1));
        }
        let led = leading.led();
        let expected = Led {
            elections: 3,
            reigns: 2,
            longest: 2,
        };
        assert_eq!(led[&rank(1)], expected);
        assert_eq!(
            (leading.elections(), leading.changes(), leading.longest()),
            (5, 2, 2)
        );
        let first = leading.local[&0][0];
        assert_eq!((first.from, first.to), (4, 12));
        assert_eq!(leading.global.len(), 1);
    }
}
