//! The link's thread: tracks the other nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::ConsolidationMode;
use zenoh::sample::SampleKind;

use crate::config::LinkConfig;
use crate::hello::RUN_NAME;
use crate::incoming::Incoming;
use crate::keys::Keys;
use crate::members::{MemberAction, Members};
use crate::session;
use crate::shared::{LinkEvent, Shared, lock};
use crate::traffic::TrafficKind;

/// Longest delay before due work is checked.
const TICK: Duration = Duration::from_millis(100);
/// Time between the first two sessions that are opened because a node is heard from and not seen; each
/// further time is twice as long.
const REJOIN: Duration = Duration::from_secs(60);
/// How long an answer to a hello may take. The node is asked again before that.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of hellos requested from other runs: one is enough to report such a run.
const MAX_QUESTIONS: u32 = 16;

/// The thread that tracks the other nodes.
pub(crate) struct LinkThread {
    pub config: LinkConfig,
    pub shared: Arc<Shared>,
    pub members: Members,
    /// Whether a node has connected since this node's status was last sent.
    pub status_due: bool,
    pub other_runs: OtherRuns,
    /// Whether a new session is needed.
    pub is_out: bool,
    /// When the next one may be opened because a node is heard from and not seen, and how long after it
    /// another.
    pub rejoin: Option<(Instant, Duration)>,
}

/// Other runs found at this run's endpoints.
#[derive(Debug, Default)]
pub(crate) struct OtherRuns {
    /// Runs that the driver knows of.
    reported: Vec<Keys>,
    /// Hellos requested from their nodes so far.
    questions: u32,
}

impl LinkThread {
    /// Until the link is closed.
    pub fn run(mut self, inbox: &Receiver<LinkEvent>) {
        let mut resent_at = Instant::now();
        let mut ticked_at = resent_at;
        loop {
            let before = Instant::now();
            let event = inbox.recv_timeout(TICK);
            let now = Instant::now();
            // If an event is late by a lease, this process was frozen.
            self.is_out |= now.duration_since(before) > self.config.lease + TICK;
            let mut actions = match event {
                Ok(LinkEvent::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Ok(event) => self.handle(event, now),
            };
            // Not only when idle: nodes that train fast send statuses all the time.
            if now.duration_since(ticked_at) >= TICK {
                ticked_at = now;
                actions.extend(self.members.tick(now));
            }
            *lock(&self.shared.present) = self.members.present();
            for action in actions {
                self.perform(action);
            }
            if self.is_out {
                self.is_out = !self.join_again(inbox);
            }
            if self.status_due && now.duration_since(resent_at) >= TICK {
                resent_at = now;
                self.resend_status();
            }
            if let Some(line) = self.shared.rejected.line(now) {
                self.shared.emit(Incoming::Rejected(line));
            }
        }
    }

    /// Rejoins with a new session. If this process was frozen for longer than the lease, the others
    /// have dropped it: Zenoh would take their new connections for parts of the one that it still
    /// believes in, and the two sides would disagree on what was declared.
    fn join_again(&mut self, inbox: &Receiver<LinkEvent>) -> bool {
        self.shared.leave();
        // What is known of other nodes is outdated; the rest is not.
        let waiting: Vec<_> = inbox.try_iter().collect();
        for event in waiting {
            match event {
                LinkEvent::Token(..)
                | LinkEvent::Hello(..)
                | LinkEvent::OtherToken(..)
                | LinkEvent::OtherHello(..) => {}
                LinkEvent::Status(..) => {
                    self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                event => self.shared.send(event),
            }
        }
        for action in self.members.forget() {
            self.perform(action);
        }
        *lock(&self.shared.present) = self.members.present();
        let joined = session::open(&self.config)
            .map_err(|error| error.to_string())
            .and_then(|session| {
                self.shared
                    .join(session)
                    .map_err(|error| session::describe(&error))
            });
        if let Err(why) = &joined {
            self.shared.rejected.note("joining again", why);
        }
        joined.is_ok()
    }

    fn handle(&mut self, event: LinkEvent, now: Instant) -> Vec<MemberAction> {
        match event {
            LinkEvent::Token(node, incarnation, SampleKind::Put) => self
                .members
                .token(node, incarnation, now)
                .unwrap_or_else(|why| {
                    let key = self.shared.keys.token(node, incarnation);
                    self.shared.rejected.note(&key, &why);
                    Vec::new()
                }),
            LinkEvent::Token(node, incarnation, SampleKind::Delete) => {
                self.members.gone(node, incarnation, now)
            }
            LinkEvent::Hello(hello, length) => {
                self.shared
                    .meter
                    .received(hello.node, TrafficKind::Other, length);
                self.members.hello(&hello, now)
            }
            LinkEvent::OtherToken(run, node, incarnation) => {
                let other_runs = &mut self.other_runs;
                if !other_runs.reported.contains(&run) && other_runs.questions < MAX_QUESTIONS {
                    other_runs.questions += 1;
                    self.ask(run, node, incarnation);
                }
                Vec::new()
            }
            LinkEvent::OtherHello(run, hello) => match self.other_runs.reported.contains(&run) {
                true => Vec::new(),
                false => {
                    self.other_runs.reported.push(run);
                    let name = self.shared.own.difference(&hello, RUN_NAME);
                    vec![MemberAction::Emit(Incoming::OtherRun { name })]
                }
            },
            LinkEvent::Status(status, length) => {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                let unseen = self.members.is_unseen(&status, now);
                if unseen && self.rejoin.is_none_or(|(at, _)| now >= at) {
                    let wait = self.rejoin.map_or(REJOIN, |(_, wait)| 2 * wait);
                    self.rejoin = Some((now + wait, wait));
                    self.is_out = true;
                    let key = self.shared.keys.status(status.node);
                    let why = "from a node without a token; opening a new session";
                    self.shared.rejected.note(&key, why);
                }
                let heard = self.members.accept_status(*status);
                heard
                    .into_iter()
                    .map(|status| {
                        let kind = TrafficKind::of_status(&status);
                        self.shared.meter.received(status.node, kind, length);
                        MemberAction::Emit(Incoming::Status(status))
                    })
                    .collect()
            }
            LinkEvent::Close => Vec::new(),
        }
    }

    fn perform(&mut self, action: MemberAction) {
        match action {
            MemberAction::Emit(incoming) => self.shared.emit(incoming),
            MemberAction::RequestHello { node, incarnation } => {
                self.ask(self.shared.keys.clone(), node, incarnation)
            }
            MemberAction::ResendStatus => self.status_due = true,
        }
    }

    /// Repeats this node's status, once for all nodes that have connected since.
    fn resend_status(&mut self) {
        self.status_due = false;
        let latest = lock(&self.shared.latest).clone();
        if let Some(mut status) = latest {
            status.heartbeat = true;
            self.shared.broadcast(&status);
        }
    }

    /// Requests the hello of a node of run `run`.
    fn ask(&self, run: Keys, node: u32, incarnation: u64) {
        let shared = self.shared.clone();
        let hello = run.hello(node, incarnation);
        // It fails only while the session closes; lost requests are repeated.
        let _ = self
            .shared
            .session()
            .get(hello)
            .priority(Priority::InteractiveHigh)
            .congestion_control(CongestionControl::Drop)
            .consolidation(ConsolidationMode::None)
            .timeout(HELLO_TIMEOUT)
            .callback(move |reply| shared.receive_hello(&run, (node, incarnation), &reply))
            .wait();
    }
}
