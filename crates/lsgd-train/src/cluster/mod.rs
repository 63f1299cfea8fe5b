//! What passes between the nodes of a run, over [Zenoh](https://zenoh.io).
//!
//! A [`Link`] says which other nodes are there, carries their [`Status`](lsgd_core::Status)es, and
//! fetches vectors by digest. It decides nothing: the driver of the global leader listens to what
//! comes [in](Incoming) and says what goes out.
//!
//! Everything lies below `lsgd/2/<run>/`, where `<run>` is a hash of the run's name:
//!
//! | key | what | priority |
//! |---|---|---|
//! | `node/<n>/<life>` | liveliness token: that life of node n is there | control |
//! | `hello/<n>/<life>` | queryable: what node n is set to | high |
//! | `status/<n>` | published: node n's newest status | highest |
//! | `vector/<n>/<life>` | queryable: a range of a vector, by digest | lowest |
//!
//! A status replaces all before it, so it is never waited for: it is dropped where a link is
//! congested, and the next one says more. Vectors wait for their turn, behind everything else.

mod board;
mod codec;
mod error;
mod fetch;
mod hello;
mod keys;
mod link;
mod members;
mod messages;
mod room;
mod serve;
mod session;
mod shared;
mod strangers;
mod tls;
mod traffic;
mod trust;
mod watch;

pub use error::{FetchError, HolderFault, LinkError};
pub use fetch::Wanted;
pub use hello::{Difference, Hello};
pub use link::{Incoming, Link, LinkConfig, Telling};
pub use messages::{ChunkRequest, Told};
pub(crate) use session::LEASE;
pub use tls::Tls;
pub use traffic::{Flow, Kind, Traffic};
