//! A run is a folder: what is written into it, and read back.

mod aside;
mod checkpoint;
mod claim;
mod files;
mod folder;
mod lines;
mod lock;
mod records;
mod values;

pub use checkpoint::{Checkpoint, CheckpointState, Checkpoints};
pub use claim::{Claim, Member};
pub use folder::RunFolder;
pub use records::{
    Evaluation, ExchangeSummary, Interval, LifeSummary, Machine, Metric, NodesSummary, Recorder,
    RunRecord, SimulatedSummary, Summary, TestError, WorkerScore,
};
pub use values::{decode, encode};

pub(crate) use aside::{belongs_to_run, is_run};
pub(crate) use files::{read_bounded, write_new, write_whole};
pub(crate) use lines::read_lines;
pub(crate) use values::slices;
