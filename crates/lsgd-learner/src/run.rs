//! A training from start to end.

use std::sync::Arc;
use std::thread;

use burn_train::metric::{Adaptor, LossInput};
use burn_train::{Learner, LearnerModel, TrainLoader, TrainStep, TrainingError, ValidLoader};
use lsgd_core::{Group, LocalLeader};

use crate::SetupError;
use crate::cluster::Cluster;
use crate::events::Events;
use crate::gate::EpochGate;
use crate::setup::NodeSetup;
use crate::start::{EpochStart, Start};
use crate::worker::{Common, WorkerLoop, failure, unusable};
use crate::worker_pool::{WorkerPool, Workers, elect_learner};

/// The data for training and validation.
pub struct Data<M: LearnerModel> {
    /// Items of all shares.
    pub items: usize,
    /// Those of this node's workers.
    pub shares: Vec<TrainLoader<M>>,
    pub valid: ValidLoader<M>,
}

/// How long.
pub struct Schedule {
    pub epochs: std::ops::RangeInclusive<usize>,
    pub accumulation: Option<usize>,
}

/// A training in progress.
pub struct Run<'a, M: LearnerModel> {
    pub setup: NodeSetup,
    pub events: &'a mut Events<M>,
    pub data: Data<M>,
    pub schedule: Schedule,
    /// The other nodes, if there are any.
    pub cluster: Option<Cluster>,
}

impl<M> Run<'_, M>
where
    M: LearnerModel,
    <M as TrainStep>::Output: Adaptor<LossInput>,
{
    /// Trains and returns the learner that led last.
    pub fn train(mut self, untrained: Learner<M>) -> Result<Learner<M>, TrainingError> {
        let mut start = Start::default();
        if let Some(cluster) = &mut self.cluster {
            match cluster.wait_to_begin(&self.events.interrupter)? {
                Some(given) => start = given,
                None => return Ok(untrained),
            }
            self.events.progress = cluster.progress();
        }
        let learner = loop {
            let (learner, next) = self.train_from(&start, &untrained)?;
            match next {
                Some(next) => start = next,
                None => break learner,
            }
        };
        // A training that is stopped, or has failed, disconnects immediately: the others continue
        // without it.
        if let Some(cluster) = self.cluster.take()
            && !self.events.interrupter.should_stop()
        {
            cluster.finish(&self.events.interrupter);
        }
        Ok(learner)
    }

    /// Trains from `start` on. Returns the learner that led last, and where to begin instead if the
    /// other nodes have moved on without this one.
    fn train_from(
        &mut self,
        start: &Start,
        untrained: &Learner<M>,
    ) -> Result<(Learner<M>, Option<Start>), TrainingError> {
        let from = self.epoch_of(start)?;
        let learner = start
            .of(untrained)
            .map_err(|why| failure(0, format!("cannot begin where the other nodes are: {why}")))?;
        let workers = self.workers(&learner, start.step)?;
        if let Some(cluster) = &mut self.cluster {
            cluster.begun(&workers.group);
        }
        thread::scope(|scope| {
            let pool = WorkerPool::start(scope, workers, self.data.items)
                .map_err(|why| failure(0, format!("no thread for a worker: {why}")))?;
            self.epochs(&pool, learner, from)
        })
    }

    /// Workers with a copy of `learner` each, and what they have in common.
    fn workers(&self, learner: &Learner<M>, step: u64) -> Result<Workers<M>, TrainingError> {
        let setup = &self.setup;
        let workers = self.data.shares.len();
        let number = u32::try_from(workers).unwrap_or(u32::MAX);
        let (method, mode) = (setup.method.clone(), setup.mode);
        let leader = LocalLeader::new(setup.node, number, method, mode);
        let leader = leader.map_err(|why| unusable(why.into()))?;
        let leader = leader.starting_at(step);
        let leader = match self.cluster {
            Some(_) => leader.among_nodes(),
            None => leader,
        };
        let record = setup.record.clone();
        let (group, members) = Group::form(leader, move |event| record(event));
        let common = Arc::new(Common {
            method: setup.method.clone(),
            accumulation: self.schedule.accumulation,
            interrupter: self.events.interrupter.clone(),
            gate: EpochGate::new(workers),
            start: step,
        });
        let mut worker_loops = Vec::with_capacity(workers);
        let members = members.into_iter().zip(&self.data.shares);
        for ((member, batches), device) in members.zip(&setup.devices) {
            let mut own = learner.clone();
            own.fork(device);
            worker_loops.push(WorkerLoop::new(
                common.clone(),
                member,
                own,
                batches.clone(),
            ));
        }
        Ok(Workers {
            group,
            common,
            worker_loops,
        })
    }

    /// Epochs from `from` on.
    fn epochs(
        &mut self,
        pool: &WorkerPool<M>,
        mut learner: Learner<M>,
        from: EpochStart,
    ) -> Result<(Learner<M>, Option<Start>), TrainingError> {
        let mut until = from.until;
        for epoch in from.epoch..=*self.schedule.epochs.end() {
            self.events.begin_training(epoch, self.data.items);
            let results = pool.epoch(until, |trained| self.events.trained(trained));
            until = u64::MAX;
            if let Some(leader) = elect_learner(results) {
                learner = leader;
                learner.fork(&self.setup.devices[0]);
            }
            let goes_on = self.events.end_training(epoch);
            if let Some(start) = self.left_behind()? {
                return Ok((learner, Some(start)));
            }
            if !goes_on || !self.events.validate(epoch, &learner, &self.data.valid) {
                break;
            }
        }
        Ok((learner, None))
    }

    fn left_behind(&mut self) -> Result<Option<Start>, TrainingError> {
        match &mut self.cluster {
            Some(cluster) => cluster.left_behind(),
            None => Ok(None),
        }
    }

    fn epoch_of(&self, start: &Start) -> Result<EpochStart, TrainingError> {
        let first = *self.schedule.epochs.start();
        match start.step {
            0 => Ok(EpochStart {
                epoch: first,
                until: u64::MAX,
            }),
            _ => Ok(start.epoch(first, self.steps_of_epoch()?)),
        }
    }

    /// Steps that a worker takes in an epoch, if all batches are as large as the first.
    fn steps_of_epoch(&self) -> Result<u64, TrainingError> {
        let Some(share) = self.data.shares.first() else {
            return Ok(1);
        };
        let items = share.num_items();
        let mut batches = share.iter();
        match batches.next() {
            Some(batch) => batch?,
            None => return Err(unusable(SetupError::NoBatches { worker: 0, items })),
        };
        let batch = batches.progress().items_processed.max(1);
        let to_a_step = self.schedule.accumulation.unwrap_or(1).max(1);
        Ok(items.div_ceil(batch).div_ceil(to_a_step) as u64)
    }
}
