//! A language model of characters, on workers that follow their leader: a program with a command line,
//! of a model that the engine knows nothing of.
//!
//!     cargo run --release -p lsgd-run --example characters -- \
//!         --config crates/lsgd-run/examples/characters/characters.toml
//!
//! The same with `launch --nodes 2` before `--config` trains on two nodes, `init` writes a config of all
//! keys, and `--set task.text=my.txt` trains on a text of one's own.

mod model;
mod task;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    lsgd_run::main::<task::CharactersConfig>()
}
