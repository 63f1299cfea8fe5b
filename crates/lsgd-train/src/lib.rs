//! Stub.
pub mod config;

