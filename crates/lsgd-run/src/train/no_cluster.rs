//! Replaces the exchange with other nodes in a build without the feature `nodes`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lsgd_core::{CheckpointRef, GlobalLeaderState, Snapshot};

use super::inbox::Inbox;
use super::setup::Setup;
use super::worker_pool::WorkerPool;
use crate::error::RunError;
use crate::storage::Traffic;

/// There are no other nodes.
#[derive(Debug)]
pub enum Cluster {}

impl Cluster {
    /// Refuses to connect to other nodes.
    ///
    /// # Errors
    ///
    /// [`RunError::OneNode`].
    pub fn open(
        setup: &Arc<Setup>,
        _: &mut Inbox,
        _: Vec<CheckpointRef>,
        _: SystemTime,
    ) -> Result<Self, RunError> {
        Err(RunError::OneNode { nodes: setup.nodes })
    }

    /// Never called.
    pub fn resume(&self, _: GlobalLeaderState) {
        match *self {}
    }

    /// Never called.
    pub fn state(&self) -> Option<GlobalLeaderState> {
        match *self {}
    }

    /// Never called.
    pub fn begun(&mut self, _: &WorkerPool) {
        match *self {}
    }

    /// Never called.
    pub fn finish(&self, _: Option<Snapshot>) {
        match *self {}
    }

    /// Never called.
    pub fn close(self, _: Option<Duration>) -> Traffic {
        match self {}
    }
}
