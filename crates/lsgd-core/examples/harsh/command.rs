//! Runs one seed, or as many as fit into a given time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{Layout, Method, Mode};

use crate::auditors::{Finding, Splits};
use crate::cluster_run::{ClusterRun, Outcome};
use crate::network::Planted;
use crate::scenario::{Scenario, methods};

/// What is trained: three numbers.
#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
struct Options {
    minutes: f64,
    threads: usize,
    from: u64,
    seed: Option<u64>,
    planted: Option<Planted>,
}

/// What all runs have in common.
struct Common {
    layout: Arc<Layout>,
    methods: Vec<(Mode, Method)>,
    planted: Option<Planted>,
}

/// Over many runs.
#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    failures: u64,
    time: Duration,
    exchanges: u64,
    splits: Splits,
}

/// Does what the arguments say. Returns whether no auditor found anything.
pub fn run(arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let options = parse(arguments)?;
    let device = Device::flex().autodiff();
    let point = Point {
        x: Param::from_data(TensorData::new(vec![0.0f32; 3], [3]), &device),
    };
    let common = Common {
        layout: Layout::of(&point),
        methods: methods().map_err(|error| error.to_string())?,
        planted: options.planted,
    };
    match options.seed {
        Some(seed) => Ok(repeat(seed, &common)),
        None => Ok(in_bulk(&options, &common)),
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        minutes: 1.0,
        threads: 1,
        ..Options::default()
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} lacks its value"))?;
        let bad = || format!("{name} {value}: not a valid value");
        match name.as_str() {
            "--minutes" => options.minutes = value.parse().map_err(|_| bad())?,
            "--threads" => options.threads = value.parse().map_err(|_| bad())?,
            "--from" => options.from = value.parse().map_err(|_| bad())?,
            "--seed" => options.seed = Some(value.parse().map_err(|_| bad())?),
            "--planted" => options.planted = Some(planted(&value).ok_or_else(bad)?),
            _ => return Err(format!("{name}: no such option")),
        }
    }
    Ok(options)
}

fn planted(name: &str) -> Option<Planted> {
    Some(match name {
        "bit" => Planted::Bit,
        "not_a_number" => Planted::NotANumber,
        "stray" => Planted::Stray,
        "uncounted" => Planted::Uncounted,
        "forged" => Planted::Forged,
        "deaf" => Planted::Deaf,
        _ => return None,
    })
}

/// Runs one seed and prints what happened.
fn repeat(seed: u64, common: &Common) -> bool {
    let scenario = Scenario::of(seed, &common.layout, &common.methods, common.planted);
    println!("{scenario:#?}");
    let mut run = ClusterRun::new(scenario);
    let outcome = run.run();
    for (at, node, event) in &run.network.history {
        println!("{at:?} node {node}: {event:?}");
    }
    let Outcome {
        time,
        exchanges,
        splits,
        finding,
    } = outcome;
    println!("seed {seed}: {time:?}, {exchanges} exchanges, {splits:?}");
    if let Some(Finding { auditor, what }) = &finding {
        println!("{auditor}: {what}");
    }
    finding.is_none()
}

/// Runs seeds for the given time.
fn in_bulk(options: &Options, common: &Common) -> bool {
    let began = Instant::now();
    let limit = Duration::from_secs_f64(60.0 * options.minutes.max(0.0));
    let next = AtomicU64::new(options.from);
    let work = || {
        let mut total = Total::default();
        while began.elapsed() < limit {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            total.add(seed, one(seed, common));
        }
        total
    };
    let total = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        let totals = threads.into_iter().filter_map(|thread| thread.join().ok());
        totals.fold(Total::default(), Total::with)
    });
    let Total {
        seeds,
        failures,
        time,
        exchanges,
        splits,
    } = &total;
    let (hours, seconds) = (time.as_secs_f64() / 3600.0, began.elapsed().as_secs_f64());
    println!(
        "{seeds} seeds in {seconds:.0} s: {hours:.1} h of cluster time, {exchanges} exchanges, {failures} failures"
    );
    println!("{splits:?}");
    *failures == 0
}

/// Runs one seed. A panic is a finding too.
fn one(seed: u64, common: &Common) -> Outcome {
    let run = || {
        let scenario = Scenario::of(seed, &common.layout, &common.methods, common.planted);
        ClusterRun::new(scenario).run()
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let literal = panic
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned());
        Outcome {
            finding: Some(Finding {
                auditor: "panic",
                what: message.or(literal).unwrap_or_default(),
            }),
            time: Duration::ZERO,
            exchanges: 0,
            splits: Splits::default(),
        }
    })
}

impl Splits {
    fn with(self, other: Self) -> Self {
        Self {
            pairs: self.pairs + other.pairs,
            counted: self.counted + other.counted,
            unfetched: self.unfetched + other.unfetched,
            outcomes: self.outcomes + other.outcomes,
        }
    }
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.time += outcome.time;
        self.exchanges += outcome.exchanges;
        self.splits = self.splits.with(outcome.splits);
        if let Some(Finding { auditor, what }) = outcome.finding {
            self.failures += 1;
            println!(
                "{auditor}: {what}; repeat with: cargo run --release -p lsgd-core --example harsh -- --seed {seed}"
            );
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            seeds: self.seeds + other.seeds,
            failures: self.failures + other.failures,
            time: self.time + other.time,
            exchanges: self.exchanges + other.exchanges,
            splits: self.splits.with(other.splits),
        }
    }
}
