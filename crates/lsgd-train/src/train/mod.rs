//! Training on a node: config, data, model, worker loop, exchange, recorder.
//!
//! The main thread ([`node`](self)) starts a thread a worker, receives what they report, writes it
//! down, and at pauses spreads evaluation over them. Workers see each other only through
//! [`lsgd_core::Group`]. Where there are other nodes, one more thread drives the exchange with them.

mod batches;
mod crew;
mod divergence;
mod evaluation;
mod examination;
mod inbox;
mod intervals;
mod learner;
mod leaving;
mod messages;
mod node;
mod nodes;
mod pace;
mod pause;
mod provenance;
mod requests;
mod setup;
mod simulation;
mod stopwatch;
mod totals;
mod worker_thread;

pub use batches::BatchError;
pub(crate) use evaluation::nan_from_null;
pub use evaluation::{BatchScore, Score, Scratch, test_batches};
pub use learner::{Learner, tensors};
pub use node::{Outcome, train};
pub use pace::{End, Every, Now, Pace, Pause, Plan, Turn};
pub use requests::{Asked, Requests};
pub use setup::Setup;
pub use simulation::simulate;
