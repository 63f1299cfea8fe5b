//! A network that is cut in two, and heals.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cluster::{Cluster, ENDLESS};
use super::network::{Link, Network};
use super::program::Runs;
use super::{global_exchanges, hear_of};

const HALVES: [[usize; 2]; 2] = [[1, 2], [3, 4]];

/// No vote and no quorum: both halves continue, each with its own leader, and become one run again.
pub fn a_cut_network_goes_on_in_halves_and_heals() {
    let network = Network::of(&[2, 2]);
    let runs = Runs::new();
    for mode in ["async", "sync"] {
        let mode_is = format!("run.mode={mode}");
        let set = [
            "workers.count=1",
            "cluster.insecure=true",
            // No node is lost before the cut, even if the machine stands still.
            "cluster.silence_seconds=2.5",
            &mode_is,
        ];
        let set = [&ENDLESS[..], &set].concat();
        let mut cluster = Cluster::at(&runs, mode, network.places()).started(&set);
        train_on(&mut cluster);
        for (state, what) in [(Link::Down, "disconnected"), (Link::Up, "connected")] {
            network.set_part(1, state);
            for node in &mut cluster.nodes {
                hear_of(node, &other_half(node.number), what);
            }
            train_on(&mut cluster);
        }
        cluster.train_on();
        cluster.stop();
        (1..=4).for_each(|number| cluster.assert_volume(number));

        let told: Vec<Told> = (1..=4).map(|n| Told::by(&cluster, n)).collect();
        for (number, told) in (1..).zip(&told) {
            let led_by = |half: [usize; 2], exchanges: &BTreeMap<u64, usize>| {
                exchanges.values().any(|leader| half.contains(leader))
            };
            let (own, other) = (half(number), other_half(number));
            assert!(led_by(own, &told.apart), "{mode}: {number} is alone");
            assert!(!led_by(other, &told.apart), "{mode}: {number} is not cut");
            assert!(led_by(own, &told.together), "{mode}: {number} never leads");
            assert!(led_by(other, &told.together), "{mode}: {number} is cut");
        }
        let joined: Vec<usize> = told.iter().map(|told| told.joined).collect();
        if mode == "async" {
            // No node starts over: whichever leads, the others follow.
            assert_eq!(joined, [1, 1, 1, 1]);
            continue;
        }
        // Those that were behind have begun again where the others were.
        assert!(joined.contains(&1), "{joined:?}");
        let same = |(round, leader): &(&u64, &usize)| {
            let mut others = told[1..].iter().map(|told| &told.together);
            others.all(|rounds| rounds.get(round) == Some(leader))
        };
        let agreed = told[0].together.iter().filter(same).count();
        assert!(agreed >= 10, "{agreed} rounds of all four nodes");
    }
}

/// Waits until all nodes have trained for a while longer.
fn train_on(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        for _ in 0..2 {
            node.hear("; replica mean");
        }
    }
}

fn half(number: usize) -> [usize; 2] {
    HALVES[usize::from(!HALVES[0].contains(&number))]
}

fn other_half(number: usize) -> [usize; 2] {
    HALVES[usize::from(HALVES[0].contains(&number))]
}

/// The leaders in a node's global exchanges, by number.
struct Told {
    /// While the network was cut.
    apart: BTreeMap<u64, usize>,
    /// Since it had healed.
    together: BTreeMap<u64, usize>,
    /// How often it has begun to train.
    joined: usize,
}

impl Told {
    fn by(cluster: &Cluster, number: usize) -> Self {
        let events = cluster.run(number).lines("events.jsonl");
        let nth = |name: &str, from: usize, n: usize| {
            let global = |event: &Value| event["scope"].is_null() || event["scope"] == "global";
            let named = |index: &usize| events[*index]["event"] == name && global(&events[*index]);
            (from..events.len()).filter(named).nth(n).unwrap()
        };
        // Both nodes of the other half, one after the other. Later losses are of the run's end.
        let cut = nth("node_lost", 0, 1);
        // What was elected before may still arrive, from any node that has it.
        let alone = nth("election", cut, 0);
        let (heals, healed) = (nth("node_connected", cut, 0), nth("node_connected", cut, 1));
        Self {
            apart: leaders(&events[alone..heals]),
            together: leaders(&events[healed..]),
            joined: cluster.run(number).events("joined").len(),
        }
    }
}

fn leaders(events: &[Value]) -> BTreeMap<u64, usize> {
    let leader = |source: &Value| source["worker"]["id"]["node"].as_u64().unwrap();
    global_exchanges(events)
        .map(|(exchange, source)| (exchange, leader(source) as usize + 1))
        .collect()
}
