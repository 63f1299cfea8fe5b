//! `lsgd-train simulate`: a run of several nodes in this process, under a virtual clock.
//!
//! The leaders, the exchange between nodes and the workers are those of a real run; what is simulated
//! is how long steps take and what crosses between them ([`lsgd_core::Simulation`]). In `sync` a run
//! has the bits of the real one.

mod costs;
mod durations;
mod fleet;
mod line;
mod threads;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lsgd_core::{Rank, SimulatedLink, Simulation, SimulationConfig};

use super::node::Outcome;
use super::provenance;
use super::requests::Requests;
use super::setup::Setup;
use crate::config::{Config, SimulateConfig};
use crate::device;
use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::{Claim, RunRecord, SimulatedSummary};
use costs::Costs;
use fleet::Workers;

/// How long other nodes take to notice that one is dead: the lease of the link between real ones.
const LEASE: Duration = crate::cluster::LEASE;

/// Trains as `config` says, into a folder of its own. A request to end it is an error.
///
/// # Errors
///
/// [`TrainError`]; what was recorded until then is in the run's folder.
pub fn simulate(
    config: Config,
    mut progress: Progress,
    requests: Arc<Requests>,
) -> Result<Outcome, TrainError> {
    let began = Instant::now();
    let written = config.to_toml()?;
    let simulated = config.simulate.clone();
    let per_node = device::assign(&config.workers)?.len();
    check(&config, per_node)?;
    // First: a place that cannot be had is told of before minutes are spent on a large data set.
    let claim = Claim::new(&config.run, None)?;
    let setup = Arc::new(whole(config, per_node)?);
    let record = provenance::begin(&setup, SystemTime::now());
    let folder = claim.begin(&written, &record)?;
    progress.began(&setup, &folder);

    let topology = topology(&setup, &simulated, per_node);
    let (mut summary, traffic) = match simulated.training {
        true => {
            let workers = Workers::start(&setup, per_node, &folder, progress, requests.clone())?;
            // A second signal waits until what was trained is saved.
            requests.set_unsaved(true);
            let trained = Simulation::new(&topology, workers)
                .map_err(TrainError::from)
                .and_then(Simulation::run)
                .and_then(|(workers, _, traffic)| Ok((workers.finish(began.elapsed())?, traffic)));
            requests.set_unsaved(false);
            trained?
        }
        false => {
            let workers = Costs::start(&setup, per_node, &folder, progress, requests)?;
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
    Ok(Outcome { folder, summary })
}

/// The workers of all nodes as those of one: their places among all are the same.
fn whole(mut config: Config, per_node: usize) -> Result<Setup, TrainError> {
    let nodes = usize::try_from(config.simulate.nodes).unwrap_or(1);
    if let crate::config::Devices::List(names) = &mut config.workers.devices {
        *names = names
            .iter()
            .cycle()
            .take(per_node * nodes)
            .cloned()
            .collect();
    }
    config.workers.count = Some(per_node * nodes);
    Setup::simulated(config, nodes)
}

/// Refuses what only the real clock could decide.
fn check(config: &Config, per_node: usize) -> Result<(), TrainError> {
    let (budget, evaluate) = (&config.budget, &config.evaluate);
    let refused = [
        (budget.minutes, "budget.minutes", "budget.steps"),
        (
            evaluate.every_minutes,
            "evaluate.every_minutes",
            "evaluate.every_steps",
        ),
    ];
    if let Some((_, key, instead)) = refused.into_iter().find(|(minutes, ..)| minutes.is_some()) {
        return Err(TrainError::NotSimulated { key, instead });
    }
    let nodes = usize::try_from(config.simulate.nodes).unwrap_or(1);
    let workers = per_node.saturating_mul(nodes);
    let mut deaths = config.simulate.deaths.iter().enumerate();
    match deaths.find(|(_, death)| death.worker >= workers as u64) {
        Some((index, death)) => Err(TrainError::NobodyDies {
            index,
            worker: death.worker,
            workers,
        }),
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
        wire: setup.config.cluster.wire,
        local: link(
            simulated.local_latency_seconds,
            simulated.local_bytes_per_second,
        ),
        global: link(simulated.latency_seconds, simulated.bytes_per_second),
        lease: LEASE,
        scale: match simulated.training {
            true => 1.0,
            false => Costs::scale(setup),
        },
        deaths: simulated
            .deaths
            .iter()
            .map(|death| {
                (
                    rank(death.worker as usize, per_node),
                    seconds(death.seconds),
                )
            })
            .collect(),
    }
}

/// The rank of a worker by its place among all.
fn rank(place: usize, per_node: usize) -> Rank {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Rank::new(number(place / per_node), number(place % per_node))
}

/// The place among all of a worker by its rank.
fn place(rank: Rank, per_node: usize) -> usize {
    rank.node as usize * per_node + rank.worker as usize
}

/// An error if the run is to end early.
fn unless(requests: &Requests) -> Result<(), TrainError> {
    match requests.ends() {
        true => Err(TrainError::Interrupted),
        false => Ok(()),
    }
}
