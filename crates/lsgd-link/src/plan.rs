//! Which part of a vector to request from which node.
//!
//! A state machine without sockets or a clock.

use std::collections::VecDeque;
use std::ops::Range;

use crate::messages::ChunkRequest;

/// Chunks requested from a node at a time: enough to keep a link busy for a round trip, few enough
/// that the node's queue stays small.
const WINDOW: usize = 8;
/// From a partner that has delivered none yet, or is slow. Each chunk that it delivers in time adds
/// one.
const FIRST_WINDOW: usize = 2;
/// Chunks in each share, at least: with fewer, a partner that is late cannot be told from one whose
/// turn has not come. So a small vector is shared by fewer nodes.
const SMALLEST_SHARE: usize = 4;

/// The holder's place among the nodes that are asked. The partners follow.
pub(crate) const HOLDER: usize = 0;

/// A request for a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Who is asked: [`HOLDER`], or a partner, from 1.
    pub from: usize,
    /// The values requested.
    pub range: Range<usize>,
    /// Its number among the requests of this fetch.
    pub number: u64,
}

impl Request {
    /// Its place among the chunks.
    pub fn chunk(&self) -> usize {
        chunk_at(self.range.start)
    }
}

/// Number of chunks of a vector of `values` values.
pub(crate) fn chunks_of(values: usize) -> usize {
    values.div_ceil(ChunkRequest::MAX_VALUES)
}

/// The values of a chunk of a vector of `values` values.
pub(crate) fn chunk_range(chunk: usize, values: usize) -> Range<usize> {
    let start = chunk * ChunkRequest::MAX_VALUES;
    start..values.min(start + ChunkRequest::MAX_VALUES)
}

/// How many nodes share a vector of `values` values, at most.
pub(crate) fn most_sharers(values: usize) -> usize {
    (chunks_of(values) / SMALLEST_SHARE).max(1)
}

/// The chunk that the value at this position is in.
pub(crate) fn chunk_at(value: usize) -> usize {
    value / ChunkRequest::MAX_VALUES
}

/// What one node is asked for.
#[derive(Debug, Default)]
struct Share {
    /// Chunks to request from it.
    waiting: VecDeque<usize>,
    /// The newest request to it for each chunk that has not arrived, oldest first.
    under_way: VecDeque<Request>,
    /// How many may be under way: none from a partner that was given up.
    window: usize,
    /// Chunks that it has delivered.
    delivered: usize,
    /// Refusals since it last delivered one.
    refusals: u32,
    /// How many chunks, from anyone, must arrive before it is asked again.
    pause: usize,
}

impl Share {
    fn has_room(&self) -> bool {
        self.pause == 0 && self.under_way.len() < self.window
    }
}

/// The chunks of a vector, requested from a node that holds it and from partners: nodes that fetch
/// it at the same time.
///
/// Each of those who fetch requests its own share of the chunks from the holder, and the others'
/// shares from those whose they are. So the holder sends the vector about once, however many nodes
/// fetch it, and so does each of them. A partner that does not fetch it yet refuses, and is asked
/// again later. What partners have not been asked for when the own share is nearly complete is
/// requested from the holder, and so is what a partner that is given up has not delivered.
///
/// Two nodes that have each connected to the other share two links. If the one in use dies, Zenoh
/// continues with the other, and what was on its way is lost without a word. So chunks are
/// requested again, which does no harm: an answer depends on nothing but the request.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Values of the vector.
    values: usize,
    /// Whether each chunk is here.
    arrived: Vec<bool>,
    /// The holder's, then the partners'.
    shares: Vec<Share>,
    /// Requests made.
    requests: u64,
}

impl Plan {
    /// Those chunks of a vector of `values` values that have not `arrived`, shared with `partners`
    /// other nodes. Of all that fetch it, in an order that is the same for all, this node is number
    /// `own`, from 0.
    pub fn new(values: usize, arrived: Vec<bool>, partners: usize, own: usize) -> Self {
        let window = |from| match from {
            HOLDER => WINDOW,
            _ => FIRST_WINDOW,
        };
        let share = |from| Share {
            window: window(from),
            ..Share::default()
        };
        let mut shares: Vec<Share> = (0..=partners).map(share).collect();
        for chunk in (0..chunks_of(values)).filter(|&chunk| !arrived[chunk]) {
            let whose = chunk % shares.len();
            let from = match whose {
                _ if whose == own => HOLDER,
                _ if whose < own => whose + 1,
                _ => whose,
            };
            shares[from].waiting.push_back(chunk);
        }
        Self {
            values,
            arrived,
            shares,
            requests: 0,
        }
    }

    /// Whether all have arrived.
    pub fn is_complete(&self) -> bool {
        self.arrived.iter().all(|&arrived| arrived)
    }

    /// The next chunks to request, as many as may be under way.
    pub fn next(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        for from in 0..self.shares.len() {
            while self.shares[from].has_room()
                && let Some(chunk) = self.pop_waiting(from)
            {
                requests.push(self.request(from, chunk));
            }
        }
        if self.holder_has_time() {
            while self.shares[HOLDER].has_room()
                && let Some(chunk) = self.pop_last_of_slowest()
            {
                requests.push(self.request(HOLDER, chunk));
            }
        }
        requests
    }

    /// A chunk has arrived as the answer to `request`. Returns the chunks to request again: a
    /// holder answers in order, so its answers to earlier requests are lost.
    pub fn arrived(&mut self, request: &Request) -> Vec<Request> {
        self.arrived[request.chunk()] = true;
        for share in &mut self.shares {
            share.under_way.retain(|other| other.range != request.range);
            share.pause = share.pause.saturating_sub(1);
        }
        let of_holder = self.shares[HOLDER].delivered;
        let share = &mut self.shares[request.from];
        share.delivered += 1;
        if request.from != HOLDER {
            // A partner answers as the chunks reach it, so none is overtaken.
            share.refusals = 0;
            share.window = match share.window {
                // It was given up.
                0 => 0,
                _ if 2 * share.delivered < of_holder => FIRST_WINDOW,
                window => WINDOW.min(window + 1),
            };
            return Vec::new();
        }
        let overtaken = share
            .under_way
            .iter()
            .take_while(|other| other.number < request.number)
            .count();
        (0..overtaken).filter_map(|_| self.oldest_again()).collect()
    }

    /// The partner that was asked does not have the vector, at least not yet. It is asked again, ever
    /// more rarely.
    pub fn refused(&mut self, request: &Request) {
        let share = &mut self.shares[request.from];
        let before = share.under_way.len();
        share.under_way.retain(|other| other != request);
        if share.under_way.len() < before {
            share.waiting.push_front(request.chunk());
            share.window = 1;
            share.pause = 1 << share.refusals.min(16);
            share.refusals += 1;
        }
    }

    /// All that partner `from` has not delivered, the holder is to.
    pub fn give_up(&mut self, from: usize) {
        let share = std::mem::take(&mut self.shares[from]);
        let under_way = share.under_way.iter().map(Request::chunk);
        let left = under_way.chain(share.waiting);
        self.shares[HOLDER].waiting.extend(left);
    }

    /// The partners that were given up.
    pub fn given_up(&self) -> impl Iterator<Item = usize> {
        (1..self.shares.len()).filter(|&from| self.shares[from].window == 0)
    }

    /// The partners from which something is under way.
    pub fn busy_partners(&self) -> impl Iterator<Item = usize> {
        (1..self.shares.len()).filter(|&from| !self.is_idle(from))
    }

    /// Whether each node [is idle](Self::is_idle): the holder, then the partners.
    pub fn idle(&self) -> impl Iterator<Item = bool> {
        (0..self.shares.len()).map(|from| self.is_idle(from))
    }

    /// Whether nothing is under way from a node.
    pub fn is_idle(&self, from: usize) -> bool {
        self.shares[from].under_way.is_empty()
    }

    /// Requests again the chunk that the holder has not delivered for longest; `None` if there is
    /// none.
    pub fn oldest_again(&mut self) -> Option<Request> {
        let oldest = self.shares[HOLDER].under_way.pop_front()?;
        Some(self.request(HOLDER, oldest.chunk()))
    }

    /// Whether a failed `request` was the last one to that node for a chunk that is still missing.
    pub fn needs(&self, request: &Request) -> bool {
        self.shares[request.from].under_way.contains(request)
    }

    /// The first value that has not arrived.
    pub fn first_missing(&self) -> usize {
        let chunk = self.arrived.iter().position(|&arrived| !arrived);
        chunk.map_or(self.values, |chunk| chunk * ChunkRequest::MAX_VALUES)
    }

    /// Whether the holder has nothing left to deliver, or soon will not, so that it can do what partners
    /// were to do. Not too soon where shares are small: all may have just begun.
    fn holder_has_time(&self) -> bool {
        let share = &self.shares[HOLDER];
        share.waiting.is_empty() && share.under_way.len() <= (share.delivered / 4).min(WINDOW / 4)
    }

    /// The next chunk to request from a node. One that it was to deliver may have come from another.
    fn pop_waiting(&mut self, from: usize) -> Option<usize> {
        let (share, arrived) = (&mut self.shares[from], &self.arrived);
        std::iter::from_fn(|| share.waiting.pop_front()).find(|&chunk| !arrived[chunk])
    }

    /// The last chunk of the partner that has most left to be asked for.
    fn pop_last_of_slowest(&mut self) -> Option<usize> {
        let partners = self.shares.iter_mut().skip(1);
        partners
            .max_by_key(|share| share.waiting.len())
            .and_then(|share| share.waiting.pop_back())
    }

    fn request(&mut self, from: usize, chunk: usize) -> Request {
        let number = self.requests;
        self.requests += 1;
        let request = Request {
            from,
            range: chunk_range(chunk, self.values),
            number,
        };
        self.shares[from].under_way.push_back(request.clone());
        request
    }
}

#[cfg(test)]
mod tests;
