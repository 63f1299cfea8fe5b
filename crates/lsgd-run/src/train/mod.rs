//! Training on a node: config, data, model, worker loop, exchange, recorder.
//!
//! The main thread (`run`, `run_loop`) starts one thread per worker, receives and records their
//! messages, and distributes evaluations over them at pauses. Workers communicate only through
//! [`lsgd_core::Group`]. One more thread writes checkpoints, and with several nodes another drives the
//! exchange between them.

mod adopting;
mod alone;
mod answers;
mod averages;
mod best;
mod checkpoint_model;
mod checkpoint_writer;
#[cfg(feature = "nodes")]
mod cluster;
#[cfg(not(feature = "nodes"))]
#[path = "no_cluster.rs"]
mod cluster;
mod divergence;
mod evaluation;
mod evaluation_pass;
mod failures;
mod find_batch;
mod find_rate;
mod from_settings;
mod full_disk;
mod inbox;
mod intervals;
mod job;
mod journal;
mod load;
mod loader;
mod mailbox;
mod messages;
#[cfg(feature = "nodes")]
mod nodes_error;
mod objective;
mod pause;
mod pause_schedule;
mod provenance;
mod quadratic_period;
mod recovery;
mod replay;
mod requests;
mod resume;
mod run;
mod run_loop;
mod salvage;
mod settings_error;
mod setup;
mod shared_parameter;
mod simulation;
mod totals;
mod training_clock;
mod unread_steps;
mod variation;
mod worker_pool;
mod worker_thread;

pub use checkpoint_model::{CheckpointModel, Scorer};
pub use evaluation::{Scored, score, score_of};
pub use find_batch::{Pace, Paces, pace};
pub use find_rate::{RateCurve, RatePoint, RateTest, find_rate};
pub use job::{Context, Facts, Job};
pub use load::{load, mean_needs_data, plain_mean, values};
#[cfg(feature = "nodes")]
pub use nodes_error::NodesError;
pub use objective::batch_of;
pub use pause_schedule::{Every, NextAction, Now, Pause, PauseSchedule, RunPlan};
pub use replay::{Difference, Replay, Replayed, Shape, replay};
pub use requests::{Requests, SignalRequest};
pub use run::{Outcome, train};
pub use settings_error::SettingsError;
pub use setup::Setup;
pub use simulation::simulate;
