//! What a person, or a scheduler, asks of a run while it goes on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What somebody asks for by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The end of the run.
    End,
    /// A checkpoint; the run goes on.
    Checkpoint,
}

/// To go on, to end, to end without an evaluation.
const GO_ON: u8 = 0;
const END: u8 = 1;
const END_SOON: u8 = 2;

/// Set by whoever hears the person, read by those who train.
#[derive(Debug, Default)]
pub struct Requests {
    end: AtomicU8,
    checkpoints: AtomicU64,
    unsaved: AtomicBool,
    in_vain: AtomicBool,
}

impl Requests {
    /// Asks for the end after the step under way, with what was trained saved and evaluated.
    pub fn end(&self) {
        self.end.fetch_max(END, Ordering::Relaxed);
    }

    /// Asks for the end as soon as what was trained is saved, without an evaluation. False if there
    /// is nothing to save: the program can end at once.
    pub fn end_soon(&self) -> bool {
        self.end.fetch_max(END_SOON, Ordering::Relaxed);
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Asks for a checkpoint after the step under way; the run goes on.
    pub fn checkpoint(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks a node that still waits for the others to end: one of them has ended.
    pub fn not_to_wait(&self) {
        self.in_vain.store(true, Ordering::Relaxed);
    }

    /// Whether a node that still waits for the others waits in vain.
    pub fn waits_in_vain(&self) -> bool {
        self.in_vain.load(Ordering::Relaxed)
    }

    /// Whether the run is to end.
    pub fn ends(&self) -> bool {
        self.end.load(Ordering::Relaxed) > GO_ON
    }

    /// Whether it is to end without an evaluation.
    pub fn ends_soon(&self) -> bool {
        self.end.load(Ordering::Relaxed) == END_SOON
    }

    /// How many checkpoints have been asked for.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints.load(Ordering::Relaxed)
    }

    /// Tells whether there is something that [`end_soon`](Self::end_soon) would have to wait for.
    pub(super) fn set_unsaved(&self, unsaved: bool) {
        self.unsaved.store(unsaved, Ordering::Relaxed);
    }
}
