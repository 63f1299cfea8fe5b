//! What a node knows about the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::{NodePhase, Proposal, Status};

/// The other nodes of a run, as one of them sees them. The cost of a status does not depend on
/// their number: changes are tallied, and the node that was missing last is checked first.
#[derive(Debug)]
pub(super) struct Peers {
    known: BTreeMap<u32, Peer>,
    /// Nodes that are not connected.
    absent: BTreeSet<u32>,
    tally: Tally,
    /// The node found missing last.
    last_missing: Option<u32>,
}

/// Totals over the connected nodes.
#[derive(Debug, Default)]
struct Tally {
    /// Workers of the nodes that are training.
    workers: u64,
    /// For each round, how many nodes that train or have trained are in it.
    rounds: BTreeMap<u64, u32>,
}

impl Tally {
    fn add(&mut self, peer: &Peer) {
        let Some(status) = peer.running() else {
            return;
        };
        self.workers += training_workers(status);
        *self.rounds.entry(status.rounds).or_default() += 1;
    }

    fn remove(&mut self, peer: &Peer) {
        let Some(status) = peer.running() else {
            return;
        };
        self.workers -= training_workers(status);
        if let Entry::Occupied(mut at) = self.rounds.entry(status.rounds) {
            *at.get_mut() -= 1;
            if *at.get() == 0 {
                at.remove();
            }
        }
    }
}

/// What is known about one other node.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its incarnation.
    pub incarnation: u64,
    /// Whether there is a connection to it.
    pub up: bool,
    /// Its last status.
    pub status: Option<Status>,
    /// When it last made progress, as far as is known.
    pub progress_at: Duration,
    /// Steps per worker that this node had taken when its newest proposal arrived.
    pub proposed_at: u64,
    /// The round in which the others stopped waiting for it.
    pub given_up: Option<u64>,
    /// The round in which it takes part though it has yet to begin.
    expected: Option<u64>,
}

/// How a status differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusChange {
    /// Steps that its workers have taken in between.
    pub steps: u64,
    /// Whether it is back after the others had stopped waiting for it.
    pub back: bool,
}

impl Peer {
    fn new(incarnation: u64, now: Duration) -> Self {
        Self {
            incarnation,
            up: true,
            status: None,
            progress_at: now,
            proposed_at: 0,
            given_up: None,
            expected: None,
        }
    }

    /// Its last status, if it is connected and trains or has trained.
    fn running(&self) -> Option<&Status> {
        let status = self.status.as_ref().filter(|_| self.up)?;
        (status.phase != NodePhase::Joining).then_some(status)
    }

    /// Takes a status of the current incarnation; `None` if a newer one has arrived already.
    fn receive(&mut self, status: Status, own_steps: u64, now: Duration) -> Option<StatusChange> {
        let mut change = StatusChange {
            steps: 0,
            back: false,
        };
        if let Some(before) = &self.status {
            if before.sequence >= status.sequence {
                return None;
            }
            change.steps = status.steps.saturating_sub(before.steps);
            if before.progress < status.progress {
                self.progress_at = now;
            }
        }
        if newest(&status) > self.status.as_ref().and_then(newest) {
            self.proposed_at = own_steps;
        }
        if self.given_up.is_some_and(|round| reached(&status) >= round) {
            self.given_up = None;
            change.back = true;
        }
        self.status = Some(status);
        Some(change)
    }

    /// Whether round `round` of `sync` is incomplete without it. See [`Peers::missing`].
    fn is_missing(&self, round: u64) -> bool {
        let Some(status) = self.status.as_ref().filter(|_| self.up) else {
            return false;
        };
        let takes_part = match status.phase {
            NodePhase::Training => {
                reached(status) + 1 >= round
                    && status.rounds < round
                    && proposal_for(status, round).is_none()
            }
            NodePhase::Joining => round == 1 || self.expected == Some(round),
            NodePhase::Done | NodePhase::Closed => false,
        };
        takes_part && self.given_up.is_none()
    }
}

impl Peers {
    /// The other nodes of a run of `nodes`, none of them connected.
    pub fn new(nodes: u32, own: u32) -> Self {
        Self {
            known: BTreeMap::new(),
            absent: (0..nodes).filter(|&node| node != own).collect(),
            tally: Tally::default(),
            last_missing: None,
        }
    }

    /// Node `node` is connected.
    pub fn connected(&mut self, node: u32, incarnation: u64, now: Duration) {
        let peer = self.known.entry(node);
        let peer = peer.or_insert_with(|| Peer::new(incarnation, now));
        self.tally.remove(peer);
        match peer.incarnation == incarnation {
            true => {
                peer.up = true;
                peer.progress_at = now;
            }
            false => *peer = Peer::new(incarnation, now),
        }
        self.tally.add(peer);
        match peer.status {
            None => self.absent.insert(node),
            Some(_) => self.absent.remove(&node),
        };
    }

    /// Node `node` has disconnected. Returns whether it was connected.
    pub fn disconnected(&mut self, node: u32, incarnation: u64) -> bool {
        match self.known.get_mut(&node) {
            Some(peer) if peer.incarnation == incarnation && peer.up => {
                self.tally.remove(peer);
                self.absent.insert(node);
                peer.up = false;
                true
            }
            _ => false,
        }
    }

    /// Takes a status; `None` if it comes from an unknown node or is not the newest.
    pub fn receive(
        &mut self,
        status: Status,
        own_steps: u64,
        now: Duration,
    ) -> Option<StatusChange> {
        let peer = self.known.get_mut(&status.node)?;
        if peer.incarnation != status.incarnation || !peer.up {
            return None;
        }
        self.tally.remove(peer);
        self.absent.remove(&status.node);
        let change = peer.receive(status, own_steps, now);
        self.tally.add(peer);
        change
    }

    /// Waits in round `round` for the connected nodes that have yet to begin and will continue a run
    /// in it, as their statuses tell `continues`.
    pub fn expect(&mut self, round: u64, continues: impl Fn(&Status) -> bool) {
        for peer in self.known.values_mut().filter(|peer| peer.up) {
            let joining = peer.status.as_ref();
            let joining = joining.filter(|status| status.phase == NodePhase::Joining);
            if joining.is_some_and(&continues) {
                peer.expected = Some(round);
            }
        }
    }

    /// The connected nodes, with their last statuses.
    pub fn up(&self) -> impl Iterator<Item = (&Peer, &Status)> {
        let up = self.known.values().filter(|peer| peer.up);
        up.filter_map(|peer| Some((peer, peer.status.as_ref()?)))
    }

    /// The connected nodes that train or have trained.
    pub fn running(&self) -> impl Iterator<Item = (&Peer, &Status)> {
        let peers = self.known.values();
        peers.filter_map(|peer| Some((peer, peer.running()?)))
    }

    /// The workers of the connected nodes that train.
    pub fn training_workers(&self) -> u64 {
        self.tally.workers
    }

    /// The latest round of the connected nodes that train or have trained.
    pub fn latest_round(&self) -> Option<u64> {
        let latest = self.tally.rounds.last_key_value();
        latest.map(|(round, _)| *round)
    }

    /// The nodes without which round `round` of `sync` is incomplete: they train, have completed
    /// the round before, and have not proposed yet. A node beyond the round without a proposal for
    /// it started there and will make none. In the first round, also the connected nodes that have
    /// yet to start, since all start together; in a later one, those that are
    /// [expected](Self::expect).
    fn missing(&self, round: u64) -> impl Iterator<Item = (u32, &Peer)> {
        let known = self.known.iter().map(|(&node, peer)| (node, peer));
        known.filter(move |(_, peer)| peer.is_missing(round))
    }

    /// Whether round `round` is incomplete.
    pub fn is_incomplete(&mut self, round: u64) -> bool {
        let still = self.last_missing.and_then(|node| self.known.get(&node));
        if still.is_some_and(|peer| peer.is_missing(round)) {
            return true;
        }
        // Nodes before it have been checked in this round, and are checked again once at its end.
        let last = self.last_missing.unwrap_or(0);
        let after = (Bound::Excluded(last), Bound::Unbounded);
        let missing = |(node, peer): (&u32, &Peer)| peer.is_missing(round).then_some(*node);
        let next = self.known.range(after).find_map(missing);
        self.last_missing = next.or_else(|| self.known.range(..=last).find_map(missing));
        self.last_missing.is_some()
    }

    /// Stops waiting in round `round` for nodes that have made no progress for `limit` since
    /// `since` at the earliest. Returns them, with how long they have been stalled.
    pub fn give_up(
        &mut self,
        round: u64,
        since: Duration,
        limit: Duration,
        now: Duration,
    ) -> Vec<(u32, Duration)> {
        let missing = self.known.iter_mut();
        let stalled = missing.filter(|(_, peer)| {
            peer.is_missing(round) && now.saturating_sub(peer.progress_at.max(since)) >= limit
        });
        let given_up = stalled.map(|(&node, peer)| {
            peer.given_up = Some(round);
            (node, now.saturating_sub(peer.progress_at))
        });
        given_up.collect()
    }

    /// When the node that has been stalled the longest, of those missing in round `round`, last
    /// made progress; `since` at the earliest.
    pub fn stalled_since(&self, round: u64, since: Duration) -> Option<Duration> {
        let missing = self.missing(round);
        missing.map(|(_, peer)| peer.progress_at.max(since)).min()
    }

    /// Whether a connected node has yet to start, or to reach `round` of `sync`.
    pub fn is_anyone_before(&self, round: u64) -> bool {
        self.up().any(|(_, status)| match status.phase {
            NodePhase::Joining => true,
            NodePhase::Training => reached(status) < round,
            NodePhase::Done | NodePhase::Closed => false,
        })
    }

    /// Whether the others have moved on without this node, which has reached `round` and has or has
    /// not `proposed` for it (`sync`).
    pub fn left_behind(&self, round: u64, proposed: bool) -> bool {
        let ahead = if proposed { round + 1 } else { round };
        self.latest_round().is_some_and(|latest| latest >= ahead)
    }

    /// Nodes that have not been heard of yet, or have disconnected.
    pub fn absent(&self) -> &BTreeSet<u32> {
        &self.absent
    }
}

fn training_workers(status: &Status) -> u64 {
    match status.phase {
        NodePhase::Training => u64::from(status.workers),
        NodePhase::Joining | NodePhase::Done | NodePhase::Closed => 0,
    }
}

/// The last round that a node has proposed for or taken part in.
fn reached(status: &Status) -> u64 {
    newest(status).unwrap_or(0).max(status.rounds)
}

fn newest(status: &Status) -> Option<u64> {
    status.proposals[0].map(|proposal| proposal.round)
}

/// A node's proposal for a round, if it has made one.
pub(super) fn proposal_for(status: &Status, round: u64) -> Option<Proposal> {
    let mut proposals = status.proposals.iter().flatten();
    proposals.find(|proposal| proposal.round == round).copied()
}
