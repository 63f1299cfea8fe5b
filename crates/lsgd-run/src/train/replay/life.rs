//! A process of a node, in a [planner](super::planner).

use lsgd_core::WorkerId;

use super::drafts::{DraftStage, DraftStart};
use super::resolver::Drafts;
use super::script::StageId;

/// A node's process, as far as its records go.
#[derive(Debug, Clone)]
pub struct Life {
    /// Where its workers begin.
    pub start: DraftStart,
    pub step: u64,
    /// Whether it has continued from a checkpoint.
    pub resumed: bool,
    /// Its centre.
    pub centre: usize,
    /// The current stage of each worker.
    pub stages: Vec<StageId>,
    /// Additions to the centre whose worker has yet to be moved, with the version that they made.
    pub additions: Vec<(WorkerId, u64, u64)>,
}

impl Life {
    /// The workers of a node begin.
    pub fn begin(
        drafts: &mut Drafts,
        workers: impl Iterator<Item = WorkerId>,
        node: u32,
        (start, step): (DraftStart, u64),
        seconds: f64,
    ) -> Self {
        let centre = drafts.add_centre(node, start.clone());
        let mut stage = |worker| {
            drafts.add_stage(DraftStage {
                worker,
                step,
                start: start.clone(),
                centre,
                seconds,
                actions: Vec::new(),
            })
        };
        Self {
            stages: workers.map(&mut stage).collect(),
            start,
            step,
            resumed: false,
            centre,
            additions: Vec::new(),
        }
    }
}
