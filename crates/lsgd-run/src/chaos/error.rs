//! Why chaos cannot be run, or its report not be made.

use std::path::PathBuf;

/// Why chaos cannot be run, or its report not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The file makes no sense.
    #[error("{}: {problem}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: PlanProblem,
    },
    /// An override of the command line makes no sense.
    #[error("--{problem}")]
    Override {
        /// What is wrong.
        problem: PlanProblem,
    },
    /// There is something where the runs are to be.
    #[error(
        "{} exists; give another --name, or remove it; for a report of what is there, give --report and this folder",
        path.display()
    )]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without what a report is made from.
    #[error("{}: {why}; give the folder of a chaos run", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A run ended with an error.
    #[error("{run}: ended with exit code {code}; the nodes' output says why")]
    RunFailed {
        /// The run.
        run: String,
        /// Its exit code.
        code: u8,
    },
    /// A proxy between two nodes cannot be started.
    #[error("no proxy between nodes {from} and {to}: {source}")]
    Proxy {
        /// The node that connects, from 1.
        from: u32,
        /// The node that it connects to, from 1.
        to: u32,
        /// Why.
        source: std::io::Error,
    },
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanProblem {
    /// It is not there.
    #[error("there is no such file; check the path")]
    Absent,
    /// It is not TOML, or has a key or a value that it cannot have.
    #[error("{reason}")]
    Unread {
        /// The parser's error.
        reason: String,
    },
    /// A value out of its range.
    #[error("{key} {value} is not {range}")]
    Range {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it can be.
        range: &'static str,
    },
    /// A fault lacks a key.
    #[error("fault {number}, {kind}: lacks {key}")]
    Missing {
        /// Number of the fault in the file, from 1.
        number: usize,
        /// Its kind.
        kind: String,
        /// The key.
        key: &'static str,
    },
    /// A fault has a key that its kind does not use.
    #[error("fault {number}, {kind}: does not use {key}; remove it")]
    Unused {
        /// Number of the fault in the file, from 1.
        number: usize,
        /// Its kind.
        kind: String,
        /// The key.
        key: &'static str,
    },
    /// An override sets what chaos sets itself.
    #[error("set: {key} cannot be set here; {instead}")]
    Reserved {
        /// The key of the override.
        key: String,
        /// What to do.
        instead: &'static str,
    },
}
