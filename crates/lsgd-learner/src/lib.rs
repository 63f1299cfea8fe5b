//! Leader SGD for the [`Learner`](burn_train::Learner) of burn-train: a [training
//! strategy](burn_train::TrainingStrategy) for several devices, of one machine or of several, whose
//! workers train independently and are pulled toward the best of them (Teng et al., NeurIPS 2019,
//! arXiv 1905.10395). Other methods of [`lsgd_core::Method`] run too: `local_sgd`, `easgd`,
//! `diloco`, `data_parallel` and the rest.
//!
//! # From a training on one device to Leader SGD
//!
//! The three new lines are marked; model, data loaders, optimizer and metrics stay as they are.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use burn::data::dataloader::DataLoader;
//! # use burn::module::Module;
//! # use burn::nn::{Linear, LinearConfig, loss::{MseLoss, Reduction}};
//! # use burn::tensor::{Device, Tensor};
//! # use burn_train::{InferenceStep, RegressionOutput, TrainOutput, TrainStep};
//! use burn::lr_scheduler::constant::ConstantLr;
//! use burn::optim::AdamConfig;
//! use burn_train::metric::LossMetric;
//! use burn_train::{Learner, SupervisedTraining};
//! use lsgd_core::{LeaderConfig, Method, Mode};
//! use lsgd_learner::LeaderSgdStrategy;
//! #
//! # #[derive(Module, Debug)]
//! # struct Line { linear: Linear }
//! # type Batch = (Tensor<2>, Tensor<2>);
//! # impl TrainStep for Line {
//! #     type Input = Batch;
//! #     type Output = RegressionOutput;
//! #     fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
//! #         let output = InferenceStep::step(self, batch);
//! #         TrainOutput::new(self, output.loss.backward(), output)
//! #     }
//! # }
//! # impl InferenceStep for Line {
//! #     type Input = Batch;
//! #     type Output = RegressionOutput;
//! #     fn step(&self, (x, y): Batch) -> RegressionOutput {
//! #         let output = self.linear.forward(x);
//! #         let loss = MseLoss::new().forward(output.clone(), y.clone(), Reduction::Mean);
//! #         RegressionOutput::new(loss, output, y)
//! #     }
//! # }
//!
//! # fn train(
//! #     train: Arc<dyn DataLoader<Batch>>,
//! #     valid: Arc<dyn DataLoader<Batch>>,
//! # ) -> Result<Line, Box<dyn std::error::Error>> {
//! # let device = Device::flex();
//! # let model = Line { linear: LinearConfig::new(1, 1).init(&device.clone().autodiff()) };
//! let devices = vec![device.clone(), device];                                     // new: two workers
//! let method = Method::lsgd(&LeaderConfig::default())?;                           // new
//! let strategy = LeaderSgdStrategy::new(method, Mode::Sync, devices)?;            // new
//! let result = SupervisedTraining::new("run", train, valid)
//!     .metrics((LossMetric::new(),))
//!     .with_default_checkpointers()
//!     .num_epochs(10)
//!     .with_training_strategy(strategy.into())                                    // new
//!     .launch(Learner::new(model, AdamConfig::new().init(), ConstantLr::new(1e-3)));
//! if let Some(error) = result.error {
//!     return Err(error.to_string().into());
//! }
//! let model = result.model;                                // of the worker that did best at the end
//! # Ok(model)
//! # }
//! ```
//!
//! `examples/digits.rs` is a complete program: a small convolutional network on handwritten digits.
//!
//! # Several nodes
//!
//! With the feature `nodes` every node (a process, on this machine or another) runs the same
//! program, with the same number of devices, and says which node it is:
//!
//! ```text
//! let endpoints = vec!["tcp/10.0.0.1:7451".into(), "tcp/10.0.0.2:7451".into()];
//! let strategy = strategy.with_cluster(ClusterConfig::new(node, endpoints));      // node 0 or 1
//! ```
//!
//! - Each worker of each node has its own share of the data, all of equal length; the remainder
//!   that cannot be shared evenly is not used. So all nodes need the same dataset in the same
//!   order.
//! - At the start, nodes compare method, mode, epochs, number of items and initial weights: seed
//!   the device before the model is created. Nodes that differ do not train together.
//! - Workers are pulled toward their node's leader every `local_period` steps and toward the global
//!   leader every `global_period`. In [`Mode::Sync`] nodes wait for each other there, at most
//!   `round_limit` for one that makes no progress; in [`Mode::Async`] they do not wait.
//! - When a node dies the others continue. Restarted with the same command, it begins with their
//!   leader's parameters, at their step and in their epoch, with empty momenta. With
//!   `data_parallel` it cannot rejoin.
//! - Each node validates, checkpoints and returns the best of its own workers, so give each a
//!   folder of its own. An early stop or an `Interrupter` affects its node only.
//! - `launch` returns when all nodes have finished; a node that was interrupted or has failed
//!   disconnects immediately.
//! - To resume, all nodes load the same checkpoint.
//! - A `tcp/` endpoint is open to anyone who can reach it. On a shared network, use `tls/`
//!   endpoints and `ClusterConfig::tls`.
//!
//! The log also records what happens between nodes. A failure to train together is a
//! `ClusterError`, the source of the error that the training ends with.
//!
//! # What happens
//!
//! Each device gets a worker: a thread with a copy of the learner and a share of the training data,
//! for the whole run. Shares are consecutive parts of the dataset, as burn-train splits it for
//! several devices, and `shuffle` of the data loader shuffles within them. Where the order of the
//! dataset matters, wrap it in a [`ShuffledDataset`]. A worker whose share happens to be easier
//! leads more often; the program `lsgd-train` redistributes the data every epoch.
//!
//! `batch_size` is that of a worker, so two workers take half as many steps per epoch. A step is
//! the learner's own (optimizer, clipping, accumulation, schedule), followed by the pulls that the
//! method requires. Workers are ranked by the loss that their [`LossMetric`] would show, so the
//! output of the training step must adapt to [`LossInput`], as burn-train's own outputs do.
//!
//! In [`Mode::Sync`] workers exchange every `local_period` steps, and the same seed gives the same
//! bits as a hand-written loop with [`LeaderSgd`]; an epoch ends for all when the first one lacks a
//! batch for the next exchange. In [`Mode::Async`] workers do not wait within an epoch.
//!
//! After an epoch the worker with the lowest training loss is validated on the first device,
//! checkpointed and, after the last epoch, returned.
//!
//! # This, the program, or the core
//!
//! - This crate, if you train with burn-train's `Learner`.
//! - The program `lsgd-train`, for its image classifiers, or where a resumed run must have the same
//!   bits: it saves every worker.
//! - [`lsgd_core`], for a training loop of your own; it changes about ten lines.
//!
//! # What of burn-train is kept
//!
//! | feature | |
//! |---|---|
//! | metrics, loggers, summary, renderer | yes; training metrics are over the batches of all workers, validation metrics those of the leader |
//! | dashboard in the terminal | yes, with the feature `tui` |
//! | early stopping, `Interrupter` | yes |
//! | gradient accumulation, learning rate schedules | yes, a worker at a time; a schedule counts a worker's steps |
//! | checkpoints | yes, of the leader: model, optimizer and schedule |
//! | resuming from one | all workers begin from that leader; momenta and windows of the others, and what a method remembers, begin anew |
//! | `TrainStep::optimize` of the model | yes |
//! | gradient checkpointing | by the devices: give `device.autodiff().gradient_checkpointing()`. burn-train does not tell a strategy of its own switch |
//! | workers ranked by a probe | no: a learner has no probe |
//! | several machines | yes, with the feature `nodes` |
//!
//! A learner accepts a module only as a record, so a worker's parameters pass through host memory
//! whenever it is pulled. With the default `local_prox` of 0 that is once per exchange; otherwise
//! it is every step, which is noticeable on a GPU. The current leader is logged, in burn-train's
//! `experiment.log`; [`LeaderSgdStrategy::on_event`] reports every [`Event`].
//!
//! An invalid set-up is a [`SetupError`]. A later failure, including a worker's panic, ends the
//! training for all workers and is the `error` of its result.
//!
//! [`Event`]: lsgd_core::Event
//! [`ShuffledDataset`]: burn::data::dataset::transform::ShuffledDataset
//! [`LeaderSgd`]: lsgd_core::LeaderSgd
//! [`LossInput`]: burn_train::metric::LossInput
//! [`LossMetric`]: burn_train::metric::LossMetric
//! [`Mode::Async`]: lsgd_core::Mode::Async
//! [`Mode::Sync`]: lsgd_core::Mode::Sync

#[cfg(feature = "nodes")]
mod cluster;
#[cfg(not(feature = "nodes"))]
#[path = "no_cluster.rs"]
mod cluster;
#[cfg(feature = "nodes")]
mod cluster_config;
mod error;
mod events;
mod gate;
mod learner_optimizer;
mod losses;
mod parameters;
mod run;
mod setup;
mod start;
mod strategy;
mod worker;
mod worker_pool;

#[cfg(feature = "nodes")]
pub use cluster_config::ClusterConfig;
pub use error::SetupError;
#[cfg(feature = "nodes")]
pub use lsgd_link::{ClusterError, Tls};
pub use strategy::LeaderSgdStrategy;
