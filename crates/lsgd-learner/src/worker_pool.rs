//! The workers' threads, as the thread that started them sees them.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{Builder, Scope};
use std::time::Duration;

use burn::data::dataloader::Progress;
use burn_train::metric::{Adaptor, LossInput};
use burn_train::{Learner, LearnerModel, TrainStep};
use lsgd_core::{Candidate, Group, elect};

use crate::events::Trained;
use crate::learner_optimizer::install;
use crate::worker::{Common, EpochResult, FromWorker, WorkerLoop};

/// Reports that may be queued for the thread that started the workers before they block.
const REPORTS: usize = 16;

/// How soon a worker that waits for others notices that the training is to stop.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Workers that have not begun, and their shared state.
pub struct Workers<M: LearnerModel> {
    pub group: Group,
    pub common: Arc<Common>,
    pub worker_loops: Vec<WorkerLoop<M>>,
}

/// Workers that train an epoch on every request. They end when it is dropped.
pub struct WorkerPool<M: LearnerModel> {
    group: Group,
    common: Arc<Common>,
    begin: Vec<Sender<u64>>,
    reports: Receiver<FromWorker<M>>,
    /// Items of all shares.
    items: usize,
}

impl<M> WorkerPool<M>
where
    M: LearnerModel,
    <M as TrainStep>::Output: Adaptor<LossInput>,
{
    /// Starts a thread for each worker; together their shares of the data have `items` items.
    ///
    /// # Errors
    ///
    /// If the system cannot start more threads.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        workers: Workers<M>,
        items: usize,
    ) -> io::Result<Self> {
        let Workers {
            group,
            common,
            worker_loops,
        } = workers;
        let (sender, reports) = sync_channel(REPORTS);
        let start = |worker_loop: WorkerLoop<M>| {
            let (begin, begun) = channel();
            let sender = sender.clone();
            Builder::new()
                .name(format!("worker-{}", worker_loop.number()))
                .spawn_scoped(scope, move || worker_loop.run(begun, sender))?;
            Ok(begin)
        };
        let begin = worker_loops
            .into_iter()
            .map(start)
            .collect::<io::Result<_>>()?;
        Ok(Self {
            group,
            common,
            begin,
            reports,
            items,
        })
    }

    /// An epoch of every worker, at most until step `until`; `trained` is called with each batch.
    /// Returns the results of the workers that have not failed.
    pub fn epoch(&self, until: u64, mut trained: impl FnMut(Trained<M>)) -> Vec<EpochResult<M>> {
        self.common.gate.begin();
        // A failed worker no longer receives; the training is then over.
        let begun = self.begin.iter().filter(|begin| begin.send(until).is_ok());
        let mut training = begun.count();
        let mut processed = vec![0; self.begin.len()];
        let mut iteration = 0;
        let mut results = Vec::new();
        let mut is_closed = false;
        while training > 0 {
            let report = match self.reports.recv_timeout(TIMEOUT) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) => {
                    // Workers that wait for another node do not check.
                    if !is_closed && self.common.interrupter.should_stop() {
                        self.group.close();
                        is_closed = true;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match report {
                FromWorker::Trained {
                    worker,
                    output,
                    progress,
                    rate,
                } => {
                    iteration += 1;
                    processed[worker] = progress.items_processed;
                    let unit = progress.unit;
                    trained(Trained {
                        output,
                        progress: Progress::new(processed.iter().sum(), self.items, unit),
                        iteration,
                        rate,
                    });
                }
                FromWorker::Ended(result) => {
                    training -= 1;
                    results.extend(result);
                }
            }
        }
        results
    }
}

/// The learner of the worker with the lowest loss, complete with its module; if no worker is
/// eligible, that of the first.
pub fn elect_learner<M: LearnerModel>(mut results: Vec<EpochResult<M>>) -> Option<Learner<M>> {
    results.sort_by_key(|result| result.report.id);
    let candidate = |result: &EpochResult<M>| Candidate {
        report: result.report,
        age: 0,
    };
    let candidates: Vec<_> = results.iter().map(candidate).collect();
    let elected = elect(&candidates, u64::MAX).leader;
    let is_elected = |result: &EpochResult<M>| Some(result.report.id) == elected;
    let index = results.iter().position(is_elected).unwrap_or(0);
    let EpochResult {
        mut learner,
        module,
        ..
    } = results.into_iter().nth(index)?;
    install(&mut learner, &module);
    Some(learner)
}
