//! The main thread of a run: receives what workers and other nodes report, writes it down, evaluates
//! at pauses.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lsgd_core::{Event, Rank, Snapshot, Source};

use super::crew::Crew;
use super::divergence::{self, Divergence};
use super::evaluation::Score;
use super::inbox::Inbox;
use super::intervals::Intervals;
use super::messages::{FromNodes, FromWorker, Paused, Start, ToMain};
use super::nodes::Nodes;
use super::pace::{End, Pause};
use super::provenance;
use super::requests::Requests;
use super::setup::{Setup, member};
use super::totals::Totals;
use crate::config::Config;
use crate::error::TrainError;
use crate::progress::Progress;
use crate::run::{
    Checkpoints, Claim, Evaluation, LifeSummary, Metric, NodesSummary, Recorder, RunFolder,
    RunRecord, Summary,
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

impl Outcome {
    /// The error that the run is, if nothing in it is finite.
    pub fn diverged(&self) -> Option<TrainError> {
        let since = self.summary.diverged_since?;
        let path = self.folder.path().to_owned();
        Some(TrainError::Diverged { path, since })
    }
}

/// Trains as `config` says, into a folder of its own, and does meanwhile what people request.
///
/// # Errors
///
/// [`TrainError`]; what was recorded until then is in the run's folder, and a checkpoint of those
/// workers that could still be read.
pub fn train(
    config: Config,
    mut progress: Progress,
    requests: Arc<Requests>,
) -> Result<Outcome, TrainError> {
    let began = Instant::now();
    // First: a place that cannot be had is told of before minutes are spent on a large data set.
    let claim = Claim::new(&config.run, member(&config))?;
    let setup = Arc::new(Setup::new(config)?);
    let mut inbox = Inbox::new();
    let (nodes, start) = match setup.nodes {
        0 | 1 => (None, Start::default()),
        _ => {
            let nodes = Nodes::open(&setup, &mut inbox)?;
            let start = wait_to_begin(&mut inbox, &mut progress, &requests)?;
            (Some(nodes), start)
        }
    };
    let (folder, record) = open_folder(&setup, &start, claim)?;
    progress.began(&setup, &folder);
    let recorder = Recorder::open(&folder)?;
    let totals = Totals::read(&folder)?;
    let mut node = Node {
        recorder,
        checkpoints: Checkpoints::new(&folder, setup.config.checkpoint.keep, totals.best.step()),
        intervals: Intervals::of_node(setup.node, setup.workers()),
        life: Life {
            steps_before: totals.steps,
            trained_without: Duration::ZERO,
        },
        totals,
        progress,
        inbox,
        nodes,
        divergence: setup.divergence(),
        requests,
        setup: setup.clone(),
    };
    let last = node.run(start)?;
    let limit = Duration::from_secs(setup.config.cluster.round_limit_seconds);
    let patience = last.of_all.as_ref().map(|_| limit);
    let traffic = node.nodes.take().map(|nodes| nodes.close(patience));

    let mut summary = node.summary(&last, began.elapsed().as_secs_f64());
    summary.nodes = traffic.map(|traffic| {
        let workers_in_mean = last.of_all.and_then(|of_all| of_all.workers);
        NodesSummary {
            workers_in_mean,
            ..provenance::nodes(&setup, traffic, node.life(&last))
        }
    });
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
    requests: &Requests,
) -> Result<Start, TrainError> {
    let mut early = Vec::new();
    let start = loop {
        if requests.ends() || requests.waits_in_vain() {
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
fn open_folder(
    setup: &Setup,
    start: &Start,
    claim: Claim,
) -> Result<(RunFolder, RunRecord), TrainError> {
    let config = setup.config.to_toml()?;
    let joins = start.parameters.is_some() || start.step > 0;
    if joins && claim.comes_back() {
        let folder = claim.go_on(&config)?;
        let record = folder.record()?;
        return Ok((folder, record));
    }
    let record = provenance::begin(setup, SystemTime::now());
    let folder = claim.begin(&config, &record)?;
    Ok((folder, record))
}

/// The state of the main thread.
pub(super) struct Node {
    pub(super) setup: Arc<Setup>,
    pub(super) inbox: Inbox,
    pub(super) recorder: Recorder,
    pub(super) checkpoints: Checkpoints,
    pub(super) intervals: Intervals,
    /// What it has done in all lives.
    pub(super) totals: Totals,
    life: Life,
    pub(super) progress: Progress,
    pub(super) divergence: Divergence,
    /// The exchange with other nodes, if there are any.
    nodes: Option<Nodes>,
    requests: Arc<Requests>,
}

/// What was before the node's present life, for what is of this life alone.
#[derive(Debug)]
struct Life {
    /// Steps that its workers had taken together.
    steps_before: u64,
    /// How long the run was trained without it: before it began, and where others had gone on.
    trained_without: Duration,
}

/// The mean of all nodes' workers, once a node has evaluated it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OfAll {
    /// How many workers are in it, if it was this node that evaluated it.
    workers: Option<usize>,
    /// Its test error; nothing if its values are not finite.
    pub score: Option<Score>,
}

/// A run at its last pause.
pub(super) struct Last {
    pub end: End,
    /// Since which step nothing is finite, if so.
    pub diverged: Option<u64>,
    pub workers: Vec<Paused>,
    pub evaluation: Evaluation,
    /// What became of the mean of all nodes' workers, if there are others and this node stayed until
    /// that was known.
    pub of_all: Option<OfAll>,
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
        let mut crew = self.crew(start, Duration::ZERO, self.totals.trained)?;
        loop {
            match self.train(&crew) {
                Ok(Stop::Over(last)) => return Ok(last),
                Ok(Stop::LeftBehind(start)) => {
                    let trained = crew.elapsed();
                    drop(crew);
                    for news in self.inbox.rest_of_workers() {
                        self.hear(news, trained.as_secs_f64())?;
                    }
                    self.end_intervals(trained.as_secs_f64())?;
                    self.divergence = self.setup.divergence();
                    crew = self.crew(start, trained, trained)?;
                }
                Err(error) => {
                    self.break_off(crew, &error);
                    self.requests.set_unsaved(false);
                    return Err(error);
                }
            }
        }
    }

    /// Workers that begin as `start` says. The clock is the run's: it goes on where the others are,
    /// or where this node is `known` to have been, whichever is more. The present life has counted
    /// what is `counted` of it.
    fn crew(
        &mut self,
        mut start: Start,
        counted: Duration,
        known: Duration,
    ) -> Result<Crew, TrainError> {
        start.trained = start.trained.max(known);
        self.life.trained_without += start.trained - counted;
        self.progress
            .starts(start.step, start.trained.as_secs_f64());
        let requests = self.requests.clone();
        let crew = Crew::start(&self.setup, start, &mut self.inbox, requests)?;
        self.requests.set_unsaved(true);
        if let Some(nodes) = &mut self.nodes {
            nodes.begun(&crew);
        }
        crew.resume();
        Ok(crew)
    }

    /// Until the workers are to stop.
    fn train(&mut self, crew: &Crew) -> Result<Stop, TrainError> {
        let mut paused: Vec<Paused> = Vec::new();
        loop {
            if self.requests.ends_soon() {
                // Wherever the workers are: the pause may be far, if they wait for another node.
                return Err(TrainError::Interrupted);
            }
            let Some(message) = self.inbox.next(PATIENCE)? else {
                continue;
            };
            match message {
                ToMain::Nodes(FromNodes::Begin(start)) => return Ok(Stop::LeftBehind(start)),
                ToMain::Nodes(FromNodes::Failed(error)) => return Err(error),
                ToMain::Nodes(FromNodes::Notice(line)) => self.progress.notice(&line),
                // Comes after the end, and is received there.
                ToMain::Nodes(FromNodes::Concluded(_)) => {}
                ToMain::Nodes(FromNodes::Event(event)) => {
                    self.event(&event, crew.seconds())?;
                }
                ToMain::Worker(FromWorker::Paused(worker)) => paused.push(*worker),
                ToMain::Worker(news) => {
                    self.hear(news, crew.seconds())?;
                    let workers = 0..self.setup.workers();
                    if self.divergence.is_for_good(workers) {
                        crew.diverged();
                    }
                }
            }
            if paused.len() < self.setup.workers() {
                continue;
            }
            paused.sort_by_key(|paused| paused.worker);
            let pause = paused.first().map(|first| first.pause).unwrap_or_default();
            let diverged = self.diverged(crew, &paused);
            let end = match (pause.end, diverged) {
                (Some(_), Some(_)) => Some(End::Diverged),
                (Some(End::Diverged), None) => {
                    // What came meanwhile from others has mended a worker.
                    crew.recovered();
                    None
                }
                (end, _) => end,
            };
            let pause = Pause { end, ..pause };
            if let (Some(nodes), Some(_)) = (&self.nodes, pause.end) {
                let sum = Snapshot::sum(paused.iter().map(|p| p.snapshot.as_ref()));
                nodes.finish(sum.ok().flatten());
            }
            let evaluation = self.pause(crew, pause, &paused)?;
            if let (Some(end), Some(evaluation)) = (pause.end, evaluation) {
                let end = match end {
                    // Without the evaluation that belongs to its end.
                    End::Budget if !crew.evaluates() => End::Interrupted,
                    end => end,
                };
                let of_all = match (&self.nodes, end) {
                    (Some(_), End::Budget) => self.mean_of_all(crew, &paused)?,
                    _ => None,
                };
                self.requests.set_unsaved(false);
                return Ok(Stop::Over(Last {
                    end,
                    diverged,
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
    ///
    /// Until that is known it waits for the others to come to their end, as long as nobody asks it to
    /// stop.
    fn mean_of_all(&mut self, crew: &Crew, paused: &[Paused]) -> Result<Option<OfAll>, TrainError> {
        let mean = loop {
            if self.requests.ends() {
                return Ok(None);
            }
            let Some(message) = self.inbox.next(PATIENCE)? else {
                continue;
            };
            match message {
                ToMain::Nodes(FromNodes::Concluded(mean)) => break mean,
                ToMain::Nodes(FromNodes::Notice(line)) => self.progress.notice(&line),
                ToMain::Nodes(FromNodes::Event(event)) => self.event(&event, crew.seconds())?,
                ToMain::Nodes(FromNodes::Failed(error)) => return Err(error),
                ToMain::Nodes(FromNodes::Begin(_)) | ToMain::Worker(_) => {}
            }
        };
        let Some(mean) = mean else {
            return Ok(Some(OfAll::default()));
        };
        let workers = match mean.source() {
            Source::Mean { workers } => Some(workers),
            _ => None,
        };
        let score = self.score_mean(crew, mean, paused)?;
        Ok(Some(OfAll { workers, score }))
    }

    /// What the node has done in its present life.
    pub(super) fn life(&self, last: &Last) -> LifeSummary {
        let steps = self.totals.steps - self.life.steps_before;
        LifeSummary {
            samples: steps * self.setup.config.data.batch_size as u64,
            training_seconds: last.evaluation.seconds - self.life.trained_without.as_secs_f64(),
        }
    }

    /// What a worker says unasked.
    pub(super) fn hear(&mut self, news: FromWorker, seconds: f64) -> Result<(), TrainError> {
        match news {
            FromWorker::Stepped {
                worker,
                step,
                loss,
                rate,
            } => {
                self.totals.steps += 1;
                self.progress.stepped(worker, step, loss, seconds);
                if let Some(since) = self.divergence.observe(worker, step, loss) {
                    self.tell_diverged(worker, since, seconds)?;
                }
                let interval = self.intervals.add(worker, step, loss, rate, seconds);
                match interval {
                    Some(interval) => self.recorder.metric(&Metric::Interval(interval)),
                    None => Ok(()),
                }
            }
            FromWorker::Event(event, seconds) => self.event(&event, seconds),
            // Answers to tasks are received where the tasks are given.
            FromWorker::Ready
            | FromWorker::Paused(_)
            | FromWorker::Scores { .. }
            | FromWorker::Statistics(_)
            | FromWorker::Ended(_) => Ok(()),
        }
    }

    fn tell_diverged(&mut self, worker: usize, since: u64, seconds: f64) -> Result<(), TrainError> {
        self.progress.warn(&divergence::line(worker, since));
        let worker = u32::try_from(worker).unwrap_or(u32::MAX);
        let worker = Rank::new(self.setup.node, worker);
        self.recorder.diverged(worker, since, seconds)
    }

    fn event(&mut self, event: &Event, seconds: f64) -> Result<(), TrainError> {
        let seconds = self.totals.event(event, seconds);
        if let Event::Election { election, .. } = event {
            self.progress.led(election.leader);
        }
        self.recorder.event(event, seconds)
    }
}
