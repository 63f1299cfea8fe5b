//! A regression of four parameters, and a run of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::module::{Module, Param};
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_run::config::Settings;
use lsgd_run::storage::MetricRecord;
use lsgd_run::train::{self, Context, Job, Outcome, Requests};
use lsgd_run::{Better, Metric, Observer, RunError, StepKey, Sums, Task, generator};
use rand::RngExt;

/// Inputs of an example.
pub const INPUTS: usize = 3;

/// `y = w x + b`
#[derive(Module, Debug)]
pub struct Line {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
}

/// Examples of `y = x1 - 2 x2 + 3 x3 + 1`, with a little noise.
#[derive(Debug, Clone, Default)]
pub struct Toy {
    /// This batch cannot be had.
    pub missing: Option<u64>,
    /// The loss of this step panics.
    pub panics_at: Option<u64>,
    /// Making the module panics.
    pub has_no_module: bool,
    /// Its metric is one that is better when it is higher.
    pub higher: bool,
    /// What fails for a while.
    pub fails: Fails,
}

/// Losses that panic, or are NaN, so often.
#[derive(Debug, Clone, Default)]
pub struct Fails {
    left: Arc<Mutex<BTreeMap<(u64, u64), u32>>>,
    nan: bool,
}

impl Fails {
    /// That of a worker at a step, so often.
    pub fn new(fails: &[(u64, u64, u32)], nan: bool) -> Self {
        let left = fails
            .iter()
            .map(|&(worker, step, often)| ((worker, step), often));
        Self {
            left: Arc::new(Mutex::new(left.collect())),
            nan,
        }
    }

    /// How many are still to come.
    pub fn left(&self) -> usize {
        self.left.lock().unwrap().values().sum::<u32>() as usize
    }

    fn factor(&self, key: StepKey) -> f32 {
        let mut left = self.left.lock().unwrap();
        let often = left
            .get_mut(&(key.worker, key.step))
            .filter(|often| **often > 0);
        let fails = often.map(|often| *often -= 1).is_some();
        // The lock is not to be poisoned.
        drop(left);
        match (fails, self.nan) {
            (false, _) => 1.0,
            (true, true) => f32::NAN,
            (true, false) => panic!("no luck"),
        }
    }
}

/// What the toy cannot do.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing(pub u64);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "batch {} is not there", self.0)
    }
}

impl std::error::Error for Missing {}

/// Inputs and targets.
pub struct Batch {
    pub inputs: Vec<f32>,
    pub targets: Vec<f32>,
}

/// Batch `number` of 8 examples.
pub fn batch(number: u64) -> Batch {
    let mut random = generator("lsgd-run test examples", &[7, 0, number]);
    let inputs: Vec<f32> = (0..8 * INPUTS).map(|_| random.random::<f32>()).collect();
    let target = |x: &[f32]| x[0] - 2.0 * x[1] + 3.0 * x[2] + 1.0;
    let noise = 0.01 * random.random::<f32>();
    let targets = inputs.chunks(INPUTS).map(|x| target(x) + noise).collect();
    Batch { inputs, targets }
}

fn squares(line: &Line, batch: Batch, device: &Device) -> Tensor<1> {
    let examples = batch.targets.len();
    let inputs: Tensor<2> =
        Tensor::from_data(TensorData::new(batch.inputs, [examples, INPUTS]), device);
    let targets: Tensor<1> = Tensor::from_data(TensorData::new(batch.targets, [examples]), device);
    let weight = line.weight.val().reshape([INPUTS, 1]);
    let outputs = inputs.matmul(weight).reshape([examples]) + line.bias.val();
    (outputs - targets).square()
}

impl Task for Toy {
    type Module = Line;
    type Batch = Batch;
    type Error = Missing;

    fn module(&self, device: &Device) -> Result<Line, Missing> {
        assert!(!self.has_no_module, "no module");
        Ok(Line {
            weight: Param::from_tensor(Tensor::zeros([INPUTS], device)),
            bias: Param::from_tensor(Tensor::zeros([1], device)),
        })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new().init()
    }

    fn train_batch(&self, number: u64) -> Result<Batch, Missing> {
        match self.missing {
            Some(missing) if missing == number => Err(Missing(number)),
            _ => Ok(batch(number)),
        }
    }

    fn loss(&self, line: &Line, batch: Batch, device: &Device, key: StepKey) -> Tensor<1> {
        assert_ne!(Some(key.step), self.panics_at, "no luck");
        let loss = squares(line, batch, device).mean();
        match self.fails.factor(key) {
            1.0 => loss,
            factor => loss * factor,
        }
    }

    fn batch_size(&self) -> usize {
        8
    }

    fn epoch(&self) -> u64 {
        80
    }

    fn parts(&self) -> usize {
        3
    }

    fn score(&self, line: &Line, part: usize, device: &Device) -> Result<Sums, Missing> {
        let squares = squares(line, batch(1_000_000 + part as u64), device);
        Ok(Sums {
            examples: 8,
            sums: vec![f64::from(squares.sum().into_scalar::<f32>())],
        })
    }

    fn metrics(&self) -> &'static [Metric] {
        const LOWER: Metric = Metric::lower("square", "");
        const HIGHER: Metric = Metric {
            name: "closeness",
            unit: "",
            better: Better::Higher,
            of: |sums| 1.0 / (1.0 + sums.mean(0)),
        };
        if self.higher { &[HIGHER] } else { &[LOWER] }
    }

    fn agreement(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(String::from("the line"), String::from("1 -2 3 1"))])
    }

    fn title(&self) -> String {
        String::from("a line on points")
    }
}

/// Settings of a run of two workers and 40 steps in `folder`, with one thing changed.
pub fn settings(folder: &Path, change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    settings.run.folder = folder.to_owned();
    settings.workers.count = Some(2);
    settings.budget.steps = Some(40);
    settings.evaluate.every_steps = Some(20);
    settings.schedule.learning_rate = 0.1;
    settings.method.local_period = 4;
    settings.method.global_period = 16;
    settings.method.loss_window = 4;
    change(&mut settings);
    settings
}

/// Endpoints that are unused at this moment.
pub fn endpoints(nodes: usize) -> Vec<String> {
    let held: Vec<TcpListener> = (0..nodes)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let address = |held: &TcpListener| format!("tcp/{}", held.local_addr().unwrap());
    held.iter().map(address).collect()
}

/// Settings of node `node` of those at `endpoints`.
pub fn node(folder: &Path, node: u64, endpoints: &[String]) -> Settings {
    settings(folder, |settings| {
        settings.cluster.node = Some(node);
        settings.cluster.nodes = endpoints.len() as u64;
        settings.cluster.connect = endpoints.to_vec();
        // A machine that stands still for a second or two loses no node.
        settings.cluster.silence_seconds = 10.0;
        settings.cluster.listen = vec![endpoints[node as usize - 1].clone()];
    })
}

pub fn job(settings: Settings) -> Job {
    Job::new(settings).unwrap()
}

/// Trains a toy.
pub fn run(task: Toy, settings: Settings) -> Result<Outcome, RunError> {
    run_watched(task, settings, Box::new(()))
}

pub fn run_watched(
    task: Toy,
    settings: Settings,
    observer: Box<dyn Observer>,
) -> Result<Outcome, RunError> {
    let requests = Arc::new(Requests::default());
    train::train(job(settings), |_: Context| Ok(task), observer, requests)
}

/// The figure of every evaluation's leader.
pub fn leaders(outcome: &Outcome) -> Vec<f64> {
    let mut squares = Vec::new();
    let metrics = outcome.folder.join("metrics.jsonl");
    lsgd_run::storage::read_lines(&metrics, |metric: MetricRecord| {
        if let MetricRecord::Evaluation(evaluation) = metric {
            let leader = evaluation.leader.and_then(|leader| leader.test);
            squares.extend(leader.and_then(|test| test.get("square")));
        }
    })
    .unwrap();
    squares
}
