//! Arxiv 1905.10395 (Leader SGD), equation by equation, and everything around it that the crate
//! promises.

mod alone;
mod average;
mod batch_norm;
mod centre;
mod chunks;
mod clipping;
mod decisions;
mod digests;
mod equations;
mod factors;
mod inner_optimizer;
mod largest;
mod leader_async;
mod leader_sync;
mod mean;
#[path = "../../examples/simulated/memory.rs"]
mod memory;
mod method;
mod methods;
mod probe;
mod reference;
mod resuming;
mod rounding;
mod rules;
mod setting;
mod sim_workers;
mod simulated;
mod snapshots;
mod stored;
mod threads;
mod transfers;
mod uncounted;
