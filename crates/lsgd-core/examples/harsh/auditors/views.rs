//! What each node offered, and what each knows of the others: the auditors' own account of it, from
//! what went in and out of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    Event, Mode, NodePhase, NodeUpdate, Proposal, Scope, Snapshot, SnapshotDigest, Source, Status,
    VectorRef, WireFormat, WorkerId,
};

use super::rounding::{largest, on_the_wire};
use crate::network::{Seen, Setting, Sight};

/// A vector that a node offered, as the wire carries it.
#[derive(Debug, Clone)]
pub struct Offered {
    pub source: Source,
    pub values: Vec<f32>,
    pub weights: Vec<f32>,
    pub loss: f64,
}

/// What a node's workers came with for one exchange, if others may see it.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    pub leader: Option<Offered>,
    pub sum: Option<Offered>,
}

/// A proposal of a node's process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    pub node: u32,
    pub incarnation: u64,
    pub proposal: Proposal,
    /// Steps per worker that the counting node had taken since it came.
    pub age: u64,
}

/// One node as another sees it.
#[derive(Debug, Clone)]
pub struct PeerView {
    pub incarnation: u64,
    pub up: bool,
    pub status: Option<Status>,
    proposed_at: u64,
}

/// What a node's process knows.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    pub incarnation: u64,
    pub peers: BTreeMap<u32, PeerView>,
    pub said: Option<Status>,
    /// Its workers' last update, until it tells the others of it.
    update: Option<NodeUpdate>,
    own_at: u64,
    /// The proposals that count in the exchange under way, in node order, once it is decided.
    pub counted: Option<Vec<Counted>>,
    /// Vectors that it could not have in the exchange under way.
    pub failed: BTreeSet<SnapshotDigest>,
    /// Nodes whose sums it could not have for a mean in the exchange under way.
    pub missing: BTreeSet<u32>,
    /// When the exchange before ended, or its workers began.
    pub since: Duration,
    /// The leader that it followed last.
    pub followed: Option<WorkerId>,
    /// Whom it elected last.
    elected: Option<WorkerId>,
    /// The mean that it has asked for in the exchange under way, until it has it or cannot have it.
    mean: Option<SnapshotDigest>,
    /// Vectors that it has asked for in the exchange under way.
    asked: BTreeSet<SnapshotDigest>,
    /// Whether it asks to start from what it asked for last.
    pub starts: bool,
    /// Connected nodes that it does not wait for in the exchange under way: it has not heard that
    /// they have come as far.
    pub behind: Vec<u32>,
    /// What the changes are of that it sends, in a format for changes, and what it has not sent.
    pub base: Option<Arc<Snapshot>>,
    unsent: Option<Vec<f32>>,
    /// The latter, once what it proposed is in a mean.
    proposed: Option<Vec<f32>>,
    /// When it lost another or found it, or another began, as far as it has heard; and when it began itself.
    pub changes: Vec<(Duration, u32)>,
}

/// What a node keeps in a format for changes.
type Kept = (Option<Arc<Snapshot>>, Option<Vec<f32>>);

/// All of them.
pub struct Views {
    pub nodes: Vec<NodeView>,
    /// By node, incarnation and round.
    pub offers: BTreeMap<(u32, u64, u64), Offer>,
    /// Of each node, by the step of a checkpoint: what changes are of, and what was not sent.
    saved: Vec<BTreeMap<u64, Kept>>,
    wire: WireFormat,
    mode: Mode,
    centre: bool,
}

impl Views {
    pub fn new(setting: &Setting) -> Self {
        Self {
            nodes: vec![NodeView::default(); setting.nodes as usize],
            offers: BTreeMap::new(),
            saved: vec![BTreeMap::new(); setting.nodes as usize],
            wire: setting.wire,
            mode: setting.mode,
            centre: setting.method.has_centre(),
        }
    }

    pub fn node(&self, node: u32) -> &NodeView {
        &self.nodes[node as usize]
    }

    pub fn offer(&self, counted: &Counted) -> Option<&Offer> {
        let key = (counted.node, counted.incarnation, counted.proposal.round);
        self.offers.get(&key)
    }

    /// Takes what happened, before the auditors look at it.
    pub fn see(&mut self, sight: &Sight) {
        let (at, mode, centre) = (sight.at, self.mode, self.centre);
        let view = &mut self.nodes[sight.node as usize];
        match &sight.what {
            Seen::Started => {
                let incarnation = sight.incarnation;
                *view = NodeView {
                    incarnation,
                    since: at,
                    ..NodeView::default()
                };
            }
            Seen::Connected(other, incarnation) => {
                view.changes.push((at, *other));
                view.connect(*other, *incarnation);
            }
            Seen::Disconnected(other, incarnation) => {
                view.changes.push((at, *other));
                let peer = view.peers.get_mut(other);
                if let Some(peer) = peer.filter(|peer| peer.incarnation == *incarnation) {
                    peer.up = false;
                }
            }
            Seen::Received(status) => view.receive(status, at),
            Seen::Offered(update) => view.update = Some(update.clone()),
            Seen::Said(status) => {
                let update = view.update.take();
                view.said = Some(status.clone());
                let last = status.join_point.filter(|last| last.round == status.rounds);
                view.followed = last.and_then(|last| worker(last.vector.source));
                if let (Some(update), Some(proposal)) = (update, status.proposals[0]) {
                    view.own_at = view.own_steps();
                    if mode == Mode::Sync {
                        view.counted = None;
                        view.failed.clear();
                        view.missing.clear();
                        view.asked.clear();
                    }
                    let key = (sight.node, sight.incarnation, proposal.round);
                    let mut offer = offer(self.wire, &update);
                    if self.wire == WireFormat::Topk {
                        offer.sum = offer.sum.map(|sum| view.change(sum));
                    }
                    self.offers.insert(key, offer);
                }
            }
            Seen::Recorded(Event::Election {
                scope: Scope::Global,
                election,
                ..
            }) => {
                view.decide(sight.node, mode);
                view.elected = election.leader;
            }
            Seen::Recorded(Event::NodeLost { node, .. } | Event::NodeConnected { node, .. }) => {
                view.changes.push((at, *node));
            }
            Seen::AskedForMean(mean) => {
                view.decide(sight.node, mode);
                view.mean = Some(mean.name());
            }
            Seen::Unaveraged(name, nodes) => {
                let its = view.mean.take_if(|asked| asked == name);
                view.missing.extend(its.iter().flat_map(|_| nodes));
            }
            Seen::Asked(vector) => {
                if is_sum(vector.source) || centre {
                    view.decide(sight.node, mode);
                }
                view.ask(vector, mode);
            }
            Seen::Delivered(..) if view.counted.is_none() => view.decide(sight.node, mode),
            Seen::Unfetched(digest) => {
                view.failed.insert(*digest);
            }
            _ => {}
        }
    }

    /// Ends what has ended, after the auditors have looked at it.
    pub fn settle(&mut self, sight: &Sight) {
        let view = &mut self.nodes[sight.node as usize];
        if let Seen::Delivered(_, delivered) = &sight.what {
            let leader = delivered.leader.as_ref();
            view.followed = leader.and_then(|leader| worker(leader.source()));
            let proposed = view.proposed.take();
            if let Some(mean) = delivered.mean.as_ref() {
                view.unsent = proposed;
                view.base = Some(mean.clone());
            }
        }
        let saved = &mut self.saved[sight.node as usize];
        match &sight.what {
            Seen::Saved(step) => {
                saved.retain(|of, _| of < step);
                saved.insert(*step, (view.base.clone(), view.unsent.clone()));
            }
            Seen::Began {
                step,
                resumes: true,
                ..
            } => (view.base, view.unsent) = saved.get(step).cloned().unwrap_or_default(),
            Seen::Began { parameters, .. } => {
                view.base = parameters.clone().or(view.base.take());
                (view.unsent, view.proposed) = (None, None);
            }
            _ => {}
        }
        if let Seen::Delivered(..) | Seen::Began { .. } = &sight.what {
            view.asked.clear();
            view.mean = None;
            view.counted = None;
            view.failed.clear();
            view.missing.clear();
            view.since = sight.at;
        }
        if let Seen::Began { .. } = &sight.what {
            view.changes.push((sight.at, sight.node));
        }
    }
}

impl PeerView {
    /// Whether it is not known to have come to the round before this one.
    fn is_before(&self, round: u64) -> bool {
        let Some(status) = &self.status else {
            return true;
        };
        let proposed = status.proposals[0].map_or(0, |proposal| proposal.round);
        status.phase == NodePhase::Joining || status.rounds.max(proposed) + 1 < round
    }
}

impl NodeView {
    /// Steps per worker that it has taken.
    pub fn own_steps(&self) -> u64 {
        let said = self.said.as_ref();
        said.map_or(0, |status| status.steps / u64::from(status.workers.max(1)))
    }

    /// The last proposal of its own.
    fn own(&self, node: u32) -> Option<Counted> {
        let proposal = self.said.as_ref()?.proposals[0]?;
        Some(Counted {
            node,
            incarnation: self.incarnation,
            proposal,
            age: self.own_steps().saturating_sub(self.own_at),
        })
    }

    fn connect(&mut self, other: u32, incarnation: u64) {
        let new = PeerView {
            incarnation,
            up: true,
            status: None,
            proposed_at: 0,
        };
        let peer = self.peers.entry(other).or_insert_with(|| new.clone());
        match peer.incarnation == incarnation {
            true => peer.up = true,
            false => *peer = new,
        }
    }

    fn receive(&mut self, status: &Status, at: Duration) {
        let own_steps = self.own_steps();
        let Some(peer) = self.peers.get_mut(&status.node) else {
            return;
        };
        let before = peer.status.as_ref();
        let newer = before.is_none_or(|before| before.sequence < status.sequence);
        if !peer.up || peer.incarnation != status.incarnation || !newer {
            return;
        }
        let newest = |status: &Status| status.proposals[0].map(|proposal| proposal.round);
        let known = before.and_then(newest);
        if newest(status) > known {
            peer.proposed_at = own_steps;
        }
        // It began, or began again where the others were.
        let phase = before.map(|before| before.phase);
        let rounds = before.map(|before| before.rounds);
        let again = newest(status).is_none() && (known.is_some() || rounds != Some(status.rounds));
        if phase != Some(status.phase) || again {
            self.changes.push((at, status.node));
        }
        peer.status = Some(status.clone());
    }

    /// It asks for a vector, for the exchange under way or to start from.
    fn ask(&mut self, vector: &VectorRef, mode: Mode) {
        let joins = self
            .said
            .as_ref()
            .is_none_or(|said| said.phase == NodePhase::Joining);
        let mut counted = self.counted.iter().flatten();
        let counts = counted.any(|c| c.proposal.vectors().any(|v| v.digest == vector.digest));
        let wanted = match vector.source {
            Source::Worker { id, .. } => Some(id) == self.elected,
            _ => true,
        };
        let again = !self.asked.insert(vector.digest);
        // A node of `async` that trains does not start again, and nobody starts from a sum, of which two nodes
        // may have the same.
        let starting = mode == Mode::Sync && !is_sum(vector.source);
        let late = starting && (!counts || !wanted || again);
        self.starts = joins || late;
        if self.starts {
            // If it cannot have that, it counts anew.
            self.counted = None;
            self.mean = None;
            self.failed.clear();
            self.missing.clear();
            self.asked.clear();
        }
    }

    /// The change that it sends in place of a sum.
    fn change(&mut self, sum: Offered) -> Offered {
        let (Some(base), Source::Sum { workers }) = (&self.base, sum.source) else {
            return sum;
        };
        let pairs = sum.values.iter().zip(base.parameters());
        let change = pairs.map(|(x, b)| (f64::from(*x) - workers as f64 * f64::from(*b)) as f32);
        let change: Vec<f32> = match &self.unsent {
            Some(unsent) => change.zip(unsent).map(|(c, e)| c + e).collect(),
            None => change.collect(),
        };
        let values = largest(&change);
        let left = change.iter().zip(&values).map(|(c, q)| c - q);
        self.proposed = Some(left.collect());
        let since = base.digest().into();
        let source = Source::Change { workers, since };
        Offered {
            source,
            values,
            ..sum
        }
    }

    /// From now on nothing changes the proposals that count in the exchange under way.
    fn decide(&mut self, node: u32, mode: Mode) {
        // In `async` every election counts anew.
        if self.counted.is_some() && mode == Mode::Sync {
            return;
        }
        let own = self.own(node);
        if own.is_none() && mode == Mode::Sync {
            return;
        }
        let own_steps = self.own_steps();
        let theirs = self.peers.iter().filter_map(|(&node, peer)| {
            let status = peer.status.as_ref().filter(|_| peer.up)?;
            if status.phase == NodePhase::Joining {
                return None;
            }
            let mut proposals = status.proposals.iter().flatten();
            let proposal = match mode {
                Mode::Sync => {
                    proposals.find(|p| Some(p.round) == own.map(|own| own.proposal.round))
                }
                Mode::Async => proposals.next(),
            };
            Some(Counted {
                node,
                incarnation: peer.incarnation,
                proposal: *proposal?,
                age: own_steps.saturating_sub(peer.proposed_at),
            })
        });
        let mut counted: Vec<Counted> = theirs.chain(own).collect();
        counted.sort_by_key(|counted| counted.node);
        let round = own.map_or(0, |own| own.proposal.round);
        let behind = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.up && peer.is_before(round));
        self.behind = behind.map(|(node, _)| *node).collect();
        self.counted = Some(counted);
    }
}

pub fn is_sum(source: Source) -> bool {
    matches!(source, Source::Sum { .. } | Source::Change { .. })
}

fn worker(source: Source) -> Option<WorkerId> {
    match source {
        Source::Worker { id, .. } => Some(id),
        _ => None,
    }
}

/// What others may see of an update: what is finite, as the wire rounds it.
fn offer(wire: WireFormat, update: &NodeUpdate) -> Offer {
    let offered = |vector: &Snapshot, loss: f64| {
        let (values, weights) = on_the_wire(wire, vector, vector.digest());
        let finite = values.iter().all(|value| value.is_finite()) && loss.is_finite();
        finite.then(|| Offered {
            source: vector.source(),
            values,
            weights,
            loss,
        })
    };
    let of = |vector: &Option<(Arc<Snapshot>, f64)>| {
        let (vector, loss) = vector.as_ref()?;
        offered(vector, *loss)
    };
    Offer {
        leader: of(&update.leader),
        sum: of(&update.sum),
    }
}
