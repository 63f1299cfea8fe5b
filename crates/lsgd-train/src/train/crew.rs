//! The workers of a node, as the main thread sees them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lsgd_core::{Group, LocalLeader, Snapshot};

use super::evaluation::{BatchScore, Score};
use super::inbox::Inbox;
use super::messages::{FromWorker, Paused, Start, Task, ToMain};
use super::requests::Requests;
use super::setup::Setup;
use super::stopwatch::{Leave, Stopwatch};
use super::worker_thread::{Assignment, spawn};
use crate::error::TrainError;

/// The worker threads of a run. Dropping it ends them all, at their next step boundary, and waits
/// for their end.
#[derive(Debug)]
pub struct Crew {
    group: Group,
    stopwatch: Arc<Stopwatch>,
    tasks: Vec<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts all workers and waits until each has its model. They begin as `start` says.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of the worker that could not begin.
    pub fn start(
        setup: &Arc<Setup>,
        start: Start,
        inbox: &mut Inbox,
        requests: Arc<Requests>,
    ) -> Result<Self, TrainError> {
        let stopwatch = Stopwatch::new(setup.plan, &start, requests);
        let stopwatch = Arc::new(stopwatch);
        let workers = u32::try_from(setup.workers()).unwrap_or(u32::MAX);
        let mode = setup.plan.mode;
        let leader = LocalLeader::new(setup.node, workers, setup.method.clone(), mode)?;
        let leader = leader.starting_at(start.step);
        let leader = match setup.nodes {
            0 | 1 => leader,
            _ => leader.among_nodes(),
        };
        let (group, members) = Group::form(leader, {
            let (reports, stopwatch) = (inbox.sender(), stopwatch.clone());
            move |event| {
                let seconds = stopwatch.elapsed().as_secs_f64();
                // If nobody listens any more, there is no record to keep.
                let _ = reports.send(ToMain::Worker(FromWorker::Event(event, seconds)));
            }
        });
        let mut crew = Self {
            group,
            stopwatch: stopwatch.clone(),
            tasks: Vec::new(),
            threads: Vec::new(),
        };
        for member in members {
            let (sender, tasks) = channel();
            crew.tasks.push(sender);
            crew.threads.push(spawn(Assignment {
                setup: setup.clone(),
                start: start.clone(),
                member,
                stopwatch: stopwatch.clone(),
                tasks,
                reports: inbox.sender(),
            })?);
        }
        for _ in 0..crew.tasks.len() {
            inbox.answer()?;
        }
        Ok(crew)
    }

    /// The workers' group, for the exchange with other nodes.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// What tells how long the run has been trained.
    pub fn stopwatch(&self) -> &Arc<Stopwatch> {
        &self.stopwatch
    }

    /// Lets all train, or train on.
    pub fn resume(&self) {
        self.stopwatch.resume();
        for tasks in &self.tasks {
            // A worker that is gone has said so, or will.
            let _ = tasks.send(Task::Resume);
        }
    }

    /// Lets the run end at the next pause, as nothing is finite any more.
    pub fn diverged(&self) {
        self.stopwatch.diverged();
    }

    /// Takes that back: something is finite after all.
    pub fn recovered(&self) {
        self.stopwatch.recovered();
    }

    /// Whether an evaluation is to begin, or go on. Once it is not, scores and statistics may lack
    /// batches.
    pub fn evaluates(&self) -> bool {
        self.stopwatch.evaluates()
    }

    /// Ends all workers at their next step boundary, wherever each is, and returns where those stood
    /// whose values can be read, and what was still to be heard.
    pub fn break_off(mut self, inbox: &mut Inbox) -> (Vec<Paused>, Vec<ToMain>) {
        self.end(Leave::Saved);
        inbox.last_words()
    }

    /// Time that the run has been trained so far.
    pub fn elapsed(&self) -> Duration {
        self.stopwatch.elapsed()
    }

    /// Seconds that the run has been trained so far.
    pub fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    /// Scores of several snapshots on test examples, in the order of `subjects`, while all pause.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a worker that has failed.
    pub fn score(
        &self,
        inbox: &mut Inbox,
        subjects: &[Arc<Snapshot>],
        batches: &[(usize, Range<usize>)],
    ) -> Result<Vec<Option<Score>>, TrainError> {
        let mut awaited = 0;
        for (subject, snapshot) in subjects.iter().enumerate() {
            for (tasks, batches) in self.tasks.iter().zip(self.share(batches)) {
                let snapshot = snapshot.clone();
                awaited += usize::from(
                    tasks
                        .send(Task::Score {
                            subject,
                            snapshot,
                            batches,
                        })
                        .is_ok(),
                );
            }
        }
        let mut scores: Vec<Vec<(usize, BatchScore)>> = vec![Vec::new(); subjects.len()];
        while awaited > 0 {
            if let FromWorker::Scores {
                subject,
                scores: part,
            } = inbox.answer()?
            {
                awaited -= 1;
                if let Some(scores) = scores.get_mut(subject) {
                    scores.extend(part);
                }
            }
        }
        Ok(scores.into_iter().map(Score::of).collect())
    }

    /// BatchNorm statistics of a snapshot on each of several training batches, while all pause.
    ///
    /// # Errors
    ///
    /// [`TrainError`] of a worker that has failed.
    pub fn statistics(
        &self,
        inbox: &mut Inbox,
        snapshot: &Arc<Snapshot>,
        batches: Range<u64>,
    ) -> Result<Vec<(u64, Vec<f32>)>, TrainError> {
        let batches: Vec<u64> = batches.collect();
        let mut awaited = 0;
        for (tasks, batches) in self.tasks.iter().zip(self.share(&batches)) {
            let snapshot = snapshot.clone();
            awaited += usize::from(tasks.send(Task::Statistics { snapshot, batches }).is_ok());
        }
        let mut statistics = Vec::new();
        while awaited > 0 {
            if let FromWorker::Statistics(part) = inbox.answer()? {
                awaited -= 1;
                statistics.extend(part);
            }
        }
        Ok(statistics)
    }

    /// Deals batches out to the workers in turn.
    fn share<T: Clone>(&self, batches: &[T]) -> impl Iterator<Item = Vec<T>> {
        let workers = self.tasks.len();
        (0..workers).map(move |worker| {
            let own = batches.iter().skip(worker).step_by(workers);
            own.cloned().collect()
        })
    }

    /// Ends all workers and waits for their end. Those who wait for others are told by the group.
    fn end(&mut self, how: Leave) {
        self.stopwatch.leave(how);
        self.group.close();
        self.tasks.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if it had one, has been reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.end(Leave::Empty);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::data::Dataset;

    /// A label that the model has no class for makes a worker panic in its gradient step.
    #[test]
    fn workers_that_panic_hand_over_what_they_have() {
        let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/smoke.toml");
        let config = |classes: &str| Config::load(&smoke, &[String::from(classes)]).unwrap();
        let mut setup = Setup::new(config("data.classes=2")).unwrap();
        let seed = setup.config.run.seed;
        let dataset = Dataset::open(&config("data.classes=100").data, seed).unwrap();
        setup.dataset = Arc::new(dataset);
        let setup = Arc::new(setup);
        let mut inbox = Inbox::new();
        let (start, requests) = (Start::default(), Arc::default());
        let crew = Crew::start(&setup, start, &mut inbox, requests).unwrap();
        crew.resume();
        let failed = loop {
            match inbox.next(Duration::from_secs(60)) {
                Ok(heard) => assert!(heard.is_some(), "nobody panicked"),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(failed, TrainError::WorkerPanicked { .. }),
            "{failed}"
        );
        let (left, _) = crew.break_off(&mut inbox);
        let workers: Vec<usize> = left.iter().map(|left| left.worker).collect();
        assert_eq!(workers, [0, 1]);
        for left in left {
            assert_eq!(left.report.step, 0);
            // The forward pass has seen to BatchNorm's statistics.
            let (own, initial) = (left.snapshot.parameters(), setup.initial.parameters());
            assert!(own == initial, "worker {} has moved", left.worker);
        }
    }
}
