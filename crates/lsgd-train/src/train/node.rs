//! The main thread of a run: receives what workers and other nodes report, writes it down, evaluates
//! at pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lsgd_core::{Event, Snapshot};

use super::crew::Crew;
use super::evaluation::Score;
use super::examination::Best;
use super::inbox::Inbox;
use super::intervals::Intervals;
use super::messages::{FromNodes, FromWorker, Paused, Start, ToMain};
use super::nodes::Nodes;
use super::pace::End;
use super::provenance;
use super::setup::Setup;
use crate::config::Config;
use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::{
    Checkpoints, Evaluation, ExchangeSummary, Metric, Recorder, RunFolder, RunRecord, Summary,
};

/// How often a node that waits for others looks whether somebody asks it to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Where everything is.
    pub folder: RunFolder,
    /// What stands in its `summary.json`.
    pub summary: Summary,
}

/// Trains as `config` says, into a folder of its own. `interrupted` ends the run early, with what
/// was trained kept.
///
/// # Errors
///
/// [`TrainError`]; what was recorded until then is in the run's folder.
pub fn train(
    config: Config,
    mut progress: Progress,
    interrupted: Arc<AtomicBool>,
) -> Result<Outcome, TrainError> {
    let began = Instant::now();
    let setup = Arc::new(Setup::new(config)?);
    RunFolder::check(&setup.config.run, setup.member())?;
    let mut inbox = Inbox::new();
    let (nodes, start) = match setup.nodes {
        0 | 1 => (None, Start::default()),
        _ => {
            let nodes = Nodes::open(&setup, &mut inbox)?;
            let start = wait_to_begin(&mut inbox, &mut progress, &interrupted)?;
            (Some(nodes), start)
        }
    };
    let (folder, record) = open_folder(&setup, &start)?;
    progress.began(&setup, &folder);
    let mut node = Node {
        recorder: Recorder::open(&folder)?,
        checkpoints: Checkpoints::new(&folder, setup.config.checkpoint.keep),
        intervals: Intervals::of_node(setup.node, setup.workers()),
        exchange: ExchangeSummary::default(),
        taken: 0,
        best: Best::default(),
        progress,
        inbox,
        nodes,
        interrupted,
        setup: setup.clone(),
    };
    let last = node.run(start)?;
    let limit = Duration::from_secs(setup.config.cluster.round_limit_seconds);
    let traffic = node.nodes.take().map(|nodes| nodes.close(last.end, limit));

    let mut summary = node.summary(&last, began.elapsed().as_secs_f64());
    summary.nodes = traffic.map(|traffic| provenance::nodes(&setup, traffic, summary.steps));
    let record = RunRecord {
        end: Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ..record
    };
    folder.write_end(&record, &summary)?;
    node.progress.ended();
    Ok(Outcome { folder, summary })
}

/// Waits until the node may begin: for all others, or for what they have come to.
fn wait_to_begin(
    inbox: &mut Inbox,
    progress: &mut Progress,
    interrupted: &AtomicBool,
) -> Result<Start, TrainError> {
    let mut early = Vec::new();
    let start = loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(TrainError::Interrupted);
        }
        match inbox.next_from_nodes(PATIENCE) {
            Some(FromNodes::Begin(start)) => break start,
            Some(FromNodes::Failed(error)) => return Err(error),
            Some(FromNodes::Notice(line)) => progress.notice(&line),
            Some(event) => early.push(event),
            None => {}
        }
    };
    inbox.keep(early);
    Ok(start)
}

/// The node's folder, with what is known at the start: a new one, or, where it joins a run that
/// others train, the one of its life before.
fn open_folder(setup: &Setup, start: &Start) -> Result<(RunFolder, RunRecord), TrainError> {
    let joins = start.parameters.is_some() || start.step > 0;
    if joins && let Some(folder) = RunFolder::unfinished(&setup.config.run, setup.member()) {
        folder.reopen()?;
        let record = folder.record()?;
        return Ok((folder, record));
    }
    let record = provenance::begin(setup, SystemTime::now());
    let config = setup.config.to_toml()?;
    let folder = RunFolder::create(&setup.config.run, setup.member(), &config, &record)?;
    Ok((folder, record))
}

/// The state of the main thread.
pub(super) struct Node {
    pub(super) setup: Arc<Setup>,
    pub(super) inbox: Inbox,
    pub(super) recorder: Recorder,
    pub(super) checkpoints: Checkpoints,
    pub(super) intervals: Intervals,
    pub(super) exchange: ExchangeSummary,
    /// Steps that its workers have taken together.
    pub(super) taken: u64,
    pub(super) best: Best,
    pub(super) progress: Progress,
    /// The exchange with other nodes, if there are any.
    nodes: Option<Nodes>,
    interrupted: Arc<AtomicBool>,
}

/// A run at its last pause.
pub(super) struct Last {
    pub end: End,
    pub workers: Vec<Paused>,
    pub evaluation: Evaluation,
    /// The mean of all nodes' workers, if it was this node that evaluated it.
    pub of_all: Option<Score>,
}

/// Why workers stop.
enum Stop {
    /// The run is over.
    Over(Last),
    /// The other nodes have gone on without this one, which is to begin again.
    LeftBehind(Start),
}

impl Node {
    /// Until the run is over.
    fn run(&mut self, start: Start) -> Result<Last, TrainError> {
        let mut crew = self.crew(start, Duration::ZERO)?;
        loop {
            match self.train(&crew)? {
                Stop::Over(last) => return Ok(last),
                Stop::LeftBehind(start) => {
                    let before = crew.elapsed();
                    drop(crew);
                    self.inbox.forget_workers();
                    self.intervals = Intervals::of_node(self.setup.node, self.setup.workers());
                    crew = self.crew(start, before)?;
                }
            }
        }
    }

    fn crew(&mut self, start: Start, before: Duration) -> Result<Crew, TrainError> {
        let interrupted = self.interrupted.clone();
        let crew = Crew::start(&self.setup, start, before, &mut self.inbox, interrupted)?;
        if let Some(nodes) = &mut self.nodes {
            nodes.begun(crew.group());
        }
        crew.resume();
        Ok(crew)
    }

    /// Until the workers are to stop.
    fn train(&mut self, crew: &Crew) -> Result<Stop, TrainError> {
        let mut paused: Vec<Paused> = Vec::new();
        loop {
            match self.inbox.next()? {
                ToMain::Nodes(FromNodes::Begin(start)) => return Ok(Stop::LeftBehind(start)),
                ToMain::Nodes(FromNodes::Failed(error)) => return Err(error),
                ToMain::Nodes(FromNodes::Notice(line)) => self.progress.notice(&line),
                // Comes after the end, and is received there.
                ToMain::Nodes(FromNodes::Concluded(_)) => {}
                ToMain::Nodes(FromNodes::Event(event)) => {
                    self.event(&event, crew.seconds())?;
                    // A node that is killed has then told why it was alone.
                    self.recorder.flush()?;
                }
                ToMain::Worker(FromWorker::Stepped {
                    worker,
                    step,
                    loss,
                    rate,
                }) => {
                    self.taken += 1;
                    let seconds = crew.seconds();
                    self.progress.stepped(worker, step, loss, seconds);
                    let interval = self.intervals.add(worker, step, loss, rate, seconds);
                    if let Some(interval) = interval {
                        self.recorder.metric(&Metric::Interval(interval))?;
                    }
                }
                ToMain::Worker(FromWorker::Event(event, seconds)) => {
                    self.event(&event, seconds)?;
                }
                ToMain::Worker(FromWorker::Paused(worker)) => paused.push(*worker),
                // Answers to tasks are received where the tasks are given.
                ToMain::Worker(
                    FromWorker::Ready
                    | FromWorker::Scores { .. }
                    | FromWorker::Statistics(_)
                    | FromWorker::Ended(_),
                ) => {}
            }
            if paused.len() < self.setup.workers() {
                continue;
            }
            paused.sort_by_key(|paused| paused.worker);
            let pause = paused.first().map(|first| first.pause).unwrap_or_default();
            if let (Some(nodes), Some(_)) = (&self.nodes, pause.end) {
                let sum = Snapshot::sum(paused.iter().map(|p| p.snapshot.as_ref()));
                nodes.finish(sum.ok().flatten());
            }
            let evaluation = self.pause(crew, pause, &paused)?;
            if let (Some(end), Some(evaluation)) = (pause.end, evaluation) {
                let of_all = match (&self.nodes, end) {
                    (Some(_), End::Budget) => self.mean_of_all(crew, &paused)?,
                    _ => None,
                };
                return Ok(Stop::Over(Last {
                    end,
                    workers: paused,
                    evaluation,
                    of_all,
                }));
            }
            paused.clear();
            crew.resume();
        }
    }

    /// The test error of the mean of all nodes' workers, if this node is the one that evaluates it.
    fn mean_of_all(&mut self, crew: &Crew, paused: &[Paused]) -> Result<Option<Score>, TrainError> {
        let mean = loop {
            match self.inbox.next()? {
                ToMain::Nodes(FromNodes::Concluded(mean)) => break mean,
                ToMain::Nodes(FromNodes::Notice(line)) => self.progress.notice(&line),
                ToMain::Nodes(FromNodes::Event(event)) => self.event(&event, crew.seconds())?,
                ToMain::Nodes(FromNodes::Failed(error)) => return Err(error),
                ToMain::Nodes(FromNodes::Begin(_)) | ToMain::Worker(_) => {}
            }
        };
        match mean {
            Some(mean) => self.score_mean(crew, mean, paused),
            None => Ok(None),
        }
    }

    fn event(&mut self, event: &Event, seconds: f64) -> Result<(), TrainError> {
        self.exchange.count(event);
        if let Event::Election { election, .. } = event {
            self.progress.led(election.leader);
        }
        self.recorder.event(event, seconds)
    }
}
