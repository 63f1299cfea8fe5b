//! Networks and disks that a test may break, each in a Linux namespace of its own.
//!
//! Nodes of one run have links between them that are slow, lose packets and are cut: that takes root,
//! iproute2 and a kernel with bridges and traffic shaping. A disk that is full takes the right to mount
//! one. A test whose means cannot be had here is reported as ignored, with what is missing;
//! `--include-ignored` makes it fail instead.

use std::process::ExitCode;

use cluster::Node;
use libtest_mimic::{Arguments, Trial};
use network::Network;
use serde_json::Value;

#[path = "../nodes/cluster.rs"]
mod cluster;
mod disks;
mod halves;
mod large_snapshot;
#[allow(
    dead_code,
    reason = "shared with the tests of one node, which use all of it"
)]
#[path = "../program/live.rs"]
mod live;
mod lossy;
mod network;
#[allow(dead_code, reason = "nodes in namespaces have addresses of their own")]
#[path = "../program/ports.rs"]
mod ports;
#[allow(
    dead_code,
    reason = "shared with the tests of one node, which use all of it"
)]
#[path = "../program/program.rs"]
mod program;
mod slow_return;

/// A test by its path, and whether what it needs can be had.
macro_rules! trial {
    ($module:ident :: $test:ident, $means:expr) => {
        trial(
            concat!(stringify!($module), "::", stringify!($test)),
            $module::$test,
            $means,
        )
    };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (network, disk) = match arguments.list {
        true => (Ok(()), Ok(())),
        false => (
            had("no network can be laid", Network::can_be_laid()),
            had("no disk can be mounted", disks::can_be_mounted()),
        ),
    };
    let trials = vec![
        trial!(disks::a_disk_that_is_full_at_the_end_fails_the_run, disk),
        trial!(disks::a_run_trains_on_while_the_disk_is_full, disk),
        trial!(disks::a_run_whose_folder_becomes_read_only_ends, disk),
        trial!(halves::a_cut_network_goes_on_in_halves_and_heals, network),
        trial!(
            large_snapshot::a_dead_node_is_noticed_in_time_beside_a_large_snapshot,
            network
        ),
        trial!(lossy::a_lossy_slow_link_only_delays, network),
        trial!(
            lossy::a_vector_arrives_although_the_connection_in_use_dies,
            network
        ),
        trial!(
            slow_return::a_node_behind_a_slow_link_takes_part_again,
            network
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether something that tests need can be had here; if not, says why.
fn had(if_not: &'static str, means: Result<(), String>) -> Result<(), &'static str> {
    means.map_err(|why| {
        eprintln!("{if_not}: {why}");
        if_not
    })
}

fn trial(name: &str, test: fn(), means: Result<(), &str>) -> Trial {
    let trial = Trial::test(name, move || {
        test();
        Ok(())
    });
    match means {
        Ok(()) => trial,
        // What is missing stands in front of the name.
        Err(missing) => trial.with_ignored_flag(true).with_kind(missing),
    }
}

/// The global exchanges among a node's events: their number and whose parameters each delivered.
fn global_exchanges(events: &[Value]) -> impl Iterator<Item = (u64, &Value)> {
    let global = |event: &&Value| event["event"] == "exchange" && event["scope"] == "global";
    let exchange = |event: &Value| event["exchange"].as_u64().unwrap();
    let global = events.iter().filter(global);
    global.map(move |event| (exchange(event), &event["source"]))
}

/// Waits until a node has said this of all of `others`, in any order.
#[track_caller]
fn hear_of(node: &mut Node, others: &[usize], what: &str) {
    let mut missing = others.to_vec();
    while !missing.is_empty() {
        let line = node.hear(what);
        missing.retain(|other| !line.starts_with(&format!("node {other} {what}")));
    }
}
