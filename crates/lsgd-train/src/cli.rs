//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PathBufValueParser, StyledStr, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::home;

/// Exit code: all went well.
pub const EXIT_SUCCESS: u8 = 0;
/// Exit code: the command was understood and failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the command line or the config is wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: what was in the way may pass by itself, such as a port in use or a full disk; the same
/// command may work later. It is `EX_TEMPFAIL` of `sysexits.h`.
pub const EXIT_RETRY: u8 = 75;
/// Exit code: stopped by a signal, such as Ctrl-C; what was trained is kept.
pub const EXIT_INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  lsgd-train init                                  write a commented config, lsgd.toml
  lsgd-train --config lsgd.toml                    train as it says
  lsgd-train --config lsgd.toml --set run.name=slow --set schedule.learning_rate=0.01
  lsgd-train launch --nodes 2 --config lsgd.toml   two nodes on this machine
  lsgd-train simulate --config lsgd.toml --set simulate.nodes=4   four nodes under a virtual clock
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
        let Cli {
            config,
            set,
            quiet,
            node,
            connect,
            listen,
            command,
        } = Cli::try_parse_from(arguments).map_err(advise)?;
        match (command, config) {
            (Some(command), _) => Ok(Invocation::Command(command)),
            (None, Some(config)) => Ok(Invocation::Train(Train {
                config,
                set: Train::gather(node, connect, listen, set),
                quiet,
            })),
            (None, None) => {
                Err(Cli::command().error(ErrorKind::MissingRequiredArgument, NO_CONFIG))
            }
        }
    }
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

/// A path, with `~` expanded where no shell did.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| home::expand(&path))
}

/// Arguments of a training run.
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
}

impl Train {
    /// All overrides in the order in which they count: first those that `--node`, `--connect` and
    /// `--listen` stand for, then `--set`, which wins.
    fn gather(
        place: Option<Place>,
        connect: Vec<String>,
        listen: Vec<String>,
        set: Vec<String>,
    ) -> Vec<String> {
        let list = |key: &str, endpoints: Vec<String>| {
            let quoted: Vec<String> = endpoints.iter().map(|e| format!("{e:?}")).collect();
            (!quoted.is_empty()).then(|| format!("cluster.{key}=[{}]", quoted.join(", ")))
        };
        let place = place.map(Place::overrides).unwrap_or_default();
        let lists = [list("connect", connect), list("listen", listen)];
        place
            .into_iter()
            .chain(lists.into_iter().flatten())
            .chain(set)
            .collect()
    }
}

/// Which node of a run this is, as `--node` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// From 1.
    node: u32,
    /// Of so many; where the config says it, nothing.
    nodes: Option<u32>,
}

impl Place {
    /// `2/4`, or where a scheduler's variables say it: `slurm` (`SLURM_PROCID` of `SLURM_NTASKS`) or
    /// `kubernetes` (`JOB_COMPLETION_INDEX`; of how many, the config says).
    fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| {
            let value = variable(name).ok_or(format!("the variable {name} is not set"))?;
            let number: Result<u32, _> = value.trim().parse();
            number.map_err(|_| format!("the variable {name} is {value:?}, which is not a number"))
        };
        let after = |index: u32| index.checked_add(1).ok_or("the number is too large");
        match text {
            "slurm" => Ok(Self {
                node: after(number("SLURM_PROCID")?)?,
                nodes: Some(number("SLURM_NTASKS")?),
            }),
            "kubernetes" => Ok(Self {
                node: after(number("JOB_COMPLETION_INDEX")?)?,
                nodes: None,
            }),
            _ => {
                let parts = text.split_once('/');
                let numbers = parts.and_then(|(j, n)| Some((j.parse().ok()?, n.parse().ok()?)));
                let (node, nodes) = numbers.ok_or(
                    "give the node and how many there are, such as 2/4, or slurm or kubernetes",
                )?;
                Ok(Self {
                    node,
                    nodes: Some(nodes),
                })
            }
        }
    }

    fn overrides(self) -> Vec<String> {
        let nodes = self.nodes.map(|nodes| format!("cluster.nodes={nodes}"));
        let node = format!("cluster.node={}", self.node);
        nodes.into_iter().chain([node]).collect()
    }
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
    after_help = EXAMPLES
)]
struct Cli {
    /// Train as this TOML file says
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    config: Option<PathBuf>,

    /// Override a key of the config, such as data.batch_size=64; may be repeated
    ///
    /// The key decides how the value is read: a string is taken as typed, a list of strings may be
    /// written cpu,cpu, and anything else is TOML, such as 64, 1e-4, true or '[1, 8, 8]'. A ~/ that
    /// begins a path is the home folder. Of keys that exclude each other
    /// (budget.epochs, budget.steps, budget.minutes) the one set here takes the other's place.
    #[arg(long, short, value_name = "KEY=VALUE", requires = "config")]
    set: Vec<String>,

    /// No progress: warnings and errors only
    #[arg(long, short)]
    quiet: bool,

    /// Which node of several this is: J/N, from 1; or slurm or kubernetes, to read their variables
    #[arg(
        long,
        value_name = "J/N",
        requires = "config",
        value_parser = |text: &str| Place::parse(text, |name| std::env::var(name).ok())
    )]
    node: Option<Place>,

    /// Endpoints of all nodes, in order, such as tcp/127.0.0.1:7401,tcp/127.0.0.1:7402
    #[arg(
        long,
        value_name = "ENDPOINTS",
        requires = "config",
        value_delimiter = ','
    )]
    connect: Vec<String>,

    /// Where this node can be reached, if --connect does not list all nodes
    #[arg(
        long,
        value_name = "ENDPOINTS",
        requires = "config",
        value_delimiter = ','
    )]
    listen: Vec<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Everything but training.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Train on several nodes, all of them on this machine
    Launch(Launch),
    /// Train many workers on several nodes in this process, under a virtual clock
    #[command(after_help = "\
Examples:
  lsgd-train simulate --config lsgd.toml --set simulate.nodes=4 --set workers.count=4
  lsgd-train simulate --config lsgd.toml --set run.mode=async --set simulate.step_sigma=0.3

Steps and links take the time that the config's [simulate] says; all seconds of the run's records
are of that clock.")]
    Simulate(Train),
    /// Train by several methods, and report them side by side
    #[command(after_help = "\
Examples:
  lsgd-train bench configs/bench/smoke.toml     then runs/smoke-bench/curves.csv, replica_mean.svg, ...
  lsgd-train bench configs/bench/smoke.toml --name short --set budget.steps=8

The file lists methods, numbers of workers, periods and seeds. Every run keeps its folder; a bench that
was stopped goes on where it was when the same command is given again.")]
    Bench {
        /// What is compared, a TOML file
        #[arg(value_name = "FILE", value_parser = path())]
        file: PathBuf,

        /// Call it otherwise than the file does: its runs and its report are below another folder
        #[arg(long, value_name = "NAME")]
        name: Option<String>,

        /// Override a key of every run's config, also where a method sets it; may be repeated
        #[arg(long, short, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Write a config with every key, its default and its meaning
    Init {
        /// Where to write it
        #[arg(value_name = "PATH", default_value = "lsgd.toml", value_parser = path())]
        path: PathBuf,

        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },

    /// List what can train here, by the names that workers.devices takes
    Devices,

    /// Get data sets
    #[command(subcommand)]
    Data(DataCommand),

    /// Test a finished or stopped run once more
    #[command(after_help = "\
Examples:
  lsgd-train eval runs/slow
  lsgd-train eval runs/slow --which mean
  lsgd-train eval runs/slow --which worker-0 --set data.folder=/data/cifar-10-batches-bin
  lsgd-train eval runs/slow --logits logits.safetensors    to compare with another program")]
    Eval(Eval),

    /// Write a run's parameters as safetensors, a state dict for PyTorch
    #[command(after_help = "\
Examples:
  lsgd-train export runs/slow                                writes runs/slow/model.safetensors
  lsgd-train export runs/slow --which mean --output mean.safetensors

resnet18, resnet34 and resnet50 (of three channels) load strictly into torchvision's classes of these
names. The VGGs here are torchvision's vgg*_bn with a smaller head; they, cnn7 and the CIFAR ResNets load
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

/// Arguments of `launch`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Launch {
    /// How many nodes, a process each, that speak over loopback
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub nodes: u32,

    /// What all nodes train
    #[command(flatten)]
    pub train: Train,
}

/// Arguments of `lsgd-train eval`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Eval {
    /// Folder of the run, such as runs/first
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,
    /// Whose parameters: leader, mean (of all workers) or worker-K, K from 0
    #[arg(long, value_name = "WHICH", default_value_t = Which::Leader)]
    pub which: Which,
    /// Override a key of the run's config, such as data.folder=DIR; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Also write the first 128 test images, as the model takes them, and its logits to a
    /// safetensors file, tensors `images` and `logits`
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub logits: Option<PathBuf>,
    /// Replace the file of --logits if it exists
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `lsgd-train export`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Export {
    /// Folder of the run, such as runs/first
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,
    /// Whose parameters: leader, mean (of all workers) or worker-K, K from 0
    #[arg(long, value_name = "WHICH", default_value_t = Which::Leader)]
    pub which: Which,
    /// Where to write them [default: RUN/model.safetensors]
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    pub output: Option<PathBuf>,
    /// Replace the file if it exists, and write values that are not finite as they are
    #[arg(long)]
    pub force: bool,
}

/// Whose parameters a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The leader's: of the worker with the lowest training loss.
    Leader,
    /// The replica mean: the mean over all workers, BatchNorm statistics estimated anew.
    Mean,
    /// One worker's, by its rank from 0.
    Worker(usize),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Leader => f.write_str("leader"),
            Which::Mean => f.write_str("mean"),
            Which::Worker(rank) => write!(f, "worker-{rank}"),
        }
    }
}

/// A word that names no [`Which`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give leader, mean or worker-K, such as worker-0")]
pub struct WhichError;

impl FromStr for Which {
    type Err = WhichError;

    fn from_str(word: &str) -> Result<Self, WhichError> {
        match word {
            "leader" => Ok(Which::Leader),
            "mean" => Ok(Which::Mean),
            _ => {
                let rank = word.strip_prefix("worker-").ok_or(WhichError)?;
                // `parse` would take a sign.
                if !rank.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(WhichError);
                }
                rank.parse().map(Which::Worker).map_err(|_| WhichError)
            }
        }
    }
}

#[cfg(test)]
mod tests;
