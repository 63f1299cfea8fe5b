//! Checks of `[cluster]`: numbers, endpoints, and what must not be open to a network.

use std::net::{IpAddr, Ipv6Addr};

use super::{ConfigSources, not_in_range};
use crate::config::ClusterConfig;
use crate::config::cluster::USUAL_SILENCE;
use crate::config::error::ConfigError;

pub(super) fn check(cluster: &ClusterConfig, sources: &ConfigSources) -> Result<(), ConfigError> {
    if let Some(node) = cluster.node
        && node > cluster.nodes
    {
        let keys = ["cluster.node", "cluster.nodes"];
        return Err(sources.refuse_relation(&keys, node, not_in_range(1, cluster.nodes)));
    }
    // A node that has lost a connection makes no progress for longer than the silence that counts as
    // its death.
    let third = (cluster.round_limit_seconds * 100 / 3) as f64 / 100.0;
    let most = third.max(USUAL_SILENCE);
    if cluster.silence_seconds > most {
        let keys = ["cluster.silence_seconds", "cluster.round_limit_seconds"];
        let limit = cluster.round_limit_seconds;
        let problem = format!(
            "is more than a third of cluster.round_limit_seconds, {limit}; give at most {most}, or raise that"
        );
        return Err(sources.refuse_relation(&keys, cluster.silence_seconds, problem));
    }
    // Where none is given it is this node's entry of the other.
    let listen = match sources.is_given("cluster.listen") {
        true => "cluster.listen",
        false => "cluster.connect",
    };
    for (key, endpoints) in [
        (listen, &cluster.listen),
        ("cluster.connect", &cluster.connect),
    ] {
        for endpoint in endpoints {
            check_endpoint(key, endpoint, cluster, sources)?;
        }
    }
    if cluster.nodes == 1 {
        return Ok(());
    }
    let absent = |key: &str, problem: &str| ConfigError::Absent {
        source_name: sources.of(&[key, "cluster.nodes"]),
        key: key.to_string(),
        problem: problem.to_string(),
    };
    if cluster.node.is_none() {
        let problem = "a run of several nodes needs it; say which of them this is, as --node 2/4";
        return Err(absent("cluster.node", problem));
    }
    if cluster.connect.is_empty() {
        let problem = "a run of several nodes needs it; list the endpoints of all nodes, as \
                       --connect tcp/HOST:PORT,tcp/HOST:PORT";
        return Err(absent("cluster.connect", problem));
    }
    if cluster.listen.is_empty() {
        let problem = "it is needed unless cluster.connect lists all nodes in order; give the \
                       endpoint under which this node can be reached";
        return Err(absent("cluster.listen", problem));
    }
    Ok(())
}

fn check_endpoint(
    key: &str,
    endpoint: &str,
    cluster: &ClusterConfig,
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    let quoted = format!("{endpoint:?}");
    let Some((protocol, host)) = parse(endpoint) else {
        let problem = "has an entry that is no endpoint; write tcp/HOST:PORT or tls/HOST:PORT";
        return Err(sources.refuse(key, quoted, problem));
    };
    match (protocol, &cluster.tls) {
        ("tls", None) => {
            let problem = "needs certificates; give cluster.tls = { ca = .., certificate = .., \
                           key = .. } (scripts/make-certs makes some to try)";
            Err(sources.refuse_relation(&[key, "cluster.tls"], quoted, problem))
        }
        ("tcp", Some(_)) => {
            let problem = "would not use the certificates of cluster.tls; write tls/HOST:PORT";
            Err(sources.refuse_relation(&[key, "cluster.tls"], quoted, problem))
        }
        ("tcp", None) if !is_loopback(host) && !cluster.insecure => {
            let problem = "can be reached by others on the network: use tls/HOST:PORT and \
                           cluster.tls (scripts/make-certs makes certificates to try), or allow it \
                           with cluster.insecure = true";
            Err(sources.refuse_relation(&[key, "cluster.insecure"], quoted, problem))
        }
        _ => Ok(()),
    }
}

/// Protocol and host of `tcp/HOST:PORT` or `tls/HOST:PORT`.
fn parse(endpoint: &str) -> Option<(&str, &str)> {
    let (protocol, address) = endpoint.split_once('/')?;
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host_fits = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => {
            let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(of_name)
        }
    };
    let known = matches!(protocol, "tcp" | "tls");
    (known && host_fits && port > 0).then_some((protocol, host))
}

/// Whether only this machine can reach `host`. A name other than `localhost` may resolve to any
/// address.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    loopback || host == "localhost"
}
