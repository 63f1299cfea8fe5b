//! `lsgd-train replay`: an `async` run once more, in one process and without its races.
//!
//! A worker's parameters are a function of the config, the seed, and of what it adopted at which of its
//! steps. The [log] reads the latter, the [planner] makes a [script] of it, and the [driver] has the same
//! state machines as in a run follow it. Their digests are those that were recorded, or the replay names
//! the first line where they are not.

mod drafts;
mod driver;
mod life;
mod log;
mod planner;
mod player;
mod resolver;
mod script;
#[cfg(test)]
mod tests;
mod vectors;
mod workers;

use std::fmt;
use std::path::{Path, PathBuf};

use lsgd_core::{Mode, WorkerId};

use super::job::{Context, Job};
use super::setup::{Setup, set_up};
use crate::config::Settings;
use crate::error::RunError;
use crate::storage::{End, RunFolder, RunRecord};
use crate::task::Task;
use crate::words::count;
use driver::Driver;
use log::{NodeLog, Place};
pub use planner::Shape;
use planner::plan;
use player::{Player, Stopped};
use script::Script;
use vectors::Vectors;
use workers::Workers;

/// What is to be replayed.
#[derive(Debug)]
pub struct Replay {
    /// The folder of the run.
    path: PathBuf,
    /// Those of its nodes, in order.
    nodes: Vec<RunFolder>,
    /// The step at which to end.
    until: Option<u64>,
}

/// What a replay has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Workers of all nodes.
    pub workers: usize,
    /// Steps of all workers.
    pub steps: u64,
    /// Lines that it went by.
    pub lines: usize,
    /// Digests that were equal.
    pub compared: usize,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {}, {}: {} compared, same digests",
            count(self.steps, "step"),
            count(self.workers, "worker"),
            count(self.lines, "line"),
            count(self.compared, "digest"),
        )
    }
}

/// Where a replay comes to something else than the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    place: Place,
    worker: WorkerId,
    step: u64,
    what: String,
    agreed: Option<Place>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            worker,
            step,
            what,
            agreed,
        } = self;
        write!(
            f,
            "{place} differs: worker {worker} at step {step}: {what}; "
        )?;
        match agreed {
            Some(place) => write!(f, "the last line of it that agrees is {place}"),
            None => write!(f, "no line of it before agrees"),
        }
    }
}

impl Replay {
    /// Of the run in `path`, up to a worker's step `until`.
    ///
    /// # Errors
    ///
    /// [`RunError`] if there is no run, or a part of it is missing.
    pub fn of(path: &Path, until: Option<u64>) -> Result<Self, RunError> {
        let first = path.join("node-1");
        let nodes = match first.join("config.toml").is_file() {
            true => vec![RunFolder::open(&first)?],
            false => vec![RunFolder::open(path)?],
        };
        let path = path.to_owned();
        Ok(Self { path, nodes, until })
    }

    /// The config to replay it with.
    pub fn config(&self) -> PathBuf {
        self.nodes[0].join("config.toml")
    }

    /// Finds the folders of all nodes.
    fn find_nodes(&mut self, settings: &Settings) -> Result<(), RunError> {
        let count = settings.cluster.nodes;
        if count <= 1 {
            return Ok(());
        }
        let path = &self.path;
        if path.join("config.toml").is_file() {
            let path = path.clone();
            let why = String::from("one node of several; give the folder of the whole run");
            return Err(RunError::NotReplayed { path, why });
        }
        let nodes = (1..=count).map(|number| RunFolder::open(&path.join(format!("node-{number}"))));
        self.nodes = nodes.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// What the records say, without training; the number of lines that a replay goes by.
    ///
    /// # Errors
    ///
    /// [`RunError`] if they do not suffice for a replay.
    pub fn lines(&self, shape: Shape) -> Result<usize, RunError> {
        let script = self.script(shape)?;
        script.needed(self.until);
        Ok(script.lines)
    }

    fn script(&self, shape: Shape) -> Result<Script, RunError> {
        let mut logs = Vec::new();
        for (node, folder) in (0..).zip(&self.nodes) {
            let workers = folder.record()?.devices.len();
            if workers != shape.workers as usize {
                let (is, others) = (count(workers, "worker"), shape.workers);
                let why = format!("{is} on this node, others have {others}");
                return Err(not_replayed(folder.path(), why));
            }
            let log = NodeLog::read(node, folder)?;
            check_summary(folder, &log)?;
            logs.push(log);
        }
        plan(shape, &logs)
    }
}

/// Replays a run of the task that `make` makes. The inner error is where it differs first.
///
/// # Errors
///
/// [`RunError::NotReplayed`] if its records do not suffice, with what is missing; other [`RunError`]s
/// as in a run.
pub fn replay<T: Task>(
    mut replay: Replay,
    job: Job,
    make: impl FnOnce(Context) -> Result<T, RunError>,
) -> Result<Result<Replayed, Difference>, RunError> {
    replay.find_nodes(&job.settings)?;
    check(&replay.path, &job.settings)?;
    let wire = job.settings.cluster.wire;
    let record = replay.nodes[0].record()?;
    let (workers, nodes) = (record.devices.len(), replay.nodes.len());
    let budget_counts =
        job.settings.schedule.kind.goes_by_budget() || job.settings.method.final_pull.is_some();
    let all = u32::try_from(nodes).unwrap_or(u32::MAX);
    let mut job = job.on_one_node(workers, nodes);
    job.settings.simulate.training = true;
    let ready = set_up(job, Some(all), make)?;
    let setup = &ready.0;
    check_model(&replay, &record, setup)?;
    let shape = Shape {
        workers: u32::try_from(workers).unwrap_or(u32::MAX),
        wire,
        has_centre: setup.method.has_centre(),
        budget_counts,
    };
    let script = replay.script(shape)?;

    let ids: Vec<WorkerId> = (0..all)
        .flat_map(|node| (0..shape.workers).map(move |worker| WorkerId::new(node, worker)))
        .collect();
    let needed = script.needed(replay.until);
    let mut driver = Driver {
        vectors: Vectors::new(&script, &needed, (&setup.method, shape.workers), wire)?,
        players: ids
            .iter()
            .map(|id| Player::new(*id, &script, &needed))
            .collect(),
        workers: Workers::start(&ready, &ids)?,
        initial: setup.initial.clone(),
        ahead: setup.method.periods().local,
        replayed: Replayed {
            workers: ids.len(),
            ..Replayed::default()
        },
        script: &script,
        needed,
    };
    match driver.run() {
        Ok(()) if driver.replayed.compared == 0 => Err(not_replayed(
            &replay.path,
            "nothing of it was recorded that a replay could be compared with",
        )),
        Ok(()) => Ok(Ok(driver.replayed)),
        Err(Stopped::Differs(difference)) => Ok(Err(*difference)),
        Err(Stopped::Failed(error)) => Err(error),
    }
}

fn not_replayed(path: &Path, why: impl Into<String>) -> RunError {
    RunError::NotReplayed {
        path: path.to_owned(),
        why: why.into(),
    }
}

/// Refuses a run that needs no replay.
fn check(path: &Path, settings: &Settings) -> Result<(), RunError> {
    match settings.run.mode {
        Mode::Sync => Err(not_replayed(
            path,
            "a run with run.mode \"sync\", which the same config and seed repeat bit for bit: train it \
             again under another run.name",
        )),
        Mode::Async => Ok(()),
    }
}

/// The digests of a run that has ended are those of its last evaluation.
fn check_summary(folder: &RunFolder, log: &NodeLog) -> Result<(), RunError> {
    let path = folder.join("summary.json");
    let last = log.evaluations.last();
    if !path.is_file() {
        return Ok(());
    }
    let summary = folder.summary()?;
    if summary.simulated.is_some() {
        let why = "a simulation, which the same config and seed repeat: lsgd-train simulate";
        return Err(not_replayed(folder.path(), why));
    }
    if summary.end == End::Interrupted {
        // Its last evaluation may have been skipped.
        return Ok(());
    }
    let digests = summary.digests;
    let evaluated = last.map_or(&[][..], |last| &last.workers);
    match evaluated.iter().map(|score| &score.digest).eq(&digests) {
        true => Ok(()),
        false => Err(not_replayed(
            &path,
            "its digests are not those of the last evaluation",
        )),
    }
}

/// Refuses another model or other data than the run had.
fn check_model(replay: &Replay, record: &RunRecord, setup: &Setup) -> Result<(), RunError> {
    let layout = setup.layout.digest().to_string();
    if record.layout != layout {
        let why = format!("the model's layout is {layout}, was {}", record.layout);
        return Err(not_replayed(&replay.path, why));
    }
    let agreement = &setup.facts.agreement;
    let changed = record
        .agreement
        .iter()
        .find(|(key, was)| agreement.get(*key) != Some(was));
    match changed {
        Some((key, was)) => {
            let is = agreement.get(key).map_or("unset", String::as_str);
            let why = format!("{key} is {is}, was {was}");
            Err(not_replayed(&replay.path, crate::words::one_line(&why)))
        }
        None => Ok(()),
    }
}
