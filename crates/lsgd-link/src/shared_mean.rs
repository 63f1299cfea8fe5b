//! Which chunk of a mean over nodes to request from which of them: a reduce-scatter and an all-gather in one.
//!
//! A state machine without sockets or a clock of its own.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::pace::Pace;

/// Requests under way to a node at a time: enough to keep a link busy for a round trip.
const WINDOW: usize = 8;
/// How soon a node that refused is asked again: it may not have begun yet. Each time twice as long.
const SOON: Duration = Duration::from_millis(20);
/// Refusals in a row after which a node's chunks are made here: by then more time has passed than a lost
/// status delays a node.
const REFUSALS: u32 = 6;
/// How soon something is requested again whose answer is lost, in leases: by then, a node that has
/// disconnected is known to have.
const LOST: f64 = 0.2;

/// A request to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The node's place among the others.
    pub of: usize,
    /// The chunk.
    pub chunk: usize,
    /// What is asked for.
    pub what: What,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// That chunk of the node's own sum.
    Sum,
    /// That chunk of the mean, which the node makes.
    Mean,
}

/// What is known of another member.
#[derive(Debug)]
struct Member {
    waiting: VecDeque<(usize, What)>,
    /// Oldest first.
    under_way: VecDeque<(usize, What)>,
    pace: Pace,
    /// Whether something that was asked of it has been lost since it last answered.
    owes: bool,
    /// Refusals since it last answered.
    refusals: u32,
    /// Until when it is asked for nothing.
    rests_until: Option<Instant>,
}

impl Member {
    fn new(lease: Duration, now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            pace: Pace::new(lease, now),
            owes: false,
            refusals: 0,
            rests_until: None,
        }
    }

    fn is_asked(&self) -> bool {
        self.owes || !self.under_way.is_empty()
    }

    fn rest(&mut self, until: Instant) {
        self.rests_until = Some(self.rests_until.map_or(until, |other| other.max(until)));
    }

    /// Puts a request back to the first of those to make. False if it was not under way.
    fn take_back(&mut self, what: (usize, What)) -> bool {
        let Some(place) = self.under_way.iter().position(|other| *other == what) else {
            return false;
        };
        self.under_way.remove(place);
        self.waiting.push_front(what);
        true
    }
}

/// A mean of several nodes' sums, cut into chunks. Each of its members makes every n-th chunk, from that chunk of
/// all sums, and has the others from those that make them. A chunk that its maker does not deliver is made
/// here, too: whoever makes it, its bits are the same.
#[derive(Debug)]
pub(crate) struct SharedMean {
    lease: Duration,
    /// Whether each chunk is here.
    here: Vec<bool>,
    /// For each chunk that is made here, the others whose sums are not here.
    sums: Vec<Option<BTreeSet<usize>>>,
    others: Vec<Member>,
}

impl SharedMean {
    /// A mean of so many `chunks`, made with so many `others`; of all members, this node is number `own`.
    pub fn new(chunks: usize, others: usize, own: usize, lease: Duration, now: Instant) -> Self {
        let mut mean = Self {
            lease,
            here: vec![false; chunks],
            sums: vec![None; chunks],
            others: (0..others).map(|_| Member::new(lease, now)).collect(),
        };
        let maker = |chunk: usize| chunk % (others + 1);
        // First what others wait for.
        for chunk in (0..chunks).filter(|chunk| maker(*chunk) == own) {
            mean.make_here(chunk, VecDeque::push_back);
        }
        for chunk in (0..chunks).filter(|chunk| maker(*chunk) != own) {
            let of = maker(chunk) - usize::from(maker(chunk) > own);
            mean.others[of].waiting.push_back((chunk, What::Mean));
        }
        mean
    }

    /// Whether all chunks are here.
    pub fn is_complete(&self) -> bool {
        self.here.iter().all(|&here| here)
    }

    /// What to ask for now.
    pub fn next(&mut self, now: Instant) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (of, other) in self.others.iter_mut().enumerate() {
            if other.rests_until.is_some_and(|until| now < until) {
                continue;
            }
            other.rests_until = None;
            let was_asked = other.is_asked();
            while other.under_way.len() < WINDOW
                && let Some((chunk, what)) = other.waiting.pop_front()
            {
                if !self.here[chunk] {
                    other.under_way.push_back((chunk, what));
                    asks.push(Ask { of, chunk, what });
                }
            }
            if !was_asked && other.is_asked() && other.refusals == 0 {
                other.pace.resumed(now);
            }
        }
        asks
    }

    /// An answer has come. Returns whether with it all sums of a chunk that is made here are here; false for
    /// one that has come before.
    pub fn arrived(&mut self, ask: Ask, now: Instant) -> bool {
        let Ask { of, chunk, what } = ask;
        let other = &mut self.others[of];
        other.under_way.retain(|other| *other != (chunk, what));
        other.pace.arrived(now);
        (other.owes, other.refusals) = (false, 0);
        match what {
            What::Mean => {
                self.here[chunk] = true;
                false
            }
            What::Sum => {
                let left = self.sums[chunk].as_mut();
                left.is_some_and(|left| left.remove(&of) && left.is_empty()) && !self.here[chunk]
            }
        }
    }

    /// A chunk has been made here.
    pub fn made(&mut self, chunk: usize) {
        self.here[chunk] = true;
    }

    /// Whether an answer to this is still of use.
    pub fn needs(&self, ask: Ask) -> bool {
        match ask.what {
            What::Mean => !self.here[ask.chunk],
            What::Sum => {
                let left = self.sums[ask.chunk].as_ref();
                !self.here[ask.chunk] && left.is_some_and(|left| left.contains(&ask.of))
            }
        }
    }

    /// There will be no answer to this: it is soon asked for again.
    pub fn lost(&mut self, ask: Ask, now: Instant) {
        let other = &mut self.others[ask.of];
        if other.take_back((ask.chunk, ask.what)) {
            other.owes = true;
            other.rest(now + self.lease.mul_f64(LOST));
        }
    }

    /// The node does not have that chunk of the mean, at least not yet: it may not have begun, or make
    /// another mean.
    pub fn refused(&mut self, ask: Ask, now: Instant) {
        let other = &mut self.others[ask.of];
        if !other.take_back((ask.chunk, ask.what)) || other.rests_until.is_some() {
            return;
        }
        if other.refusals == REFUSALS {
            return self.give_up(ask.of, now);
        }
        other.rest(now + SOON * (1 << other.refusals));
        other.refusals += 1;
    }

    /// How long to wait for an answer before [`waited`](Self::waited).
    pub fn wait(&self, now: Instant) -> Duration {
        let waits = self.others.iter().filter_map(|other| {
            let rest = other
                .rests_until
                .map(|until| until.saturating_duration_since(now));
            let pace = other.is_asked().then(|| other.pace.wait(now));
            rest.into_iter().chain(pace).min()
        });
        waits.min().unwrap_or(SOON)
    }

    /// Nothing has come for as long as there was to wait. Returns what to ask for again: the oldest request
    /// to each node that is silent.
    ///
    /// # Errors
    ///
    /// A node that has been silent for too long, and a chunk of its sum that is needed.
    pub fn waited(&mut self, now: Instant) -> Result<Vec<Ask>, (usize, usize)> {
        let mut again = Vec::new();
        for of in 0..self.others.len() {
            let other = &mut self.others[of];
            if !other.is_asked() {
                continue;
            }
            if other.pace.is_over(now) {
                // What is lost waits before all that has not been asked for yet.
                let lost = other.waiting.front().filter(|_| other.owes);
                let asked = other.under_way.iter().chain(lost);
                match asked.copied().find(is_sum) {
                    Some((chunk, _)) => return Err((of, chunk)),
                    None => self.give_up(of, now),
                }
            } else if other.pace.request_again(now)
                && let Some((chunk, what)) = other.under_way.pop_front()
            {
                other.under_way.push_back((chunk, what));
                again.push(Ask { of, chunk, what });
            }
        }
        Ok(again)
    }

    /// All chunks that a node has not delivered are made here.
    fn give_up(&mut self, of: usize, now: Instant) {
        let other = std::mem::replace(&mut self.others[of], Member::new(self.lease, now));
        let all = other.under_way.into_iter().chain(other.waiting);
        let (sums, means): (Vec<_>, Vec<_>) = all.partition(is_sum);
        self.others[of].waiting.extend(sums);
        for (chunk, _) in means {
            if !self.here[chunk] {
                self.make_here(chunk, VecDeque::push_front);
            }
        }
    }

    fn make_here(
        &mut self,
        chunk: usize,
        push: impl Fn(&mut VecDeque<(usize, What)>, (usize, What)),
    ) {
        if self.sums[chunk].is_none() {
            self.sums[chunk] = Some((0..self.others.len()).collect());
            for other in &mut self.others {
                push(&mut other.waiting, (chunk, What::Sum));
            }
        }
    }
}

fn is_sum((_, what): &(usize, What)) -> bool {
    *what == What::Sum
}

#[cfg(test)]
mod tests;
