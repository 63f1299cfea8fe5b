//! What a node knows of the others, and what it may conclude from it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::{Offer, Phase, Status};

/// The other nodes of a run, as one of them knows them. A status costs the same however many they
/// are: what each changes is kept as a tally, and who was missing is looked at first.
#[derive(Debug)]
pub(super) struct Peers {
    known: BTreeMap<u32, Peer>,
    /// Those that are not there yet, or no longer.
    absent: BTreeSet<u32>,
    tally: Tally,
    /// Who was found missing last.
    last_missing: Option<u32>,
}

/// What the connected others come to together.
#[derive(Debug, Default)]
struct Tally {
    /// Workers of those that train.
    workers: u64,
    /// How many of those that train, or have trained, are at each round.
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

/// What is known of one other node.
#[derive(Debug)]
pub(super) struct Peer {
    /// Which life of the node it is.
    pub life: u64,
    /// Whether there is a connection to it.
    pub up: bool,
    /// What it said last.
    pub status: Option<Status>,
    /// When it last got on with something, as far as is known.
    pub progress_at: Duration,
    /// This node's own steps per worker when its newest offer came.
    pub offered_at: u64,
    /// The round in which others stopped waiting for it.
    pub given_up: Option<u64>,
}

/// What is new in a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// Steps that its workers have taken since the one before.
    pub steps: u64,
    /// Whether it is back after others had stopped waiting for it.
    pub back: bool,
}

impl Peer {
    fn new(life: u64, now: Duration) -> Self {
        Self {
            life,
            up: true,
            status: None,
            progress_at: now,
            offered_at: 0,
            given_up: None,
        }
    }

    /// What it said last, if it is connected and trains, or has trained.
    fn running(&self) -> Option<&Status> {
        let status = self.status.as_ref().filter(|_| self.up)?;
        (status.phase != Phase::Joining).then_some(status)
    }

    /// Takes a status of its present life; `None` when it is not the newest.
    fn receive(&mut self, status: Status, own_steps: u64, now: Duration) -> Option<News> {
        let mut news = News {
            steps: 0,
            back: false,
        };
        if let Some(before) = &self.status {
            if before.sequence >= status.sequence {
                return None;
            }
            news.steps = status.steps.saturating_sub(before.steps);
            if before.progress < status.progress {
                self.progress_at = now;
            }
        }
        if newest(&status) > self.status.as_ref().and_then(newest) {
            self.offered_at = own_steps;
        }
        if self.given_up.is_some_and(|round| reached(&status) >= round) {
            self.given_up = None;
            news.back = true;
        }
        self.status = Some(status);
        Some(news)
    }

    /// Whether round `round` of `sync` is not complete without it. See [`Peers::missing`].
    fn is_missing(&self, round: u64) -> bool {
        let Some(status) = self.status.as_ref().filter(|_| self.up) else {
            return false;
        };
        let takes_part = match status.phase {
            Phase::Training => true,
            Phase::Joining => round == 1,
            Phase::Done | Phase::Closed => false,
        };
        takes_part
            && self.given_up.is_none()
            && reached(status) + 1 >= round
            && status.rounds < round
            && offer_for(status, round).is_none()
    }
}

impl Peers {
    /// The others of `nodes` nodes, none of which is there yet.
    pub fn new(nodes: u32, own: u32) -> Self {
        Self {
            known: BTreeMap::new(),
            absent: (0..nodes).filter(|&node| node != own).collect(),
            tally: Tally::default(),
            last_missing: None,
        }
    }

    /// Node `node` is connected.
    pub fn appeared(&mut self, node: u32, life: u64, now: Duration) {
        let peer = self.known.entry(node);
        let peer = peer.or_insert_with(|| Peer::new(life, now));
        self.tally.remove(peer);
        match peer.life == life {
            true => {
                peer.up = true;
                peer.progress_at = now;
            }
            false => *peer = Peer::new(life, now),
        }
        self.tally.add(peer);
        match peer.status {
            None => self.absent.insert(node),
            Some(_) => self.absent.remove(&node),
        };
    }

    /// Node `node` is connected no longer. Says whether that is new.
    pub fn vanished(&mut self, node: u32, life: u64) -> bool {
        match self.known.get_mut(&node) {
            Some(peer) if peer.life == life && peer.up => {
                self.tally.remove(peer);
                self.absent.insert(node);
                peer.up = false;
                true
            }
            _ => false,
        }
    }

    /// Takes a status; `None` when it is of nobody known, or not the newest.
    pub fn receive(&mut self, status: Status, own_steps: u64, now: Duration) -> Option<News> {
        let peer = self.known.get_mut(&status.node)?;
        if peer.life != status.life || !peer.up {
            return None;
        }
        self.tally.remove(peer);
        self.absent.remove(&status.node);
        let news = peer.receive(status, own_steps, now);
        self.tally.add(peer);
        news
    }

    /// Those that are connected, with what they said last.
    pub fn up(&self) -> impl Iterator<Item = (&Peer, &Status)> {
        let up = self.known.values().filter(|peer| peer.up);
        up.filter_map(|peer| Some((peer, peer.status.as_ref()?)))
    }

    /// Those that are connected and train, or have trained.
    pub fn running(&self) -> impl Iterator<Item = (&Peer, &Status)> {
        let peers = self.known.values();
        peers.filter_map(|peer| Some((peer, peer.running()?)))
    }

    /// The workers of those that are connected and train.
    pub fn training_workers(&self) -> u64 {
        self.tally.workers
    }

    /// The latest round of those that are connected and train, or have trained.
    pub fn latest_round(&self) -> Option<u64> {
        let latest = self.tally.rounds.last_key_value();
        latest.map(|(round, _)| *round)
    }

    /// Those without which round `round` of `sync` is not complete: they train, have come as far
    /// as the round before, and have not offered yet. One that is beyond the round without an offer
    /// for it has begun there, and will make none. In the first round also those that are there and
    /// have yet to begin, as all begin together.
    fn missing(&self, round: u64) -> impl Iterator<Item = (u32, &Peer)> {
        let known = self.known.iter().map(|(&node, peer)| (node, peer));
        known.filter(move |(_, peer)| peer.is_missing(round))
    }

    /// Whether round `round` is not complete yet.
    pub fn is_incomplete(&mut self, round: u64) -> bool {
        let still = self.last_missing.and_then(|node| self.known.get(&node));
        if still.is_some_and(|peer| peer.is_missing(round)) {
            return true;
        }
        // Those before it have been looked at in this round, and are looked at again once at its end.
        let last = self.last_missing.unwrap_or(0);
        let after = (Bound::Excluded(last), Bound::Unbounded);
        let missing = |(node, peer): (&u32, &Peer)| peer.is_missing(round).then_some(*node);
        let next = self.known.range(after).find_map(missing);
        self.last_missing = next.or_else(|| self.known.range(..=last).find_map(missing));
        self.last_missing.is_some()
    }

    /// Stops waiting in round `round` for those that have got on with nothing for `limit` while
    /// others waited since `since`. Returns them, with how long they were silent.
    pub fn give_up(
        &mut self,
        round: u64,
        since: Duration,
        limit: Duration,
        now: Duration,
    ) -> Vec<(u32, Duration)> {
        let missing = self.known.iter_mut();
        let silent = missing.filter(|(_, peer)| {
            peer.is_missing(round) && now.saturating_sub(peer.progress_at.max(since)) >= limit
        });
        let given_up = silent.map(|(&node, peer)| {
            peer.given_up = Some(round);
            (node, now.saturating_sub(peer.progress_at))
        });
        given_up.collect()
    }

    /// Since when, and not before `since`, the one of those missing in round `round` that has been
    /// silent the longest has got on with nothing.
    pub fn silent_since(&self, round: u64, since: Duration) -> Option<Duration> {
        let missing = self.missing(round);
        missing.map(|(_, peer)| peer.progress_at.max(since)).min()
    }

    /// Whether one that is connected has yet to begin, or has not come as far as `round` of `sync`.
    pub fn is_anyone_before(&self, round: u64) -> bool {
        self.up().any(|(_, status)| match status.phase {
            Phase::Joining => true,
            Phase::Training => reached(status) < round,
            Phase::Done | Phase::Closed => false,
        })
    }

    /// Whether others have gone on without this node, which has come to `round` and has, or has
    /// not, offered for it (`sync`).
    pub fn left_behind(&self, round: u64, offered: bool) -> bool {
        let ahead = if offered { round + 1 } else { round };
        self.latest_round().is_some_and(|latest| latest >= ahead)
    }

    /// The nodes of which nothing has been heard yet, or that are connected no longer.
    pub fn absent(&self) -> &BTreeSet<u32> {
        &self.absent
    }
}

fn training_workers(status: &Status) -> u64 {
    match status.phase {
        Phase::Training => u64::from(status.workers),
        Phase::Joining | Phase::Done | Phase::Closed => 0,
    }
}

/// The last round that a node has offered for or taken part in.
fn reached(status: &Status) -> u64 {
    newest(status).unwrap_or(0).max(status.rounds)
}

fn newest(status: &Status) -> Option<u64> {
    status.offers[0].map(|offer| offer.round)
}

/// A node's offer for a round, if it has made one.
pub(super) fn offer_for(status: &Status, round: u64) -> Option<Offer> {
    let mut offers = status.offers.iter().flatten();
    offers.find(|offer| offer.round == round).copied()
}
