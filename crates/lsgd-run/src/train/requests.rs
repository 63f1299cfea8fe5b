//! Requests of a user or a scheduler to a running run.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::injection::Injection;

/// A request made by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// End the run.
    End,
    /// Write a checkpoint; the run continues.
    Checkpoint,
}

/// Continue; end; end without an evaluation.
const GO_ON: u8 = 0;
const END: u8 = 1;
const END_SOON: u8 = 2;

/// Set where signals are received, read where the run is trained.
#[derive(Debug, Default)]
pub struct Requests {
    end: AtomicU8,
    checkpoints: AtomicU64,
    unsaved: AtomicBool,
    stop_waiting: AtomicBool,
    resumes: AtomicBool,
    injection: Injection,
}

impl Requests {
    /// Requests the end after the current step; the run is saved and evaluated.
    pub fn end(&self) {
        self.end.fetch_max(END, Ordering::Relaxed);
    }

    /// Requests the end after the current step; the run is saved, is not evaluated, and is to be
    /// continued by another process.
    pub fn end_to_resume(&self) {
        self.resumes.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Whether the run ends to be continued by another process.
    pub fn ends_to_resume(&self) -> bool {
        self.resumes.load(Ordering::Relaxed)
    }

    /// Requests the end as soon as the run is saved, without an evaluation. Returns false if there
    /// is nothing to save: the program can end at once.
    pub fn end_soon(&self) -> bool {
        self.end.fetch_max(END_SOON, Ordering::Relaxed);
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Requests a checkpoint after the current step; the run continues.
    pub fn checkpoint(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells a node that is waiting for the others to end: one of them has ended.
    pub fn stop_waiting(&self) {
        self.stop_waiting.store(true, Ordering::Relaxed);
    }

    /// Whether a node that is waiting for the others should end.
    pub fn should_stop_waiting(&self) -> bool {
        self.stop_waiting.load(Ordering::Relaxed)
    }

    /// The faults that the node is to inject into itself: none, unless `chaos` has started it.
    pub(crate) fn injection(&self) -> &Injection {
        &self.injection
    }

    /// Whether the run should end.
    pub fn ends(&self) -> bool {
        self.end.load(Ordering::Relaxed) > GO_ON
    }

    /// Whether it should end without an evaluation.
    pub fn ends_soon(&self) -> bool {
        self.end.load(Ordering::Relaxed) == END_SOON
    }

    /// Number of checkpoints requested.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints.load(Ordering::Relaxed)
    }

    /// Sets whether there is something to save before [`end_soon`](Self::end_soon).
    pub(super) fn set_unsaved(&self, unsaved: bool) {
        self.unsaved.store(unsaved, Ordering::Relaxed);
    }
}
