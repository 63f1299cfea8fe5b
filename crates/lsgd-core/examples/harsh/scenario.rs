//! A run drawn from a seed: what it is, what goes wrong in it, and what heals in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lsgd_core::{
    BatchNorm, ExchangeConfig, Layout, LeaderConfig, Method, MethodError, Mode, Periods, WeightPer,
    WireFormat,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::network::{Clock, Disk, Harshness, LEASE, Network, Planted, Setting};

const PERIODS: Periods = Periods {
    local: 4,
    global: 8,
};
/// How many times as long a slow node's steps take, at most.
pub const SLOWEST: f64 = 8.0;
/// Longest time that a vector takes to a slow node.
const LONGEST_TRANSFER: Duration = Duration::from_secs(3);
/// The same, once all is well.
pub const TRANSFER: Duration = Duration::from_millis(200);

/// A run, and what happens to it.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub setting: Setting,
    /// How long the nodes are left alone at the start.
    pub calm: Duration,
    /// What goes wrong, each after the one before.
    pub faults: Vec<(Duration, Fault)>,
    /// The nodes that heal; the others stay away for ever.
    pub part: BTreeSet<u32>,
    /// What becomes of the others.
    pub fate: Fate,
    /// What is left on the disks of nodes that start once more.
    pub disk: Disk,
}

/// Something that goes wrong, or is mended.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Kill(u32),
    Start(u32, Disk),
    Freeze(u32),
    Thaw(u32),
    /// Nodes below this number are cut off from the others.
    Cut(u32),
    /// Nothing gets from the one to the other.
    Block(u32, u32),
    /// All cuts are mended.
    Heal,
    /// What is sent from the one to the other is held back for a while.
    Clog(u32, u32, Duration),
    /// Vectors take so long to a node.
    SlowFetches(u32, Duration),
    /// A node's steps take so many times as long.
    SlowSteps(u32, f64),
    /// Whether a node's disk is full.
    FullDisk(u32, bool),
}

/// What becomes of nodes that stay away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Dead,
    Frozen,
    CutOff,
}

/// Everything that the exchange treats differently: leaders, with and without a margin, means, also
/// weighted and of gradients, both, and centres.
pub fn methods() -> Result<Vec<(Mode, Method)>, MethodError> {
    let exchanges = ExchangeConfig {
        periods: PERIODS,
        loss_window: 4,
        batch_norm: BatchNorm::Own,
    };
    let lsgd = Method::lsgd(&LeaderConfig {
        local_period: PERIODS.local,
        global_period: PERIODS.global,
        ..LeaderConfig::default()
    })?;
    let staying = lsgd.clone().with_margin(0.3)?;
    let gradients = Method::data_parallel(4, BatchNorm::Own)?;
    Ok(vec![
        (Mode::Sync, lsgd.clone()),
        (Mode::Async, lsgd),
        (Mode::Sync, staying.clone()),
        (Mode::Async, staying),
        (Mode::Sync, Method::local_sgd(exchanges)?),
        (Mode::Sync, Method::leader_mean(exchanges, 0.5)?),
        (Mode::Sync, Method::dppf(exchanges, 0.5, 0.5, 0.1)?),
        (Mode::Sync, Method::leader_filter(exchanges, 0.5)?),
        (
            Mode::Sync,
            Method::grawa(exchanges, WeightPer::Model, 1.0, 1.0)?,
        ),
        (Mode::Sync, gradients),
        (Mode::Async, Method::downpour(exchanges)?),
    ])
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(
        seed: u64,
        layout: &Arc<Layout>,
        methods: &[(Mode, Method)],
        planted: Option<Planted>,
    ) -> Self {
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        let draws = &mut draws;
        let nodes = match draws.random_bool(0.1) {
            true => draws.random_range(10..=16),
            false => draws.random_range(2..=9),
        };
        let (mode, method) = methods[draws.random_range(0..methods.len())].clone();
        let round = Duration::from_millis(draws.random_range(200..800));
        let step = round / u32::try_from(method.periods().global).unwrap_or(1);
        let most = round.mul_f64(draws.random_range(0.02..0.25));
        let wire = match draws.random_range(0..4) {
            0 => WireFormat::Int8,
            1 => WireFormat::Bf16,
            2 if method.check_wire(WireFormat::Topk).is_ok() => WireFormat::Topk,
            _ => WireFormat::F32,
        };
        let setting = Setting {
            nodes,
            mode,
            method,
            wire,
            layout: layout.clone(),
            seed: draws.random(),
            loss: share(draws, 0.3),
            delay: [Duration::from_millis(1), most],
            step,
            harshness: Harshness {
                duplicates: share(draws, 0.2),
                replays: share(draws, 0.1),
                spoilt: share(draws, 0.1),
                checkpoints: share(draws, 0.5),
                clocks: clocks(draws, nodes),
                observed: true,
                planted,
            },
        };
        let calm = Duration::from_millis(draws.random_range(0..6000));
        let count = draws.random_range(0..=16);
        let faults = (0..count).map(|_| {
            let wait = Duration::from_millis(draws.random_range(0..2500));
            (wait, fault(draws, nodes))
        });
        let faults = faults.collect();
        Self {
            setting,
            calm,
            faults,
            part: part(draws, nodes),
            fate: [Fate::Dead, Fate::Frozen, Fate::CutOff][draws.random_range(0..3)],
            disk: disk(draws),
        }
    }
}

/// Nothing in half of all scenarios.
fn share(draws: &mut ChaCha8Rng, most: f64) -> f64 {
    match draws.random_bool(0.5) {
        true => draws.random_range(0.0..most),
        false => 0.0,
    }
}

/// Clocks that run at most three per cent too fast or too slow.
fn clocks(draws: &mut ChaCha8Rng, nodes: u32) -> Vec<Clock> {
    let nodes = if draws.random_bool(0.5) { nodes } else { 0 };
    let clocks = (0..nodes).map(|_| Clock {
        rate: draws.random_range(0.97..1.03),
        ahead: Duration::from_secs_f64(draws.random_range(0.0..1e5)),
    });
    clocks.collect()
}

fn disk(draws: &mut ChaCha8Rng) -> Disk {
    match draws.random_range(0..3) {
        0 => Disk::New,
        1 => Disk::Torn(0),
        _ => Disk::Torn(draws.random_range(1..3)),
    }
}

fn fault(draws: &mut ChaCha8Rng, nodes: u32) -> Fault {
    let node = draws.random_range(0..nodes);
    let other = draws.random_range(0..nodes);
    match draws.random_range(0..14) {
        0 | 1 => Fault::Kill(node),
        2 | 3 => Fault::Start(node, disk(draws)),
        4 => Fault::Freeze(node),
        5 => Fault::Thaw(node),
        6 => Fault::Cut(node),
        7 | 8 => Fault::Block(node, other),
        9 => Fault::Heal,
        10 => Fault::Clog(node, other, LEASE.mul_f64(draws.random_range(0.0..1.0))),
        11 => {
            let most = draws.random_range(0.0..1.0);
            Fault::SlowFetches(node, LONGEST_TRANSFER.mul_f64(most))
        }
        12 => Fault::SlowSteps(node, draws.random_range(0.5..SLOWEST)),
        _ => Fault::FullDisk(node, draws.random_bool(0.7)),
    }
}

/// Two nodes or more; all of them in a third of the scenarios.
fn part(draws: &mut ChaCha8Rng, nodes: u32) -> BTreeSet<u32> {
    let size = match draws.random_bool(0.33) {
        true => nodes,
        false => draws.random_range(2..=nodes),
    };
    let mut part: BTreeSet<u32> = (0..nodes).collect();
    while part.len() > size as usize {
        part.remove(&draws.random_range(0..nodes));
    }
    part
}

impl Fault {
    pub fn inflict(self, network: &mut Network) {
        match self {
            Self::Kill(node) => network.kill(node),
            Self::Start(node, disk) if !network.is_alive(node) => network.start_again(node, disk),
            Self::Start(..) => {}
            Self::Freeze(node) => network.freeze(node),
            Self::Thaw(node) => network.thaw(node),
            Self::Cut(border) => network.cut(|node| u32::from(node < border)),
            Self::Block(from, to) => network.block(from, to),
            Self::Heal => {
                network.unblock();
                network.cut(|_| 0);
            }
            Self::Clog(from, to, time) => network.clog(from, to, time),
            Self::SlowFetches(node, time) => network.slow(node, time),
            Self::SlowSteps(node, times) => network.pace(node, times),
            Self::FullDisk(node, full) => network.fill_disk(node, full),
        }
    }
}
