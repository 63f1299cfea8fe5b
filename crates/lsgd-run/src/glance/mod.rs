//! Runs at a glance: what a folder says about a run in milliseconds, however long its records are.
//!
//! Only small files and the ends of long ones are read, and nothing is written, locked for longer than a
//! look, or put in order: a run may be under way, on this machine or another.

mod config;
mod listing;
mod of_run;

pub use listing::{Found, Listed, list};
pub use of_run::{Glance, claimed, folders};

#[cfg(test)]
mod tests;
