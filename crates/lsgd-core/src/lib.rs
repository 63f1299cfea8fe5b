//! Leader Stochastic Gradient Descent for [Burn](https://burn.dev): workers train on their own and
//! are pulled toward whichever of them does best (Teng et al., NeurIPS 2019, arXiv 1905.10395).
//!
//! # From a plain training loop to Leader SGD
//!
//! Lines that are new or different are marked.
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
//!     let mut last = f32::NAN;
//!     for _ in 0..200 {
//!         let loss = MseLoss::new().forward(model.forward(x.clone()), y.clone(), Reduction::Mean);
//!         last = loss.clone().into_scalar::<f32>();
//!         let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!         optimizer.observe(last);                                        // new: what ranks workers
//!         model = optimizer.step(0.05, model, gradients);
//!     }
//!     last
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
//! # Where things are
//!
//! | what | where |
//! |---|---|
//! | a worker's step, around any Burn optimizer | [`LeaderSgd`] |
//! | the methods, each with its update equation | [`Method`], [`Rule`], [`LeaderConfig`] |
//! | who leads, and why | [`elect`] |
//! | when an exchange is due | [`Periods`], [`Trigger`] |
//! | a module's values, flat | [`Layout`], [`Snapshot`], [`read`], [`write()`] |
//! | one batch, one gradient step, the pulls due | [`Worker`] |
//! | the node's side of an exchange, as a state machine | [`LocalLeader`] |
//! | how a worker sees its peers | [`Exchange`]; [`Group`] and [`Member`] for threads |
//! | a whole run under a virtual clock | [`Simulation`] |
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number.

mod election;
mod event;
mod exchange;
mod global_leader;
mod group;
mod layout;
mod leader_sgd;
mod local_leader;
mod loss_window;
mod method;
mod module;
mod refusal;
mod schedule;
mod simulation;
mod snapshot;
mod status;
mod worker;

pub use election::{
    Candidate, Election, Exclusion, Incumbent, Rank, Reason, Report, WindowLoss, elect,
    elect_or_keep,
};
pub use event::{Event, Lost};
pub use exchange::{Adoption, Delivered, Exchange, Message, Mode, Order, Scope, Vector};
pub use global_leader::{Action, Fetched, GlobalLeader, Membership, Wire};
pub use group::{Group, Member};
pub use layout::{Entry, Layout, LayoutDigest, is_buffer};
pub use leader_sgd::{LeaderSgd, Next};
pub use local_leader::{Bid, LocalLeader};
pub use loss_window::LossWindow;
pub use method::{
    BatchNorm, FinalPull, LeaderConfig, Meeting, MeetingConfig, Method, MethodError, Move,
    OuterStep, Own, Rule, Told, Visit, WeightPer,
};
pub use module::{read, sum_of_squares, write};
pub use refusal::{Refusal, ShortDigest};
pub use schedule::{Due, Periods, Trigger};
pub use simulation::{Fleet, SimulatedLink, SimulatedTraffic, Simulation, SimulationConfig, Turn};
pub use snapshot::{Snapshot, SnapshotDigest, Source};
pub use status::{Basis, Offer, Offered, Phase, Status};
pub use worker::{Objective, Worker};
