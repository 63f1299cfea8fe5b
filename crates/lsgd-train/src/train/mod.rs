//! Training on one node: config, data, model, worker loop, exchange, recorder.
//!
//! The main thread ([`node`](self)) starts a thread a worker, receives what they report, writes it
//! down, and at pauses spreads evaluation over them. Workers see each other only through
//! [`lsgd_core::Group`].

mod crew;
mod evaluation;
mod intervals;
mod learner;
mod messages;
mod node;
mod pace;
mod provenance;
mod setup;
mod stopwatch;
mod worker_thread;

pub(crate) use evaluation::nan_from_null;
pub use evaluation::{BatchScore, Score, Scratch, test_batches};
pub use learner::{Learner, tensors};
pub use node::{Outcome, train};
pub use pace::{End, Every, Pace, Pause, Plan, Turn};
pub use setup::Setup;
