//! The task of this program: training a CNN to classify images.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use lsgd_core::{GradientClip, Loss};
use lsgd_models::{ForwardMode, Model, ModelConfig, Whitening};
use lsgd_run::config::{RankBy, Settings};
use lsgd_run::epoch::Epoch;
use lsgd_run::train::Context;
use lsgd_run::{MakeTask, Metric, StepKey, Sums, Task};
use serde_json::{Map, Value};

use crate::batches;
use crate::data::{Batch, DataError, Dataset, Reserve, ScoredOn, Spoiling, Stream};
use crate::device_images::DeviceImages;
use crate::error::TrainError;
use crate::image_config::{Augment, Config, DataName, DataVariation, ImageConfig, OptimizerConfig};
use crate::image_model::{ImageNotes, model_config};
use crate::initial_weights::InitialWeights;
use crate::loss::{cross_entropy, training_loss};
use crate::optimizer;
use crate::scoring::{Guess, metrics, score_batch};
use crate::tensors::{Examples, tensors};
use crate::train_batch::TrainBatch;

/// What the trained values of a run are needed for.
#[derive(Debug, Clone, Copy)]
pub struct Uses {
    /// The examples to score them on.
    pub scored_on: ScoredOn,
    /// Whether to make a replica mean of them.
    pub for_mean: bool,
}

/// Images, in batches, and a CNN that learns to classify them.
#[derive(Debug)]
pub struct ImageTask {
    config: ImageConfig,
    dataset: Arc<Dataset>,
    /// The order of training batches.
    stream: Stream,
    /// The held-out training examples that rank workers, in batches; none where the training loss
    /// ranks them.
    probe: Vec<Batch>,
    model: ModelConfig,
    /// The weights that the model begins with, if they are not drawn.
    initial: Option<InitialWeights>,
    /// What the first layer of a drawn model begins with, for models that whiten images.
    whitening: Option<Whitening>,
    /// The examples that models are scored on,
    scored_on: ScoredOn,
    /// those of each part.
    parts: Vec<Range<usize>>,
    /// Spoils the examples of some workers, for experiments.
    spoiling: Option<Spoiling>,
    /// Makes the training images on the workers' devices; `None` if the host makes them.
    device_images: Option<Arc<DeviceImages>>,
}

/// The name of the data set's digest among what nodes must agree on.
pub(crate) const DATA: &str = "the data";

/// Pixels of the training images that the filters of a whitening layer are made from: 5,000 images of 32 x 32,
/// as in arXiv 2404.00498, or fewer larger ones.
const WHITENED_PIXELS: usize = 5_000 * 32 * 32;

impl ImageTask {
    /// Opens the data, and checks that the model can learn from it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the data cannot be opened or do not fit the model.
    pub fn new(config: ImageConfig, run: Context) -> Result<Self, TrainError> {
        check_shape(&config)?;
        let dataset = Arc::new(Dataset::open(&config.data, run.settings.run.seed)?);
        let stream = stream(&dataset, &config, run.settings, run.workers)?;
        if run.settings.method.rank_by == RankBy::ProbeLoss {
            // The stream has read it.
            run.probe_examples();
        }
        dataset.check(&stream)?;
        let batch = scoring_batch(config.data.batch_size);
        let held_out = stream.held_out(Reserve::Probe).len();
        let probe = ranges(held_out, batch)
            .into_iter()
            .map(|range| dataset.held_out(&stream, Reserve::Probe, range))
            .collect::<Result<Vec<_>, _>>()?;
        // Empty if all its images are skipped.
        let probe = probe.into_iter().filter(|batch| !batch.labels.is_empty());
        let probe: Vec<Batch> = probe.collect();
        if let (examples @ 1.., true) = (held_out, probe.is_empty()) {
            let key = Reserve::Probe.key();
            return Err(DataError::BadReserve { examples, key }.into());
        }
        check_validation(&dataset, &stream)?;
        let model = model_config(&config, dataset.classes(), dataset.shape());
        if run.trains {
            let epoch = Epoch {
                examples: stream.epoch() as u64,
                examples_per_step: config.data.batch_size as u64
                    * run.workers
                    * run.settings.workers.accumulate,
            };
            let (batch_size, per_worker) =
                (config.data.batch_size, stream.least_per_worker() as u64);
            for warning in batches::check(&model, batch_size, per_worker, epoch)? {
                tracing::warn!("{warning}");
            }
        }
        let initial = config.model.init_from.as_deref();
        let initial = initial.map(|path| InitialWeights::open(path, &model));
        let initial = initial.transpose()?.map(|(weights, line)| {
            if let Some(line) = line {
                tracing::warn!("{line}");
            }
            weights
        });
        let drawn = run.trains && initial.is_none();
        let whitening = match drawn && model.kind.whitens() {
            true => {
                model.check()?;
                let count = (WHITENED_PIXELS / (model.height * model.width)).max(1);
                let images = dataset.still_sample(&stream, count)?.images;
                Some(Whitening::of(&images, dataset.shape()))
            }
            false => None,
        };
        let scored_on = match config.data.holdout {
            Some(_) => ScoredOn::Holdout,
            None => ScoredOn::Test,
        };
        let varied = &config.data.vary;
        check_varied(varied, run.workers)?;
        let seed = run.settings.run.seed;
        let mut task = Self {
            spoiling: Spoiling::new(varied, run.workers, dataset.classes(), seed),
            initial,
            whitening,
            scored_on,
            parts: Vec::new(),
            device_images: None,
            config,
            dataset,
            stream,
            probe,
            model,
        };
        task.parts = ranges(run.held_out_examples(task.scored()), batch);
        // Altered images are finished on the host: what alters them works on cropped bytes. So are spoilt
        // ones, which are for experiments alone.
        let on_host = task.dataset.is_altered() || task.spoiling.is_some();
        Ok(match run.gpus && !on_host {
            true => task.on_devices(),
            false => task,
        })
    }

    /// For trained values of a run of so many workers over all nodes: to score them on all examples of `uses.scored_on`, and, if they
    /// are `for_mean`, to estimate a mean's statistics on the batches of the run. For a plain test
    /// nothing is held out of the training examples, which may then be fewer than the run's.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the data cannot have the batch size of `config`, cannot spare the examples that
    /// it holds out, where these matter, or are to be scored on those and there are none.
    pub fn of_run(
        config: &Config,
        model: ModelConfig,
        dataset: Arc<Dataset>,
        workers: u64,
        uses: Uses,
    ) -> Result<Self, TrainError> {
        let Uses {
            scored_on,
            for_mean,
        } = uses;
        let Config { settings, task } = config;
        let stream = match (scored_on, for_mean) {
            (ScoredOn::Holdout, _) if task.data.holdout.is_none() => {
                return Err(TrainError::NoHoldout);
            }
            (ScoredOn::Test, false) => {
                Stream::new(dataset.train_len(), task.data.batch_size, settings.run.seed)?
            }
            _ => stream(&dataset, task, settings, workers)?,
        };
        let (varied, seed) = (&task.data.vary, settings.run.seed);
        let mut of_run = Self {
            // A mean's statistics are estimated on the batches that the run trained on.
            spoiling: Spoiling::new(varied, workers, dataset.classes(), seed),
            initial: None,
            whitening: None,
            scored_on,
            parts: Vec::new(),
            device_images: None,
            stream,
            config: task.clone(),
            dataset,
            probe: Vec::new(),
            model,
        };
        of_run.parts = ranges(of_run.scored(), SCORING_BATCH);
        Ok(of_run)
    }

    /// The same, with training images that are made on the device: the same images, less to upload.
    #[must_use]
    pub fn on_devices(mut self) -> Self {
        self.device_images = Some(Arc::new(DeviceImages::new(self.dataset.format())));
        self
    }

    /// Number of the examples that models are scored on.
    pub fn scored(&self) -> usize {
        match self.scored_on {
            ScoredOn::Test => self.dataset.test_len(),
            ScoredOn::Holdout => self.stream.held_out(Reserve::Validation).len(),
        }
    }

    /// Those of `range` among them, without augmentation.
    ///
    /// # Errors
    ///
    /// [`DataError`] if there are not that many, or an image cannot be read.
    pub fn scored_batch(&self, range: Range<usize>) -> Result<Batch, DataError> {
        match self.scored_on {
            ScoredOn::Test => self.dataset.test_batch(range),
            ScoredOn::Holdout => {
                let part = Reserve::Validation;
                self.dataset.held_out(&self.stream, part, range)
            }
        }
    }

    /// Scores part `part` of the held-out examples, as [`score`](Task::score), and tells what each example is
    /// taken for.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the part cannot be read.
    pub fn guess(
        &self,
        model: &Model,
        part: usize,
        device: &Device,
    ) -> Result<(Sums, Vec<Guess>), TrainError> {
        let range = self.parts.get(part).cloned().unwrap_or_default();
        Ok(score_batch(model, self.scored_batch(range)?, device))
    }
}

/// Checks that the model takes the images, where the config alone says what they are like: it takes no
/// listing of a large folder to find that it does not.
fn check_shape(config: &ImageConfig) -> Result<(), TrainError> {
    let data = &config.data;
    match data.name {
        DataName::Generated if data.augment != Augment::Paper => {
            model_config(config, data.classes, data.shape).check()?;
        }
        DataName::Folder => {
            let side = data.side;
            // How many classes there are is not known yet, and says nothing about images.
            let model = model_config(config, 1, [3, side as usize, side as usize]);
            let unfit = |why| TrainError::Side { side, why };
            model.check().map_err(unfit)?;
        }
        _ => {}
    }
    Ok(())
}

/// The order of a run's training examples, for so many workers.
fn stream(
    dataset: &Dataset,
    config: &ImageConfig,
    settings: &Settings,
    workers: u64,
) -> Result<Stream, TrainError> {
    let seed = settings.run.seed;
    let examples = dataset.train_len();
    let validation = config.data.held_out(examples);
    let stream = Stream::new(examples, config.data.batch_size, seed)?;
    let stream = stream.holding_out(Reserve::Validation, validation, seed)?;
    let probe = match settings.method.rank_by {
        RankBy::TrainingLoss => 0,
        RankBy::ProbeLoss => settings.method.probe_examples,
    };
    let stream = stream.holding_out(Reserve::Probe, probe, seed)?;
    let Some(split) = config.data.split else {
        return Ok(stream);
    };
    let class_of = |example| dataset.train_class(example as usize);
    let workers = usize::try_from(workers).unwrap_or(usize::MAX);
    Ok(stream.sharded(class_of, workers, split, seed)?)
}

/// Refuses an entry of `data.vary` for a worker that is not among `workers`.
fn check_varied(varied: &[DataVariation], workers: u64) -> Result<(), DataError> {
    let mut varied = varied.iter().enumerate();
    match varied.find(|(_, varied)| varied.worker >= workers) {
        Some((index, varied)) => Err(DataError::NoSuchWorker {
            index,
            worker: varied.worker,
            workers,
        }),
        None => Ok(()),
    }
}

/// Images that `eval` scores at once.
const SCORING_BATCH: usize = 128;

/// Examples that are scored at once: as many as are trained on at once, within bounds that
/// keep small batches from being slow and large ones from taking more memory than training does.
fn scoring_batch(batch_size: usize) -> usize {
    batch_size.clamp(32, 256)
}

/// Examples in batches of `batch_size`.
fn ranges(examples: usize, batch_size: usize) -> Vec<Range<usize>> {
    let batch_size = batch_size.max(1);
    (0..examples)
        .step_by(batch_size)
        .map(|start| start..examples.min(start + batch_size))
        .collect()
}

impl MakeTask for ImageConfig {
    type Task = ImageTask;

    const BATCH_SIZE: Option<&'static str> = Some("data.batch_size");

    fn make(self, run: Context) -> Result<ImageTask, TrainError> {
        ImageTask::new(self, run)
    }
}

/// Refuses a validation split of which no image can be decoded: nothing would be scored. The others are
/// found out when they are scored.
fn check_validation(dataset: &Dataset, stream: &Stream) -> Result<(), DataError> {
    let part = Reserve::Validation;
    let examples = stream.held_out(part).len();
    for image in 0..examples {
        let batch = dataset.held_out(stream, part, image..image + 1)?;
        if !batch.labels.is_empty() {
            return Ok(());
        }
    }
    match examples {
        0 => Ok(()),
        _ => Err(DataError::BadReserve {
            examples,
            key: part.key(),
        }),
    }
}

impl Task for ImageTask {
    type Module = Model;
    type Batch = TrainBatch;
    type Error = TrainError;

    fn module(&self, device: &Device) -> Result<Model, TrainError> {
        let model = self.model.init(device)?;
        match (&self.initial, &self.whitening) {
            (Some(initial), _) => initial.write(model),
            (None, Some(whitening)) => Ok(model.whitened(whitening)),
            (None, None) => Ok(model),
        }
    }

    fn optimizer(&self) -> ModuleOptimizer {
        optimizer::inner(&self.config.optimizer, self.model.kind.head())
    }

    fn optimizer_decaying(&self, factor: f64) -> Option<ModuleOptimizer> {
        let decay = self.config.optimizer.weight_decay;
        let config = OptimizerConfig {
            weight_decay: decay * factor,
            ..self.config.optimizer.clone()
        };
        (decay > 0.0).then(|| optimizer::inner(&config, self.model.kind.head()))
    }

    fn gradient_clip(&self) -> Option<GradientClip> {
        optimizer::clip(&self.config.optimizer)
    }

    fn train_batch(&self, number: u64) -> Result<TrainBatch, TrainError> {
        let (dataset, stream) = (&self.dataset, &self.stream);
        Ok(match &self.device_images {
            Some(images) => TrainBatch::Bytes(dataset.byte_batch(stream, number)?, images.clone()),
            None => {
                let spoiling = self.spoiling.as_ref();
                TrainBatch::Images(dataset.train_batch_spoilt(stream, number, spoiling)?)
            }
        })
    }

    fn loss(&self, model: &Model, batch: TrainBatch, device: &Device, key: StepKey) -> Tensor<1> {
        let Examples {
            images,
            labels,
            second,
        } = batch.examples(device);
        let mut dropout = key.generator("lsgd-train v1 dropout");
        let logits = model.forward(images, ForwardMode::Train(&mut dropout));
        training_loss(logits, labels, second, self.config.loss.label_smoothing)
    }

    fn batch_size(&self) -> usize {
        self.config.data.batch_size
    }

    fn epoch(&self) -> u64 {
        self.stream.epoch() as u64
    }

    fn parts(&self) -> usize {
        self.parts.len()
    }

    fn score(&self, model: &Model, part: usize, device: &Device) -> Result<Sums, TrainError> {
        Ok(self.guess(model, part, device)?.0)
    }

    fn metrics(&self) -> &'static [Metric] {
        metrics(self.dataset.classes())
    }

    fn probe(&self, model: &Model, device: &Device) -> Result<Option<f64>, TrainError> {
        let loss_of = |batch: &Batch| {
            let (images, labels) = tensors(batch.clone(), device);
            let logits = model.forward(images, ForwardMode::Evaluate);
            Loss::from(cross_entropy(logits, labels))
        };
        let losses: Vec<Loss> = self.probe.iter().map(loss_of).collect();
        let (mut sum, mut count) = (0.0, 0);
        for (batch, loss) in self.probe.iter().zip(Loss::read_all(&losses)) {
            let examples = batch.labels.len();
            sum += f64::from(loss) * examples as f64;
            count += examples;
        }
        Ok((count > 0).then(|| sum / count as f64))
    }

    fn statistics_module(&self, device: &Device) -> Result<Option<Model>, TrainError> {
        let model = ModelConfig {
            batch_norm_momentum: 1.0,
            ..self.model.clone()
        };
        Ok(Some(model.init(device)?))
    }

    fn agreement(&self) -> BTreeMap<String, String> {
        let digest = self.dataset.digest().to_owned();
        BTreeMap::from([(String::from(DATA), digest)])
    }

    fn notes(&self) -> Map<String, Value> {
        let notes = ImageNotes {
            classes: self.dataset.classes(),
            class_names: self.dataset.class_names().to_vec(),
            image: self.dataset.shape(),
        };
        match serde_json::to_value(notes) {
            Ok(Value::Object(notes)) => notes,
            _ => Map::new(),
        }
    }

    fn title(&self) -> String {
        format!(
            "{} on {}",
            self.config.model.name,
            self.config.data.name.word()
        )
    }

    fn unit(&self) -> &'static str {
        "images"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_example_once() {
        assert_eq!(ranges(10, 4), [0..4, 4..8, 8..10]);
        assert!(ranges(0, 4).is_empty());
    }
}
