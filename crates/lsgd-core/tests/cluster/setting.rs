//! Runs as the tests want them, and what their histories say.

use std::collections::BTreeSet;
use std::time::Duration;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{
    BatchNorm, Event, ExchangeConfig, Layout, LeaderConfig, Method, Mode, Periods, Reason, Scope,
    Source, WireFormat,
};

use crate::network::{Harshness, Network, Setting};

/// What is trained: three numbers.
#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

pub const PERIODS: Periods = Periods {
    local: 4,
    global: 8,
};

pub const MEETINGS: ExchangeConfig = ExchangeConfig {
    periods: PERIODS,
    loss_window: 4,
    batch_norm: BatchNorm::Own,
};

/// Whose exchanges carry a leader's parameters and a mean.
pub fn leader_mean() -> Method {
    Method::leader_mean(MEETINGS, 0.5).expect("a method")
}

pub fn lsgd() -> Method {
    Method::lsgd(&LeaderConfig {
        local_period: PERIODS.local,
        global_period: PERIODS.global,
        ..LeaderConfig::default()
    })
    .expect("a method")
}

/// With a margin that protects the leader: all nodes have to know the previous leader, whatever
/// they have missed.
pub fn staying() -> Method {
    lsgd().with_margin(0.3).expect("a share")
}

/// Whose nodes have a centre each.
pub fn downpour() -> Method {
    Method::downpour(MEETINGS).expect("a method")
}

pub fn local_sgd() -> Method {
    Method::local_sgd(MEETINGS).expect("a method")
}

pub fn setting(nodes: u32, mode: Mode, method: Method, seed: u64) -> Setting {
    let device = Device::flex().autodiff();
    let point = Point {
        x: Param::from_data(TensorData::new(vec![0.0f32; 3], [3]), &device),
    };
    Setting {
        nodes,
        mode,
        method,
        wire: WireFormat::F32,
        layout: Layout::of(&point),
        seed,
        loss: 0.0,
        delay: [Duration::from_millis(1), Duration::from_millis(40)],
        step: Duration::from_millis(50),
        harshness: Harshness::default(),
    }
}

/// Whose parameters the global exchanges since `since` delivered at each node that took part.
pub fn followed(network: &Network, node: u32, since: Duration) -> Vec<(u64, Source)> {
    let mut followed = Vec::new();
    for (at, of, event) in &network.history {
        if let Event::Exchange {
            exchange, source, ..
        } = event
            && *of == node
            && *at >= since
        {
            followed.push((*exchange, *source));
        }
    }
    followed
}

/// The nodes that led the exchanges at `node` since `since`.
pub fn leaders(network: &Network, node: u32, since: Duration) -> BTreeSet<u32> {
    let led = followed(network, node, since).into_iter();
    let node_of = |source| match source {
        Source::Worker { id, .. } => Some(id.node),
        _ => None,
    };
    led.filter_map(|(_, source)| node_of(source)).collect()
}

/// The best of `nodes` once losses have settled.
pub fn best(network: &Network, nodes: impl IntoIterator<Item = u32>) -> Option<u32> {
    let mut nodes: Vec<u32> = nodes.into_iter().collect();
    nodes.sort_by(|a, b| {
        network
            .settled_loss(*a)
            .total_cmp(&network.settled_loss(*b))
    });
    nodes.first().copied()
}

/// Checks that no ineligible worker led.
#[track_caller]
pub fn check_elections(network: &Network) {
    for (at, node, event) in &network.history {
        let Event::Election {
            scope: Scope::Global,
            election,
            ..
        } = event
        else {
            continue;
        };
        let loss = match election.reason {
            Reason::LowestLoss { loss, next } => {
                assert!(loss < next, "{at:?} node {node}: {election:?}");
                Some(loss)
            }
            Reason::Stays { loss, lowest } => {
                assert!(lowest <= loss, "{at:?} node {node}: {election:?}");
                Some(loss)
            }
            Reason::LowestIdOfTie { loss } | Reason::OnlyEligible { loss } => Some(loss),
            Reason::NoneEligible => None,
        };
        assert_eq!(loss.is_some(), election.leader.is_some());
        assert!(loss.is_none_or(f64::is_finite), "{at:?}: {election:?}");
        let out = |id| election.excluded.iter().any(|(other, _)| *other == id);
        assert!(!election.leader.is_some_and(out), "{at:?}: {election:?}");
    }
}
