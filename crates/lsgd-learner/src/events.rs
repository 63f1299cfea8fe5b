//! Every call that reports the training to burn-train: metrics, renderer, checkpoints, stops.
//!
//! Does the same as burn-train's own strategies for one device, whose parts are private.

use std::sync::Arc;

use burn::data::dataloader::Progress;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn_train::CloneEarlyStoppingStrategy;
use burn_train::metric::store::EventStoreClient;
use burn_train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, LearnerModel,
    LearningCheckpointer, SupervisedTrainingEventProcessor, TrainStep, TrainingItem, ValidLoader,
};

/// A training as burn-train sees it.
pub struct Events<M: LearnerModel> {
    pub processor: SupervisedTrainingEventProcessor<M>,
    pub interrupter: Interrupter,
    pub store: Arc<EventStoreClient>,
    pub checkpointer: Option<LearningCheckpointer<M>>,
    pub early_stopping: Option<Box<dyn CloneEarlyStoppingStrategy>>,
    /// Called after every batch.
    pub progress: Box<dyn Fn()>,
}

/// A batch that a worker has trained on.
pub struct Trained<M: LearnerModel> {
    /// The output of its training step.
    pub output: <M as TrainStep>::Output,
    /// The progress of all workers in their epoch.
    pub progress: Progress,
    /// Batches of all workers in this epoch so far.
    pub iteration: usize,
    /// The learning rate.
    pub rate: ModuleLearningRate,
}

impl<M: LearnerModel> Events<M> {
    /// Workers start to train on `items` items.
    pub fn begin_training(&mut self, epoch: usize, items: usize) {
        self.train(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: items,
        });
    }

    /// A worker has trained on a batch.
    pub fn trained(&mut self, trained: Trained<M>) {
        let Trained {
            output,
            progress,
            iteration,
            rate,
        } = trained;
        (self.progress)();
        let item = TrainingItem::new(output, progress, Some(iteration), Some(rate));
        self.train(LearnerEvent::ProcessedItem(item));
    }

    /// All workers have trained on their shares. Returns whether the training continues.
    pub fn end_training(&mut self, epoch: usize) -> bool {
        self.train(LearnerEvent::EndSplit(epoch));
        if let Some(interruption) = self.interrupter.interruption() {
            let reason = interruption.reason.as_deref().unwrap_or("reason unknown");
            log::info!("Training interrupted: {reason}");
        }
        !self.interrupter.should_stop()
    }

    /// Validates the learner's model and ends the epoch: checkpoint, early stopping. Returns
    /// whether the training continues.
    pub fn validate(
        &mut self,
        epoch: usize,
        learner: &Learner<M>,
        batches: &ValidLoader<M>,
    ) -> bool {
        self.valid(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: batches.num_items(),
        });
        self.validate_batches(&learner.model().valid(), batches);
        self.valid(LearnerEvent::EndSplit(epoch));
        self.train(LearnerEvent::EndEpoch(epoch));
        if self.checkpointer.is_some() || self.early_stopping.is_some() {
            let flushed = self.processor.flush();
            self.interrupter.fail_on_error(flushed);
        }
        if self.interrupter.should_stop() {
            return false;
        }
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.checkpoint(learner, epoch, &self.store);
        }
        let stopping = self.early_stopping.as_mut();
        !stopping.is_some_and(|stopping| stopping.should_stop(epoch, &self.store))
    }

    fn validate_batches(&mut self, model: &M, batches: &ValidLoader<M>) {
        let mut batches = batches.iter();
        let mut iteration = 0;
        while let Some(batch) = batches.next() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(why) => return self.interrupter.fail(why),
            };
            iteration += 1;
            (self.progress)();
            let progress = batches.progress();
            let output = InferenceStep::step(model, batch);
            let item = TrainingItem::new(output, progress, Some(iteration), None);
            self.valid(LearnerEvent::ProcessedItem(item));
            if self.interrupter.should_stop() {
                return;
            }
        }
    }

    fn train(&mut self, event: LearnerEvent<<M as TrainStep>::Output>) {
        let processed = self.processor.process_train(event);
        self.interrupter.fail_on_error(processed);
    }

    fn valid(&mut self, event: LearnerEvent<<M as InferenceStep>::Output>) {
        let processed = self.processor.process_valid(event);
        self.interrupter.fail_on_error(processed);
    }
}
