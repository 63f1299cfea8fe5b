//! Where the nodes of a launch are, and the command of each.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use super::arguments::Launch;
use super::launcher::{Afflicted, LAUNCHED, launched_value};
use crate::config::ClusterConfig;
use crate::error::RunError;

/// How the nodes of a launch reach each other, and what else they are told.
pub(super) struct Wiring {
    /// Where each node listens, in order.
    pub endpoints: Vec<String>,
    /// Where each node finds all nodes: its own endpoint in its own place.
    pub connect: Vec<Vec<String>>,
    /// For each node that injects faults into itself when it is told to, what it is told when it is
    /// started.
    pub afflicted: Vec<Option<Afflicted>>,
}

/// Checks that nodes are placed here, and not in the config.
pub(super) fn check_place(
    cluster: &ClusterConfig,
    nodes: u32,
    wiring: &Wiring,
) -> Result<(), RunError> {
    let places = [
        ("cluster.node", cluster.node == Some(1)),
        ("cluster.nodes", cluster.nodes == u64::from(nodes)),
        ("cluster.connect", cluster.connect == wiring.connect[0]),
        (
            "cluster.listen",
            nodes == 1 || cluster.listen == wiring.endpoints[..1],
        ),
    ];
    match places.into_iter().find(|(_, fits)| !fits) {
        Some((key, _)) => Err(RunError::Placed { key }),
        None => Ok(()),
    }
}

/// Loopback endpoints that are free at this moment.
pub(super) fn free_endpoints(nodes: u32) -> Result<Vec<String>, RunError> {
    let (_, endpoints) = held_endpoints(nodes)?;
    Ok(endpoints)
}

/// Loopback endpoints, which nobody else can take before the listeners are dropped.
pub(super) fn held_endpoints(nodes: u32) -> Result<(Vec<TcpListener>, Vec<String>), RunError> {
    let held: io::Result<Vec<TcpListener>> = (0..nodes)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    let held = held.and_then(|held| {
        let addresses = held.iter().map(TcpListener::local_addr);
        let addresses = addresses.collect::<io::Result<Vec<_>>>()?;
        Ok((held, addresses.iter().map(|a| format!("tcp/{a}")).collect()))
    });
    held.map_err(|source| RunError::NoPorts { nodes, source })
}

/// The overrides that node 1 gets.
pub(super) fn overrides(arguments: &Launch, wiring: &Wiring) -> Vec<String> {
    let connect = format!("cluster.connect={:?}", wiring.connect[0]);
    let place = [
        String::from("cluster.node=1"),
        format!("cluster.nodes={}", arguments.nodes),
    ];
    let set = arguments.train.set.iter().cloned();
    place.into_iter().chain([connect]).chain(set).collect()
}

/// The command of node `node`: this program, with the node's number and endpoints. A node that is
/// started `again` continues what it has begun.
pub(super) fn command(
    arguments: &Launch,
    node: u32,
    wiring: &Wiring,
    again: bool,
) -> Result<Command, RunError> {
    let program = std::env::current_exe().map_err(|why| RunError::NoNode {
        node,
        why: why.to_string(),
    })?;
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(&arguments.train.config)
        .args(["--node", &format!("{node}/{}", arguments.nodes)])
        .args(["--connect", &wiring.connect[node as usize - 1].join(",")]);
    for set in &arguments.train.set {
        command.args(["--set", set]);
    }
    if arguments.train.quiet {
        command.arg("--quiet");
    }
    if arguments.resume || again {
        command.arg("--resume");
    }
    command.env(
        LAUNCHED,
        launched_value(wiring.afflicted[node as usize - 1]),
    );
    // A terminal sends Ctrl-C to a whole process group: in its own group, a node gets each signal
    // once.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(command)
}
