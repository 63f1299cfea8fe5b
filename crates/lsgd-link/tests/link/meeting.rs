//! Which nodes connect, disconnect and are refused, and what nodes receive from each other.

use lsgd_link::Incoming;

use crate::nodes::{Node, config, configs, meet, status};

#[test]
fn nodes_appear_are_heard_and_vanish() {
    let mut nodes = meet(configs("three", 3));
    nodes[0].link.broadcast(&status(0, 1));
    for other in [1, 2] {
        assert_eq!(
            nodes[other].wait_status(|heard| heard.node == 0),
            status(0, 1)
        );
    }
    nodes.remove(1).link.close();
    for node in &nodes {
        assert_eq!(node.wait_vanished(1), 101);
    }
    nodes[1].link.broadcast(&status(2, 1));
    assert_eq!(nodes[0].wait_status(|heard| heard.node == 2), status(2, 1));
}

#[test]
fn one_that_comes_late_hears_what_was_told_before() {
    let mut configs = configs("late", 2);
    let late = configs.pop().unwrap();
    let early = Node::open(configs.pop().unwrap()).unwrap();
    early.link.broadcast(&status(0, 41));
    early.link.broadcast(&status(0, 42));
    let late = Node::open(late).unwrap();
    assert_eq!(late.wait_status(|heard| heard.node == 0).sequence, 42);
}

#[test]
fn nodes_meet_through_one_that_both_know() {
    let mut configs = configs("gossip", 3);
    let known = configs[0].listen.clone();
    for config in &mut configs {
        config.connect = known.clone();
    }
    meet(configs);
}

#[test]
fn one_that_is_set_otherwise_is_refused_by_key_with_both_values() {
    let mut configs = configs("otherwise", 2);
    let other = &mut configs[1].description;
    other.insert("method.local_pull".into(), "0.5".into());
    other.insert("data.seed".into(), "3".into());
    let nodes: Vec<_> = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap())
        .collect();
    let lines = |own: usize| {
        let differences = nodes[own].wait(|incoming| match incoming {
            Incoming::Refused { node, differences } if *node as usize == 1 - own => {
                Some(differences.clone())
            }
            _ => None,
        });
        differences
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(0),
        [
            "data.seed is unset here and 3 there",
            "method.local_pull is 0.1 here and 0.5 there"
        ]
    );
    assert_eq!(
        lines(1),
        [
            "data.seed is 3 here and unset there",
            "method.local_pull is 0.5 here and 0.1 there"
        ]
    );
    // Messages of a refused node are ignored.
    nodes[1].link.broadcast(&status(1, 1));
    nodes[1].link.publish(crate::nodes::snapshot(1));
    let digest = crate::nodes::snapshot(1).digest();
    nodes[0].fetch(digest, &[1]);
    assert!(nodes[0].wait_fetched(digest).is_err());
    let told = nodes[0].told();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn another_number_of_nodes_is_refused_too() {
    let mut configs = configs("numbers", 2);
    configs[1].nodes = 5;
    configs[1].node = 4;
    let nodes: Vec<_> = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap())
        .collect();
    let line = nodes[0].wait(|incoming| match incoming {
        Incoming::Refused {
            node: 4,
            differences,
        } => Some(differences[0].to_string()),
        _ => None,
    });
    assert_eq!(line, "cluster.nodes is 2 here and 5 there");
}

#[test]
fn runs_of_other_names_do_not_meet() {
    let mut configs = configs("one name", 2);
    for config in &mut configs {
        config
            .description
            .insert("run.name".into(), "\"one name\"".into());
    }
    configs[1].run = "another name".into();
    configs[1]
        .description
        .insert("run.name".into(), "\"another\n name\"".into());
    let known = configs[0].listen.clone();
    let mut third = config("one name", 1, 2);
    third.connect = known;
    third.description.clone_from(&configs[0].description);
    let stranger = Node::open(configs.pop().unwrap()).unwrap();
    let node = Node::open(configs.pop().unwrap()).unwrap();
    let third = Node::open(third).unwrap();
    assert_eq!(node.wait_appeared(1), 101);
    third.wait_appeared(0);
    // Each of the two says whom it sees instead, once, on one line.
    let other_run = |node: &Node| {
        node.wait(|incoming| match incoming {
            Incoming::OtherRun { name } => Some(name.to_string()),
            _ => None,
        })
    };
    assert_eq!(
        other_run(&node),
        "run.name is \"one name\" here and \"another  name\" there"
    );
    assert_eq!(
        other_run(&stranger),
        "run.name is \"another  name\" here and \"one name\" there"
    );
    let told = stranger.told();
    assert!(told.is_empty(), "{told:?}");
}

/// As where a machine's own name is an address of loopback.
#[test]
fn a_node_that_other_machines_cannot_reach_says_so() {
    let mut config = config("near", 0, 2);
    let own = config.listen[0].clone();
    config.connect = vec!["tcp/192.0.2.1:7447".into()];
    let node = Node::open(config).unwrap();
    let line = node.wait(|incoming| match incoming {
        Incoming::Unreachable(line) => Some(line.clone()),
        _ => None,
    });
    let expected = format!("{own} is 127.0.0.1 on this machine, where nodes on other machines");
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn a_node_started_again_is_another_life() {
    let configs = configs("again", 2);
    let mut again = configs[1].clone();
    again.incarnation = 7;
    let mut nodes = meet(configs);
    nodes.pop().unwrap().link.close();
    assert_eq!(nodes[0].wait_vanished(1), 101);
    let again = Node::open(again).unwrap();
    assert_eq!(nodes[0].wait_appeared(1), 7);
    again.wait_appeared(0);
    // Messages of its earlier incarnation that are still on the way are ignored.
    let (mut before, mut now) = (status(1, 50), status(1, 1));
    (before.incarnation, now.incarnation) = (101, 7);
    again.link.broadcast(&before);
    again.link.broadcast(&now);
    assert_eq!(nodes[0].wait_status(|_| true), now);
}

#[test]
fn one_number_in_two_processes_is_noticed_by_both_and_displaces_nobody() {
    let configs = configs("twice", 2);
    let mut twin = configs[1].clone();
    twin.incarnation = 999;
    twin.listen.clear();
    let mut nodes = meet(configs);
    let twin = Node::open(twin).unwrap();
    let other_life = |node: &Node| {
        node.wait(|incoming| match incoming {
            Incoming::DuplicateNode {
                node: 1,
                incarnation,
            } => Some(*incarnation),
            _ => None,
        })
    };
    assert_eq!(other_life(&nodes[1]), 999);
    assert_eq!(other_life(&twin), 101);
    let told = nodes[0].told();
    assert!(told.is_empty(), "{told:?}");
    // The one that stays takes over when the other is gone.
    nodes.pop().unwrap().link.close();
    assert_eq!(nodes[0].wait_vanished(1), 101);
    assert_eq!(nodes[0].wait_appeared(1), 999);
}
