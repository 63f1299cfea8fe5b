//! Which parts of a vector to request, and when to request one again.
//!
//! State machines without sockets or a clock of their own.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::messages::ChunkRequest;

/// Chunks requested at a time: enough to keep a link busy for a round trip, few enough that the
/// holder's queue stays small.
const WINDOW: usize = 8;
/// After how long without a chunk one is requested again, at least: a busy machine may stand still
/// for seconds, and what is requested twice is sent twice.
const QUIET: Duration = Duration::from_secs(5);
/// And in leases: a link that has died is known as such by then, so that the request takes another.
const QUIET_LEASES: f64 = 1.6;
/// How soon one is requested again whose answer is known to be lost, in leases: by then, a holder
/// that has disconnected is known to have.
const SOON: f64 = 0.2;
/// How long no chunk may arrive, besides two leases: 15 s with the usual one. A holder that is gone
/// is detected by its token long before; this is for one that is connected and does not answer, or
/// whose answers are queued behind other vectors on a slow link.
const PATIENCE: Duration = Duration::from_millis(12_500);

fn quiet(lease: Duration) -> Duration {
    QUIET.max(lease.mul_f64(QUIET_LEASES))
}

/// How long a fetch waits for a chunk before it gives up on the holder, if nodes have this lease.
pub(crate) fn patience(lease: Duration) -> Duration {
    PATIENCE + 2 * lease
}

/// A request for a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The values requested.
    pub range: Range<usize>,
    /// Its number among the requests of this fetch.
    pub number: u64,
}

/// The chunks of a vector that one holder is asked for.
///
/// Two nodes that have each connected to the other share two links. If the one in use dies, Zenoh
/// continues with the other, and what was on its way is lost without a word. So chunks are
/// requested again, which does no harm: an answer depends on nothing but the request.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// Values of the vector.
    values: usize,
    /// The first value that was never requested.
    unrequested: usize,
    /// The newest request for each chunk that was requested and has not arrived, oldest first.
    missing: VecDeque<Request>,
    /// Requests made.
    requests: u64,
}

impl Chunks {
    /// The chunks of a vector of `values` values.
    pub fn of(values: usize) -> Self {
        Self {
            values,
            unrequested: 0,
            missing: VecDeque::new(),
            requests: 0,
        }
    }

    /// Whether all have arrived.
    pub fn are_complete(&self) -> bool {
        self.missing.is_empty() && self.unrequested == self.values
    }

    /// The next chunks to request, as many as may be on their way.
    pub fn next(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        while self.missing.len() < WINDOW && self.unrequested < self.values {
            let end = self.values.min(self.unrequested + ChunkRequest::MAX_VALUES);
            requests.push(self.request(self.unrequested..end));
            self.unrequested = end;
        }
        requests
    }

    /// A chunk has arrived as the answer to `request`. Returns the chunks to request again: a
    /// holder answers in order, so the answers to earlier requests are lost.
    pub fn arrived(&mut self, request: &Request) -> Vec<Request> {
        self.missing
            .retain(|missing| missing.range != request.range);
        let overtaken = self
            .missing
            .iter()
            .take_while(|missing| missing.number < request.number)
            .count();
        (0..overtaken).filter_map(|_| self.oldest_again()).collect()
    }

    /// Requests again the chunk that has been missing for longest; `None` if none is missing.
    pub fn oldest_again(&mut self) -> Option<Request> {
        let Request { range, .. } = self.missing.pop_front()?;
        Some(self.request(range))
    }

    /// Whether a failed `request` was the last one for a chunk that is still missing.
    pub fn need(&self, request: &Request) -> bool {
        self.missing.contains(request)
    }

    /// The first value of the chunk that has been missing for longest.
    pub fn first_missing(&self) -> usize {
        self.missing
            .front()
            .map_or(self.unrequested, |missing| missing.range.start)
    }

    fn request(&mut self, range: Range<usize>) -> Request {
        let number = self.requests;
        self.requests += 1;
        let request = Request { range, number };
        self.missing.push_back(request.clone());
        request
    }
}

/// When to request a chunk again, and when to give up on the holder.
#[derive(Debug)]
pub(crate) struct Pace {
    lease: Duration,
    /// When the last chunk arrived, or the fetch began.
    arrived_at: Instant,
    /// When a chunk is requested again, if none arrives.
    again_at: Instant,
    /// How long none may arrive before that.
    quiet: Duration,
    /// The longest time between two chunks so far, without those in which one was lost.
    longest: Duration,
    /// Whether one was requested again since the last one arrived.
    is_repeating: bool,
    /// When to see what became of the holder, since an answer is lost.
    look_at: Option<Instant>,
}

impl Pace {
    /// The fetch begins, from a node with this lease.
    pub fn new(lease: Duration, now: Instant) -> Self {
        let quiet = quiet(lease);
        Self {
            lease,
            arrived_at: now,
            again_at: now + quiet,
            quiet,
            longest: Duration::ZERO,
            is_repeating: false,
            look_at: None,
        }
    }

    /// A chunk has arrived.
    pub fn arrived(&mut self, now: Instant) {
        if !self.is_repeating {
            self.longest = self.longest.max(now.duration_since(self.arrived_at));
        }
        // On a link so slow that this is its pace, requests must not make it slower.
        self.quiet = quiet(self.lease).max(4 * self.longest);
        self.arrived_at = now;
        self.again_at = now + self.quiet;
        self.is_repeating = false;
        self.look_at = None;
    }

    /// An answer is lost: soon a chunk is requested again, unless one has been already.
    pub fn lost(&mut self, now: Instant) {
        let soon = now + self.lease.mul_f64(SOON);
        self.look_at.get_or_insert(soon);
    }

    /// Whether to request a chunk again now: for the next time, twice as long is waited.
    pub fn request_again(&mut self, now: Instant) -> bool {
        let is_lost = self.look_at.take_if(|at| *at <= now).is_some();
        let is_due = now >= self.again_at || is_lost && !self.is_repeating;
        if is_due {
            self.is_repeating = true;
            self.again_at = now + 2 * self.quiet;
            self.quiet *= 2;
        }
        is_due
    }

    /// Whether no chunk has arrived for too long.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.over_at()
    }

    /// How long to wait for a chunk before looking after the holder, requesting one again or giving up.
    pub fn wait(&self, now: Instant) -> Duration {
        let again_at = self
            .look_at
            .map_or(self.again_at, |at| at.min(self.again_at));
        again_at.min(self.over_at()).saturating_duration_since(now)
    }

    fn over_at(&self) -> Instant {
        self.arrived_at + patience(self.lease)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::session::LEASE;

    const CHUNK: usize = ChunkRequest::MAX_VALUES;

    fn numbers(requests: &[Request]) -> Vec<(usize, u64)> {
        let chunk = |request: &Request| (request.range.start / CHUNK, request.number);
        requests.iter().map(chunk).collect()
    }

    #[test]
    fn chunks_are_requested_once_each_where_nothing_is_lost() {
        let mut chunks = Chunks::of(20 * CHUNK + 5);
        let mut requests = VecDeque::from(chunks.next());
        assert_eq!(requests.len(), WINDOW);
        let mut made = WINDOW;
        let mut arrived = Vec::new();
        while let Some(request) = requests.pop_front() {
            assert!(!chunks.are_complete());
            assert!(chunks.arrived(&request).is_empty());
            arrived.push(request.range);
            let next = chunks.next();
            made += next.len();
            requests.extend(next);
        }
        assert!(chunks.are_complete());
        assert_eq!(made, 21);
        assert_eq!(arrived[20], 20 * CHUNK..20 * CHUNK + 5);
        assert!(Chunks::of(0).are_complete());
    }

    #[test]
    fn overtaken_chunks_are_requested_again() {
        let mut chunks = Chunks::of(4 * CHUNK);
        let requests = chunks.next();
        // Nothing comes; then the answer to the second request for the first chunk.
        let again = chunks.oldest_again().unwrap();
        assert_eq!(numbers(std::slice::from_ref(&again)), [(0, 4)]);
        assert!(!chunks.need(&requests[0]), "its failure no longer matters");
        assert!(chunks.need(&again));
        let lost = chunks.arrived(&again);
        assert_eq!(numbers(&lost), [(1, 5), (2, 6), (3, 7)]);
        // The first answer comes after all: the chunk is there already, and nothing is overtaken.
        assert!(chunks.arrived(&requests[0]).is_empty());
        // An answer to an earlier request serves as well, and overtakes none of the later ones.
        assert!(chunks.arrived(&requests[2]).is_empty());
        assert_eq!(chunks.first_missing(), CHUNK);
        assert!(chunks.arrived(&lost[0]).is_empty());
        assert!(chunks.arrived(&lost[2]).is_empty());
        assert!(chunks.are_complete());
    }

    #[test]
    fn a_chunk_is_requested_again_when_nothing_arrives_and_ever_more_rarely() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(LEASE, began);
        assert_eq!(pace.wait(began), 5 * second);
        assert!(pace.request_again(began + 5 * second));
        assert_eq!(pace.wait(began + 5 * second), 10 * second);
        assert!(!pace.request_again(began + 14 * second));
        assert!(!pace.is_over(began + 14 * second));
        assert!(pace.is_over(began + 15 * second), "then it gives up");
    }

    /// Where a chunk takes three seconds, silence for five means nothing.
    #[test]
    fn a_slow_link_is_not_made_slower() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(LEASE, began);
        pace.arrived(began + 3 * second);
        assert_eq!(pace.wait(began + 3 * second), 12 * second);
        pace.arrived(began + 4 * second);
        assert_eq!(pace.wait(began + 4 * second), 12 * second);
        assert!(!pace.is_over(began + 18 * second));
        assert!(pace.is_over(began + 19 * second));
    }

    /// A gap in which something was lost says nothing about the link's pace.
    #[test]
    fn one_loss_does_not_delay_the_repeats_of_the_next() {
        let mut now = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(LEASE, now);
        for _ in 0..5 {
            assert_eq!(pace.wait(now), 5 * second);
            now += 5 * second;
            assert!(pace.request_again(now));
            now += 10 * second;
            assert!(pace.request_again(now));
            now += second / 10;
            pace.arrived(now);
        }
    }

    /// And the holder is looked after each time: it may have disconnected.
    #[test]
    fn a_chunk_that_is_known_to_be_lost_is_requested_soon_and_then_ever_more_rarely() {
        let mut now = Instant::now();
        let mut pace = Pace::new(LEASE, now);
        assert!(!pace.request_again(now), "nothing is lost");
        pace.lost(now);
        assert_eq!(pace.wait(now), LEASE / 5);
        now += LEASE / 5;
        assert!(pace.request_again(now));
        assert_eq!(pace.wait(now), Duration::from_secs(10));
        // A holder that answers nothing is not asked all the time.
        pace.lost(now);
        assert_eq!(pace.wait(now), LEASE / 5);
        now += LEASE / 5;
        assert!(!pace.request_again(now));
        assert_eq!(pace.wait(now), Duration::from_secs(10) - LEASE / 5);
    }

    #[test]
    fn a_fetch_is_patient_for_longer_than_a_lease() {
        let began = Instant::now();
        for (lease, patience) in [(1250, 15_000), (10_000, 32_500), (60_000, 132_500)] {
            let pace = Pace::new(Duration::from_millis(lease), began);
            let patience = Duration::from_millis(patience);
            assert!(!pace.is_over(began + patience - Duration::from_millis(1)));
            assert!(pace.is_over(began + patience));
            assert!(
                pace.wait(began) < patience,
                "{lease}: requested again before"
            );
        }
    }

    proptest! {
        /// Over a link that loses anything but keeps the order: each chunk arrives, and one that
        /// was not lost is requested once.
        #[test]
        fn every_chunk_arrives_however_many_are_lost(
            values in 0usize..40 * CHUNK,
            fates in prop::collection::vec(prop::bool::weighted(0.7), 400),
        ) {
            let mut fates = fates.into_iter();
            let mut chunks = Chunks::of(values);
            let mut on_the_way = VecDeque::new();
            let mut arrived = BTreeSet::new();
            let mut lost = 0;
            let mut made = 0;
            while !chunks.are_complete() {
                let mut requests = chunks.next();
                if requests.is_empty() && on_the_way.is_empty() {
                    requests.extend(chunks.oldest_again());
                }
                made += requests.len();
                on_the_way.extend(requests);
                let Some(request) = on_the_way.pop_front() else {
                    continue;
                };
                if fates.next().unwrap_or(true) {
                    let again = chunks.arrived(&request);
                    made += again.len();
                    on_the_way.extend(again);
                    prop_assert!(arrived.insert(request.range.start), "twice");
                } else {
                    lost += 1;
                }
            }
            let count = values.div_ceil(CHUNK);
            prop_assert_eq!(arrived.len(), count);
            prop_assert_eq!(made, count + lost);
        }
    }
}
