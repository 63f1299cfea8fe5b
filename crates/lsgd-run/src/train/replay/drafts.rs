//! Parts of a [`Script`](super::script::Script) in which what others published is yet to be found.

use lsgd_core::{Scope, ShortDigest, Source, WorkerId};

use super::log::Place;
use super::script::StageId;

/// A vector that a node has received.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The node.
    pub node: u32,
    pub source: Source,
    pub scope: Scope,
    pub digest: ShortDigest,
}

/// A [`Start`](super::script::Start) whose vector is yet to be found.
#[derive(Debug, Clone)]
pub enum DraftStart {
    Initial,
    Published {
        wanted: Wanted,
        place: Place,
    },
    /// A centre of another node, as it was proposed.
    Proposed {
        node: u32,
        version: u64,
        digest: ShortDigest,
        place: Place,
    },
    /// The node's own centre.
    Centre {
        centre: usize,
        number: u64,
    },
}

/// An [`Act`](super::script::Act) likewise.
#[derive(Debug, Clone)]
pub enum Draft {
    /// It has reported its running statistics, which were averaged.
    Report,
    Publish {
        digest: ShortDigest,
        /// Whose statistics were averaged, reported at which step.
        averaged: Vec<(StageId, u64)>,
    },
    Adopt {
        wanted: Wanted,
        strength: f64,
    },
    Lead(Source),
    Centre {
        read: u64,
        strength: f64,
        made: u64,
    },
    Compare(String),
}

#[derive(Debug)]
pub struct DraftAction {
    pub step: u64,
    pub place: Place,
    pub draft: Draft,
}

#[derive(Debug)]
pub struct DraftStage {
    pub worker: WorkerId,
    pub step: u64,
    pub start: DraftStart,
    pub centre: usize,
    /// When it began, by the run's clock.
    pub seconds: f64,
    pub actions: Vec<DraftAction>,
}

/// A [`Change`](super::script::Change) likewise.
#[derive(Debug)]
pub enum DraftChange {
    Addition {
        worker: u32,
        digest: ShortDigest,
    },
    Merge {
        node: u32,
        other: u64,
        digest: ShortDigest,
    },
}

#[derive(Debug)]
pub struct DraftCentre {
    pub node: u32,
    pub start: DraftStart,
    pub changes: Vec<(Place, DraftChange)>,
}
