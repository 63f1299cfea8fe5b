//! A run in two phases: first anything may go wrong, then a part heals and must go on while the rest
//! stays away for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use lsgd_core::{ExchangeOutcome, Mode, Source};

use crate::auditors::{Audit, Finding, Splits};
use crate::network::{LEASE, LIMIT, Network, Planted, RECONNECT, Seen, Setting};
use crate::scenario::{Fate, SLOWEST, Scenario, TRANSFER};

/// How much happens between two looks of the auditors.
const LOOK: Duration = Duration::from_millis(500);

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub finding: Option<Finding>,
    /// How long it was.
    pub time: Duration,
    /// Exchanges that ended at a node.
    pub exchanges: u64,
    pub splits: Splits,
}

/// A scenario as it takes place.
pub struct ClusterRun {
    scenario: Scenario,
    pub network: Network,
    audit: Audit,
    exchanges: u64,
    /// The nodes that must take part again, and what each has followed since.
    followed: Vec<Vec<ExchangeOutcome>>,
}

impl ClusterRun {
    pub fn new(scenario: Scenario) -> Self {
        let nodes = scenario.setting.nodes as usize;
        Self {
            audit: Audit::new(&scenario.setting),
            network: Network::new(scenario.setting.clone()),
            exchanges: 0,
            followed: vec![Vec::new(); nodes],
            scenario,
        }
    }

    /// Runs it to its end or to the first finding.
    pub fn run(&mut self) -> Outcome {
        let finding = self.phases().err();
        Outcome {
            finding,
            time: self.network.now,
            exchanges: self.exchanges,
            splits: self.audit.elections.splits,
        }
    }

    fn phases(&mut self) -> Result<(), Finding> {
        self.pass(self.scenario.calm)?;
        for (wait, fault) in self.scenario.faults.clone() {
            fault.inflict(&mut self.network);
            self.pass(wait)?;
        }
        let part = self.heal();
        self.pass(bound(&self.scenario.setting))?;
        self.network.settle();
        self.pass(Duration::from_secs(5))?;
        self.followed.iter_mut().for_each(Vec::clear);
        self.pass(Duration::from_secs(5))?;
        self.check_part(&part)
    }

    /// Lets time pass under the auditors' eyes.
    fn pass(&mut self, time: Duration) -> Result<(), Finding> {
        let end = self.network.now + time;
        while self.network.now < end {
            self.network.run(LOOK.min(end - self.network.now));
            let sights = self.network.take_sights();
            for sight in &sights {
                if let Seen::Delivered(_, delivered) = &sight.what {
                    self.exchanges += 1;
                    self.followed[sight.node as usize].push(delivered.clone());
                }
            }
            self.audit.see(&sights)?;
        }
        Ok(())
    }

    /// Mends everything in a part of the nodes; the others stay away. If nobody in the part trains,
    /// it could not start without the others: then all heal.
    fn heal(&mut self) -> BTreeSet<u32> {
        let network = &mut self.network;
        let trains = |node: &u32| network.has_begun(*node);
        let part = match self.scenario.part.iter().any(trains) {
            true => self.scenario.part.clone(),
            false => (0..self.scenario.setting.nodes).collect(),
        };
        network.setting.loss = 0.0;
        network.unblock();
        for node in 0..self.scenario.setting.nodes {
            if part.contains(&node) {
                network.thaw(node);
                network.slow(node, TRANSFER);
                network.pace(node, 1.0);
                if !network.is_alive(node) {
                    network.start_again(node, self.scenario.disk);
                }
            } else {
                match self.scenario.fate {
                    Fate::Dead => network.kill(node),
                    Fate::Frozen => network.freeze(node),
                    Fate::CutOff => {}
                }
            }
        }
        network.cut(|node| u32::from(!part.contains(&node)));
        if self.scenario.setting.harshness.planted == Some(Planted::Deaf)
            && let Some(node) = part.first()
        {
            network.deafen(*node);
        }
        part
    }

    /// Every node of the part takes part, and all follow the best of them.
    fn check_part(&self, part: &BTreeSet<u32>) -> Result<(), Finding> {
        let finding = |what: String| Finding {
            auditor: "progress",
            what,
        };
        let setting = &self.scenario.setting;
        let part: BTreeSet<u32> = match setting.method.shares_gradients() {
            // A node that has missed a step cannot take part any more, and ends.
            true => part
                .iter()
                .copied()
                .filter(|&n| self.network.is_alive(n))
                .collect(),
            false => part.clone(),
        };
        for &node in &part {
            let followed = &self.followed[node as usize];
            if followed.iter().all(ExchangeOutcome::is_empty) {
                let bound = bound(setting);
                return Err(finding(format!(
                    "node {node} of {part:?} takes part in no exchange, {bound:?} after all is well"
                )));
            }
            let leaders = followed.iter().filter_map(|f| f.leader.as_ref());
            let led: BTreeSet<u32> = leaders
                .filter_map(|leader| node_of(leader.source()))
                .collect();
            let best = best(&self.network, &part);
            if setting.method.elects() && setting.method.margin() == 0.0 && led != best {
                return Err(finding(format!(
                    "node {node} of {part:?} follows {led:?}, where {best:?} is the best"
                )));
            }
            let last = followed.last().and_then(|f| f.mean.as_ref());
            let workers = last.map(|mean| mean.source());
            let expected = Source::Mean {
                workers: 2 * part.len(),
            };
            let all_count = setting.method.filter_margin().is_none();
            if setting.mode == Mode::Sync
                && all_count
                && workers.is_some_and(|workers| workers != expected)
            {
                return Err(finding(format!(
                    "node {node} of {part:?} moves to {workers:?} in the end"
                )));
            }
        }
        Ok(())
    }
}

/// How long it may take until all nodes that are well take part again: until they are connected and
/// have heard of each other, the limit for a node that is given up, a lease for each node that is
/// asked for a vector and is gone, a period that a slow node is in the middle of, and some rounds
/// and fetches to catch up. Clocks may run a few per cent too slow.
pub fn bound(setting: &Setting) -> Duration {
    let rounds = setting.step * u32::try_from(setting.method.periods().global).unwrap_or(1);
    let slow = rounds.mul_f64(1.5 * SLOWEST);
    let catching_up = 4 * (rounds.mul_f64(1.5) + TRANSFER + 8 * setting.delay[1]);
    let asking = LEASE * (setting.nodes + 1);
    (RECONNECT + Duration::from_secs(2) + LIMIT + asking + slow + catching_up).mul_f64(1.04)
}

fn node_of(source: Source) -> Option<u32> {
    match source {
        Source::Worker { id, .. } => Some(id.node),
        _ => None,
    }
}

/// The node of `part` with the lowest settled loss.
fn best(network: &Network, part: &BTreeSet<u32>) -> BTreeSet<u32> {
    let lowest = part.iter().copied().min_by(|a, b| {
        let loss = |node: &u32| network.settled_loss(*node);
        loss(a).total_cmp(&loss(b))
    });
    lowest.into_iter().collect()
}
