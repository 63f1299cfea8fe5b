//! What passes between host and device, counted: the table of `docs/devices.md`, method by method.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{
    BatchNorm as Follow, Exchange, ExchangeConfig, LeaderConfig, LeaderSgd, LocalLeader, Loss,
    Method, Mode, Objective, OuterStep, Periods, TRANSFERS, WeightPer, Worker, upload,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

use crate::alone::alone;
use crate::memory::{Node, QueueExchange};
use crate::setting::{device, sgd};

/// Steps between exchanges.
const PERIOD: u64 = 8;
/// In `async`: steps between reads of losses.
const READ_EVERY: usize = 4;
/// Steps that are counted: after the first exchange, to whose deliveries proximal pulls go.
const COUNTED: std::ops::RangeInclusive<u64> = 2 * PERIOD..=4 * PERIOD + 1;

/// Several tensors with and without gradients: counts are not those of one tensor.
#[derive(Module, Debug)]
struct Net {
    first: Linear,
    norm: BatchNorm,
    second: Linear,
}

/// A regression whose batches are uploaded and whose losses stay on the device.
struct Points {
    worker: u32,
    device: Device,
}

impl Objective<Net> for Points {
    type Error = Infallible;

    fn gradients(&mut self, net: &Net, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let at = |i: u64| ((step * 13 + i) as f32 * 0.618).fract() - 0.5;
        let batch = TensorData::new((0..8).map(at).collect::<Vec<_>>(), [4, 2]);
        let batch = upload::<2, burn::tensor::Float>("batch", batch, &self.device);
        let output = net
            .second
            .forward(net.norm.forward(net.first.forward(batch)));
        // Worker 0 always leads.
        let loss: Tensor<1> = output.square().mean() + self.worker as f32 * 100.0;
        let gradients = GradientsParams::from_grads(loss.backward(), net);
        Ok((loss.into(), gradients))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        0.01
    }
}

/// Transfers by direction and what: `read losses`.
#[derive(Debug, Clone, Default)]
struct Counter(Arc<Mutex<Vec<String>>>);

impl Counter {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics under it"))
    }
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TRANSFERS
    }

    fn event(&self, event: &Event<'_>) {
        let mut name = Name::default();
        event.record(&mut name);
        let Name { direction, what } = name;
        let mut transfers = self.0.lock().expect("no test panics under it");
        transfers.push(format!("{direction} {what}"));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Name {
    direction: String,
    what: String,
}

impl Visit for Name {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "direction" => self.direction = value.to_owned(),
            "what" => self.what = value.to_owned(),
            _ => {}
        }
    }
}

/// The transfers of two workers, by worker and by the steps that it had taken.
fn counted(method: &Method, mode: Mode) -> BTreeMap<(usize, u64), Vec<String>> {
    let leader = LocalLeader::new(0, 2, method.clone(), mode).expect("runs in this mode");
    let mut node = Node::new(leader, |exchange: QueueExchange| {
        let device = device();
        let net = Net {
            first: LinearConfig::new(2, 3).init(&device),
            norm: BatchNormConfig::new(3).init(&device),
            second: LinearConfig::new(3, 1).init(&device),
        };
        let worker = exchange.id().worker;
        let optimizer = LeaderSgd::new(sgd(), method.clone(), exchange);
        let optimizer = optimizer.reading_losses_every(READ_EVERY);
        Worker::new(net, optimizer, Points { worker, device })
    });
    let counter = Counter::default();
    let mut transfers: BTreeMap<_, Vec<String>> = BTreeMap::new();
    subscriber::with_default(counter.clone(), || {
        // Turn by turn: in `sync` a worker that waits has an empty one.
        while node
            .workers()
            .any(|worker| worker.optimizer().steps() < *COUNTED.end() + 1)
        {
            for worker in 0..2 {
                let Ok(_) = node.turn(worker);
                let at = node.workers().nth(worker).expect("nobody leaves");
                let key = (worker, at.optimizer().steps());
                transfers.entry(key).or_default().extend(counter.take());
            }
        }
    });
    transfers
}

/// A cell of the table: what a step or an exchange transfers besides the batch.
fn cell(transfers: &[String]) -> String {
    let rest: Vec<&str> = transfers
        .iter()
        .map(String::as_str)
        .filter(|transfer| *transfer != "upload batch")
        .collect();
    match rest.is_empty() {
        true => String::from("nothing"),
        false => rest.join(", "),
    }
}

/// The cell that all these steps have in common.
fn only(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    assert!(
        cells.windows(2).all(|pair| pair[0] == pair[1]),
        "{name}: {cells:?}"
    );
    cells.first().cloned().expect("there are such steps")
}

/// A row of the table in `sync`.
fn sync_row(name: &str, method: &Method) -> String {
    let transfers = counted(method, Mode::Sync);
    let period = method.periods().local;
    let of = |worker: usize, meets: bool| {
        let steps = COUNTED.filter(move |step| step.is_multiple_of(period) == meets);
        let transfers = &transfers;
        steps.filter_map(move |step| transfers.get(&(worker, step)).map(|found| cell(found)))
    };
    for (key, found) in transfers
        .iter()
        .filter(|((_, step), _)| COUNTED.contains(step))
    {
        let batches = found.iter().filter(|transfer| *transfer == "upload batch");
        assert_eq!(batches.count(), 1, "{name}, worker and step {key:?}");
    }
    let between = match period {
        1 => String::from("(every step exchanges)"),
        _ => only(name, of(0, false).chain(of(1, false))),
    };
    let [leader, other] = [0, 1].map(|worker| match method.exchanges() {
        true => only(name, of(worker, true)),
        false => String::from("(none)"),
    });
    format!("| {name} | {between} | {leader} | {other} |")
}

/// A row in `async`: what a period of steps has in all, for the leader and another worker.
fn async_row(name: &str, method: &Method) -> String {
    let transfers = counted(method, Mode::Async);
    let [leader, other] = [0, 1].map(|worker| {
        let steps = 2 * PERIOD + 2..3 * PERIOD + 2;
        let found = steps.flat_map(|step| transfers[&(worker, step)].clone());
        let mut found: Vec<String> = found.collect();
        let batches = found.iter().filter(|transfer| *transfer == "upload batch");
        assert_eq!(batches.count() as u64, PERIOD, "{name}, worker {worker}");
        let losses = found.iter().filter(|transfer| *transfer == "read losses");
        assert_eq!(
            losses.count() as u64,
            PERIOD / READ_EVERY as u64,
            "{name}, worker {worker}"
        );
        found.retain(|transfer| transfer != "read losses");
        cell(&found)
    });
    format!("| {name} | {leader} | {other} |")
}

fn exchanges() -> ExchangeConfig {
    ExchangeConfig {
        periods: Periods {
            local: PERIOD,
            global: PERIOD,
        },
        loss_window: 2,
        batch_norm: Follow::Own,
    }
}

fn leader_config() -> LeaderConfig {
    LeaderConfig {
        local_period: PERIOD,
        global_period: PERIOD,
        loss_window: 2,
        ..LeaderConfig::default()
    }
}

fn outer(momentum: f64, nesterov: bool) -> OuterStep {
    OuterStep {
        learning_rate: 0.7,
        momentum,
        nesterov,
    }
}

fn proximal() -> LeaderConfig {
    LeaderConfig {
        local_prox: 0.1,
        ..leader_config()
    }
}

fn with_statistics(batch_norm: Follow) -> LeaderConfig {
    LeaderConfig {
        batch_norm,
        ..leader_config()
    }
}

fn sync_methods() -> Vec<(&'static str, Method)> {
    let grawa = |per| Method::grawa(exchanges(), per, 0.5, 0.5);
    let methods = [
        ("`sgd`", Ok(Method::sgd(2))),
        ("`data_parallel`", Method::data_parallel(2, Follow::Own)),
        ("`local_sgd`", Method::local_sgd(exchanges())),
        ("`easgd`", Method::easgd(exchanges(), 0.5)),
        (
            "`diloco`",
            Method::diloco("diloco", exchanges(), outer(0.9, true)),
        ),
        (
            "`slowmo`",
            Method::diloco("slowmo", exchanges(), outer(0.5, false)),
        ),
        ("`grawa`", grawa(WeightPer::Model)),
        ("`grawa_layers`", grawa(WeightPer::Layer)),
        ("`dppf`", Method::dppf(exchanges(), 0.5, 0.5, 0.05)),
        ("`leader_filter`", Method::leader_filter(exchanges(), 0.5)),
        ("`lsgd`", Method::lsgd(&leader_config())),
        ("`lsgd_plus`", Method::lsgd_plus(&leader_config(), 0.5)),
        ("`leader_mean`", Method::leader_mean(exchanges(), 0.5)),
        ("`lsgd`, `local_prox`", Method::lsgd(&proximal())),
        (
            "`lsgd_plus`, `local_prox`",
            Method::lsgd_plus(&proximal(), 0.5),
        ),
        (
            "`lsgd`, `batch_norm = \"leader\"`",
            Method::lsgd(&with_statistics(Follow::Leader)),
        ),
        (
            "`lsgd`, `batch_norm = \"mean\"`",
            Method::lsgd(&with_statistics(Follow::Mean)),
        ),
    ];
    methods
        .map(|(name, method)| (name, method.expect("valid")))
        .into()
}

fn async_methods() -> Vec<(&'static str, Method)> {
    let methods = [
        ("`lsgd`", Method::lsgd(&leader_config())),
        ("`lsgd`, `local_prox`", Method::lsgd(&proximal())),
        (
            "`lsgd`, `batch_norm = \"mean\"`",
            Method::lsgd(&with_statistics(Follow::Mean)),
        ),
        ("`local_sgd`", Method::local_sgd_async(exchanges(), 2)),
        ("`easgd`", Method::easgd_async(exchanges(), 0.5, 2)),
        ("`downpour`", Method::downpour(exchanges())),
    ];
    methods
        .map(|(name, method)| (name, method.expect("valid")))
        .into()
}

/// Every step uploads its batch, and nothing else passes between exchanges; the rest is as the
/// documentation has it.
#[test]
fn the_table_of_transfers_is_what_is_counted() {
    if !alone("transfers::the_table_of_transfers_is_what_is_counted") {
        return;
    }
    let sync = sync_methods()
        .into_iter()
        .map(|(name, method)| sync_row(name, &method));
    let asynchronous = async_methods()
        .into_iter()
        .map(|(name, method)| async_row(name, &method));
    let rows: Vec<String> = sync.chain(asynchronous).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/devices.md");
    let page = std::fs::read_to_string(&path).expect("it is part of the repository");
    let (_, page) = page
        .split_once("# What crosses between host and device")
        .expect("its part of the page");
    let written: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert_eq!(
        rows,
        written,
        "docs/devices.md should have\n{}",
        rows.join("\n")
    );
}
