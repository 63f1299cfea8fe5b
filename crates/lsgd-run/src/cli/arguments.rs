//! What a command line says about a run.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[cfg(feature = "bench")]
use super::bench::Bench;
use super::find::{FindBatch, FindRate};
#[cfg(feature = "report")]
use super::landscape::Landscape;
use super::pages::Man;
use super::path::path;
#[cfg(feature = "report")]
use super::report::Report;
use super::runs::Runs;
use super::serve::{Serve, Serving};
use super::signals::OnUserSignal;
use super::watch::Watch;
use crate::storage::CheckpointName;

/// A run: its config, with overrides.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Train {
    /// Train as this TOML file says
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    pub config: PathBuf,

    /// Override a key of the config; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// No progress: warnings and errors only
    #[arg(long, short)]
    pub quiet: bool,

    /// Continue the run that is there, if there is one
    #[arg(skip)]
    pub resume: bool,

    /// What SIGUSR1 and SIGUSR2 ask for
    #[arg(skip)]
    pub on_user_signal: OnUserSignal,

    /// Whether it is shown while it goes on
    #[command(flatten)]
    pub serving: Serving,
}

/// What can be asked of any task's program, but training.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum RunCommand {
    /// Train on several nodes, all of them on this machine
    Launch(Launch),

    /// Continue a run that was stopped or killed
    #[command(after_help = "\
For example runs/first, or with a longer budget: runs/first --set budget.epochs=20")]
    Resume(Resume),

    /// Run an async run again by its events, and compare the digests of all parameters
    #[command(after_help = "\
Prints one line: what was replayed and that the digests are the same, or the first recorded line where
they are not (exit code 1). For example runs/first, or runs/first --until 1000")]
    Replay(Replay),

    /// Write a page about a run, or one that compares several: charts, figures, configs
    #[cfg(feature = "report")]
    #[command(after_help = "\
One HTML file that needs nothing else, and no network. For example runs/first, whose page is
runs/first/report.html; or runs/first runs/second --out both.html. It reads only the folders, also of a run
that is still going on. A run that ends leaves such a page by itself.")]
    Report(Report),

    /// Draw the loss around a run's workers: the plane through three of them, with contours
    #[cfg(feature = "report")]
    #[command(after_help = "\
Nothing is trained: each point of a grid in the plane is scored, with BatchNorm statistics estimated anew on
evaluate.batch_norm_batches batches (fewer, with --set, take less time). The run's other workers and their
mean are projected onto it. For example
  runs/first
  runs/first --points worker-0,worker-2,leader --size 41 --examples 2000
  runs/nodes/node-1 --points worker-1,leader,global-leader --output figures")]
    Landscape(Landscape),

    /// Show a run, or all of a folder, while they go on: the page of `report`, over HTTP
    #[command(after_help = "\
It reads only the folders, so it can be started and stopped at any time, also on another machine that sees
them. A run shows itself with --serve. /metrics has the latest figures for Prometheus. At any address
that other machines could reach, the variable LSGD_SERVE_TOKEN has to hold a token of 16 to 128 letters,
which is then part of the page's address. Ends with Ctrl-C.")]
    Serve(Serve),

    /// Train many workers on several nodes in this process, under a virtual clock
    #[command(after_help = "\
Steps and links take the time that the config's [simulate] says; all seconds of the run's records
are of that clock. For example, with --set simulate.nodes=4 --set workers.count=4, or
--set run.mode=async --set simulate.step_sigma=0.3.")]
    Simulate(Train),

    /// Try rising learning rates on one worker, and suggest one
    #[command(after_help = "\
The first worker of the config trains without the others, from the initial weights, with a higher learning
rate in every step, until the loss has risen by three times what it was. Nothing is written. The rate to begin
with is where the loss fell fastest, or a tenth of where it was lowest if that is less (arXiv 1506.01186). It
is one for this model, optimizer and batch size. Of a config for several nodes, add --set cluster.nodes=1.")]
    FindRate(FindRate),

    /// Measure one worker's pace with rising batch sizes, and say which is enough
    #[command(after_help = "\
The first worker of the config takes some steps with each size, without the others and at a learning rate of 0,
until the device has no memory left or the data too few examples. Nothing is written. Enough is the smallest size that is within 5 % of the
fastest. Another batch size needs another learning rate: find-rate suggests one. Of a config for several
nodes, add --set cluster.nodes=1.")]
    FindBatch(FindBatch),
    /// List the runs in a folder: how far each is, its last score, whether it is running
    #[command(after_help = "\
Newest records first. It reads only the ends of records, of runs that are going on too. Of several nodes it is
one line; runs/NAME lists them one by one, and the runs of a bench. The metric is the task's first, of the
leader, or of the replica mean if nobody leads. States:
  running      a process has it open
  starting     a process has it open and has recorded nothing yet: it loads its data, or waits for other nodes
  ended        its budget is used up
  stopped      by a signal; it can be continued
  diverged     no worker has a finite value
  broken off   it ended with an error
  killed       no process has it open, and it has no end
  not ended    it has no end, and the file system cannot tell whether a process has it open")]
    Runs(Runs),

    /// Follow a run from another terminal, or another machine that sees its folder
    #[command(after_help = "\
Prints how far the run is, then its evaluations and what else happens, but for exchanges, as they are
recorded; its result when it has ended. Of several nodes, runs/NAME follows all. Exit code 1: its process is
gone, and the run has no end.")]
    Watch(Watch),

    /// Print what a shell needs to complete this program's commands and options
    #[command(after_help = "\
Where a shell looks for it, for a program PROGRAM:
  bash   ~/.local/share/bash-completion/completions/PROGRAM
  zsh    ~/.zfunc/_PROGRAM, with fpath=(~/.zfunc $fpath) before compinit
  fish   ~/.config/fish/completions/PROGRAM.fish")]
    Completions {
        /// Which shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },

    /// Print a manual page, or write one for each command
    #[command(after_help = "\
`| man -l -` shows it; --out /usr/local/share/man/man1 installs all.")]
    Man(Man),

    /// Write a config with every key, its default and its meaning
    Init {
        /// Where to write it; - is standard output
        #[arg(value_name = "PATH", default_value = "lsgd.toml", value_parser = path())]
        path: PathBuf,

        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },

    /// List what can train here, by the names that workers.devices takes
    Devices {
        /// Also take one training step of a small network on each, and compare it with known numbers
        #[arg(long)]
        check: bool,
    },

    /// Train on several nodes while they are killed, frozen and cut off, and report what it costs
    #[cfg(unix)]
    #[command(after_help = "\
The file says what is trained, without faults and with them, and which faults come when: docs/chaos.md
lists all of them. Runs, logs and report.md go to FOLDER/NAME as the file gives them.

A chaos file:
  name = \"storm\"
  config = \"lsgd.toml\"             # what every run trains
  set = [\"checkpoint.every_steps=100\"]
  nodes = 4
  workers = 2                      # of each node
  seeds = [1, 2, 3]                # a run without faults for each; the run with faults has the first
  minutes = 30
  pace_millis = 50                 # shortest time of a step, so that the machine has time to spare

  [random]                         # faults that are drawn
  seed = 1
  per_hour = 125
  weights = { kill = 3, stop = 2, cut = 1 }

  [[fault]]                        # faults that are given
  at = 60                          # seconds since the first exchange
  kind = \"cut_one_way\"
  node = 1
  peer = 2
  seconds = 5")]
    Chaos(Chaos),

    /// Train by several methods, and report them side by side
    #[cfg(feature = "bench")]
    #[command(after_help = "\
The file lists methods, numbers of workers, periods and seeds. Every run keeps its folder; the same
command continues a bench that was stopped.

A bench file, whose runs and report go to runs/pulls:
  name = \"pulls\"
  config = \"lsgd.toml\"             # what every run starts from
  set = [\"budget.steps=1000\"]      # overrides for every run
  how = \"simulate\"                 # or \"train\", on one node
  seeds = [1, 2, 3]
  workers = [4]                    # over all nodes
  periods = [16]                   # method.local_period
  targets = [0.5]                  # values of the task's main metric, to report the cost of reaching each

  [[method]]
  label = \"weak\"
  set = [\"method.local_pull=0.1\"]  # overrides for this method

  [[method]]
  label = \"strong\"
  nodes = 2                        # two workers each
  set = [\"method.local_pull=0.5\"]")]
    Bench(Bench),
}

/// Arguments of `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Resume {
    /// Folder of the run, such as runs/first
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,

    /// Continue from this checkpoint: newest, best or a step; later ones are removed
    #[arg(long, value_name = "CHECKPOINT", default_value_t = CheckpointName::Newest)]
    pub checkpoint: CheckpointName,

    /// Override a key of the run's config, such as budget.epochs=20; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// At SIGUSR1 or SIGUSR2, save and end with exit code 85; the same command continues
    #[arg(long)]
    pub signal_resume: bool,

    /// No progress: warnings and errors only
    #[arg(long, short)]
    pub quiet: bool,

    /// Whether it is shown while it goes on
    #[command(flatten)]
    pub serving: Serving,
}

impl Resume {
    /// What SIGUSR1 and SIGUSR2 ask for.
    pub fn on_user_signal(&self) -> OnUserSignal {
        OnUserSignal::of(self.signal_resume)
    }
}

/// Arguments of `replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Replay {
    /// Folder of the run, such as runs/first; of several nodes, the one that holds all of them
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,

    /// End each worker at this step
    #[arg(long, value_name = "STEP")]
    pub until: Option<u64>,

    /// Override a key of the run's config, such as data.folder=DIR; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `launch`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Launch {
    /// How many nodes, a process each, that speak over loopback
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub nodes: u32,

    /// Continue the run if it has begun; begin it if it has not
    ///
    /// The nodes continue from the last exchange after which all of them have a checkpoint.
    #[arg(long)]
    pub resume: bool,

    /// Start a node that dies again, up to N times each: it continues, or joins the others
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub restarts: u32,

    /// What all nodes train
    #[command(flatten)]
    pub train: Train,
}

/// Arguments of `chaos`.
#[cfg(unix)]
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Chaos {
    /// What is trained and which faults come when, a TOML file
    #[arg(value_name = "FILE", value_parser = path(), required_unless_present = "report")]
    pub file: Option<PathBuf>,

    /// Put the runs and the report under this name instead of the file's
    #[arg(long, value_name = "NAME", requires = "file", value_parser = name)]
    pub name: Option<String>,

    /// Override a key of every run's config, such as run.mode=async; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", requires = "file")]
    pub set: Vec<String>,

    /// Make the report of a folder again, from its records
    #[arg(long, value_name = "FOLDER", value_parser = path(), conflicts_with = "file")]
    pub report: Option<PathBuf>,

    /// Whether its runs are shown while it goes on
    #[command(flatten)]
    pub serving: Serving,
}

/// A name that a folder can have.
#[cfg(unix)]
fn name(text: &str) -> Result<String, String> {
    match crate::chaos::plan::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(String::from("use letters, digits, - and _")),
    }
}
