//! The link's own thread: who is there, and everything that the driver is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::ConsolidationMode;
use zenoh::sample::SampleKind;

use super::hello::RUN_NAME;
use super::keys::Keys;
use super::link::{Incoming, LinkConfig, Telling};
use super::members::{Act, Members};
use super::session;
use super::shared::{Event, Shared, lock};
use super::traffic::Kind;

/// Longest time until something that is due is looked at.
const TICK: Duration = Duration::from_millis(100);
/// When that takes as long as a lease, this process was frozen.
const FROZEN: Duration = session::LEASE;
/// How long an answer to a hello may take. It is asked for again before that.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// Questions to nodes of other runs, at most: it is to be told that there is one, not how many.
const MOST_QUESTIONS: u32 = 16;

/// The thread that keeps track of who is there and calls the sink.
pub(super) struct OwnThread<S> {
    pub config: LinkConfig,
    pub shared: Arc<Shared>,
    pub members: Members,
    pub sink: S,
    /// Whether somebody has appeared who has not heard this node's status.
    pub greets: bool,
    pub other_runs: OtherRuns,
}

/// The other runs that answer where this one's nodes should.
#[derive(Debug, Default)]
pub(super) struct OtherRuns {
    /// Those that the driver has been told of.
    told: Vec<Keys>,
    /// Questions to their nodes so far.
    questions: u32,
}

impl<S: FnMut(Incoming)> OwnThread<S> {
    /// Until the link is closed.
    pub fn run(mut self, inbox: &Receiver<Event>) {
        let mut is_out = false;
        let mut greeted = Instant::now();
        let mut ticked = greeted;
        loop {
            let before = Instant::now();
            let event = inbox.recv_timeout(TICK);
            let now = Instant::now();
            is_out |= now.duration_since(before) > FROZEN;
            let mut acts = match event {
                Ok(Event::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Ok(event) => self.handle(event, now),
            };
            // Not only when nothing comes: a node that trains fast tells all the time.
            if now.duration_since(ticked) >= TICK {
                ticked = now;
                acts.extend(self.members.tick(now));
            }
            *lock(&self.shared.present) = self.members.present();
            for act in acts {
                self.act(act);
            }
            if is_out {
                is_out = !self.join_again(inbox);
            }
            if self.greets && now.duration_since(greeted) >= TICK {
                greeted = now;
                self.greet();
            }
            if let Some(line) = self.shared.strangers.line(now) {
                (self.sink)(Incoming::Stranger(line));
            }
        }
    }

    /// Begins anew with another session: this process was frozen for longer than the lease, so
    /// others have given it up. What they then open to it, Zenoh takes for part of the connection
    /// that it still believes in, and the two sides would disagree on what was declared.
    fn join_again(&mut self, inbox: &Receiver<Event>) -> bool {
        self.shared.leave();
        // What was heard of others before is over; the rest is not.
        let waiting: Vec<_> = inbox.try_iter().collect();
        for event in waiting {
            match event {
                Event::Token(..)
                | Event::Hello(..)
                | Event::OtherToken(..)
                | Event::OtherHello(..) => {}
                Event::Told(..) => {
                    self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                event => self.shared.send(event),
            }
        }
        for act in self.members.forget() {
            self.act(act);
        }
        *lock(&self.shared.present) = self.members.present();
        let joined = session::open(&self.config)
            .map_err(|error| error.to_string())
            .and_then(|session| {
                self.shared
                    .join(session)
                    .map_err(|error| session::told(&error))
            });
        if let Err(why) = &joined {
            self.shared.strangers.note("joining again", why);
        }
        joined.is_ok()
    }

    fn handle(&mut self, event: Event, now: Instant) -> Vec<Act> {
        match event {
            Event::Token(node, life, SampleKind::Put) => {
                self.members.token(node, life, now).unwrap_or_else(|why| {
                    let key = self.shared.keys.token(node, life);
                    self.shared.strangers.note(&key, &why);
                    Vec::new()
                })
            }
            Event::Token(node, life, SampleKind::Delete) => self.members.gone(node, life, now),
            Event::Hello(hello, length) => {
                self.shared.meter.received(hello.node, Kind::Other, length);
                self.members.hello(&hello, now)
            }
            Event::OtherToken(run, node, life) => {
                let other_runs = &mut self.other_runs;
                if !other_runs.told.contains(&run) && other_runs.questions < MOST_QUESTIONS {
                    other_runs.questions += 1;
                    self.ask(run, node, life);
                }
                Vec::new()
            }
            Event::OtherHello(run, hello) => match self.other_runs.told.contains(&run) {
                true => Vec::new(),
                false => {
                    self.other_runs.told.push(run);
                    let name = self.shared.own.difference(&hello, RUN_NAME);
                    vec![Act::Say(Incoming::OtherRun { name })]
                }
            },
            Event::Told(told, length) => {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                let kind = told.telling.kind();
                let told = self.members.told(told);
                told.into_iter()
                    .map(|told| {
                        self.shared.meter.received(told.status.node, kind, length);
                        Act::Say(Incoming::Status(told.status))
                    })
                    .collect()
            }
            Event::Arrived => vec![Act::Say(Incoming::Arrived)],
            Event::Fetched(digest, outcome) => {
                vec![Act::Say(Incoming::Fetched { digest, outcome })]
            }
            Event::Untrusted(endpoint, why) => {
                vec![Act::Say(Incoming::Untrusted { endpoint, why })]
            }
            Event::Unreachable(line) => vec![Act::Say(Incoming::Unreachable(line))],
            Event::Close => Vec::new(),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Say(incoming) => (self.sink)(incoming),
            Act::Ask { node, life } => self.ask(self.shared.keys.clone(), node, life),
            Act::Greet => self.greets = true,
        }
    }

    /// Repeats this node's status, once for all that have appeared since.
    fn greet(&mut self) {
        self.greets = false;
        let latest = lock(&self.shared.latest).clone();
        if let Some(status) = latest {
            self.shared.tell(&status, Telling::Heartbeat);
        }
    }

    /// Asks a node of run `run` for its hello.
    fn ask(&self, run: Keys, node: u32, life: u64) {
        let shared = self.shared.clone();
        let hello = run.hello(node, life);
        // It fails only while the session closes; what is lost is asked again.
        let _ = self
            .shared
            .session()
            .get(hello)
            .priority(Priority::InteractiveHigh)
            .congestion_control(CongestionControl::Drop)
            .consolidation(ConsolidationMode::None)
            .timeout(HELLO_TIMEOUT)
            .callback(move |reply| shared.receive_hello(&run, (node, life), &reply))
            .wait();
    }
}
