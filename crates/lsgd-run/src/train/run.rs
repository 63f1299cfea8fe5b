//! A run from its beginning to its summary.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::averages::MeanWindow;
use super::checkpoint_writer::CheckpointWriter;
use super::cluster::Cluster;
use super::failures::Failures;
use super::full_disk::FullDisk;
use super::inbox::Inbox;
use super::intervals::Intervals;
use super::job::{Context, Job};
use super::journal::Journal;
use super::messages::{FromCluster, Start};
use super::provenance;
use super::requests::Requests;
use super::resume::{self, Found, Resumed};
use super::run_loop::{Incarnation, POLL_INTERVAL, RunLoop};
use super::setup::{Setup, node_number, set_up};
use super::totals::Totals;
use crate::error::RunError;
use crate::observer::Observer;
use crate::storage::{
    Checkpoints, Claim, FolderError, NodesSummary, Recorder, RunFolder, RunRecord, SavedRun,
    Summary,
};
use crate::task::{Metric, Task};

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The run's folder.
    pub folder: RunFolder,
    /// The contents of its `summary.json`.
    pub summary: Summary,
    /// The task's metrics.
    pub metrics: &'static [Metric],
    /// The task's word for examples.
    pub unit: &'static str,
}

impl Outcome {
    /// A metric of the leader on the held-out examples at the end; `None` without a leader, or if the
    /// task has no such metric.
    pub fn leader(&self, metric: &str) -> Option<f64> {
        self.summary.test.leader.as_ref()?.get(metric)
    }

    /// The error of a run that has diverged.
    pub fn diverged(&self) -> Option<RunError> {
        let since = self.summary.diverged_since?;
        let path = self.folder.path().to_owned();
        Some(RunError::Diverged { path, since })
    }
}

/// Trains the task that `make` makes, as `job` says, in its own folder, and handles `requests`
/// meanwhile.
///
/// # Errors
///
/// [`RunError`]; the records written until then are in the run's folder, with a checkpoint of the
/// workers that could still be read.
pub fn train<T: Task>(
    job: Job,
    make: impl FnOnce(Context) -> Result<T, RunError>,
    mut observer: Box<dyn Observer>,
    requests: Arc<Requests>,
) -> Result<Outcome, RunError> {
    let began = Instant::now();
    // First, so that an unusable folder is reported before minutes are spent on a large data set.
    let resume = job.resume;
    let claim = Claim::new(
        &job.settings.run,
        node_number(&job.settings),
        resume.is_some(),
    )?;
    let ready = set_up(job, None, make)?;
    let setup = ready.0.clone();
    let found = match resume {
        Some(name) => resume::find(&claim, name, &setup)?,
        None => Found::Nothing,
    };
    let mut resumed = match found {
        Found::Nothing => None,
        Found::Run(resumed) => Some(resumed),
        Found::Over(folder, summary) => {
            let path = folder.path().display();
            observer.notice(&format!("{path} has ended already: nothing is left to do"));
            return Ok(Outcome {
                folder,
                summary: *summary,
                metrics: setup.facts.metrics,
                unit: setup.facts.unit,
            });
        }
    };
    let mut inbox = Inbox::new();
    let (cluster, start) = match setup.nodes {
        0 | 1 => (
            None,
            resumed.as_ref().map(Resumed::start).unwrap_or_default(),
        ),
        _ => {
            let checkpoints = resumed
                .as_ref()
                .map(|_| SavedRun::checkpoints(claim.folder()));
            let checkpoints = checkpoints.transpose()?.unwrap_or_default();
            let cluster =
                Cluster::open(&setup, &mut inbox, checkpoints, requests.injection().now())?;
            let start = match wait_to_begin(&mut inbox, &mut *observer, &requests)? {
                Beginning::Checkpoint(step) => {
                    let own = resume::at(&claim, step, &setup)?;
                    cluster.resume(own.cluster());
                    let start = own.start();
                    resumed = Some(own);
                    start
                }
                Beginning::At(start) => {
                    let anew = start.step == 0 && start.parameters.is_none();
                    if anew && resumed.is_some() {
                        let path = claim.folder().to_owned();
                        return Err(FolderError::OthersBegin { path }.into());
                    }
                    // It joins the others as they are now.
                    resumed = None;
                    start
                }
            };
            (Some(cluster), start)
        }
    };
    let (folder, record) = open_folder(&setup, &start, claim, requests.injection().now())?;
    observer.began(&setup, &folder);
    let keep = setup.settings().checkpoint.keep;
    let mut checkpoints = Checkpoints::new(&folder, keep)?;
    if let Some(resumed) = &resumed {
        // Before the records become shorter than these checkpoints know them.
        checkpoints.forget_after(resumed.step())?;
    } else if cluster.is_some() && start.step > 0 {
        // Those of a node that joins are of what the others have not kept.
        checkpoints.forget_after(start.step)?;
    }
    let recorder = match &resumed {
        Some(resumed) => {
            observer.notice(&resumed.notice(&folder));
            resumed.records(&folder)?
        }
        None => Recorder::open(&folder)?,
    };
    let disk = requests.injection().disk().clone();
    let recorder = recorder.recording(&setup.settings().record).on(&disk);
    checkpoints = checkpoints.on(&disk);
    let totals = Totals::read(&folder, setup.main_metric())?;
    checkpoints = checkpoints.with_best(totals.best.step());
    if setup.nodes > 1 {
        checkpoints = checkpoints.among_nodes(setup.method.exchange_steps().clone());
    }
    let newest = checkpoints.newest();
    let mut run_loop = RunLoop {
        writer: CheckpointWriter::start(checkpoints, inbox.sender())?,
        incarnation: Incarnation {
            steps_before: totals.steps,
            trained_without: Duration::ZERO,
        },
        journal: Journal {
            observer,
            recorder,
            totals,
            intervals: Intervals::of_node(setup.node, setup.workers()),
            divergence: setup.divergence(),
            disk: FullDisk::default(),
            step: start.step,
            newest,
        },
        inbox,
        cluster,
        requests,
        failures: Failures::new(setup.settings().faults.restarts),
        ready,
        window: MeanWindow::default(),
        setup: setup.clone(),
    };
    let last = run_loop.run(start)?;
    let limit = Duration::from_secs(setup.settings().cluster.round_limit_seconds);
    let timeout = last.cluster_mean.as_ref().map(|_| limit);
    let traffic = run_loop
        .cluster
        .take()
        .map(|cluster| cluster.close(timeout));

    let mut summary = run_loop.summary(&last, began.elapsed().as_secs_f64());
    summary.nodes = traffic.map(|traffic| {
        let workers_in_mean = last
            .cluster_mean
            .as_ref()
            .and_then(|cluster_mean| cluster_mean.workers);
        NodesSummary {
            workers_in_mean,
            ..provenance::nodes(&setup, traffic, run_loop.incarnation(&last))
        }
    });
    let record = RunRecord {
        end: Some(
            humantime::format_rfc3339_seconds(run_loop.requests.injection().now()).to_string(),
        ),
        ..record
    };
    run_loop.journal.recorder.finish()?;
    folder.write_end(&record, &summary)?;
    run_loop.journal.observer.ended();
    Ok(Outcome {
        folder,
        summary,
        metrics: setup.facts.metrics,
        unit: setup.facts.unit,
    })
}

/// Where a node begins among others.
enum Beginning {
    /// Where they are.
    At(Start),
    /// At its own checkpoint of this step.
    Checkpoint(u64),
}

/// Waits until the node may start: until all others have connected, or until it has caught up with
/// them.
fn wait_to_begin(
    inbox: &mut Inbox,
    observer: &mut dyn Observer,
    requests: &Requests,
) -> Result<Beginning, RunError> {
    let mut early = Vec::new();
    let beginning = loop {
        if requests.ends() || requests.should_stop_waiting() {
            return Err(RunError::Interrupted);
        }
        match inbox.next_from_cluster(POLL_INTERVAL) {
            Some(FromCluster::Begin(start)) => break Beginning::At(start),
            Some(FromCluster::Resume { step }) => break Beginning::Checkpoint(step),
            Some(FromCluster::Failed(error)) => return Err(error),
            Some(FromCluster::Notice(line)) => observer.notice(&line),
            Some(event) => early.push(event),
            None => {}
        }
    };
    inbox.defer(early);
    Ok(beginning)
}

/// The node's folder, with its initial record: a new one, or, if the node rejoins a run, that of
/// its earlier incarnation.
fn open_folder(
    setup: &Setup,
    start: &Start,
    claim: Claim,
    now: SystemTime,
) -> Result<(RunFolder, RunRecord), RunError> {
    let config = &setup.job.text;
    let resumes = start.resumed.is_some();
    let joins = resumes || start.parameters.is_some() || start.step > 0;
    if joins && claim.comes_back() {
        let folder = RunFolder::go_on(claim, config, resumes)?;
        let mut record = folder.record()?;
        if resumes {
            record.settings = setup.job.shared.clone();
            folder.rewrite(&record)?;
        }
        return Ok((folder, record));
    }
    let record = provenance::begin(setup, now);
    let folder = RunFolder::begin(claim, config, &record)?;
    Ok((folder, record))
}
