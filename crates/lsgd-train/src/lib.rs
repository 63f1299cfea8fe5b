//! Stub.
pub mod cli;
pub mod config;
pub mod learning_rate;
