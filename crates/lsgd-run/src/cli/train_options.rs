//! How a run is asked for without a command.

use std::path::PathBuf;

use clap::Args;

use super::arguments::Train;
use super::path::path;
use super::serve::Serving;
use super::signals::OnUserSignal;

/// How a run is asked for where no command is: `--config FILE` and what goes with it.
#[derive(Debug, Clone, Args)]
pub struct TrainOptions {
    /// Train as this TOML file says
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    config: Option<PathBuf>,

    /// Override a key of the config, such as run.seed=2; may be repeated
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

    /// Continue the run if it has begun; begin it if it has not
    ///
    /// The same command for the first start and for every one after it: it continues from the newest
    /// checkpoint, and does nothing if the run has ended. Only the budget, the numbers of workers and
    /// nodes, and what does not affect the result may be other than before.
    #[arg(long, requires = "config")]
    resume: bool,

    /// At SIGUSR1 or SIGUSR2, save and end with exit code 85; the same command with --resume continues
    ///
    /// For schedulers that signal a job before its time is up and start it again if it says so. Without
    /// it, these signals write a checkpoint and the run goes on.
    #[arg(long, requires = "config")]
    signal_resume: bool,

    /// Which node of several this is: J/N, from 1; or slurm or kubernetes, to read their variables
    #[arg(
        long,
        value_name = "J/N",
        requires = "config",
        value_parser = |text: &str| NodePlacement::parse(text, |name| std::env::var(name).ok())
    )]
    node: Option<NodePlacement>,

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

    #[command(flatten)]
    serving: Serving,
}

impl TrainOptions {
    /// The run that is asked for, if there is one. Its overrides are in the order in which they count:
    /// first those that `--node`, `--connect` and `--listen` stand for, then `--set`, which wins.
    pub fn train(self) -> Option<Train> {
        let list = |key: &str, endpoints: Vec<String>| {
            let quoted: Vec<String> = endpoints.iter().map(|e| format!("{e:?}")).collect();
            (!quoted.is_empty()).then(|| format!("cluster.{key}=[{}]", quoted.join(", ")))
        };
        let place = self.node.map(NodePlacement::overrides).unwrap_or_default();
        let lists = [list("connect", self.connect), list("listen", self.listen)];
        let set = place
            .into_iter()
            .chain(lists.into_iter().flatten())
            .chain(self.set)
            .collect();
        Some(Train {
            config: self.config?,
            set,
            quiet: self.quiet,
            resume: self.resume,
            on_user_signal: OnUserSignal::of(self.signal_resume),
            serving: self.serving,
        })
    }
}

/// Which node of a run this is, as `--node` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NodePlacement {
    /// From 1.
    node: u32,
    /// Of so many; where the config says it, nothing.
    nodes: Option<u32>,
}

impl NodePlacement {
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
