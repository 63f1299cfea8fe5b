//! The workers of this node and their method.

use std::sync::Arc;

use burn::tensor::Device;
use lsgd_core::{Event, Method, Mode};

/// Called with every event.
pub type Record = Arc<dyn Fn(Event) + Send + Sync>;

/// The workers of this node, one per device.
#[derive(Clone)]
pub struct NodeSetup {
    /// This node, from 0.
    pub node: u32,
    pub method: Method,
    pub mode: Mode,
    pub devices: Vec<Device>,
    pub record: Record,
}
