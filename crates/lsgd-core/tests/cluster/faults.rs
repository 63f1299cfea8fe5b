//! Messages that get lost, nodes that die, freeze and come back, networks that are cut and heal.

use std::collections::BTreeSet;
use std::time::Duration;

use lsgd_core::{Event, Mode, Source, WireFormat};
use proptest::prelude::*;

use crate::network::{LEASE, LIMIT, Network, Setting};
use crate::setting::{
    PERIODS, best, check_elections, downpour, followed, leader_mean, leaders, local_sgd, lsgd,
    setting, staying,
};

const SECOND: Duration = Duration::from_secs(1);
/// Longest wait of a update in `sync` among so many nodes: the limit for a node that stalls, and a
/// lease for each that is asked for a vector and is gone.
fn longest_wait(nodes: u32) -> Duration {
    LIMIT + LEASE * nodes
}

/// Something that goes wrong, or is mended.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill(u32),
    Start(u32),
    Freeze(u32),
    Thaw(u32),
    /// Nodes below this number are cut off from the others.
    Cut(u32),
    Heal,
}

fn inflict(network: &mut Network, fault: Fault) {
    let node = |node: u32| node % network.setting.nodes;
    match fault {
        Fault::Kill(number) => network.kill(node(number)),
        Fault::Start(number) if !network.is_alive(node(number)) => network.start(node(number)),
        Fault::Start(_) => {}
        Fault::Freeze(number) => network.freeze(node(number)),
        Fault::Thaw(number) => network.thaw(node(number)),
        Fault::Cut(number) => {
            let border = node(number);
            network.cut(|node| u32::from(node < border));
        }
        Fault::Heal => network.cut(|_| 0),
    }
}

fn mend(network: &mut Network) {
    network.setting.loss = 0.0;
    network.cut(|_| 0);
    for node in 0..network.setting.nodes {
        network.thaw(node);
        if !network.is_alive(node) {
            network.start(node);
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0u32..64).prop_map(Fault::Kill),
        (0u32..64).prop_map(Fault::Start),
        (0u32..64).prop_map(Fault::Freeze),
        (0u32..64).prop_map(Fault::Thaw),
        (0u32..64).prop_map(Fault::Cut),
        Just(Fault::Heal),
    ]
}

fn any_setting(nodes: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = Setting> {
    let kinds = prop_oneof![
        Just((Mode::Sync, lsgd())),
        Just((Mode::Async, lsgd())),
        Just((Mode::Sync, local_sgd())),
        Just((Mode::Sync, leader_mean())),
        Just((Mode::Sync, staying())),
        Just((Mode::Async, downpour())),
    ];
    let wires = prop_oneof![
        Just(WireFormat::F32),
        Just(WireFormat::Bf16),
        Just(WireFormat::Int8),
    ];
    (nodes, kinds, wires, any::<u64>(), 0.0..0.3).prop_map(
        |(nodes, (mode, method), wire, seed, loss)| Setting {
            loss,
            wire,
            ..setting(nodes, mode, method, seed)
        },
    )
}

/// What must hold whatever happens.
fn check(network: &Network) {
    check_elections(network);
    for (at, node, waited) in &network.waits {
        assert!(
            *waited <= longest_wait(network.setting.nodes),
            "{at:?}: node {node} waited {waited:?}"
        );
    }
}

/// That two nodes followed the same in every round of the time that was looked at, at whose two
/// ends one may be a round ahead. A round may have several entries, one for each vector.
#[track_caller]
fn check_same_rounds(of_first: &[(u64, Source)], of_other: &[(u64, Source)], node: u32) {
    let ends = |followed: &[(u64, Source)]| (followed[0].0, followed[followed.len() - 1].0);
    let ((began, ended), (other_began, other_ended)) = (ends(of_first), ends(of_other));
    assert!(
        began.abs_diff(other_began) <= 1 && ended.abs_diff(other_ended) <= 1,
        "node {node} followed in rounds {other_began} to {other_ended}, the first {began} to {ended}"
    );
    let both = began.max(other_began)..=ended.min(other_ended);
    let within = |followed: &[(u64, Source)]| {
        let mut followed = followed.to_vec();
        followed.retain(|(round, _)| both.contains(round));
        followed
    };
    assert_eq!(within(of_other), within(of_first), "node {node}");
}

/// What must hold once all is well again.
fn check_all_agree(network: &Network, since: Duration) {
    let nodes = 0..network.setting.nodes;
    let elects = network.setting.method.elects();
    let best: BTreeSet<u32> = best(network, nodes.clone()).into_iter().collect();
    let of_first = followed(network, 0, since);
    for node in nodes {
        let followed = followed(network, node, since);
        assert!(!followed.is_empty(), "node {node} takes no part");
        if elects && network.setting.method.margin() == 0.0 {
            assert_eq!(leaders(network, node, since), best, "node {node}");
        }
        if network.setting.mode == Mode::Sync {
            check_same_rounds(&of_first, &followed, node);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_a_run_goes_on_and_heals(
        setting in any_setting(2..=9),
        faults in prop::collection::vec((0u64..4000, fault()), 0..12),
    ) {
        let mut network = Network::new(setting);
        network.run(5 * SECOND);
        for (wait, fault) in faults {
            inflict(&mut network, fault);
            network.run(Duration::from_millis(wait));
        }
        mend(&mut network);
        network.run(20 * SECOND);
        network.settle();
        network.run(10 * SECOND);
        let since = network.now;
        network.run(10 * SECOND);
        check(&network);
        check_all_agree(&network, since);
    }

    #[test]
    fn the_same_seed_gives_the_same_history(
        setting in any_setting(2..=5),
        faults in prop::collection::vec((0u64..2000, fault()), 0..6),
    ) {
        let history = || {
            let mut network = Network::new(setting.clone());
            for (wait, fault) in &faults {
                inflict(&mut network, *fault);
                network.run(Duration::from_millis(*wait));
            }
            network.run(5 * SECOND);
            (network.history, network.sent)
        };
        prop_assert_eq!(history(), history());
    }
}

/// Each part of a cut network follows its own best; healed, all follow the best of all.
#[test]
fn two_halves_go_on_and_the_better_leader_leads_both_again() {
    for mode in [Mode::Sync, Mode::Async] {
        for seed in 0..5 {
            let mut network = Network::new(setting(6, mode, lsgd(), seed));
            network.run(5 * SECOND);
            network.settle();
            network.cut(|node| node % 2);
            network.run(10 * SECOND);
            let since = network.now;
            network.run(10 * SECOND);
            for node in 0..6 {
                let half = (0..6).filter(|other| other % 2 == node % 2);
                let expected = best(&network, half).into_iter().collect();
                assert_eq!(leaders(&network, node, since), expected, "{mode:?} {seed}");
            }
            network.cut(|_| 0);
            network.run(10 * SECOND);
            let since = network.now;
            network.run(10 * SECOND);
            check(&network);
            check_all_agree(&network, since);
        }
    }
}

/// In `async` no node stops for one that has died: exchanges continue at once.
#[test]
fn in_async_nobody_waits_for_the_dead() {
    for seed in 0..10 {
        let mut network = Network::new(setting(4, Mode::Async, lsgd(), seed));
        network.run(10 * SECOND);
        network.kill(seed as u32 % 4);
        let killed = network.now;
        network.run(3 * SECOND);
        for node in network.awake() {
            let since = followed(&network, node, killed);
            assert!(since.len() >= 3, "seed {seed}, node {node}: {since:?}");
        }
    }
}

/// In `sync` a node that is frozen holds the others up until its connection is given up, one that
/// is connected and stalls until the limit.
#[test]
fn in_sync_nobody_waits_for_the_dead_beyond_the_limit() {
    for seed in 0..10 {
        let mut network = Network::new(setting(4, Mode::Sync, lsgd(), seed));
        network.run(10 * SECOND);
        network.freeze(seed as u32 % 4);
        let frozen = network.now;
        network.run(10 * SECOND);
        let waits = network.waits.iter().filter(|(at, ..)| *at > frozen);
        let longest = waits.map(|(_, _, waited)| *waited).max();
        assert!(
            longest > Some(SECOND) && longest < Some(3 * SECOND),
            "{longest:?}"
        );
    }
}

/// A node whose process is started again begins with parameters of the run, takes part within
/// ten seconds, and leads only with a full loss window.
#[test]
fn a_node_that_comes_back_takes_part_within_ten_seconds() {
    for mode in [Mode::Sync, Mode::Async] {
        for seed in 0..10 {
            let mut network = Network::new(setting(4, mode, lsgd(), seed));
            network.run(10 * SECOND);
            let victim = seed as u32 % 4;
            network.kill(victim);
            network.run(4 * SECOND);
            let back = network.now;
            network.start(victim);
            network.run(10 * SECOND);
            let joined = network
                .history
                .iter()
                .find_map(|(at, node, event)| match event {
                    Event::Joined { source, step, .. } if *node == victim && *at >= back => {
                        Some((*step, *source))
                    }
                    _ => None,
                });
            let (step, source) = joined.expect("it begins");
            assert!(
                step > 0 && source.is_some(),
                "{mode:?} {seed}: {step} {source:?}"
            );
            assert!(
                !followed(&network, victim, back).is_empty(),
                "{mode:?} {seed}"
            );
        }
    }
}

/// In `sync` nodes to which vectors take several rounds take part again after they were killed or
/// stopped: they would always be behind if they began only where the others were when they asked.
#[test]
fn nodes_whose_fetches_take_rounds_take_part_again() {
    for method in [lsgd(), staying(), local_sgd(), leader_mean()] {
        for seed in 0..12 {
            let mut network = Network::new(setting(5, Mode::Sync, method.clone(), seed));
            network.run(5 * SECOND);
            let victims: Vec<u32> = (0..=seed as u32 % 2)
                .map(|n| (seed as u32 + n) % 5)
                .collect();
            let killed = seed % 4 < 2;
            for &victim in &victims {
                match killed {
                    true => network.kill(victim),
                    false => network.freeze(victim),
                }
            }
            network.run(10 * SECOND);
            let back = network.now;
            for &victim in &victims {
                network.slow(victim, 2 * SECOND);
                match killed {
                    true => network.start(victim),
                    false => network.thaw(victim),
                }
            }
            network.run(25 * SECOND);
            check(&network);
            let name = method.name();
            let first = (0..5).find(|node| !victims.contains(node)).expect("one");
            for &victim in &victims {
                let joined: Vec<(Duration, u64)> = network
                    .history
                    .iter()
                    .filter_map(|(at, node, event)| match event {
                        Event::Joined { step, .. } if *node == victim => Some((*at, *step)),
                        _ => None,
                    })
                    .filter(|(at, _)| *at >= back)
                    .collect();
                // More than once only if the others' round is over just as it begins.
                assert!((1..=3).contains(&joined.len()), "{name} {seed}: {joined:?}");
                // A round takes as long as a fetch from then on.
                let began = joined.last().expect("one").1 / PERIODS.global;
                let since = |node| {
                    let mut followed = followed(&network, node, back);
                    followed.retain(|(round, _)| *round > began);
                    followed
                };
                let (theirs, its) = (since(first), since(victim));
                assert!(
                    its.last().is_some_and(|(last, _)| *last >= began + 4),
                    "{name} {seed}: {its:?}"
                );
                // Its last fetch may be under way.
                assert_eq!(its, theirs[..its.len()], "{name} {seed}");
                let behind = theirs.last().expect("as many").0 - its.last().expect("four").0;
                assert!(behind <= 1, "{name} {seed}: {behind} rounds behind");
            }
        }
    }
}

/// Sixty-four nodes, of which a third die, come back, and are cut in two.
#[test]
fn many_nodes_survive_as_few_do() {
    for mode in [Mode::Sync, Mode::Async] {
        let mut network = Network::new(Setting {
            loss: 0.1,
            ..setting(64, mode, lsgd(), 9)
        });
        network.run(5 * SECOND);
        (0..64).step_by(3).for_each(|node| network.kill(node));
        network.run(5 * SECOND);
        network.cut(|node| u32::from(node < 20));
        network.run(5 * SECOND);
        mend(&mut network);
        network.settle();
        network.run(20 * SECOND);
        let since = network.now;
        network.run(5 * SECOND);
        check(&network);
        check_all_agree(&network, since);
    }
}

/// Halves of a cut network that each stay with a leader agree on one when they meet again, though
/// neither is better than the other by the margin.
#[test]
fn halves_that_stay_with_their_leaders_agree_again() {
    for seed in 0..8 {
        let mut network = Network::new(setting(6, Mode::Sync, staying(), seed));
        network.settle();
        network.run(5 * SECOND);
        network.cut(|node| u32::from(node < 3));
        network.run(20 * SECOND);
        let since = network.now;
        network.run(5 * SECOND);
        assert_ne!(leaders(&network, 0, since), leaders(&network, 5, since));
        network.cut(|_| 0);
        network.run(20 * SECOND);
        let since = network.now;
        network.run(10 * SECOND);
        check(&network);
        let first = leaders(&network, 0, since);
        assert_eq!(first.len(), 1, "seed {seed}: {first:?}");
        for node in 1..6 {
            assert_eq!(
                leaders(&network, node, since),
                first,
                "seed {seed}, node {node}"
            );
        }
    }
}
