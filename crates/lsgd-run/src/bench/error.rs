//! Why a bench cannot be run.

use std::path::PathBuf;

use crate::home::HomeError;
use crate::storage::MetricInfo;
use crate::task::Better;
use crate::words::{count, one_line};

/// Why a bench cannot be run, or its report not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The bench file, or an argument that changes it, makes no sense.
    #[error("{place}: {problem}")]
    Plan {
        /// The file or the argument.
        place: String,
        /// What is wrong.
        problem: PlanProblem,
    },
    /// The folder for a run of a bench holds a run of another config.
    #[error(
        "{} is a run of another config than this bench's; remove it, or give the bench another name",
        path.display()
    )]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
    },
    /// Two runs cannot be compared: their tasks have different main metrics.
    #[error(transparent)]
    OtherMetric(Box<MetricDifference>),
}

/// A run whose main metric is not that of the bench's first run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "the main metric of {} is {}, that of {} is {}; a bench compares runs by one metric",
    path.display(),
    describe(metric.as_ref()),
    first.display(),
    describe(expected.as_ref())
)]
pub struct MetricDifference {
    /// The run's folder.
    pub path: PathBuf,
    /// Its main metric; nothing if its task has none.
    pub metric: Option<MetricInfo>,
    /// The folder of the first run.
    pub first: PathBuf,
    /// The main metric of that one.
    pub expected: Option<MetricInfo>,
}

/// What is wrong with a bench file, or with an argument that changes it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanProblem {
    /// It is not there.
    #[error("there is no such file; {advice}")]
    Missing {
        /// What to do.
        advice: &'static str,
    },
    /// It is a folder.
    #[error("is a folder; {advice}")]
    Folder {
        /// What to do.
        advice: &'static str,
    },
    /// It is not text.
    #[error("is not UTF-8 text")]
    NotText,
    /// It is the config of a run.
    #[error("is the config of a run; {advice}")]
    Config {
        /// What to do.
        advice: &'static str,
    },
    /// It is not TOML, or has a key or a value that a bench file does not have.
    #[error("{reason}")]
    Unread {
        /// The parser's error.
        reason: String,
    },
    /// A path begins with a `~` that does not lead anywhere.
    #[error("{key} {path:?} {reason}")]
    Path {
        /// The key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why.
        reason: HomeError,
    },
    /// A name that a folder cannot have, or that should have no path in it.
    #[error("{key} {name:?} is no name of a folder; use letters, digits, - and _")]
    Name {
        /// The key.
        key: &'static str,
        /// Its value.
        name: String,
    },
    /// A value is given twice.
    #[error("{key} {value} stands twice; give each once")]
    Repeated {
        /// The key.
        key: &'static str,
        /// The value, as TOML has it.
        value: String,
    },
    /// An override sets what the bench sets itself.
    #[error("{key} cannot be set in a bench; change {instead} in its file")]
    Reserved {
        /// The key of the override.
        key: &'static str,
        /// What of the bench file sets it.
        instead: &'static str,
    },
    /// Nodes would have different numbers of workers.
    #[error(
        "{} cannot be spread over the {} of {label:?}; give a multiple",
        count(workers, "worker"),
        count(nodes, "node")
    )]
    Uneven {
        /// Workers.
        workers: u64,
        /// Nodes.
        nodes: u64,
        /// The method's label.
        label: String,
    },
    /// Several nodes without a simulation.
    #[error("{label:?} has {nodes} nodes, and how = \"train\" has one; use \"simulate\"")]
    SeveralNodes {
        /// The method's label.
        label: String,
        /// Nodes.
        nodes: u64,
    },
    /// A list that should have something in it.
    #[error("{key} is empty; give at least one")]
    Empty {
        /// The key.
        key: &'static str,
    },
    /// Too many runs.
    #[error("{runs} runs are more than {most}; give fewer")]
    TooMany {
        /// How many.
        runs: usize,
        /// How many there may be.
        most: usize,
    },
}

fn describe(metric: Option<&MetricInfo>) -> String {
    let Some(MetricInfo { name, unit, better }) = metric else {
        return String::from("none");
    };
    let unit = match unit.as_str() {
        "" => String::new(),
        unit => format!(" in {unit}"),
    };
    let better = match better {
        Better::Lower => "lower",
        Better::Higher => "higher",
    };
    // As a file has them.
    one_line(&format!("{name}{unit} ({better} is better)"))
}
