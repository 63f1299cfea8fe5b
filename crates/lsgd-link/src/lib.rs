//! Communication between the nodes of a run, over [Zenoh](https://zenoh.io).
//!
//! A [`Link`] tracks which other nodes are connected, carries their
//! [`Status`](lsgd_core::Status)es, and fetches vectors by digest. It makes no decisions: the
//! driver of the [global leader](lsgd_core::GlobalLeader) receives its [events](Incoming) and
//! decides what to send. A [`ClusterHandle`] is a link with such a driver, for the code that
//! trains.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use std::sync::mpsc;
//!
//! use burn::nn::LinearConfig;
//! use burn::tensor::Device;
//! use lsgd_core::{Layout, WireFormat};
//! use lsgd_link::{FetchRequest, Incoming, Link, LinkConfig};
//!
//! # fn main() -> Result<(), lsgd_link::LinkError> {
//! let module = LinearConfig::new(3, 2).init(&Device::default());
//! let (sink, events) = mpsc::channel();
//! let config = LinkConfig {
//!     run: "first".into(),
//!     node: 0, // of the two, from 0
//!     nodes: 2,
//!     incarnation: lsgd_link::new_incarnation(),
//!     listen: vec!["tcp/10.0.0.1:7447".into()],
//!     connect: vec!["tcp/10.0.0.2:7447".into()],
//!     known_as: None,
//!     tls: None,
//!     lease: lsgd_link::LEASE,
//!     wire: WireFormat::F32,
//!     description: BTreeMap::from([("batch".into(), "32".into())]), // equal on all nodes, or refused
//!     layout: Layout::of(&module),
//! };
//! let link = Link::open(config, move |event| drop(sink.send(event)))?;
//! for event in events {
//!     match event {
//!         Incoming::Connected { node, .. } => println!("node {node} connected"),
//!         Incoming::Disconnected { node, .. } => println!("node {node} disconnected"),
//!         // The other node proposes its parameters: fetch them by their digest.
//!         Incoming::Status(status) => {
//!             for proposal in status.proposals.into_iter().flatten() {
//!                 if let Some(vector) = proposal.leader {
//!                     link.fetch(FetchRequest {
//!                         digest: vector.digest,
//!                         source: vector.source,
//!                         weights: 0,
//!                         holders: vec![status.node],
//!                         together: false,
//!                     });
//!                 }
//!             }
//!         }
//!         Incoming::Fetched { outcome: Ok((snapshot, _)), .. } => {
//!             println!("{} parameters", snapshot.parameters().len());
//!         }
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Use this crate alone for an exchange of your own between nodes; with [`lsgd_core::Group`] and a
//! [`ClusterHandle`] for a training loop of your own; otherwise `lsgd-run` or `lsgd-learner`, which
//! include it.
//!
//! # Keys
//!
//! Everything lies below `lsgd/5/<run>/`, where `<run>` is a hash of the run's name:
//!
//! | key | what | priority |
//! |---|---|---|
//! | `node/<n>/<incarnation>` | liveliness token: that incarnation of node n is alive | control |
//! | `hello/<n>/<incarnation>` | queryable: the settings of node n | high |
//! | `status/<n>` | published: the newest status of node n | highest |
//! | `vector/<n>/<incarnation>` | queryable: a range of a vector, by digest, or of a mean, by name | lowest |
//!
//! A status replaces all earlier ones, so the sender never waits: on a congested link it is
//! dropped, and the next one carries more. Vectors wait for their turn, at the lowest priority.
//!
//! Nodes that fetch the same vector [together](FetchRequest::together) hand on what they have: each
//! requests its own share of the chunks from the holder, and the other shares from the nodes whose
//! they are, which answer as the chunks reach them. So the holder sends the vector about once, however
//! many nodes fetch it.
//!
//! A [mean](Link::average) over three nodes or more is made by all of them: each adds up its share of
//! the chunks of all sums, and has the other chunks of the mean from the nodes whose shares they are. So
//! each link carries less than two vectors, however many nodes there are.

mod arriving;
mod average;
mod cluster;
mod codec;
mod config;
mod connection_limits;
mod download;
mod error;
mod fetch;
mod hello;
mod incoming;
mod keys;
mod link;
mod link_thread;
mod members;
mod messages;
mod pace;
mod plan;
mod presence;
mod rejected;
mod serve;
mod session;
mod shared;
mod shared_mean;
mod snapshot_cache;
mod tls;
mod traffic;
mod trust;

pub use cluster::{
    ClusterError, ClusterEvent, ClusterHandle, Training, incarnation_at, new_incarnation,
};
pub use codec::PartialVector;
pub use config::LinkConfig;
pub use error::{FetchError, HolderFault, LinkError};
pub use fetch::FetchRequest;
pub use hello::{Difference, Hello};
pub use incoming::Incoming;
pub use link::Link;
pub use messages::ChunkRequest;
pub use session::LEASE;
pub use tls::Tls;
pub use traffic::{Flow, Traffic, TrafficKind};
