//! What the engine needs to know to train it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use lsgd_run::train::Context;
use lsgd_run::{MakeTask, Metric, StepKey, Sums, Task, generator};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::Characters;
use super::text;

/// Windows that are scored at once.
const SCORED_AT_ONCE: usize = 32;

/// `[task]`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CharactersConfig {
    /// A text file; nothing for a generated text.
    pub text: Option<PathBuf>,
    /// Values of a vector that stands for a character: a multiple of twice the heads.
    pub width: usize,
    /// Heads of an attention.
    pub heads: usize,
    /// Layers of the transformer.
    pub layers: usize,
    /// Characters that are seen at once.
    pub length: usize,
    /// Such windows in a batch.
    pub batch: usize,
}

impl Default for CharactersConfig {
    fn default() -> Self {
        Self {
            text: None,
            width: 64,
            heads: 4,
            layers: 2,
            length: 64,
            batch: 8,
        }
    }
}

/// Why the task or a batch of it cannot be made.
type TaskError = Box<dyn Error + Send + Sync>;

/// Windows of a text, each one character longer than the model's context. An example is a character to
/// be predicted from those before it.
#[derive(Debug)]
pub struct CharactersTask {
    config: CharactersConfig,
    seed: u64,
    /// All different characters; one's number is its place.
    alphabet: String,
    /// The first nine tenths of the text, in numbers.
    training: Vec<i32>,
    /// The parts of the held-out tenth: up to [`SCORED_AT_ONCE`] windows each, concatenated.
    held_out: Vec<Vec<i32>>,
    /// Of the text.
    digest: String,
}

impl MakeTask for CharactersConfig {
    type Task = CharactersTask;

    const OWN_KEYS: &'static [&'static str] = &["task.text"];

    fn make(self, run: Context) -> Result<CharactersTask, TaskError> {
        let Self {
            width,
            heads,
            length,
            ..
        } = self;
        if width == 0 || !width.is_multiple_of(2 * heads) {
            let why = "is not a multiple of twice task.heads, which is";
            return Err(format!("task.width {width} {why} {heads}").into());
        }
        if length == 0 || self.batch == 0 {
            return Err("task.length and task.batch are at least 1".into());
        }
        let text = match &self.text {
            None => text::generated(1 << 17),
            Some(path) => fs::read_to_string(path)
                .map_err(|why| format!("task.text: cannot read {}: {why}", path.display()))?,
        };
        let alphabet: BTreeSet<char> = text.chars().collect();
        let numbers: BTreeMap<char, i32> = alphabet.iter().copied().zip(0..).collect();
        let mut training: Vec<i32> = text.chars().map(|character| numbers[&character]).collect();
        let (characters, least) = (training.len(), 10 * (length + 1));
        if characters < least {
            let why = "characters are too few; give at least";
            return Err(format!("task.text: {characters} {why} {least}").into());
        }
        let rest = training.split_off(characters - characters / 10);
        let windows: Vec<&[i32]> = rest.windows(length + 1).step_by(length).collect();
        Ok(CharactersTask {
            config: self,
            seed: run.settings.run.seed,
            alphabet: alphabet.into_iter().collect(),
            training,
            held_out: windows.chunks(SCORED_AT_ONCE).map(<[_]>::concat).collect(),
            digest: blake3::hash(text.as_bytes()).to_hex().to_string(),
        })
    }
}

impl CharactersTask {
    /// The mean loss over concatenated windows.
    fn cross_entropy(&self, model: &Characters, windows: &[i32], device: &Device) -> Tensor<1> {
        let length = self.config.length;
        let windows = Tensor::<1, Int>::from_data(windows, device).reshape([-1, length as i32 + 1]);
        let logits = model.forward(windows.clone().narrow(1, 0, length));
        let targets = windows.narrow(1, 1, length).flatten(0, 1);
        let loss = CrossEntropyLossConfig::new().init(device);
        loss.forward(logits.flatten(0, 1), targets)
    }
}

impl Task for CharactersTask {
    type Module = Characters;
    type Batch = Vec<i32>;
    type Error = TaskError;

    fn module(&self, device: &Device) -> Result<Characters, TaskError> {
        let alphabet = self.alphabet.chars().count();
        Ok(Characters::new(&self.config, alphabet, device))
    }

    fn optimizer(&self) -> ModuleOptimizer {
        AdamConfig::new().init()
    }

    fn train_batch(&self, number: u64) -> Result<Vec<i32>, TaskError> {
        let purpose = "lsgd-run examples: characters, batches";
        let mut random = generator(purpose, &[self.seed, number]);
        let length = self.config.length;
        let window = |_| {
            let start = random.random_range(0..self.training.len() - length);
            &self.training[start..=start + length]
        };
        Ok((0..self.config.batch).flat_map(window).copied().collect())
    }

    fn loss(&self, model: &Characters, batch: Vec<i32>, on: &Device, _: StepKey) -> Tensor<1> {
        self.cross_entropy(model, &batch, on)
    }

    fn batch_size(&self) -> usize {
        self.config.batch * self.config.length
    }

    fn epoch(&self) -> u64 {
        self.training.len() as u64
    }

    fn parts(&self) -> usize {
        self.held_out.len()
    }

    fn score(&self, model: &Characters, part: usize, on: &Device) -> Result<Sums, TaskError> {
        let windows = &self.held_out[part];
        let length = self.config.length;
        let mean = self.cross_entropy(model, windows, on).into_scalar::<f32>();
        Ok(Sums::of_mean(mean, windows.len() / (length + 1) * length))
    }

    fn metrics(&self) -> &'static [Metric] {
        const METRICS: &[Metric] = &[
            Metric::lower("perplexity", "").of(|sums| sums.mean(0).exp()),
            Metric::lower("loss", "nats"),
        ];
        METRICS
    }

    fn agreement(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(String::from("the text"), self.digest.clone())])
    }

    fn notes(&self) -> Map<String, Value> {
        Map::from_iter([(
            String::from("alphabet"),
            Value::from(self.alphabet.as_str()),
        )])
    }

    fn unit(&self) -> &'static str {
        "characters"
    }
}
