//! Leader Stochastic Gradient Descent for [Burn](https://burn.dev): workers train on their own and
//! are pulled toward whichever of them does best (Teng et al., NeurIPS 2019, arXiv 1905.10395).
//!
//! # From a plain training loop to Leader SGD
//!
//! New or changed lines are marked.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::loss::{MseLoss, Reduction};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
//! use burn::tensor::{Device, Tensor};
//! use lsgd_core::{Group, LeaderConfig, LeaderSgd, LocalLeader, Method, Mode}; // new
//!
//! fn train(mut model: Linear, mut optimizer: LeaderSgd, device: &Device) -> f32 { // was ModuleOptimizer
//!     let x = Tensor::<2>::from_data([[0.0], [1.0], [2.0], [3.0]], device);
//!     let y = x.clone() * 3.0 + 1.0;
//!     let mut loss = Tensor::full([1], f32::NAN, device);
//!     for _ in 0..200 {
//!         loss = MseLoss::new().forward(model.forward(x.clone()), y.clone(), Reduction::Mean);
//!         let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!         optimizer.observe(loss.clone());                                // new: what ranks workers
//!         model = optimizer.step(0.05, model, gradients);
//!     }
//!     loss.into_scalar::<f32>()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let method = Method::lsgd(&LeaderConfig::default())?;                   // new
//! let leader = LocalLeader::new(0, 2, method.clone(), Mode::Sync)?;       // new: two workers meet
//! let (_group, members) = Group::form(leader, |_event| {});               // new
//! let threads: Vec<_> = members.into_iter().map(|member| {                // was one loop
//!     std::thread::spawn({
//!         let method = method.clone();
//!         move || {
//!             let device = Device::flex().autodiff();
//!             let model = LinearConfig::new(1, 1).init(&device);
//!             let inner = SgdConfig::new().init();
//!             train(model, LeaderSgd::new(inner, method, member), &device) // was inner
//!         }
//!     })
//! }).collect();
//! for thread in threads {
//!     assert!(thread.join().expect("a worker panicked") < 0.05);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # This crate or another
//!
//! - This crate, for a training loop of your own, in one process.
//! - `lsgd-learner`, if you train with burn-train's `Learner`.
//! - `lsgd-run`, for a whole run of any module: data threads, several nodes, evaluation, records,
//!   checkpoints, a command line.
//! - `lsgd-train`, the program, to classify images with the networks of `lsgd-models`.
//!
//! # Where things are
//!
//! | what | where |
//! |---|---|
//! | a worker's step, around any Burn optimizer | [`LeaderSgd`] |
//! | a worker's step, around gradient steps of your own | [`InnerOptimizer`] |
//! | a limit on the norm of all gradients, or on each value | [`GradientClip`] |
//! | the methods, each with its update equation | [`Method`], [`Rule`], [`LeaderConfig`] |
//! | the leader, and why it was elected | [`elect`] |
//! | when an exchange is due | [`Periods`], [`Trigger`] |
//! | a module's values as flat vectors | [`Layout`], [`Snapshot`], [`read`], [`write()`] |
//! | a module's frozen parameters | [`Frozen`] |
//! | what a checkpoint has to hold beside them | [`WorkerState`], [`LocalLeaderState`], [`encode_optimizer`] |
//! | one batch, one gradient step, the pulls that are due | [`Worker`] |
//! | hyperparameters that differ between workers | [`Factors`] |
//! | the exchange within a node, as a state machine | [`LocalLeader`] |
//! | a worker's connection to its peers | [`Exchange`]; [`Group`] and [`Member`] for threads |
//! | a whole run under a virtual clock | [`Simulation`] |
//! | a loss that stays on its device, and what passes between host and device | [`Loss`], [`Reading`], [`download`], [`upload`] |
//!
//! This crate opens no socket or file, reads no clock and draws no random number.

mod averaging;
mod clipping;
mod election;
mod event;
mod exchange;
mod factors;
mod frozen;
mod global_leader;
mod group;
mod layout;
mod leader_sgd;
mod local_leader;
mod loss;
mod loss_window;
mod method;
mod module;
mod optimizer_state;
mod schedule;
mod simulation;
mod snapshot;
mod snapshot_error;
mod state;
mod status;
mod transfer;
mod values;
mod wire;
mod worker;

pub use averaging::{Averaged, CHUNK, MeanRef, NotAveraged};
pub use clipping::GradientClip;
pub use election::{
    Candidate, Election, Exclusion, Incumbent, Reason, Report, WindowLoss, WorkerId, elect,
    elect_or_keep, within,
};
pub use event::{Event, NodeLoss};
pub use exchange::{
    Command, Delivery, Exchange, ExchangeOutcome, Message, Mode, Scope, VectorKind,
};
pub use factors::Factors;
pub use frozen::{Frozen, FrozenDigest, FrozenTensor};
pub use global_leader::{Action, Fetched, GlobalLeader, NodeConfig};
pub use group::{Group, Member};
pub use layout::{Entry, Layout, LayoutDigest, is_buffer};
pub use leader_sgd::{InnerOptimizer, LeaderSgd, Next, TakeOver};
pub use local_leader::{LocalLeader, NodeUpdate, RestartPoint, mean_statistics};
pub use loss::Loss;
pub use loss_window::LossWindow;
pub use method::{
    BatchNorm, CentreReply, CentreRequest, ExchangeAt, ExchangeConfig, FinalPull, LeaderConfig,
    Method, MethodError, OuterStep, Pull, ReadParameters, Rule, WeightPer,
};
pub use module::{MovingAverage, read, read_buffers, sum_of_squares, write};
pub use optimizer_state::{OptimizerStateError, decode_optimizer, encode_optimizer};
pub use schedule::{Due, ExchangeSteps, Periods, Trigger};
pub use simulation::{
    SimDriver, SimulatedLink, SimulatedTraffic, Simulation, SimulationConfig, WorkerTurn,
};
pub use snapshot::{Snapshot, Source};
pub use snapshot_error::{ShortDigest, SnapshotError};
pub use state::{
    AverageState, GlobalLeaderCounters, GlobalLeaderState, LocalLeaderCounters, LocalLeaderState,
    MemberCounters, RuleState, StateError, WorkerState,
};
pub use status::{CheckpointRef, JoinPoint, NodePhase, Proposal, Status, VectorRef};
pub use transfer::{Reading, TRANSFERS, download, upload};
pub use values::SnapshotDigest;
pub use wire::{WireFormat, int8, topk};
pub use worker::{GradientStep, Objective, Worker};
