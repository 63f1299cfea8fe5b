//! The vectors that pulls go to, on the worker's device.

use std::sync::Arc;

use burn::module::Module;

use crate::module::{OnDevice, device_of};
use crate::{Pull, Snapshot};

/// What a worker has uploaded for its pulls. A vector is uploaded once, and stays as long as proximal
/// pulls go to it.
#[derive(Debug)]
pub(super) struct Targets {
    /// Whether pulls change BatchNorm's running statistics too.
    buffers: bool,
    kept: Vec<(Arc<Snapshot>, OnDevice)>,
}

impl Targets {
    pub fn new(buffers: bool) -> Self {
        Self {
            buffers,
            kept: Vec::new(),
        }
    }

    /// Whether pulls change BatchNorm's running statistics too.
    pub fn with_buffers(&self) -> bool {
        self.buffers
    }

    /// `target` on the device of `module`; `None` if that has no tensors.
    pub fn get<M: Module>(&mut self, target: &Arc<Snapshot>, module: &M) -> Option<OnDevice> {
        let kept = self.kept.iter().find(|(kept, _)| Arc::ptr_eq(kept, target));
        if let Some((_, uploaded)) = kept {
            return Some(uploaded.clone());
        }
        let buffers = match self.buffers {
            true => target.buffers(),
            false => &[],
        };
        let uploaded =
            OnDevice::upload("target", target.parameters(), buffers, &device_of(module)?);
        self.kept.push((target.clone(), uploaded.clone()));
        Some(uploaded)
    }

    /// Keeps what the proximal `pulls` go to, and nothing else.
    pub fn keep<M: Module>(&mut self, pulls: &[Option<Pull>], module: &M) {
        let is_target = |kept: &Arc<Snapshot>| {
            let mut pulls = pulls.iter().flatten();
            pulls.any(|pull| Arc::ptr_eq(&pull.target, kept))
        };
        self.kept.retain(|(kept, _)| is_target(kept));
        for pull in pulls.iter().flatten() {
            self.get(&pull.target, module);
        }
    }
}
