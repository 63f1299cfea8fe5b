//! The link of one node to all others.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use lsgd_core::{MeanRef, Snapshot, SnapshotDigest, Status};

use crate::config::LinkConfig;
use crate::error::LinkError;
use crate::fetch::{FetchRequest, Fetches};
use crate::hello::Hello;
use crate::incoming::Incoming;
use crate::link_thread::{LinkThread, OtherRuns};
use crate::members::Members;
use crate::session;
use crate::shared::{LinkEvent, Shared, lock};
use crate::traffic::Traffic;
use crate::trust;

/// The link of one node to all others. Dropping it leaves the run.
pub struct Link {
    shared: Arc<Shared>,
    fetches: Arc<Fetches>,
    thread: Option<JoinHandle<()>>,
    /// Dropped with the link, which ends its thread.
    _trust: Option<Sender<()>>,
}

impl Link {
    /// Opens the link: from now on this node and the others can find each other.
    ///
    /// `sink` is called from one thread of the link at a time, and never after the link is dropped.
    /// While it runs the link handles nothing else, so it should only pass on what it gets.
    ///
    /// # Errors
    ///
    /// [`LinkError`], if `config` cannot be used here.
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
            incarnation: config.incarnation,
            nodes,
            description: config.description.clone(),
        };
        let (found, most) = (own.encode().len(), Hello::MAX_LEN);
        if found > most {
            return Err(LinkError::Description { found, most });
        }
        let session = session::open(&config)?;
        let others = session::others(&config);
        let unreachable = session::unreachable(&config.listen, &others);
        let tls_endpoints: Vec<_> = others
            .into_iter()
            .filter(|endpoint| endpoint.starts_with("tls/"))
            .map(String::from)
            .collect();
        let tls = config.tls.clone();
        let (events, inbox) = mpsc::channel();
        let sink = Box::new(sink);
        let shared = Shared::new(&config, own.clone(), session.clone(), events, sink);
        let shared = Arc::new(shared);
        let link_thread = LinkThread {
            config,
            shared: shared.clone(),
            members: Members::new(own),
            status_due: false,
            other_runs: OtherRuns::default(),
            is_out: false,
            rejoin: None,
        };
        let no_thread = |error: io::Error| LinkError::NoThread {
            why: error.to_string(),
        };
        let thread = thread::Builder::new()
            .name(String::from("link"))
            .spawn(move || link_thread.run(&inbox))
            .map_err(no_thread)?;
        if let Some(line) = unreachable {
            shared.emit(Incoming::Unreachable(line));
        }
        let trust = tls.map(|tls| trust::watch(shared.clone(), tls, tls_endpoints));
        let link = Self {
            fetches: Arc::new(Fetches::new(shared.clone())),
            shared,
            thread: Some(thread),
            _trust: trust.transpose().map_err(no_thread)?,
        };
        let joined = link.shared.join(session);
        joined.map_err(|error| LinkError::Session {
            why: session::describe(&error),
        })?;
        Ok(link)
    }

    /// Sends a status to all other nodes. Returns at once: on a congested link the status is
    /// dropped.
    pub fn broadcast(&self, status: &Status) {
        *lock(&self.shared.latest) = Some(status.clone());
        self.shared.broadcast(status);
    }

    /// Makes a vector available: from now on others can fetch it, until a few more have been
    /// published. Returns its digest.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> SnapshotDigest {
        let digest = snapshot.digest();
        self.shared.snapshots.publish(digest, snapshot);
        digest
    }

    /// Fetches a vector in the background; [`Incoming::Fetched`] reports the outcome. A request for
    /// a vector that is being fetched already joins that fetch: it adds its holders, and the fetch
    /// ends once.
    pub fn fetch(&self, request: FetchRequest) {
        Fetches::begin(&self.fetches, request);
    }

    /// Makes a mean over nodes together with them, in the background: all of them must ask for the same mean.
    /// [`Incoming::Averaged`] reports the outcome. The node's own sum must have been
    /// [published](Self::publish).
    pub fn average(&self, mean: MeanRef) {
        Fetches::average(&self.fetches, mean);
    }

    /// Bytes so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            peers: self.shared.meter.read(),
            link: self.shared.link_bytes(),
        }
    }

    /// Leaves the run: others see this node disconnect.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.send(LinkEvent::Close);
        if let Some(thread) = self.thread.take() {
            // A panic of the sink has been reported by its thread.
            let _ = thread.join();
        }
        self.shared.close_sink();
        // What is being fetched or made need not wait for anybody any more.
        lock(&self.shared.present).clear();
        self.shared.leave();
    }
}
