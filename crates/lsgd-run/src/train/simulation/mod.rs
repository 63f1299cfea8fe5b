//! `lsgd-train simulate`: a run of several nodes in this process, under a virtual clock.
//!
//! The leaders, the exchange between nodes and the workers are those of a real run; only step
//! durations and transfers are simulated ([`lsgd_core::Simulation`]). In `sync` a run has the same
//! bits as the real one.

mod cost;
mod durations;
mod threads;
mod training;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lsgd_core::{SimulatedLink, Simulation, SimulationConfig, WorkerId};

use super::job::{Context, Job};
use super::provenance;
use super::requests::Requests;
use super::run::Outcome;
use super::setup::{Setup, set_up};
use crate::config::{Settings, SimulateConfig};
use crate::device;
use crate::error::RunError;
use crate::observer::Observer;
use crate::storage::{Claim, RunFolder, RunRecord, SimulatedSummary};
use crate::task::Task;
use crate::train::SettingsError;
use cost::CostSimulation;
use training::TrainingSimulation;

/// Simulates training the task that `make` makes, as `job` says, in its own folder. A request to
/// end the run is an error.
///
/// # Errors
///
/// [`RunError`]; the records written until then are in the run's folder.
pub fn simulate<T: Task>(
    job: Job,
    make: impl FnOnce(Context) -> Result<T, RunError>,
    mut observer: Box<dyn Observer>,
    requests: Arc<Requests>,
) -> Result<Outcome, RunError> {
    let began = Instant::now();
    let simulated = job.settings.simulate.clone();
    let per_node = device::assign(&job.settings.workers)?.len();
    check(&job.settings, per_node)?;
    // First, so that an unusable folder is reported before minutes are spent on a large data set.
    let claim = Claim::new(&job.settings.run, None, false)?;
    let written = job.text.clone();
    let nodes = u32::try_from(simulated.nodes).unwrap_or(u32::MAX);
    let ready = set_up(job.on_one_node(per_node, nodes as usize), Some(nodes), make)?;
    let setup = ready.0.clone();
    let record = RunRecord {
        simulated: true,
        ..provenance::begin(&setup, SystemTime::now())
    };
    let folder = RunFolder::begin(claim, &written, &record)?;
    observer.began(&setup, &folder);

    let topology = topology(&setup, &simulated, per_node);
    let (mut summary, traffic) = match simulated.training {
        true => {
            let workers =
                TrainingSimulation::start(&ready, per_node, &folder, observer, requests.clone())?;
            // A second signal waits until the run is saved.
            requests.set_unsaved(true);
            let trained = Simulation::new(&topology, workers)
                .map_err(RunError::from)
                .and_then(Simulation::run)
                .and_then(|(workers, _, traffic)| Ok((workers.finish(began.elapsed())?, traffic)));
            requests.set_unsaved(false);
            trained?
        }
        false => {
            let workers = CostSimulation::start(&setup, per_node, &folder, observer, requests)?;
            let (workers, _, traffic) = Simulation::new(&topology, workers)?.run()?;
            (workers.finish(began.elapsed())?, traffic)
        }
    };
    summary.simulated = Some(SimulatedSummary {
        nodes: topology.nodes,
        traffic,
    });
    let record = RunRecord {
        end: Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ..record
    };
    folder.write_end(&record, &summary)?;
    Ok(Outcome {
        folder,
        summary,
        metrics: setup.facts.metrics,
        unit: setup.facts.unit,
    })
}

/// Refuses settings that depend on the real clock.
fn check(settings: &Settings, per_node: usize) -> Result<(), RunError> {
    let (budget, evaluate) = (&settings.budget, &settings.evaluate);
    let refused = [
        (budget.minutes, "budget.minutes", "budget.steps"),
        (
            evaluate.every_minutes,
            "evaluate.every_minutes",
            "evaluate.every_steps",
        ),
    ];
    if let Some((_, key, instead)) = refused.into_iter().find(|(minutes, ..)| minutes.is_some()) {
        return Err(SettingsError::NotSimulated { key, instead }.into());
    }
    let nodes = usize::try_from(settings.simulate.nodes).unwrap_or(1);
    let workers = per_node.saturating_mul(nodes);
    let mut deaths = settings.simulate.deaths.iter().enumerate();
    match deaths.find(|(_, death)| death.worker >= workers as u64) {
        Some((index, death)) => Err(SettingsError::NoSuchWorker {
            key: "simulate.deaths",
            index,
            worker: death.worker,
            workers: workers as u64,
        }
        .into()),
        None => Ok(()),
    }
}

fn topology(setup: &Setup, simulated: &SimulateConfig, per_node: usize) -> SimulationConfig {
    let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4);
    let workers = u32::try_from(per_node).unwrap_or(u32::MAX);
    let link = |latency, bandwidth| SimulatedLink {
        latency: seconds(latency),
        bandwidth,
    };
    SimulationConfig {
        nodes: u32::try_from(simulated.nodes).unwrap_or(u32::MAX),
        workers,
        method: setup.method.clone(),
        mode: setup.plan.mode,
        wire: setup.settings().cluster.wire,
        local: link(
            simulated.local_latency_seconds,
            simulated.local_bytes_per_second,
        ),
        global: link(simulated.latency_seconds, simulated.bytes_per_second),
        lease: Duration::from_secs_f64(setup.settings().cluster.silence_seconds),
        scale: match simulated.training {
            true => 1.0,
            false => CostSimulation::scale(setup),
        },
        deaths: simulated
            .deaths
            .iter()
            .map(|death| {
                (
                    worker_id(death.worker as usize, per_node),
                    seconds(death.seconds),
                )
            })
            .collect(),
    }
}

/// The id of a worker by its index among all.
fn worker_id(global_rank: usize, per_node: usize) -> WorkerId {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    WorkerId::new(
        number(global_rank / per_node),
        number(global_rank % per_node),
    )
}

/// The index of a worker among all by its id.
fn global_rank(id: WorkerId, per_node: usize) -> usize {
    id.node as usize * per_node + id.worker as usize
}

/// An error if the run should end early.
fn check_interrupted(requests: &Requests) -> Result<(), RunError> {
    match requests.ends() {
        true => Err(RunError::Interrupted),
        false => Ok(()),
    }
}
