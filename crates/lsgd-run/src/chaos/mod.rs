//! Faults against a real launch on this machine, and what they cost.
//!
//! A [`Plan`] says what is trained and which faults come when; its [schedule] is a function of the file
//! alone. Nodes reach each other through [proxies](proxy) whose [`Links`] can be cut, delayed and lossy.
//! What is done and seen goes to a [log]; the [report] is made from that log and the nodes' own records.

pub mod error;
pub mod fault;
pub mod links;
pub mod log;
pub mod plan;
pub mod proxy;
pub mod records;
pub mod report;
pub mod schedule;
pub mod tail;
pub mod usage;
pub mod written;

pub use error::{ChaosError, PlanProblem};
pub use fault::{Act, Fault, Kind};
pub use links::{Links, Trouble};
pub use plan::Plan;
