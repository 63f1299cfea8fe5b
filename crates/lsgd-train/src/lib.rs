//! Training CNNs with Leader SGD, on one node or several: `lsgd-train --config FILE`.
//!
//! The engine is [`lsgd_run`]; this crate is its task of classifying images ([`ImageTask`]), with
//! [data sets](data), [config](image_config), export and a command line.
//!
//! ```no_run
//! use lsgd_train::image_config::Config;
//!
//! let set = [String::from("run.name=mine"), String::from("workers.count=2")];
//! let config = Config::load("configs/quickstart.toml".as_ref(), &set)?;
//! let outcome = lsgd_run::train(config, Box::new(()), Default::default())?;
//! println!("test error of the leader: {:?} %", outcome.leader("error"));
//! # Ok::<(), lsgd_train::error::TrainError>(())
//! ```
//!
//! For a model or data of your own use [`lsgd_run`]; in burn-train's `Learner`, `lsgd-learner`; in a
//! training loop of your own, [`lsgd_core`].

pub mod batches;
pub mod cli;
pub mod confusion;
pub mod data;
pub mod device_images;
pub mod download;
pub mod error;
pub mod export;
pub mod image_config;
pub mod image_model;
pub mod image_task;
pub mod initial_weights;
pub mod inspect;
pub mod loss;
pub mod optimizer;
pub mod scoring;
pub mod tensors;
pub mod train_batch;
pub mod trained;
pub mod trained_task;
mod transpose;

pub use image_task::ImageTask;
