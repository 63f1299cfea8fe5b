//! The link of one node to all others.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use lsgd_core::{Layout, Snapshot, SnapshotDigest, Status, Wire};

use super::error::{FetchError, LinkError};
use super::fetch::{Fetches, Wanted};
use super::hello::{Difference, Hello};
use super::members::Members;
use super::session;
use super::shared::{Event, Shared, lock};
use super::tls::Tls;
use super::traffic::{Kind, Traffic};
use super::trust;
use super::watch::{OtherRuns, OwnThread};

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
    /// Under which endpoint the others connect to this node, if that is known: its certificate has to
    /// be for that.
    pub known_as: Option<String>,
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
    pub(super) fn kind(self) -> Kind {
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
    /// Part of a vector that is being fetched has come.
    Arrived,
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
    /// A node of another run answers where this run's should. Said once for each such run.
    OtherRun {
        /// The names of the two.
        name: Difference,
    },
    /// Other machines cannot connect to this node, though nodes are to run there: a line that says
    /// why, and what to do.
    Unreachable(String),
    /// Something came that makes no sense, and was refused: a line for the log. There is at most
    /// one every few seconds, which then counts what it stands for.
    Stranger(String),
}

/// The link of one node to all others. Dropping it leaves the run.
pub struct Link {
    shared: Arc<Shared>,
    fetches: Arc<Fetches>,
    thread: Option<JoinHandle<()>>,
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
        let others = session::others(&config);
        let unreachable = session::unreachable(&config.listen, &others);
        let tls_endpoints: Vec<_> = others
            .into_iter()
            .filter(|endpoint| endpoint.starts_with("tls/"))
            .map(String::from)
            .collect();
        let tls = config.tls.clone();
        let (events, inbox) = mpsc::channel();
        let shared = Arc::new(Shared::new(&config, own.clone(), session.clone(), events));
        let own_thread = OwnThread {
            config,
            shared: shared.clone(),
            members: Members::new(own),
            sink,
            greets: false,
            other_runs: OtherRuns::default(),
        };
        let no_thread = |error: io::Error| LinkError::NoThread {
            why: error.to_string(),
        };
        let thread = thread::Builder::new()
            .name(String::from("link"))
            .spawn(move || own_thread.run(&inbox))
            .map_err(no_thread)?;
        if let Some(line) = unreachable {
            shared.send(Event::Unreachable(line));
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
            why: session::told(&error),
        })?;
        Ok(link)
    }

    /// Tells all other nodes. Returns at once: where a link is congested, the status is dropped.
    pub fn tell(&self, status: &Status, telling: Telling) {
        *lock(&self.shared.latest) = Some(status.clone());
        self.shared.tell(status, telling);
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
            link: self.shared.link_bytes(),
        }
    }

    /// Leaves the run: others see this node vanish.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.send(Event::Close);
        if let Some(thread) = self.thread.take() {
            // A panic of the sink has been reported by its own thread.
            let _ = thread.join();
        }
        self.shared.leave();
    }
}
