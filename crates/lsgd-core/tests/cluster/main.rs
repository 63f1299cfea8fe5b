//! The exchange between nodes, on runs of 2 to 64 nodes in memory: what it does when messages get
//! lost, nodes die, freeze and come back, and the network is cut and heals. No socket, no thread,
//! no clock: the same seed gives the same history.

#[path = "../../examples/harsh/auditors/mod.rs"]
mod auditors;
mod averaging;
mod broadcasts;
mod changes;
#[path = "../../examples/harsh/cluster_run.rs"]
mod cluster_run;
mod disagreeing;
mod ending;
mod faults;
mod following;
mod harsh;
mod joining;
#[path = "../../examples/coordination/network/mod.rs"]
mod network;
mod proposals;
mod resuming;
mod rounding;
mod rounds;
#[path = "../../examples/harsh/scenario.rs"]
mod scenario;
mod script;
mod scripted;
mod setting;
mod statuses;
#[path = "../../examples/coordination/trainer.rs"]
mod trainer;
mod visiting;
mod waiting;
