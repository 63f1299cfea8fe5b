//! A run's folder: its files, written and read.

mod aside;
mod checkpoint;
mod checkpoint_name;
mod checkpoints;
mod claim;
mod digests;
mod disk;
mod event_file;
mod file_error;
mod files;
mod folder;
mod folder_error;
mod frozen;
mod lines;
mod lock;
mod newest;
mod nodes;
mod recorder;
mod records;
mod report_file;
mod resume_record;
mod resuming;
mod run_change;
mod run_state;
mod saved_run;
mod shown;
mod standing;
mod steps;
mod tail;
mod values;
mod which;
mod whole_lines;
mod written;

pub use checkpoint::{Checkpoint, CheckpointState, Completion, StatisticsBatches};
pub use checkpoint_name::{CheckpointName, CheckpointNameError};
pub use checkpoints::Checkpoints;
pub use claim::{Claim, NodeNumber};
pub use file_error::FileError;
pub use folder::RunFolder;
pub use folder_error::FolderError;
pub use recorder::{Recorder, ResumedRecords};
pub use records::{
    BestScore, CheckpointsSummary, End, Evaluation, ExchangeSummary, FORMAT, HeldOut,
    IncarnationSummary, Interval, Machine, MetricInfo, MetricRecord, NodesSummary, RunRecord,
    Score, SimulatedSummary, Summary, Traffic, WorkerScore,
};
pub use resume_record::{
    ClusterRecord, JoinPointRecord, RecordLengths, ResumeRecord, SavedTimes, SavedVector,
    WindowRecord, WorkerRecord,
};
pub use resuming::{SharedSettings, check_settings};
pub use run_change::RunChange;
pub use run_state::{RunState, SavedWorker};
pub use saved_run::{LoadedWorker, SavedRun};
pub use values::{decode, encode, slices};
pub use which::{Which, WhichError};

pub use aside::{belongs_to_run, is_run, is_unfinished};
pub use files::{Fill, fill_new, fill_whole, read_bounded, write_new, write_whole};
pub use lines::{MAX_LINE, read_lines};
pub use lock::{Held, held, locked_at};
pub use newest::NewestCheckpoint;
pub use nodes::node_folders;
pub use report_file::{REPORT, REPORT_MARK, is_report};
pub use shown::Headline;
pub use standing::{State, last_written, written};
pub use tail::last_lines;
pub use whole_lines::read_whole_lines;
pub use written::Written;
