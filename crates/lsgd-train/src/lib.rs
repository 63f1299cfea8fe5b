//! Stub.
pub mod cli;
pub mod config;
pub mod data;
pub mod learning_rate;
