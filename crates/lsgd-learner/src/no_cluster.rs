//! Replaces the other nodes in a build without the feature `nodes`.

use burn_train::{Interrupter, TrainingError};
use lsgd_core::Group;

use crate::start::Start;

/// There are no other nodes.
pub enum Cluster {}

impl Cluster {
    /// Never called.
    pub fn wait_to_begin(&mut self, _: &Interrupter) -> Result<Option<Start>, TrainingError> {
        match *self {}
    }

    /// Never called.
    pub fn begun(&mut self, _: &Group) {
        match *self {}
    }

    /// Never called.
    pub fn left_behind(&mut self) -> Result<Option<Start>, TrainingError> {
        match *self {}
    }

    /// Never called.
    pub fn progress(&self) -> Box<dyn Fn()> {
        match *self {}
    }

    /// Never called.
    pub fn finish(self, _: &Interrupter) {
        match self {}
    }
}
