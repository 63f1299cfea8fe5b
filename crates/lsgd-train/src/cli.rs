//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::data::ScoredOn;
use lsgd_run::cli::{RunCommand, Train, TrainOptions, path};
use lsgd_run::storage::{CheckpointName, Which};

const EXAMPLES: &str = "\
Examples:
  lsgd-train init                                  write a commented config, lsgd.toml
  lsgd-train --config lsgd.toml                    train as it says
  lsgd-train --config lsgd.toml --set run.name=slow --set schedule.learning_rate=0.01
  lsgd-train --config lsgd.toml --resume           begin, or continue what was stopped or killed
  lsgd-train resume runs/slow --set budget.epochs=20
  lsgd-train find-rate --config lsgd.toml          suggest a learning rate
  lsgd-train find-batch --config lsgd.toml         measure batch sizes
  lsgd-train --config lsgd.toml --serve 127.0.0.1:8080            a page of the run while it goes on
  lsgd-train runs                                  the runs in runs/, and how far each is
  lsgd-train watch runs/slow                       follow a run from another terminal
  lsgd-train report runs/slow runs/firm            a page that compares two runs, report.html
  lsgd-train landscape runs/slow                   the loss around its workers, landscape.svg
  lsgd-train replay runs/slow                      run an async run again by its events, and compare
  lsgd-train launch --nodes 2 --config lsgd.toml   two nodes on this machine
  lsgd-train simulate --config lsgd.toml --set simulate.nodes=4   four nodes under a virtual clock
  lsgd-train chaos configs/chaos/smoke.toml        three nodes under faults, and what these cost
  lsgd-train --config lsgd.toml --node 2/4 --connect tcp/HOST:PORT,...   one node of four
  lsgd-train data fetch cifar10                    download CIFAR-10 to where configs expect it
  lsgd-train eval runs/slow                        test error of the finished run's leader
  lsgd-train export runs/slow --which mean         write runs/slow/model.safetensors

A run is a folder, runs/NAME: config.toml, metrics.jsonl, events.jsonl, checkpoints, summary.json.
Other files in it are left alone; an existing run is replaced only with run.overwrite=true.

Signals:
  Ctrl-C, SIGTERM, SIGHUP   end after this step: saved first, then evaluated
    the same again          end without an evaluation, once it is saved; once more: end at once
  SIGUSR1, SIGUSR2          write a checkpoint after this step, and go on

Exit codes:
  0    success
  1    the run or the command failed; what a run had trained is saved if it can be
  2    wrong usage or config; nothing was started
  75   a busy port, a name that does not resolve, a full disk, nodes that did not come, a run or node
       that another process is: the same command may work later
  130  stopped by a signal; what was trained is kept";

const BENCH_EXAMPLES: &str = "\
Examples:
  lsgd-train bench configs/bench/smoke.toml     then runs/smoke-bench/curves.csv, replica_mean.svg, ...
  lsgd-train bench configs/bench/smoke.toml --name short --set budget.steps=8

The file lists methods, numbers of workers, periods and seeds. Every run keeps its folder; a bench that
was stopped continues where it was when the same command is given again.";

const NO_CONFIG: &str = "\
no config was given

  lsgd-train init                  writes one, with every key explained, to lsgd.toml
  lsgd-train --config lsgd.toml    trains as it says";

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// Train: no subcommand.
    Train(Train),
    /// One of the subcommands.
    Command(Command),
}

impl Invocation {
    /// Parses `arguments`, the program's name first.
    ///
    /// # Errors
    ///
    /// On wrong usage, and for `--help` and `--version`, whose text is the error's. Its `exit`
    /// prints either and ends with code 2 or 0.
    pub fn parse<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let Cli { train, command } = Cli::try_parse_from(arguments).map_err(advise)?;
        match (command, train.train()) {
            (Some(command), _) => Ok(Invocation::Command(command)),
            (None, Some(train)) => Ok(Invocation::Train(train)),
            (None, None) => {
                Err(Cli::command().error(ErrorKind::MissingRequiredArgument, NO_CONFIG))
            }
        }
    }
}

/// The usage of the program.
pub fn usage() -> clap::Command {
    Cli::command()
}

/// Adds what was probably meant by a config or a command where none is taken.
fn advise(mut error: clap::Error) -> clap::Error {
    let given = match error.kind() {
        // A conflict: other arguments stand before it.
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => {
            error.get(ContextKind::InvalidSubcommand)
        }
        ErrorKind::UnknownArgument => error.get(ContextKind::InvalidArg),
        _ => None,
    };
    let Some(ContextValue::String(given)) = given else {
        return error;
    };
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let takes_config = usage.is_some_and(|usage| usage.contains("--config"));
    let tip = match given.as_str() {
        path if path.ends_with(".toml") && takes_config => {
            format!("a config is given as --config {path}")
        }
        "train" | "run" => String::from("training needs no command: lsgd-train --config FILE"),
        _ => return error,
    };
    let tips = vec![StyledStr::from(tip)];
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    error
}

/// Train Burn models with Leader SGD: several workers, each on a device of its own, pulled toward
/// whichever of them does best
#[derive(Debug, Parser)]
#[command(
    name = "lsgd-train",
    version,
    args_conflicts_with_subcommands = true,
    override_usage = "lsgd-train --config <FILE> [--set <KEY=VALUE>]... [--node <J/N> --connect <ENDPOINTS>] [--quiet]\n       \
                      lsgd-train <COMMAND>",
    after_help = EXAMPLES,
    mut_subcommand("bench", |bench| bench.after_help(BENCH_EXAMPLES))
)]
struct Cli {
    #[command(flatten)]
    train: TrainOptions,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Everything but training.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// What any task can be asked for
    #[command(flatten)]
    Run(RunCommand),

    /// Get data sets
    #[command(subcommand)]
    Data(DataCommand),

    /// Test a finished or stopped run once more
    #[command(after_help = "\
Examples:
  lsgd-train eval runs/slow
  lsgd-train eval runs/slow --which mean --checkpoint best
  lsgd-train eval runs/slow --which worker-0 --set data.folder=/data/cifar-10-batches-bin
  lsgd-train eval runs/slow --on holdout                   images that data.holdout held out
  lsgd-train eval runs/slow --confusion confusion.csv      which classes are taken for which
  lsgd-train eval runs/slow --logits logits.safetensors    to compare with another program")]
    Eval(Eval),

    /// Write a run's parameters as safetensors, a state dict for PyTorch
    #[command(after_help = "\
Examples:
  lsgd-train export runs/slow                                writes runs/slow/model.safetensors
  lsgd-train export runs/slow --which mean --output mean.safetensors

resnet18, resnet34 and resnet50 (of three channels) load strictly into torchvision's classes of these
names. The VGGs here are torchvision's vgg*_bn with a smaller head; they and the other models load
into those of scripts/torch_models.py: docs/data.md. The metadata has `format` and `class_names`.")]
    Export(Export),
}

/// `lsgd-train data`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum DataCommand {
    /// Download a data set, check its SHA-256 and unpack it; goes on where a download broke off
    #[command(after_help = "\
Examples:
  lsgd-train data fetch cifar10                      to datasets/cifar-10-batches-bin
  lsgd-train data fetch cifar100 --folder /data/c100
                              then train with --set data.folder=/data/c100
  lsgd-train data fetch cifar10 --archive cifar-10-binary.tar.gz
  lsgd-train data fetch cifar10 --mirror https://mirror.example/cifar --ca company.pem

Wherever the archive comes from, its SHA-256 says whether it is the published one.")]
    Fetch(Fetch),
}

/// Arguments of `lsgd-train data fetch`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Fetch {
    /// Which data set
    #[arg(value_name = "NAME")]
    pub name: FetchName,
    /// Folder for the files themselves, as data.folder names it [default: the data set's
    /// default data.folder]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub folder: Option<PathBuf>,
    /// Unpack this archive, which was downloaded already; it is left where it is
    #[arg(long, value_name = "FILE", value_parser = path(), conflicts_with_all = ["mirror", "ca"])]
    pub archive: Option<PathBuf>,
    /// Download from here: the URL of the archive, or of the folder that holds it
    #[arg(long, value_name = "URL", value_parser = mirror)]
    pub mirror: Option<String>,
    /// Trust these certificate authorities (PEM) in place of the public ones
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub ca: Option<PathBuf>,
}

/// A URL that `data fetch` can take: what it brings is checked, so HTTP will do.
fn mirror(url: &str) -> Result<String, String> {
    match url.starts_with("https://") || url.starts_with("http://") {
        true => Ok(url.to_owned()),
        false => Err(String::from(
            "give a URL that begins with https:// or http://; a file that is here goes to --archive",
        )),
    }
}

/// Data sets that `data fetch` knows how to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FetchName {
    /// CIFAR-10, binary version
    Cifar10,
    /// CIFAR-100, binary version
    Cifar100,
}

/// Arguments of `lsgd-train eval`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Eval {
    /// Folder of the run, such as runs/first
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,
    /// Whose parameters: leader, mean (of the node's workers), worker-K, K from 0, mean-of-all-nodes,
    /// which one node of several has at the end, or, of a run with `[average]`, ema, lawa or worker-K-ema
    #[arg(long, value_name = "WHICH", default_value_t = Which::Leader)]
    pub which: Which,
    /// Which checkpoint: newest, best or a step
    #[arg(long, value_name = "CHECKPOINT", default_value_t = CheckpointName::Newest)]
    pub checkpoint: CheckpointName,
    /// On which images
    #[arg(long, value_name = "IMAGES", value_enum, default_value = "test")]
    pub on: ScoredOn,
    /// Override a key of the run's config, such as data.folder=DIR; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Also write the first 128 of these images, as the model takes them, and its logits to a
    /// safetensors file, tensors `images` and `logits`
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub logits: Option<PathBuf>,
    /// Also print a table of all classes, and write which are taken for which to a CSV file: a row a
    /// class, a column for each that its images are taken for
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub confusion: Option<PathBuf>,
    /// Replace the files of --logits and --confusion if they exist
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `lsgd-train export`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Export {
    /// Folder of the run, such as runs/first
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,
    /// Whose parameters: leader, mean (of the node's workers), worker-K, K from 0, mean-of-all-nodes,
    /// which one node of several has at the end, or, of a run with `[average]`, ema, lawa or worker-K-ema
    #[arg(long, value_name = "WHICH", default_value_t = Which::Leader)]
    pub which: Which,
    /// Which checkpoint: newest, best or a step
    #[arg(long, value_name = "CHECKPOINT", default_value_t = CheckpointName::Newest)]
    pub checkpoint: CheckpointName,
    /// Where to write them [default: RUN/model.safetensors]
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    pub output: Option<PathBuf>,
    /// Replace the file if it exists, and write values that are not finite as they are
    #[arg(long)]
    pub force: bool,
}

#[cfg(test)]
mod tests;
