//! Replaces the exchange with other nodes in a build without the feature `nodes`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lsgd_core::{CheckpointRef, GlobalLeaderState, Snapshot};

use super::inbox::Inbox;
use super::setup::Setup;
use super::worker_pool::WorkerPool;
use crate::error::RunError;
use crate::storage::Traffic;
use crate::train::SettingsError;

/// There are no other nodes.
#[derive(Debug)]
pub enum Cluster {}

impl Cluster {
    /// Refuses to connect to other nodes.
    ///
    /// # Errors
    ///
    /// [`SettingsError::OneNode`].
    pub fn open(
        setup: &Arc<Setup>,
        _: &mut Inbox,
        _: Vec<CheckpointRef>,
        _: SystemTime,
    ) -> Result<Self, RunError> {
        Err(SettingsError::OneNode { nodes: setup.nodes }.into())
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
