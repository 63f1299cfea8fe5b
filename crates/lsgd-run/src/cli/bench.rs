//! The command `bench`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::path::path;
use super::say::say;
use super::serve::Serving;
use super::signals::{OnUserSignal, requests};
use crate::bench::{self, Changes, Plan};
use crate::config::TaskTables;
use crate::error::RunError;
use crate::exit::EXIT_SUCCESS;
use crate::make::MakeTask;

/// Arguments of `bench`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Bench {
    /// What is compared, a TOML file
    #[arg(value_name = "FILE", value_parser = path())]
    pub file: PathBuf,

    /// Put the runs and the report under this name instead of the file's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Override a key of every run's config, also where a method sets it; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Whether its runs are shown while it goes on
    #[command(flatten)]
    pub serving: Serving,
}

/// Compares methods.
pub(super) fn bench<C: MakeTask + TaskTables>(arguments: Bench) -> Result<u8, RunError> {
    let Bench {
        file,
        name,
        set,
        serving,
    } = arguments;
    let changes = Changes { name, set };
    let runs = Plan::load::<C>(&file, changes.clone())?.path();
    let _page = serving.start(&runs)?;
    // If standard output is closed, the runs' folders have the record.
    let told = |line: &str| drop(writeln!(io::stderr(), "{line}"));
    let report = bench::run::<C>(&file, changes, &requests(OnUserSignal::Save), told)?;
    say(format_args!("{}", report.display()))?;
    Ok(EXIT_SUCCESS)
}
