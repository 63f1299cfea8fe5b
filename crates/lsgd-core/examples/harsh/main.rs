//! Runs of several nodes in memory in which anything may go wrong, one per seed, watched by
//! auditors that know what must hold.
//!
//! ```text
//! cargo run --release -p lsgd-core --example harsh -- --minutes 10
//! cargo run --release -p lsgd-core --example harsh -- --seed 17
//! ```
//!
//! `--from SEED` begins elsewhere than at 0, `--threads N` uses more than one thread, `--planted
//! NAME` lets the network itself do something wrong (`bit`, `not_a_number`, `stray`, `uncounted`,
//! `forged`, `deaf`). Ends with code 1 if an auditor found something.

mod auditors;
mod cluster_run;
mod command;
#[path = "../coordination/network/mod.rs"]
mod network;
mod scenario;
#[path = "../coordination/trainer.rs"]
mod trainer;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("harsh: {why}");
            ExitCode::from(2)
        }
    }
}
