//! A run engine for [Burn](https://burn.dev): trains any module on several devices and several
//! nodes, with Leader SGD (Teng et al., NeurIPS 2019, arXiv 1905.10395) or one of thirteen other
//! methods.
//!
//! You write a [`Task`]: how to make the module and its optimizer, training batch number k, the
//! loss, and a score on part m of the held-out data. The engine does the rest: one worker thread
//! per device, loader threads, exchanges within a node and (feature `nodes`) between nodes over
//! Zenoh, learning rate, budgets, evaluation, checkpoints, records, and simulation under a virtual
//! clock.
//!
//! ```
//! use burn::module::{Module, Param};
//! use burn::optim::{ModuleOptimizer, SgdConfig};
//! use burn::tensor::{Device, Tensor};
//! use lsgd_run::config::Settings;
//! use lsgd_run::train::{self, Job};
//! use lsgd_run::{StepKey, Sums, Task};
//! use std::convert::Infallible;
//!
//! /// One parameter, which is to become 3.
//! #[derive(Module, Debug)]
//! struct Guess {
//!     value: Param<Tensor<1>>,
//! }
//!
//! struct Three;
//!
//! impl Task for Three {
//!     type Module = Guess;
//!     type Batch = f32;
//!     type Error = Infallible;
//!
//!     fn module(&self, device: &Device) -> Result<Guess, Infallible> {
//!         Ok(Guess { value: Param::from_tensor(Tensor::zeros([1], device)) })
//!     }
//!     fn optimizer(&self) -> ModuleOptimizer {
//!         SgdConfig::new().init()
//!     }
//!     fn train_batch(&self, _number: u64) -> Result<f32, Infallible> {
//!         Ok(3.0)
//!     }
//!     fn loss(&self, guess: &Guess, target: f32, _: &Device, _: StepKey) -> Tensor<1> {
//!         (guess.value.val() - target).square()
//!     }
//!     fn batch_size(&self) -> usize {
//!         1
//!     }
//!     fn epoch(&self) -> u64 {
//!         10
//!     }
//!     fn score(&self, guess: &Guess, _: usize, _: &Device) -> Result<Sums, Infallible> {
//!         let off = guess.value.val() - 3.0;
//!         Ok(Sums::of_mean(off.abs().into_scalar::<f32>(), 1))
//!     }
//! }
//!
//! # let folder = tempfile::tempdir().unwrap();
//! let mut settings = Settings::default();
//! settings.run.folder = folder.path().to_owned();
//! settings.workers.count = Some(2);
//! settings.budget.steps = Some(64);
//! let outcome = train::train(Job::new(settings)?, |_| Ok(Three), Box::new(()), Default::default())?;
//! assert!(outcome.leader("loss").is_some_and(|off| off < 0.01));
//! # Ok::<(), lsgd_run::RunError>(())
//! ```
//!
//! [`main`] is a whole program for a task whose settings are a table `[task]` of a config:
//! training, `launch`, `simulate`, `bench`, `init`, `devices`, signals and exit codes. [`Observer`]
//! follows a run while it trains, [`storage`] reads its records.
//!
//! Use `lsgd-core` alone to keep your own training loop, and `lsgd-train` to classify images.
//!
//! | module | what is in it |
//! |---|---|
//! | [`task`] | what you write |
//! | [`config`] | a TOML file becomes checked settings |
//! | [`mod@train`] | set-up, worker threads, pauses, nodes, the simulator |
//! | [`storage`] | the folder of a run, written and read |
//! | [`observer`] | what a run tells whoever watches |
//! | [`mod@bench`] | methods side by side, one report |
//! | [`mod@report`] | a page about a run, or about several |
//! | [`mod@landscape`] | the loss in a plane through three vectors of a run |
//! | [`mod@serve`] | the same page while a run goes on, over HTTP |
//! | [`chaos`] | faults against a real launch, and what they cost |
//! | [`cli`] | the command line |

#[cfg(feature = "bench")]
pub mod bench;
#[cfg(all(feature = "cli", unix))]
pub mod chaos;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod device;
pub mod epoch;
pub mod error;
pub mod exit;
#[cfg(feature = "cli")]
mod glance;
pub mod home;
// Without a command line nobody asks for a fault.
#[cfg_attr(not(feature = "cli"), expect(dead_code))]
mod injection;
#[cfg(feature = "report")]
pub mod landscape;
pub mod learning_rate;
pub mod make;
pub mod observer;
pub mod open_files;
pub mod output;
pub mod progress;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "serve")]
pub mod serve;
pub mod storage;
pub mod task;
pub mod train;
#[cfg(feature = "report")]
mod wording;
pub mod words;

#[cfg(feature = "cli")]
pub use cli::main;
pub use error::RunError;
pub use lsgd_core::Reading;
pub use make::{MakeTask, find_rate, pace, replay, resume, simulate, train};
pub use observer::{Observer, Stepped};
pub use task::{Better, Metric, StepKey, Sums, Task, generator};
