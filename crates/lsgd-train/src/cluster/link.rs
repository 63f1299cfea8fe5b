//! The link of one node to all others.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lsgd_core::{Layout, Snapshot, SnapshotDigest, Status, Wire};
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Query, Reply};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use super::board::Board;
use super::error::{FetchError, LinkError};
use super::fetch::{Fetches, Wanted};
use super::hello::{Difference, Hello};
use super::keys::Keys;
use super::members::{Act, Members};
use super::messages::Told;
use super::serve::Servers;
use super::session;
use super::strangers::Strangers;
use super::tls::Tls;
use super::traffic::{Flow, Kind, Meter, Traffic};
use super::trust;

/// Longest time until something that is due is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long an answer to a hello may take. It is asked for again before that.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// Statuses that wait to be looked at, at most. More are dropped: newer ones follow.
const MOST_WAITING: usize = 4096;

/// How a node takes part.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The run's name. Nodes of other runs are not met.
    pub run: String,
    /// This node, from 0.
    pub node: u32,
    /// How many nodes the run has.
    pub nodes: u32,
    /// Which life of the node this is: another number for every process.
    pub life: u64,
    /// Where others can connect: `tcp/HOST:PORT` or `tls/HOST:PORT`.
    pub listen: Vec<String>,
    /// Where to connect to, tried without end; endpoints of this node itself do no harm.
    pub connect: Vec<String>,
    /// Certificates, for `tls/` endpoints.
    pub tls: Option<Tls>,
    /// How values are written.
    pub wire: Wire,
    /// What must be the same at all nodes, by its name in the config. Together at most 64 KiB.
    pub description: BTreeMap<String, String>,
    /// What vectors hold.
    pub layout: Arc<Layout>,
}

/// Why a status is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// To show that the node is well. Counted as [`Kind::Other`].
    Heartbeat,
    /// Something of an exchange has changed. Counted as [`Kind::Report`].
    Report,
}

impl Telling {
    fn kind(self) -> Kind {
        match self {
            Self::Heartbeat => Kind::Other,
            Self::Report => Kind::Report,
        }
    }
}

/// What the link tells its driver.
#[derive(Debug)]
pub enum Incoming {
    /// A node is there, and is set as this one is.
    Appeared {
        /// The node, from 0.
        node: u32,
        /// Which life of it.
        life: u64,
    },
    /// A node that had appeared has ended, hangs or is cut off.
    Vanished {
        /// The node, from 0.
        node: u32,
        /// Which life of it.
        life: u64,
    },
    /// A node is there, but set otherwise: it takes no part.
    Refused {
        /// The node, from 0.
        node: u32,
        /// What differs, at least one.
        differences: Vec<Difference>,
    },
    /// A status of a node that has appeared.
    Status(Status),
    /// A fetch has ended.
    Fetched {
        /// What was to be fetched.
        digest: SnapshotDigest,
        /// The vector and the node that delivered it (this one, when it was here already).
        outcome: Result<(Arc<Snapshot>, u32), FetchError>,
    },
    /// Another process has this node's number. Of two lives, the one that began later is to end.
    Twice {
        /// This node.
        node: u32,
        /// The other's life.
        life: u64,
    },
    /// The node at an endpoint does not trust this one's certificate, or is not trusted itself: a
    /// line that says which, and why. Said once for each endpoint.
    Untrusted {
        /// Where it listens.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// Something came that makes no sense, and was refused: a line for the log. There is at most
    /// one every few seconds, which then counts what it stands for.
    Stranger(String),
}

/// What reaches the link's own thread.
pub(super) enum Event {
    Token(u32, u64, SampleKind),
    Hello(Hello, usize),
    Told(Told, usize),
    Fetched(SnapshotDigest, Result<(Arc<Snapshot>, u32), FetchError>),
    Untrusted(String, String),
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
    pub strangers: Strangers,
    events: Sender<Event>,
    waiting: AtomicUsize,
    present: Mutex<BTreeMap<u32, u64>>,
    latest: Mutex<Option<Status>>,
}

impl Shared {
    /// Tells the link's own thread. Once that has ended there is nobody to tell.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The life of `node`, if it has appeared.
    pub fn life_of(&self, node: u32) -> Option<u64> {
        lock(&self.present).get(&node).copied()
    }

    fn receive_token(&self, sample: &Sample) {
        let key = sample.key_expr().as_str();
        match self.keys.parse_token(key) {
            Some((node, life)) => self.send(Event::Token(node, life, sample.kind())),
            None => self.strangers.note(key, "not a node's token"),
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

    fn receive_hello(&self, asked: (u32, u64), reply: &Reply) {
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
            Ok(hello) if (hello.node, hello.life) == asked => {
                self.send(Event::Hello(hello, length));
            }
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

/// The link of one node to all others. Dropping it leaves the run.
pub struct Link {
    shared: Arc<Shared>,
    session: Session,
    fetches: Arc<Fetches>,
    thread: Option<JoinHandle<()>>,
    token: Option<LivelinessToken>,
    /// Dropped with the link: that ends the thread at the other end.
    _trust: Option<Sender<()>>,
}

impl Link {
    /// Opens the link: from now on others can find this node, and it finds them.
    ///
    /// `sink` is called from one thread of the link, in the order in which things happen. While it
    /// runs nothing else is told, so it should only hand on what it gets.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when something in `config` cannot be used here.
    pub fn open(
        config: LinkConfig,
        sink: impl FnMut(Incoming) + Send + 'static,
    ) -> Result<Self, LinkError> {
        let (node, nodes) = (config.node, config.nodes);
        if node >= nodes {
            return Err(LinkError::Number { node, nodes });
        }
        let own = Hello {
            node,
            life: config.life,
            nodes,
            description: config.description.clone(),
        };
        let (found, most) = (own.encode().len(), Hello::LONGEST);
        if found > most {
            return Err(LinkError::Description { found, most });
        }
        let session = session::open(&config)?;
        let tls_endpoints: Vec<_> = session::others(&config)
            .into_iter()
            .filter(|endpoint| endpoint.starts_with("tls/"))
            .map(String::from)
            .collect();
        let (events, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            keys: Keys::of_run(&config.run),
            own,
            wire: config.wire,
            layout: config.layout,
            board: Board::default(),
            meter: Meter::default(),
            strangers: Strangers::default(),
            events,
            waiting: AtomicUsize::new(0),
            present: Mutex::default(),
            latest: Mutex::default(),
        });
        let own_thread = OwnThread {
            shared: shared.clone(),
            session: session.clone(),
            members: Members::new(shared.own.clone()),
            sink,
        };
        let no_thread = |error: io::Error| LinkError::NoThread {
            why: error.to_string(),
        };
        let thread = thread::Builder::new()
            .name(String::from("link"))
            .spawn(move || own_thread.run(&inbox))
            .map_err(no_thread)?;
        let trust = match config.tls {
            Some(tls) => Some(trust::watch(shared.clone(), tls, tls_endpoints).map_err(no_thread)?),
            None => None,
        };
        let mut link = Self {
            fetches: Arc::new(Fetches::new(shared.clone(), session.clone())),
            shared,
            session,
            thread: Some(thread),
            token: None,
            _trust: trust,
        };
        link.declare().map_err(|error| LinkError::Session {
            why: error.to_string(),
        })?;
        Ok(link)
    }

    /// Everything that others see of this node; the token last, so that who sees it gets answers.
    /// All of it goes when the session is closed.
    fn declare(&mut self) -> zenoh::Result<()> {
        let (shared, session) = (&self.shared, &self.session);
        let (node, life) = (shared.own.node, shared.own.life);
        let hello = shared.own.encode();
        session
            .declare_queryable(shared.keys.hello(node, life))
            .callback(move |query: Query| {
                // One that cannot be answered was asked by somebody who is gone.
                let _ = query.reply(query.key_expr().clone(), hello.clone()).wait();
            })
            .background()
            .wait()?;
        let servers = Servers::new(shared.clone());
        session
            .declare_queryable(shared.keys.vector(node, life))
            .callback(move |query| servers.take(query))
            .background()
            .wait()?;
        let receiver = shared.clone();
        session
            .declare_subscriber(shared.keys.statuses())
            .callback(move |sample| receiver.receive_status(&sample))
            .background()
            .wait()?;
        let receiver = shared.clone();
        session
            .liveliness()
            .declare_subscriber(shared.keys.tokens())
            .history(true)
            .callback(move |sample| receiver.receive_token(&sample))
            .background()
            .wait()?;
        let token = session
            .liveliness()
            .declare_token(shared.keys.token(node, life));
        // Undeclared with the session, not before.
        std::mem::forget(token.wait()?);
        Ok(())
    }

    /// Tells all other nodes. Returns at once: where a link is congested, the status is dropped.
    pub fn tell(&self, status: &Status, telling: Telling) {
        *lock(&self.shared.latest) = Some(status.clone());
        tell(&self.shared, &self.session, status, telling);
    }

    /// Offers a vector: from now on others can fetch it, until a few more have been published.
    /// Returns its digest.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> SnapshotDigest {
        let digest = snapshot.digest();
        self.shared.board.publish(digest, snapshot);
        digest
    }

    /// Fetches a vector in the background; [`Incoming::Fetched`] says how it went. A fetch of a
    /// vector that is under way already is shared: it also tries the holders named here, and ends
    /// once.
    pub fn fetch(&self, wanted: Wanted) {
        Fetches::begin(&self.fetches, wanted);
    }

    /// Bytes so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            peers: self.shared.meter.read(),
            link: session::bytes(&self.session).map(|(sent, received)| Flow { sent, received }),
        }
    }

    /// Leaves the run: others see this node vanish.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Its token first, so that others see it end and not fail.
        drop(self.token.take());
        // The other side of a connection may have gone first.
        let _ = self.session.close().wait();
        self.shared.send(Event::Close);
        if let Some(thread) = self.thread.take() {
            // A panic of the sink has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

/// Publishes a status.
///
/// Congestion control is `Drop`: Zenoh waits 1 ms for room in the queue of this priority of a
/// link, once, and then drops what is for that link until the queue moves again. So a peer that is
/// dead, but whose lease has not yet run out, costs the others next to nothing.
fn tell(shared: &Shared, session: &Session, status: &Status, telling: Telling) {
    let told = Told {
        telling,
        status: status.clone(),
    };
    let bytes = told.encode();
    for &peer in lock(&shared.present).keys() {
        shared.meter.sent(peer, telling.kind(), bytes.len());
    }
    // It fails only while the session closes.
    let _ = session
        .put(shared.keys.status(shared.own.node), bytes)
        .priority(Priority::RealTime)
        .congestion_control(CongestionControl::Drop)
        .express(true)
        .wait();
}

/// The thread that keeps track of who is there and calls the sink.
struct OwnThread<S> {
    shared: Arc<Shared>,
    session: Session,
    members: Members,
    sink: S,
}

impl<S: FnMut(Incoming)> OwnThread<S> {
    fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            let event = inbox.recv_timeout(TICK);
            let now = Instant::now();
            let acts = match event {
                Ok(Event::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.members.tick(now),
                Ok(event) => self.handle(event, now),
            };
            *lock(&self.shared.present) = self.members.present();
            for act in acts {
                self.act(act);
            }
            if let Some(line) = self.shared.strangers.line(now) {
                (self.sink)(Incoming::Stranger(line));
            }
        }
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
                self.members.hello(&hello)
            }
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
            Event::Fetched(digest, outcome) => {
                vec![Act::Say(Incoming::Fetched { digest, outcome })]
            }
            Event::Untrusted(endpoint, why) => {
                vec![Act::Say(Incoming::Untrusted { endpoint, why })]
            }
            Event::Close => Vec::new(),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Say(incoming) => (self.sink)(incoming),
            Act::Ask { node, life } => self.ask(node, life),
            Act::Greet => {
                let latest = lock(&self.shared.latest).clone();
                if let Some(status) = latest {
                    tell(&self.shared, &self.session, &status, Telling::Heartbeat);
                }
            }
        }
    }

    fn ask(&self, node: u32, life: u64) {
        let shared = self.shared.clone();
        // It fails only while the session closes; what is lost is asked again.
        let _ = self
            .session
            .get(self.shared.keys.hello(node, life))
            .priority(Priority::InteractiveHigh)
            .congestion_control(CongestionControl::Drop)
            .consolidation(ConsolidationMode::None)
            .timeout(HELLO_TIMEOUT)
            .callback(move |reply| shared.receive_hello((node, life), &reply))
            .wait();
    }
}
