//! Where the nodes of a launch are, and the command of each.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use socket2::{Domain, Socket, Type};

use super::arguments::Launch;
use super::launcher::{Afflicted, LAUNCHED, launched_value};
use crate::cli::LaunchError;
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
        Some((key, _)) => Err(LaunchError::Placed { key }.into()),
        None => Ok(()),
    }
}

/// Loopback endpoints for nodes, and sockets that hold their ports: while these live, the system gives
/// the ports to nobody who takes any that is free, for a listener or a connection.
pub(super) fn held_endpoints(nodes: u32) -> Result<(Vec<Socket>, Vec<String>), RunError> {
    let held: io::Result<Vec<_>> = (0..nodes).map(|_| held_port()).collect();
    let held = held.map_err(|source| LaunchError::NoPorts { nodes, source })?;
    let (sockets, addresses): (_, Vec<SocketAddr>) = held.into_iter().unzip();
    let endpoint = |address| format!("tcp/{address}");
    Ok((sockets, addresses.into_iter().map(endpoint).collect()))
}

/// Of these sockets, those that may live while nodes listen at their ports, also when a node is down in
/// between. Linux lets a listener have the port of a socket that does not listen; elsewhere they would
/// be in the way.
pub(super) fn beside_listeners(held: Vec<Socket>) -> Vec<Socket> {
    match cfg!(target_os = "linux") {
        true => held,
        false => Vec::new(),
    }
}

/// A socket that never listens.
fn held_port() -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or_else(|| io::Error::other("the port has no address"))?;
    Ok((socket, address))
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
    let program = std::env::current_exe().map_err(|why| LaunchError::NoNode {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_held_port_is_the_nodes() {
        let (held, endpoints) = held_endpoints(2).unwrap();
        assert_ne!(endpoints[0], endpoints[1]);
        let held = beside_listeners(held);
        for (socket, endpoint) in held.iter().zip(&endpoints) {
            let address = socket.local_addr().unwrap();
            let number = address.as_socket().unwrap();
            assert_eq!(endpoint, &format!("tcp/{number}"));
            // As one that takes any free port is bound.
            let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            assert!(stranger.bind(&address).is_err());
            for _life in 0..2 {
                drop(TcpListener::bind(number).unwrap());
            }
        }
    }
}
