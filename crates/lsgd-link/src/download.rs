//! One fetch of a vector, from a holder and from partners: what to request next, and when to give up
//! on whom.
//!
//! A state machine without sockets or a clock of its own.

use std::time::{Duration, Instant};

use crate::pace::{Pace, PartnerPace};
use crate::plan::{HOLDER, Plan, Request};

/// One fetch, while it lasts.
#[derive(Debug)]
pub(crate) struct Download {
    plan: Plan,
    holder: Pace,
    partners: PartnerPace,
}

impl Download {
    /// The chunks of `plan`, which has so many `partners`, at a node with this lease.
    pub fn new(plan: Plan, partners: usize, lease: Duration, now: Instant) -> Self {
        Self {
            plan,
            holder: Pace::new(lease, now),
            partners: PartnerPace::new(partners, lease, now),
        }
    }

    /// Whether all chunks have arrived.
    pub fn is_complete(&self) -> bool {
        self.plan.is_complete()
    }

    /// The first value that has not arrived.
    pub fn first_missing(&self) -> usize {
        self.plan.first_missing()
    }

    /// Gives up partner `from` before it is asked for anything.
    pub fn without(&mut self, from: usize) {
        self.plan.give_up(from);
    }

    /// The partners that were given up.
    pub fn given_up(&self) -> impl Iterator<Item = usize> {
        self.plan.given_up()
    }

    /// Whether a failed `request` was the last one to that node for a chunk that is still missing.
    pub fn needs(&self, request: &Request) -> bool {
        self.plan.needs(request)
    }

    /// The next chunks to request, as many as may be under way.
    pub fn next(&mut self, now: Instant) -> Vec<Request> {
        let was_idle: Vec<bool> = self.plan.idle().collect();
        let requests = self.plan.next();
        for request in requests.iter().filter(|request| was_idle[request.from]) {
            match request.from {
                HOLDER => {
                    self.holder.resumed(now);
                    self.partners.holder_paused();
                }
                from => self.partners.heard(from, now),
            }
        }
        requests
    }

    /// How long to wait for an answer before [`waited`](Self::waited).
    pub fn wait(&self, now: Instant) -> Duration {
        if !self.plan.is_idle(HOLDER) {
            return self.holder.wait(now);
        }
        let partners = self.plan.busy_partners();
        let left = partners.map(|from| self.partners.left(from, now));
        left.min().unwrap_or_default()
    }

    /// A chunk has arrived. Returns the chunks to request again.
    pub fn arrived(&mut self, request: &Request, now: Instant) -> Vec<Request> {
        match request.from {
            HOLDER => {
                self.holder.arrived(now);
                self.partners.holder_delivered(now);
            }
            from => self.partners.heard(from, now),
        }
        self.plan.arrived(request)
    }

    /// There will be no answer to `request`, or none that is a chunk. From the holder it may come yet,
    /// if it is lost; a partner does not have it.
    pub fn failed(&mut self, request: &Request, now: Instant) {
        match request.from {
            HOLDER if self.plan.needs(request) => self.holder.lost(now),
            HOLDER => {}
            _ => self.plan.refused(request),
        }
    }

    /// Nothing has come for as long as there was to [`wait`](Self::wait): the chunks to request again;
    /// `None` if the holder has been silent for too long.
    pub fn waited(&mut self, now: Instant) -> Option<Vec<Request>> {
        if self.plan.is_idle(HOLDER) {
            let late = |from: &usize| self.partners.left(*from, now).is_zero();
            let late: Vec<usize> = self.plan.busy_partners().filter(late).collect();
            late.into_iter().for_each(|from| self.plan.give_up(from));
            return Some(Vec::new());
        }
        if self.holder.is_over(now) {
            return None;
        }
        if !self.holder.request_again(now) {
            return Some(Vec::new());
        }
        self.partners.holder_paused();
        Some(self.plan.oldest_again().into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
