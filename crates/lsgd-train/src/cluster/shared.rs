//! What the threads of a link share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsgd_core::{Layout, Snapshot, SnapshotDigest, Status, Wire};
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{Query, Reply};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use super::board::Board;
use super::error::FetchError;
use super::hello::Hello;
use super::keys::Keys;
use super::link::{LinkConfig, Telling};
use super::messages::Told;
use super::serve::Servers;
use super::session;
use super::strangers::Strangers;
use super::traffic::{Flow, Meter};

/// Statuses that wait to be looked at, at most. More are dropped: newer ones follow.
const MOST_WAITING: usize = 4096;

/// What reaches the link's own thread.
pub(super) enum Event {
    Token(u32, u64, SampleKind),
    /// A token of a node of another run, with the keys of that run.
    OtherToken(Keys, u32, u64),
    /// What such a node is set to.
    OtherHello(Keys, Hello),
    Hello(Hello, usize),
    Told(Told, usize),
    /// Part of a vector.
    Arrived,
    Fetched(SnapshotDigest, Result<(Arc<Snapshot>, u32), FetchError>),
    Untrusted(String, String),
    /// A line.
    Unreachable(String),
    Close,
}

/// What the threads of a link share.
pub(super) struct Shared {
    pub keys: Keys,
    pub own: Hello,
    pub wire: Wire,
    pub layout: Arc<Layout>,
    pub board: Board,
    pub meter: Meter,
    /// Bytes on the links of sessions that are closed.
    pub earlier: Mutex<Flow>,
    pub strangers: Strangers,
    /// What this node told last.
    pub latest: Mutex<Option<Status>>,
    /// The nodes that have appeared, with their lives.
    pub present: Mutex<BTreeMap<u32, u64>>,
    /// Statuses on their way to the link's own thread.
    pub waiting: AtomicUsize,
    events: Sender<Event>,
    session: Mutex<Session>,
    token: Mutex<Option<LivelinessToken>>,
}

impl Shared {
    /// Those of the node that `config` describes, before it has joined.
    pub fn new(config: &LinkConfig, own: Hello, session: Session, events: Sender<Event>) -> Self {
        Self {
            keys: Keys::of_run(&config.run),
            own,
            wire: config.wire,
            layout: config.layout.clone(),
            board: Board::default(),
            meter: Meter::default(),
            earlier: Mutex::default(),
            strangers: Strangers::default(),
            latest: Mutex::default(),
            present: Mutex::default(),
            waiting: AtomicUsize::new(0),
            events,
            session: Mutex::new(session),
            token: Mutex::default(),
        }
    }

    /// Tells the link's own thread. Once that has ended there is nobody to tell.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The session. Not to be kept: another takes its place when this process was frozen.
    pub fn session(&self) -> Session {
        lock(&self.session).clone()
    }

    /// The life of `node`, if it has appeared.
    pub fn life_of(&self, node: u32) -> Option<u64> {
        lock(&self.present).get(&node).copied()
    }

    /// Tells all others this node's status.
    ///
    /// Congestion control is `Drop`: Zenoh waits 1 ms for room in the queue of this priority of a
    /// link, once, and then drops what is for that link until the queue moves again. So a peer that
    /// is dead, but whose lease has not yet run out, costs the others next to nothing.
    pub fn tell(&self, status: &Status, telling: Telling) {
        let status = status.clone();
        let bytes = Told { telling, status }.encode();
        for &peer in lock(&self.present).keys() {
            self.meter.sent(peer, telling.kind(), bytes.len());
        }
        // It fails only while the session closes.
        let _ = self
            .session()
            .put(self.keys.status(self.own.node), bytes)
            .priority(Priority::RealTime)
            .congestion_control(CongestionControl::Drop)
            .express(true)
            .wait();
    }

    /// Bytes on the links, those of closed sessions included; `None` when Zenoh does not tell.
    pub fn link_bytes(&self) -> Option<Flow> {
        let (sent, received) = session::bytes(&self.session())?;
        let earlier = *lock(&self.earlier);
        Some(Flow {
            sent: earlier.sent + sent,
            received: earlier.received + received,
        })
    }

    /// Leaves the network: everything that others see of this node is gone.
    pub fn leave(&self) {
        if let Some(bytes) = self.link_bytes() {
            *lock(&self.earlier) = bytes;
        }
        // The token first, so that others see it end and not fail.
        drop(lock(&self.token).take());
        // The other side of a connection may have gone first.
        let _ = self.session().close().wait();
    }

    /// Takes part through another session than before.
    pub fn join(self: &Arc<Self>, session: Session) -> zenoh::Result<()> {
        *lock(&self.session) = session.clone();
        *lock(&self.token) = Some(self.declare(&session)?);
        Ok(())
    }

    /// Everything that others see of this node; the token last, so that who sees it gets answers.
    /// All of it goes with the session.
    pub fn declare(self: &Arc<Self>, session: &Session) -> zenoh::Result<LivelinessToken> {
        let (node, life) = (self.own.node, self.own.life);
        let hello = self.own.encode();
        session
            .declare_queryable(self.keys.hello(node, life))
            .callback(move |query: Query| {
                // One that cannot be answered was asked by somebody who is gone.
                let _ = query.reply(query.key_expr().clone(), hello.clone()).wait();
            })
            .background()
            .wait()?;
        let servers = Servers::new(self.clone());
        session
            .declare_queryable(self.keys.vector(node, life))
            .callback(move |query| servers.take(query))
            .background()
            .wait()?;
        let receiver = self.clone();
        session
            .declare_subscriber(self.keys.statuses())
            .callback(move |sample| receiver.receive_status(&sample))
            .background()
            .wait()?;
        let receiver = self.clone();
        session
            .liveliness()
            .declare_subscriber(Keys::tokens())
            .history(true)
            .callback(move |sample| receiver.receive_token(&sample))
            .background()
            .wait()?;
        let token = self.keys.token(node, life);
        session.liveliness().declare_token(token).wait()
    }

    fn receive_token(&self, sample: &Sample) {
        let key = sample.key_expr().as_str();
        if let Some((node, life)) = self.keys.parse_token(key) {
            self.send(Event::Token(node, life, sample.kind()));
        } else if let Some((run, node, life)) = self.keys.parse_other_token(key) {
            if sample.kind() == SampleKind::Put {
                self.send(Event::OtherToken(run, node, life));
            }
        } else {
            self.strangers.note(key, "not a node's token");
        }
    }

    fn receive_status(&self, sample: &Sample) {
        let key = sample.key_expr().as_str();
        let length = sample.payload().len();
        let told = match length <= Told::LONGEST {
            true => Told::decode(&sample.payload().to_bytes()),
            false => Err(format!("{length} bytes where a status should be")),
        };
        let told = told.and_then(|told| match self.keys.parse_status(key) {
            Some(node) if node == told.status.node => Ok(told),
            _ => Err(format!("a status of node {}", told.status.node)),
        });
        match told {
            Err(why) => self.strangers.note(key, &why),
            Ok(_) if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                self.strangers.note(key, "more statuses than can be read");
            }
            Ok(told) => self.send(Event::Told(told, length)),
        }
    }

    /// The answer of a node of run `run` that was asked for its hello.
    pub fn receive_hello(&self, run: &Keys, asked: (u32, u64), reply: &Reply) {
        // An error is a node that is closing; it is asked again while its token is there.
        let Ok(sample) = reply.result() else {
            return;
        };
        let key = sample.key_expr().as_str();
        let length = sample.payload().len();
        let hello = match length <= Hello::LONGEST {
            true => Hello::decode(&sample.payload().to_bytes()),
            false => Err(format!("{length} bytes where a hello should be")),
        };
        match hello {
            Ok(hello) if (hello.node, hello.life) == asked => self.send(match *run == self.keys {
                true => Event::Hello(hello, length),
                false => Event::OtherHello(run.clone(), hello),
            }),
            Ok(hello) => self
                .strangers
                .note(key, &format!("a hello of node {}", hello.node)),
            Err(why) => self.strangers.note(key, &why),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after every statement, so a panic elsewhere does not
    // make it wrong.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
