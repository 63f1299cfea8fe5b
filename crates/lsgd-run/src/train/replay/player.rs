//! A worker, as the [driver](super::driver) of a replay sees it.

use std::sync::Arc;

use lsgd_core::{Message, WorkerId};

use super::Difference;
use super::log::Place;
use super::script::{Script, StageId};
use crate::error::RunError;

/// A worker that is driven.
pub struct Player {
    /// Its id.
    pub id: WorkerId,
    /// Its stages that are needed, the current one last.
    pub stages: Vec<StageId>,
    /// Whether it has begun the current one.
    pub has_begun: bool,
    /// Its next action.
    pub next: usize,
    /// Steps it has taken.
    pub step: u64,
    /// What it said at its step, and has not been dealt with.
    pub messages: Vec<Message>,
    /// The running statistics that it reported at its step, if exchanges average them.
    pub buffers: Option<Arc<[f32]>>,
    /// Whether it has asked for its centre, which it has not received.
    pub asks: bool,
    /// The last line that it agrees with.
    pub agreed: Option<Place>,
}

impl Player {
    /// A worker that has not begun.
    pub fn new(id: WorkerId, script: &Script, needed: &[usize]) -> Self {
        let stages = script.stages.iter().zip(needed).enumerate().rev();
        let own = stages.filter(|(_, (stage, needed))| stage.worker == id && **needed > 0);
        Self {
            id,
            stages: own.map(|(number, _)| number).collect(),
            has_begun: false,
            next: 0,
            step: 0,
            messages: Vec::new(),
            buffers: None,
            asks: false,
            agreed: None,
        }
    }
}

/// Why a replay ends early.
pub enum Stopped {
    /// It comes to something else than the record.
    Differs(Box<Difference>),
    /// It cannot go on.
    Failed(RunError),
}

impl From<RunError> for Stopped {
    fn from(error: RunError) -> Self {
        Self::Failed(error)
    }
}
