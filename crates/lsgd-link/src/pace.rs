//! When to request a part of a vector again, and when to give up on its holder.
//!
//! State machines without sockets or a clock of their own.

use std::time::{Duration, Instant};

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

    /// It is asked again, after it had delivered all that it had been asked for.
    pub fn resumed(&mut self, now: Instant) {
        // On a link so slow that this is its pace, requests must not make it slower.
        self.quiet = quiet(self.lease).max(4 * self.longest);
        self.arrived_at = now;
        self.again_at = now + self.quiet;
        self.is_repeating = false;
        self.look_at = None;
    }

    /// A chunk has arrived.
    pub fn arrived(&mut self, now: Instant) {
        if !self.is_repeating {
            self.longest = self.longest.max(now.duration_since(self.arrived_at));
        }
        self.resumed(now);
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

/// How long a partner may deliver nothing, while the holder has nothing left to deliver, before that
/// is asked for its chunks: too early costs only that the holder sends more.
const LATE: Duration = Duration::from_millis(500);

/// When a partner that delivers nothing is given up.
#[derive(Debug)]
pub(crate) struct PartnerPace {
    lease: Duration,
    /// When each partner last delivered a chunk, or was asked after it had delivered all.
    heard_at: Vec<Instant>,
    /// When the holder's last chunk arrived.
    holder_at: Option<Instant>,
    /// The longest time between two of the holder's chunks.
    longest: Duration,
}

impl PartnerPace {
    /// The fetch begins, from so many partners, at a node with this lease.
    pub fn new(partners: usize, lease: Duration, now: Instant) -> Self {
        Self {
            lease,
            heard_at: vec![now; partners],
            holder_at: None,
            longest: Duration::ZERO,
        }
    }

    /// A chunk has arrived from the holder.
    pub fn holder_delivered(&mut self, now: Instant) {
        if let Some(before) = self.holder_at.replace(now) {
            self.longest = self.longest.max(now.duration_since(before));
        }
    }

    /// The holder delivered nothing for a while, or was asked for nothing: that says nothing about the
    /// links.
    pub fn holder_paused(&mut self) {
        self.holder_at = None;
    }

    /// Partner `from`, from 1, has delivered a chunk or is asked after a pause.
    pub fn heard(&mut self, from: usize, now: Instant) {
        self.heard_at[from - 1] = now;
    }

    /// How long until partner `from` is given up: half a second after it was heard from or, where
    /// chunks are far apart, four times as long as between two of the holder's.
    pub fn left(&self, from: usize, now: Instant) -> Duration {
        let most = LATE.max(4 * self.longest).min(quiet(self.lease));
        (self.heard_at[from - 1] + most).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::LEASE;

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

    /// Each partner by itself: one that delivers slowly does not hide another that hangs.
    #[test]
    fn a_partner_is_given_up_after_half_a_second() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = PartnerPace::new(2, LEASE, began);
        assert_eq!(pace.left(1, began), second / 2);
        pace.heard(2, began + second / 4);
        assert_eq!(pace.left(1, began + second / 2), Duration::ZERO);
        assert_eq!(pace.left(2, began + second / 2), second / 4);
    }

    /// But a pause of the holder's is not taken for its pace, and nobody is waited for as long as for it.
    #[test]
    fn a_partner_has_longer_where_chunks_are_far_apart() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = PartnerPace::new(1, LEASE, began);
        pace.holder_delivered(began + 4 * second);
        assert_eq!(pace.left(1, began), second / 2, "the first says nothing");
        pace.holder_delivered(began + 4 * second + second / 4);
        assert_eq!(pace.left(1, began), second);
        pace.holder_paused();
        pace.holder_delivered(began + 9 * second);
        assert_eq!(pace.left(1, began), second);
        pace.holder_delivered(began + 12 * second);
        assert_eq!(pace.left(1, began), 5 * second);
    }

    /// A holder that is asked again after a pause has as long as at first.
    #[test]
    fn a_pause_is_not_silence() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(LEASE, began);
        pace.arrived(began + second / 10);
        let later = began + 60 * second;
        assert!(pace.is_over(later));
        pace.resumed(later);
        assert!(!pace.is_over(later + 14 * second));
        assert_eq!(pace.wait(later), 5 * second);
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
}
