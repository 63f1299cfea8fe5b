//! Means over nodes: made by all of them, with the bits that any of them alone would give them.

use std::sync::Arc;

use lsgd_core::{
    Averaged, MeanRef, NotAveraged, Snapshot, Source, VectorKind, VectorRef, WireFormat,
};
use lsgd_link::{Incoming, TrafficKind};

use crate::nodes::{Node, configs, meet, snapshot};

/// The sum of a node's two workers, as it crosses the network.
fn sum(node: u32, wire: WireFormat) -> Arc<Snapshot> {
    let workers = 2;
    let sum = Snapshot::clone(&snapshot(10 + node)).with_source(Source::Sum { workers });
    Arc::new(sum.rounded(wire).unwrap().0)
}

fn mean_of(sums: &[(u32, Arc<Snapshot>)]) -> MeanRef {
    let sums = sums.iter().map(|(node, sum)| {
        let vector = VectorRef {
            kind: VectorKind::Mean,
            source: sum.source(),
            loss: 0.5,
            digest: sum.digest(),
            factors: None,
        };
        (*node, vector)
    });
    MeanRef {
        kind: VectorKind::Mean,
        sums: sums.collect(),
    }
}

/// The mean of the sums of these nodes, which they publish.
fn published(nodes: &[Node], members: &[u32], wire: WireFormat) -> (MeanRef, Snapshot) {
    let sums: Vec<(u32, Arc<Snapshot>)> = members.iter().map(|&n| (n, sum(n, wire))).collect();
    for (node, sum) in &sums {
        nodes[*node as usize].link.publish(sum.clone());
    }
    let mean = mean_of(&sums);
    let whole = mean.of(sums.iter().map(|(_, sum)| sum.as_ref()), wire);
    (mean, whole.unwrap().unwrap())
}

fn wait_averaged(node: &Node, mean: &MeanRef) -> Result<Averaged, NotAveraged> {
    node.wait(|incoming| match incoming {
        Incoming::Averaged { name, outcome } if *name == mean.name() => Some(outcome.clone()),
        _ => None,
    })
}

/// Of ten chunks each of four nodes makes two or three, and has the others from them: how many bytes that is, the
/// tests of the requests say.
#[test]
fn nodes_make_a_mean_together() {
    for wire in [WireFormat::F32, WireFormat::Bf16, WireFormat::Int8] {
        let mut configs = configs("together", 4);
        configs.iter_mut().for_each(|config| config.wire = wire);
        let nodes = meet(configs);
        let (mean, whole) = published(&nodes, &[0, 1, 2, 3], wire);
        for node in &nodes {
            node.link.average(mean.clone());
        }
        for node in &nodes {
            let averaged = wait_averaged(node, &mean).unwrap();
            assert_eq!(averaged.mean.digest(), whole.digest(), "{wire:?}");
            assert_eq!(averaged.mean.source(), Source::Mean { workers: 8 });
            let flow = node.link.traffic().total(TrafficKind::Mean);
            assert_eq!(flow.received, averaged.bytes);
            // Not even a vector of each other node.
            assert!(averaged.bytes < 3 * wire.bytes_of(&whole));
        }
    }
}

/// Late ones too, from what the others keep.
#[test]
fn a_node_that_comes_later_has_the_same_mean() {
    let nodes = meet(configs("later", 3));
    let (mean, whole) = published(&nodes, &[0, 1, 2], WireFormat::F32);
    nodes[0].link.average(mean.clone());
    nodes[2].link.average(mean.clone());
    for node in [&nodes[0], &nodes[2]] {
        let averaged = wait_averaged(node, &mean).unwrap();
        assert_eq!(averaged.mean.digest(), whole.digest());
    }
    nodes[1].link.average(mean.clone());
    let averaged = wait_averaged(&nodes[1], &mean).unwrap();
    assert_eq!(averaged.mean.digest(), whole.digest());
}

/// Its own sum is there, so the others make what it would have made.
#[test]
fn nodes_make_the_parts_of_one_that_makes_another_mean() {
    let nodes = meet(configs("another", 4));
    let (mean, whole) = published(&nodes, &[0, 1, 2, 3], WireFormat::F32);
    for node in &nodes[..3] {
        node.link.average(mean.clone());
    }
    for node in &nodes[..3] {
        let averaged = wait_averaged(node, &mean).unwrap();
        assert_eq!(averaged.mean.digest(), whole.digest());
    }
}

#[test]
fn a_node_that_is_gone_is_missing_and_without_it_there_is_a_mean() {
    let mut nodes = meet(configs("gone", 5));
    let (mean, _) = published(&nodes, &[0, 1, 2, 3, 4], WireFormat::F32);
    let (less, whole) = published(&nodes, &[0, 1, 2, 3], WireFormat::F32);
    nodes.remove(4).link.close();
    for node in &nodes {
        node.wait_vanished(4);
        node.link.average(mean.clone());
        match wait_averaged(node, &mean) {
            Err(NotAveraged::Missing(missing)) => {
                assert_eq!(missing, [(4, String::from("is not connected"))]);
            }
            other => panic!("{other:?}"),
        }
        node.link.average(less.clone());
    }
    for node in &nodes {
        let averaged = wait_averaged(node, &less).unwrap();
        assert_eq!(averaged.mean.digest(), whole.digest());
    }
}

/// The second is told as the first: the mean is made once.
#[test]
fn a_mean_that_is_asked_for_again_is_made_once() {
    let nodes = meet(configs("again", 3));
    let (mean, whole) = published(&nodes, &[0, 1, 2], WireFormat::F32);
    for node in &nodes {
        node.link.average(mean.clone());
    }
    for node in &nodes {
        let averaged = wait_averaged(node, &mean).unwrap();
        assert_eq!(averaged.mean.digest(), whole.digest());
        node.link.average(mean.clone());
        let again = wait_averaged(node, &mean).unwrap();
        assert_eq!((again.mean.digest(), again.bytes), (whole.digest(), 0));
    }
}

/// It may have dropped it, or never had it.
#[test]
fn a_node_without_the_sum_that_it_named_is_missing() {
    let nodes = meet(configs("nameless", 3));
    let sums: Vec<(u32, Arc<Snapshot>)> = (0..3).map(|n| (n, sum(n, WireFormat::F32))).collect();
    for (node, sum) in &sums[..2] {
        nodes[*node as usize].link.publish(sum.clone());
    }
    let mean = mean_of(&sums);
    nodes[0].link.average(mean.clone());
    match wait_averaged(&nodes[0], &mean) {
        Err(NotAveraged::Missing(missing)) => {
            let why = "refused: it does not have that vector";
            assert_eq!(missing, [(2, String::from(why))]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_worth_it_or_not_its_own_is_declined() {
    let nodes = meet(configs("declined", 3));
    let (two, _) = published(&nodes, &[0, 1], WireFormat::F32);
    let (others, _) = published(&nodes, &[0, 1, 2], WireFormat::F32);
    let without = MeanRef {
        sums: others.sums[1..].to_vec(),
        ..others.clone()
    };
    for mean in [two, without] {
        nodes[0].link.average(mean.clone());
        let declined = wait_averaged(&nodes[0], &mean);
        assert_eq!(declined.err(), Some(NotAveraged::Declined));
    }
}
