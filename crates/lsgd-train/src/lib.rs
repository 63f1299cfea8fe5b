//! Training with Leader SGD, on one node or several: `lsgd-train --config FILE`.
//!
//! Data flows one way: [`config`], [`data`], model, worker loop ([`train`](mod@train)), exchange
//! (between nodes over [`cluster`]), [`run`].

pub mod bench;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod data;
pub mod device;
pub mod download;
pub mod epoch;
pub mod error;
pub mod export;
pub mod home;
pub mod inspect;
pub mod launch;
pub mod launcher;
pub mod learning_rate;
pub mod open_files;
pub mod optimizer;
pub mod output;
pub mod progress;
pub mod run;
pub mod train;
pub mod words;
