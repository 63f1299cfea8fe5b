//! State shared by the threads of a link.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lsgd_core::{Layout, SnapshotDigest, Status, WireFormat};
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::Reply;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::arriving::ArrivingVector;
use crate::config::LinkConfig;
use crate::hello::Hello;
use crate::incoming::Incoming;
use crate::keys::Keys;
use crate::rejected::RejectedMessages;
use crate::snapshot_cache::SnapshotCache;
use crate::traffic::{Flow, Meter, TrafficKind};

/// Maximum number of statuses waiting to be handled. More are dropped: newer ones follow.
const MAX_WAITING: usize = 4096;

/// Events for the link's thread.
pub(crate) enum LinkEvent {
    Token(u32, u64, SampleKind),
    /// A token of a node of another run, with the keys of that run.
    OtherToken(Keys, u32, u64),
    /// The hello of such a node.
    OtherHello(Keys, Hello),
    Hello(Hello, usize),
    Status(Box<Status>, usize),
    Close,
}

/// Receives the events of the link.
pub(crate) type Sink = Box<dyn FnMut(Incoming) + Send>;

/// A node that is asked for vectors.
#[derive(Clone)]
pub(crate) struct Peer {
    pub node: u32,
    incarnation: u64,
    /// Where it serves them.
    pub key: String,
}

/// State shared by the threads of a link.
pub(crate) struct Shared {
    pub keys: Keys,
    pub own: Hello,
    /// How long a silent node counts as alive.
    pub lease: Duration,
    pub wire: WireFormat,
    pub layout: Arc<Layout>,
    pub snapshots: SnapshotCache,
    /// The vectors that are arriving.
    pub arriving: Mutex<HashMap<SnapshotDigest, Arc<ArrivingVector>>>,
    pub meter: Meter,
    /// Bytes on the links of sessions that are closed.
    pub earlier: Mutex<Flow>,
    pub rejected: RejectedMessages,
    /// This node's last status.
    pub latest: Mutex<Option<Status>>,
    /// The connected nodes, with their incarnations.
    pub present: Mutex<BTreeMap<u32, u64>>,
    /// Statuses waiting for the link's thread.
    pub waiting: AtomicUsize,
    events: Sender<LinkEvent>,
    sink: Mutex<Option<Sink>>,
    pub session: Mutex<Session>,
    pub token: Mutex<Option<LivelinessToken>>,
}

impl Shared {
    /// The state of a node with this `config`, before it has joined.
    pub fn new(
        config: &LinkConfig,
        own: Hello,
        session: Session,
        events: Sender<LinkEvent>,
        sink: Sink,
    ) -> Self {
        Self {
            keys: Keys::of_run(&config.run),
            own,
            lease: config.lease,
            wire: config.wire,
            layout: config.layout.clone(),
            snapshots: SnapshotCache::new(config.lease),
            arriving: Mutex::default(),
            meter: Meter::default(),
            earlier: Mutex::default(),
            rejected: RejectedMessages::default(),
            latest: Mutex::default(),
            present: Mutex::default(),
            waiting: AtomicUsize::new(0),
            events,
            sink: Mutex::new(Some(sink)),
            session: Mutex::new(session),
            token: Mutex::default(),
        }
    }

    /// Sends an event to the link's thread, unless that has ended.
    pub fn send(&self, event: LinkEvent) {
        let _ = self.events.send(event);
    }

    /// Passes an event to the sink, from one thread at a time. Does nothing once the link is closed.
    pub fn emit(&self, incoming: Incoming) {
        if let Some(sink) = lock(&self.sink).as_mut() {
            sink(incoming);
        }
    }

    /// Drops the sink: no event is emitted any more.
    pub fn close_sink(&self) {
        *lock(&self.sink) = None;
    }

    /// The session. Do not keep it: it is replaced when this process was frozen.
    pub fn session(&self) -> Session {
        lock(&self.session).clone()
    }

    /// The vector with this digest, if it is arriving.
    pub fn arriving(&self, digest: &SnapshotDigest) -> Option<Arc<ArrivingVector>> {
        lock(&self.arriving).get(digest).cloned()
    }

    /// The incarnation of `node`, if it is connected.
    pub fn incarnation_of(&self, node: u32) -> Option<u64> {
        lock(&self.present).get(&node).copied()
    }

    /// `node` as it can be asked for vectors, if it is connected.
    pub fn peer(&self, node: u32) -> Option<Peer> {
        let incarnation = self.incarnation_of(node)?;
        Some(Peer {
            node,
            incarnation,
            key: self.keys.vector(node, incarnation),
        })
    }

    /// Whether `peer` is still connected.
    pub fn is_connected(&self, peer: &Peer) -> bool {
        self.incarnation_of(peer.node) == Some(peer.incarnation)
    }

    /// Sends this node's status to all others.
    ///
    /// Congestion control is `Drop`: Zenoh waits once for 1 ms for room in a link's queue of this
    /// priority, and then drops messages for that link until the queue moves again. So a peer that
    /// is dead, before its lease has run out, hardly delays the others.
    pub fn broadcast(&self, status: &Status) {
        let bytes = status.encode();
        for &peer in lock(&self.present).keys() {
            self.meter
                .sent(peer, TrafficKind::of_status(status), bytes.len());
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

    /// Handles a sample on the key of a node's token.
    pub fn receive_token(&self, sample: &Sample) {
        let key = sample.key_expr().as_str();
        if let Some((node, incarnation)) = self.keys.parse_token(key) {
            self.send(LinkEvent::Token(node, incarnation, sample.kind()));
        } else if let Some((run, node, incarnation)) = self.keys.parse_other_token(key) {
            if sample.kind() == SampleKind::Put {
                self.send(LinkEvent::OtherToken(run, node, incarnation));
            }
        } else {
            self.rejected.note(key, "not a node's token");
        }
    }

    /// Handles a sample on the key of a node's status.
    pub fn receive_status(&self, sample: &Sample) {
        let key = sample.key_expr().as_str();
        let length = sample.payload().len();
        let status = match length <= Status::MAX_LEN {
            true => Status::decode(&sample.payload().to_bytes()),
            false => Err(format!("{length} bytes where a status should be")),
        };
        let status = status.and_then(|status| match self.keys.parse_status(key) {
            Some(node) if node == status.node => Ok(status),
            _ => Err(format!("a status of node {}", status.node)),
        });
        match status {
            Err(why) => self.rejected.note(key, &why),
            Ok(_) if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                self.rejected.note(key, "more statuses than can be read");
            }
            Ok(status) => self.send(LinkEvent::Status(Box::new(status), length)),
        }
    }

    /// Handles the reply of a node of run `run` to a request for its hello.
    pub fn receive_hello(&self, run: &Keys, asked: (u32, u64), reply: &Reply) {
        // An error means that the node is closing; it is asked again while its token exists.
        let Ok(sample) = reply.result() else {
            return;
        };
        let key = sample.key_expr().as_str();
        let length = sample.payload().len();
        let hello = match length <= Hello::MAX_LEN {
            true => Hello::decode(&sample.payload().to_bytes()),
            false => Err(format!("{length} bytes where a hello should be")),
        };
        match hello {
            Ok(hello) if (hello.node, hello.incarnation) == asked => {
                self.send(match *run == self.keys {
                    true => LinkEvent::Hello(hello, length),
                    false => LinkEvent::OtherHello(run.clone(), hello),
                })
            }
            Ok(hello) => self
                .rejected
                .note(key, &format!("a hello of node {}", hello.node)),
            Err(why) => self.rejected.note(key, &why),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data behind these locks is consistent after every statement, so a panic elsewhere does no
    // harm.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
