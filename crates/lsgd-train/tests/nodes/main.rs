//! Several nodes of one run: processes of the real program that speak over loopback.

mod arithmetic;
#[cfg(unix)]
mod chaos;
mod cluster;
mod faults;
mod incarnations;
mod launching;
mod meeting;
mod open_files;
#[path = "../program/ports.rs"]
mod ports;
#[allow(
    dead_code,
    reason = "shared with the tests of one node, which use all of it"
)]
#[path = "../program/program.rs"]
mod program;
mod replaying;
mod resuming;
