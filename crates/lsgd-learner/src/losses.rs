//! The losses of a worker's batches, read from the device only when they are needed.

use burn::data::dataloader::Progress;
use burn::tensor::TensorReadError;
use burn_train::metric::{Adaptor, LossInput, LossMetric, Metric, MetricMetadata, Numeric};

/// Most losses kept on the device: if they are never requested, they are read at this number.
const MAX_PENDING: usize = 64;

/// Losses of batches, oldest first.
pub struct Losses {
    metric: LossMetric,
    pending: Vec<LossInput>,
}

impl Losses {
    /// None.
    pub fn new() -> Self {
        Self {
            metric: LossMetric::new(),
            pending: Vec::new(),
        }
    }

    /// Takes the mean loss of a batch from the output of its training step.
    pub fn push(&mut self, output: &impl Adaptor<LossInput>) {
        self.pending.push(output.adapt());
    }

    /// Whether there are enough unread losses to read them now.
    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Reads the unread losses.
    ///
    /// # Errors
    ///
    /// The type of the device.
    pub fn read(&mut self) -> Result<Vec<f32>, TensorReadError> {
        let Self { metric, pending } = self;
        let mut read = |input: LossInput| {
            // The fields of a loss input are private to its metric, so the metric reads it.
            metric.update(&input, &nothing_known())?;
            let loss = metric.value().map_or(f64::NAN, |loss| loss.current());
            Ok(loss as f32)
        };
        pending.drain(..).map(&mut read).collect()
    }
}

fn nothing_known() -> MetricMetadata {
    MetricMetadata {
        progress: Progress::new(0, 0, None),
        iteration: None,
        lr: None,
    }
}
