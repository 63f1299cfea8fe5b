//! `chaos`: launches without and with faults, and the report of both.

mod followed;
mod storm;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, scope};
use std::time::Duration;

use self::storm::{Change, Storm};
use super::arguments::{Chaos, Launch, Train};
use super::launch::{NodeChange, run_nodes};
use super::launcher::Afflicted;
use super::node_process::{Action, LaunchEvent};
use super::serve::Serving;
use super::signals::OnUserSignal;
use super::wiring::{Wiring, beside_listeners, held_endpoints};
use crate::chaos::proxy::Proxy;
use crate::chaos::records::{Run, Runs};
use crate::chaos::{ChaosError, Links, Plan, report};
use crate::config::{Config, TaskTables};
use crate::error::RunError;
use crate::exit::{EXIT_INTERRUPTED, EXIT_SUCCESS};
use crate::storage::write_whole;
use crate::train::SignalRequest;

/// Makes the runs of a chaos file and their report; or only the report, of a folder that is there.
/// `told` is called with each run before it starts. Returns the path of the report; `None` if a signal
/// has ended it before.
///
/// # Errors
///
/// [`RunError`] for an invalid file, for a run that fails, or for records that cannot be read.
pub fn chaos<C: TaskTables>(
    arguments: &Chaos,
    signals: Receiver<SignalRequest>,
    told: impl FnMut(&str),
) -> Result<Option<PathBuf>, RunError> {
    let folder = match (&arguments.file, &arguments.report) {
        (Some(file), _) => {
            let mut plan = Plan::load(file)?;
            if let Some(name) = &arguments.name {
                plan.name.clone_from(name);
            }
            plan.override_with(&arguments.set)?;
            // Before anything is written: a config that is wrong is to be mended and tried again.
            for run in &Runs::planned(&plan).runs {
                let train = launch_arguments(&plan, run).train;
                Config::<C>::load(&train.config, &train.set)?;
            }
            // Before anything is written, too.
            let _page = arguments.serving.start(&plan.path())?;
            let folder = begin(&plan, file)?;
            if make_runs::<C>(&plan, signals, told)? == Ended::Interrupted {
                return Ok(None);
            }
            folder
        }
        (None, folder) => folder.clone().unwrap_or_default(),
    };
    report::write(&folder, &Runs::read(&folder)?).map(Some)
}

/// How all runs have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Interrupted,
}

/// Creates the folder, with the file and its schedule.
fn begin(plan: &Plan, file: &Path) -> Result<PathBuf, RunError> {
    let folder = plan.path();
    if folder.exists() {
        return Err(ChaosError::Exists { path: folder }.into());
    }
    fs::create_dir_all(&folder).map_err(RunError::write(&folder))?;
    let text = fs::read(file).map_err(RunError::read(file))?;
    write_whole(&folder.join("chaos.toml"), &text)?;
    let runs = Runs::planned(plan);
    runs.write(&folder)?;
    Ok(folder)
}

/// Where signals go: to the run that is under way.
#[derive(Default)]
struct Current {
    events: Mutex<(Option<Sender<LaunchEvent>>, bool)>,
}

impl Current {
    /// A run begins, of so many nodes. False if a signal has asked for the end before.
    fn begin(&self, events: Sender<LaunchEvent>) -> bool {
        let mut current = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        current.0 = Some(events);
        !current.1
    }

    fn on_signal(&self, asked: SignalRequest, nodes: usize) {
        let mut current = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        current.1 |= asked == SignalRequest::End;
        let Some(events) = &current.0 else {
            return;
        };
        // If nobody receives it, the run is over.
        let _ = events.send(LaunchEvent::Signal(asked));
        // A node that is frozen would not see the signal.
        for node in 0..nodes {
            let _ = events.send(LaunchEvent::Do(node, Action::Thaw));
        }
    }

    fn is_interrupted(&self) -> bool {
        let current = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        current.1
    }
}

/// Makes all runs, one after the other.
fn make_runs<C: TaskTables>(
    plan: &Plan,
    signals: Receiver<SignalRequest>,
    mut told: impl FnMut(&str),
) -> Result<Ended, RunError> {
    let current = Arc::new(Current::default());
    let asked_of = current.clone();
    let nodes = plan.nodes as usize;
    // Without this thread a signal reaches nobody but this process, and ends it; then the nodes end too.
    let _ = Builder::new().name(String::from("stop")).spawn(move || {
        for asked in signals {
            asked_of.on_signal(asked, nodes);
        }
    });
    let runs = Runs::planned(plan);
    for run in &runs.runs {
        told(&format!("{}: {}", plan.path().display(), run.name));
        let code = make_run::<C>(plan, run, &current)?;
        if current.is_interrupted() {
            return Ok(Ended::Interrupted);
        }
        // Whatever comes of a run under faults is in its report.
        if code != EXIT_SUCCESS && run.faults.is_empty() {
            let run = run.name.clone();
            return Err(ChaosError::RunFailed { run, code }.into());
        }
    }
    Ok(Ended::Well)
}

/// Launches one run, and injects its faults. Returns the exit code of the launch.
fn make_run<C: TaskTables>(plan: &Plan, run: &Run, current: &Current) -> Result<u8, RunError> {
    let links = Arc::new(Links::new(plan.nodes as usize));
    let (held, endpoints) = held_endpoints(plan.nodes)?;
    let (proxies, connect) = proxies(&links, &endpoints, run.seed)?;
    let _held = beside_listeners(held);
    let afflicted = Afflicted {
        pace: Duration::from_millis(plan.pace_millis),
        clock_ahead: 0,
    };
    let wiring = Wiring {
        endpoints,
        connect,
        afflicted: vec![Some(afflicted); plan.nodes as usize],
    };
    let launch = launch_arguments(plan, run);
    let (sender, events) = channel();
    if !current.begin(sender.clone()) {
        return Ok(EXIT_INTERRUPTED);
    }
    let (changes, changed) = channel();
    let storm = Storm::begin(&plan.path(), run, plan.nodes, links, sender.clone())?;
    let (code, stormed) = scope(|scope| {
        let storm = scope.spawn(move || storm.run(&changed, || current.is_interrupted()));
        let code = run_nodes::<C>(&launch, wiring, (sender, events), &mut |change| {
            // If nobody receives it, the log cannot be written, which ends the launch.
            let _ = changes.send(match change {
                NodeChange::Started {
                    node,
                    process,
                    again,
                } => Change::Started {
                    node,
                    process,
                    again,
                },
                NodeChange::Ended { node, end } => Change::Ended {
                    node,
                    end: end.to_owned(),
                },
            });
        });
        // Ends the storm, which waits for changes.
        drop(changes);
        (code, storm.join())
    });
    drop(proxies);
    match stormed {
        Ok(stormed) => stormed.and(code),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A proxy for every pair of nodes, each way, and where each node finds all nodes: itself as it is.
fn proxies(
    links: &Arc<Links>,
    endpoints: &[String],
    seed: u64,
) -> Result<(Vec<Proxy>, Vec<Vec<String>>), RunError> {
    let mut proxies = Vec::new();
    let mut connect = vec![endpoints.to_vec(); endpoints.len()];
    for (from, known) in connect.iter_mut().enumerate() {
        for (to, endpoint) in known.iter_mut().enumerate() {
            if from == to {
                continue;
            }
            let failed = |source| ChaosError::Proxy {
                from: from as u32 + 1,
                to: to as u32 + 1,
                source,
            };
            let address = endpoint.trim_start_matches("tcp/").parse::<SocketAddr>();
            let address = address.map_err(std::io::Error::other).map_err(failed)?;
            let proxy = Proxy::start(links.clone(), (from, to), address, seed).map_err(failed)?;
            *endpoint = format!("tcp/{}", proxy.address());
            proxies.push(proxy);
        }
    }
    Ok((proxies, connect))
}

/// What is launched.
fn launch_arguments(plan: &Plan, run: &Run) -> Launch {
    let folder = toml::Value::from(plan.path().to_string_lossy().into_owned());
    let own = [
        format!("run.folder={folder}"),
        format!("run.name=\"{}\"", run.name),
        format!("run.seed={}", run.seed),
        format!("workers.count={}", plan.workers),
        format!("budget.minutes={:?}", plan.minutes),
        // A folder of this name was not there, so it holds nothing of an earlier run.
        String::from("run.overwrite=false"),
    ];
    Launch {
        nodes: plan.nodes,
        resume: true,
        restarts: plan.restarts,
        train: Train {
            config: plan.config.clone(),
            set: plan.set.iter().cloned().chain(own).collect(),
            quiet: true,
            resume: false,
            on_user_signal: OnUserSignal::Save,
            serving: Serving::default(),
        },
    }
}
