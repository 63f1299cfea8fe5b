//! The workers of a node, as the main thread sees them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lsgd_core::{Exchange, Group, LocalLeader, LocalLeaderState, Member, Snapshot};

use super::answers::Answers;
use super::evaluation::{Scored, score_of};
use super::inbox::Inbox;
use super::messages::{FromWorker, PausedWorker, Start, ToMain, ToWorker};
use super::requests::Requests;
use super::setup::{Ready, Setup};
use super::training_clock::{Leave, TrainingClock};
use super::worker_thread::{Assignment, spawn};
use crate::error::RunError;
use crate::task::{Metric, Sums, Task};

/// The worker threads of a run. Dropping it ends them at their next step boundary, and joins them.
#[derive(Debug)]
pub struct WorkerPool {
    group: Group,
    clock: Arc<TrainingClock>,
    /// The start of its workers.
    start: Start,
    /// The connections to the live workers.
    commands: BTreeMap<usize, Sender<ToWorker>>,
    metrics: &'static [Metric],
    threads: Vec<JoinHandle<()>>,
}

impl WorkerPool {
    /// Starts all workers and waits until each has its model. They start as `start` says.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the worker that could not start.
    pub fn start<T: Task>(
        (setup, task): &Ready<T>,
        start: Start,
        answers: &mut Answers,
        requests: Arc<Requests>,
    ) -> Result<Self, RunError> {
        let clock = TrainingClock::new(setup.plan, &start, requests);
        let clock = Arc::new(clock);
        let workers = u32::try_from(setup.workers()).unwrap_or(u32::MAX);
        let mode = setup.plan.mode;
        let leader = LocalLeader::new(setup.node, workers, setup.method.clone(), mode)?;
        let leader = match &start.resumed {
            Some(saved) => leader
                .starting_at(start.step)
                .resuming(saved.leader.clone()),
            None => leader.starting_at(start.step),
        };
        let leader = match setup.nodes {
            0 | 1 => leader,
            _ => leader.among_nodes(),
        };
        let (group, members) = Group::form(leader, {
            let (reports, clock) = (answers.inbox.sender(), clock.clone());
            move |event| {
                let seconds = clock.elapsed().as_secs_f64();
                // If the receiver is gone, there is no record to keep.
                let _ = reports.send(ToMain::Worker(FromWorker::Event(event, seconds)));
            }
        });
        group.supervise();
        let mut pool = Self {
            group,
            clock: clock.clone(),
            start: start.clone(),
            commands: BTreeMap::new(),
            metrics: setup.facts.metrics,
            threads: Vec::new(),
        };
        for member in members {
            pool.spawn((setup, task), member, start.clone(), answers.inbox)?;
        }
        for _ in 0..pool.commands.len() {
            answers.next()?;
        }
        Ok(pool)
    }

    /// Starts a worker's thread.
    fn spawn<T: Task>(
        &mut self,
        (setup, task): (&Arc<Setup>, &Arc<T>),
        member: Member,
        start: Start,
        inbox: &Inbox,
    ) -> Result<(), RunError> {
        let (sender, commands) = channel();
        self.commands.insert(member.id().worker as usize, sender);
        self.threads.push(spawn(Assignment {
            setup: setup.clone(),
            task: task.clone(),
            start,
            member,
            clock: self.clock.clone(),
            commands,
            reports: inbox.sender(),
        })?);
        Ok(())
    }

    /// Starts a worker that has failed again, from what was delivered last. Returns its step; `None`
    /// if it has nothing to start from.
    ///
    /// # Errors
    ///
    /// [`RunError::NoThread`] if the system starts no thread for it.
    pub fn restart<T: Task>(
        &mut self,
        (setup, task): &Ready<T>,
        worker: usize,
        inbox: &Inbox,
    ) -> Result<Option<u64>, RunError> {
        let number = u32::try_from(worker).unwrap_or(u32::MAX);
        let Some((member, point)) = self.group.restart(number) else {
            return Ok(None);
        };
        let start = match point.parameters {
            // Nobody has met yet: as at first.
            None if !point.has_met => self.start.clone(),
            // None if nothing has been delivered yet: with what it had at first.
            parameters => Start {
                step: point.step,
                parameters: parameters.or(self.first_values(worker)),
                trained: self.start.trained,
                resumed: None,
            },
        };
        let step = start.step_of(worker);
        self.clock.restart(worker, step);
        self.spawn((setup, task), member, start, inbox)?;
        if let Some(commands) = self.commands.get(&worker) {
            // Its thread is new.
            let _ = commands.send(ToWorker::Resume);
        }
        Ok(Some(step))
    }

    /// The values that a worker began with, if they were not the initial weights.
    fn first_values(&self, worker: usize) -> Option<Arc<Snapshot>> {
        match &self.start.resumed {
            Some(saved) => saved.worker(worker).map(|saved| saved.values),
            None => self.start.parameters.clone(),
        }
    }

    /// Whether a worker waits at a pause.
    pub fn is_paused(&self, worker: usize) -> bool {
        self.clock.is_paused(worker)
    }

    /// Goes on without a worker that has failed.
    pub fn leave_out(&mut self, worker: usize) {
        self.commands.remove(&worker);
        self.group.leave(u32::try_from(worker).unwrap_or(u32::MAX));
        self.clock.leave_out(worker);
    }

    /// The live workers.
    pub fn live(&self) -> impl Iterator<Item = usize> {
        self.commands.keys().copied()
    }

    /// The workers' group, for the exchange with other nodes.
    #[cfg(feature = "nodes")]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The training time of the run.
    pub fn clock(&self) -> &Arc<TrainingClock> {
        &self.clock
    }

    /// Starts or resumes training.
    pub fn resume(&self) {
        self.clock.resume();
        for commands in self.commands.values() {
            // A worker that is gone has reported it, or will.
            let _ = commands.send(ToWorker::Resume);
        }
    }

    /// Ends the run at the next pause, as all workers have diverged.
    pub fn diverged(&self) {
        self.clock.diverged();
    }

    /// Reverts [`diverged`](Self::diverged): a worker has recovered.
    pub fn recovered(&self) {
        self.clock.recovered();
    }

    /// Whether an evaluation should start or continue. Once it should not, scores and statistics
    /// may lack batches.
    pub fn evaluates(&self) -> bool {
        self.clock.evaluates()
    }

    /// Ends all workers at their next step boundary. Returns the final states that can be read, and
    /// the remaining messages.
    pub fn break_off(mut self, inbox: &mut Inbox) -> (Vec<PausedWorker>, Vec<ToMain>) {
        self.end(Leave::Saved);
        inbox.last_words()
    }

    /// What the workers' leader remembers, while all workers pause.
    pub fn leader(&self) -> LocalLeaderState {
        self.group.state()
    }

    /// How long the run has been trained so far.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Seconds that the run has been trained so far.
    pub fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    /// Scores of several snapshots on parts of the held-out examples, in the order of `subjects`,
    /// while all workers pause.
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that has failed.
    pub fn score(
        &self,
        answers: &mut Answers,
        subjects: &[Arc<Snapshot>],
        parts: &[usize],
    ) -> Result<Vec<Option<Scored>>, RunError> {
        let mut awaited = 0;
        for (subject, snapshot) in subjects.iter().enumerate() {
            for (commands, parts) in self.commands.values().zip(self.share(parts)) {
                let snapshot = snapshot.clone();
                let score = ToWorker::Score {
                    subject,
                    snapshot,
                    parts,
                };
                awaited += usize::from(commands.send(score).is_ok());
            }
        }
        let mut scores: Vec<Vec<(usize, Sums)>> = vec![Vec::new(); subjects.len()];
        while awaited > 0 {
            if let FromWorker::Scores {
                subject,
                scores: part,
            } = answers.next()?
            {
                awaited -= 1;
                if let Some(scores) = scores.get_mut(subject) {
                    scores.extend(part);
                }
            }
        }
        let score = |parts| score_of(parts, self.metrics);
        Ok(scores.into_iter().map(score).collect())
    }

    /// Running statistics of a snapshot on each of several training batches, while all workers
    /// pause.
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that has failed.
    pub fn statistics(
        &self,
        answers: &mut Answers,
        snapshot: &Arc<Snapshot>,
        batches: Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, RunError> {
        let batches: Vec<u64> = batches.collect();
        let mut awaited = 0;
        for (commands, batches) in self.commands.values().zip(self.share(&batches)) {
            let snapshot = snapshot.clone();
            let statistics = ToWorker::Statistics { snapshot, batches };
            awaited += usize::from(commands.send(statistics).is_ok());
        }
        let mut statistics = Vec::new();
        while awaited > 0 {
            if let FromWorker::Statistics(part) = answers.next()? {
                awaited -= 1;
                statistics.extend(part);
            }
        }
        Ok(statistics)
    }

    /// Distributes parts or batches over the live workers in turn.
    fn share<T: Clone>(&self, all: &[T]) -> impl Iterator<Item = Vec<T>> {
        let workers = self.commands.len();
        (0..workers).map(move |worker| {
            let own = all.iter().skip(worker).step_by(workers);
            own.cloned().collect()
        })
    }

    /// Ends all workers and joins them. The group releases those that wait for others.
    fn end(&mut self, how: Leave) {
        self.clock.leave(how);
        self.group.close();
        self.commands.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if any, has been reported.
            let _ = thread.join();
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.end(Leave::Empty);
    }
}
