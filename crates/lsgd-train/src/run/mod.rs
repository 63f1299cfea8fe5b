//! A run is a folder: what is written into it, and read back.

mod checkpoint;
mod folder;
mod records;
mod values;

pub use checkpoint::{Checkpoint, CheckpointState, Checkpoints};
pub use folder::RunFolder;
pub use records::{
    Evaluation, ExchangeSummary, Interval, Machine, Metric, NodesSummary, Recorder, RunRecord,
    SimulatedSummary, Summary, TestError, WorkerScore,
};
pub use values::{decode, encode};

pub(crate) use folder::{read_bounded, write_whole};
pub(crate) use values::slices;
