//! What a node knows of the others, and what it may conclude from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{Offer, Phase, Status};

/// The other nodes of a run, as one of them knows them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<u32, Peer>,
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

impl Peers {
    /// Node `node` is connected.
    pub fn appeared(&mut self, node: u32, life: u64, now: Duration) {
        match self.known.get_mut(&node) {
            Some(peer) if peer.life == life => {
                peer.up = true;
                peer.progress_at = now;
            }
            _ => {
                let peer = Peer {
                    life,
                    up: true,
                    status: None,
                    progress_at: now,
                    offered_at: 0,
                    given_up: None,
                };
                self.known.insert(node, peer);
            }
        }
    }

    /// Node `node` is connected no longer. Says whether that is new.
    pub fn vanished(&mut self, node: u32, life: u64) -> bool {
        match self.known.get_mut(&node) {
            Some(peer) if peer.life == life && peer.up => {
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
        let mut news = News {
            steps: 0,
            back: false,
        };
        if let Some(before) = &peer.status {
            if before.sequence >= status.sequence {
                return None;
            }
            news.steps = status.steps.saturating_sub(before.steps);
            if before.progress < status.progress {
                peer.progress_at = now;
            }
        }
        if newest(&status) > peer.status.as_ref().and_then(newest) {
            peer.offered_at = own_steps;
        }
        if peer.given_up.is_some_and(|round| reached(&status) >= round) {
            peer.given_up = None;
            news.back = true;
        }
        peer.status = Some(status);
        Some(news)
    }

    /// Those that are connected, with what they said last.
    pub fn up(&self) -> impl Iterator<Item = (&Peer, &Status)> {
        let up = self.known.values().filter(|peer| peer.up);
        up.filter_map(|peer| Some((peer, peer.status.as_ref()?)))
    }

    /// Those that are connected and train, or have trained.
    pub fn running(&self) -> impl Iterator<Item = (&Peer, &Status)> {
        self.up()
            .filter(|(_, status)| status.phase != Phase::Joining)
    }

    /// Those without which round `round` of `sync` is not complete: they train, have come as far
    /// as the round before, and have not offered yet. One that is beyond the round without an offer
    /// for it has begun there, and will make none. In the first round also those that are there and
    /// have yet to begin, as all begin together.
    pub fn missing(&self, round: u64) -> impl Iterator<Item = (&Peer, &Status)> {
        let takes_part = move |phase| match phase {
            Phase::Training => true,
            Phase::Joining => round == 1,
            Phase::Done | Phase::Closed => false,
        };
        self.up().filter(move |(peer, status)| {
            takes_part(status.phase)
                && peer.given_up.is_none()
                && reached(status) + 1 >= round
                && status.rounds < round
                && offer_for(status, round).is_none()
        })
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
        let silent = |peer: &Peer| now.saturating_sub(peer.progress_at.max(since));
        let given_up: Vec<(u32, Duration)> = self
            .missing(round)
            .filter(|(peer, _)| silent(peer) >= limit)
            .map(|(peer, status)| (status.node, now.saturating_sub(peer.progress_at)))
            .collect();
        for (node, _) in &given_up {
            if let Some(peer) = self.known.get_mut(node) {
                peer.given_up = Some(round);
            }
        }
        given_up
    }

    /// Whether others have gone on without this node, which has come to `round` and has, or has
    /// not, offered for it (`sync`).
    pub fn left_behind(&self, round: u64, offered: bool) -> bool {
        let ahead = if offered { round + 1 } else { round };
        self.running().any(|(_, status)| status.rounds >= ahead)
    }

    /// The nodes that are not there yet, of `nodes` without `own`.
    pub fn absent(&self, nodes: u32, own: u32) -> BTreeSet<u32> {
        let there: BTreeSet<u32> = self.up().map(|(_, status)| status.node).collect();
        (0..nodes)
            .filter(|node| *node != own && !there.contains(node))
            .collect()
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
