//! How Zenoh is set up.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use zenoh::config::{Config, EndPoint};
use zenoh::{Session, Wait};

use super::error::LinkError;
use super::link::LinkConfig;
use super::tls::Tls;

/// How long a silent peer counts as alive: killed, frozen or cut off, it is noticed within 2 s.
pub(crate) const LEASE: Duration = Duration::from_millis(1250);
/// Keep-alives in a lease: three may be lost or late.
const KEEP_ALIVES: u64 = 5;
/// The kernel's send buffer, in bytes (Linux doubles it). What is in there goes before anything of
/// higher priority: at 10 Mbit/s, a fifth of a second of it.
const SEND_BUFFER: u32 = 128 * 1024;
/// Batches, of 64 KiB, that the queue of a link has for parts of vectors: as many as a fetch asks for
/// at a time. What finds no room there waits, and holds a lock of the link that Zenoh needs to notice
/// a death.
const VECTOR_QUEUE: u64 = 16;
/// How long it waits, in microseconds, before the link is given up.
const PATIENCE: u64 = 900_000;
/// Longest message that is put together from fragments, in bytes: nothing here is longer.
const LONGEST_MESSAGE: u64 = 256 * 1024;

/// Opens the session.
pub(crate) fn open(config: &LinkConfig) -> Result<Session, LinkError> {
    for endpoint in config.listen.iter().chain(&config.connect) {
        check(endpoint, config.tls.is_some())?;
    }
    if let Some(tls) = &config.tls {
        tls.check()?;
    }
    for endpoint in &config.listen {
        check_free(endpoint)?;
    }
    let refused = |error: zenoh::Error| LinkError::Session {
        why: error.to_string(),
    };
    let config = Config::from_json5(&settings(config).to_string()).map_err(refused)?;
    zenoh::open(config).wait().map_err(refused)
}

fn settings(config: &LinkConfig) -> Value {
    json!({
        "mode": "peer",
        "listen": { "endpoints": config.listen },
        "connect": {
            "endpoints": others(config),
            // Without end: nodes start in any order, and a cut may heal at any time.
            "timeout_ms": -1,
            "exit_on_failure": false,
            "retry": {
                "period_init_ms": 250,
                "period_max_ms": 1000,
                "period_increase_factor": 2.0,
            },
        },
        // Nodes may start in any order, so there is nobody to wait for.
        "open": { "return_conditions": { "connect_scouted": false, "declares": false } },
        "scouting": {
            "multicast": { "enabled": false },
            "gossip": { "enabled": true },
        },
        // Only this process reads its counters there: the rules below keep others out.
        "adminspace": { "enabled": true, "permissions": { "read": true, "write": false } },
        "access_control": {
            "enabled": true,
            "default_permission": "allow",
            "rules": [{
                "id": "counters",
                "permission": "deny",
                "flows": ["ingress"],
                "messages": ["query", "put", "delete"],
                "key_exprs": ["@/**"],
            }],
            "subjects": [{ "id": "anybody" }],
            "policies": [{ "rules": ["counters"], "subjects": ["anybody"] }],
        },
        "transport": {
            "unicast": {
                // A connection that hangs is tried anew soon after a cut has healed.
                "open_timeout": 2000,
                "accept_timeout": 2000,
            },
            "link": {
                "protocols": ["tcp", "tls"],
                "tx": {
                    "lease": LEASE.as_millis() as u64,
                    "keep_alive": KEEP_ALIVES,
                    "queue": {
                        "size": { "background": VECTOR_QUEUE },
                        "congestion_control": { "block": { "wait_before_close": PATIENCE } },
                    },
                },
                "rx": { "max_message_size": LONGEST_MESSAGE },
                "tcp": { "so_sndbuf": SEND_BUFFER },
                "tls": tls_settings(config.tls.as_ref()),
            },
        },
    })
}

fn tls_settings(tls: Option<&Tls>) -> Value {
    let Some(tls) = tls else {
        return json!({ "so_sndbuf": SEND_BUFFER });
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    json!({
        "so_sndbuf": SEND_BUFFER,
        "root_ca_certificate": text(&tls.ca),
        "listen_certificate": text(&tls.certificate),
        "listen_private_key": text(&tls.key),
        "connect_certificate": text(&tls.certificate),
        "connect_private_key": text(&tls.key),
        "enable_mtls": true,
        "close_link_on_expiration": true,
    })
}

/// Whether `endpoint` is one that can be used.
fn check(endpoint: &str, tls: bool) -> Result<(), LinkError> {
    let wrong = |why: &str| LinkError::Endpoint {
        endpoint: endpoint.to_owned(),
        why: why.to_owned(),
    };
    let parsed: EndPoint = endpoint
        .parse()
        .map_err(|_| wrong("no protocol and address"))?;
    match parsed.protocol().as_str() {
        "tcp" => {}
        "tls" if tls => {}
        "tls" => return Err(wrong("tls needs a certificate, its key and an authority")),
        _ => return Err(wrong("its protocol is neither tcp nor tls")),
    }
    let address = parsed.address();
    let port = address
        .as_str()
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(wrong("it does not end in a port")),
    }
}

/// The endpoints to connect to without this node's own, which Zenoh would try without end, with two
/// lines in the log each time.
pub(crate) fn others(config: &LinkConfig) -> Vec<&str> {
    let addresses = |endpoint: &str| {
        let addresses = address_of(endpoint).to_socket_addrs();
        addresses
            .map(Iterator::collect::<Vec<_>>)
            .unwrap_or_default()
    };
    let listens: Vec<_> = config
        .listen
        .iter()
        .flat_map(|own| addresses(own))
        .collect();
    let is_own = |address: SocketAddr| {
        listens.iter().any(|own| {
            let everywhere = own.ip().is_unspecified() && is_here(address.ip());
            own.port() == address.port() && (own.ip() == address.ip() || everywhere)
        })
    };
    let endpoints = config.connect.iter().map(String::as_str);
    endpoints
        .filter(|endpoint| !addresses(endpoint).into_iter().any(is_own))
        .collect()
}

/// Whether this machine has the address: only then can it be bound.
fn is_here(address: IpAddr) -> bool {
    TcpListener::bind((address, 0)).is_ok()
}

/// The `HOST:PORT` of an endpoint.
pub(crate) fn address_of(endpoint: &str) -> &str {
    let address = endpoint
        .split_once('/')
        .map_or(endpoint, |(_, address)| address);
    address.split(['?', '#']).next().unwrap_or(address)
}

/// Whether `endpoint` can be listened on. Zenoh says so too, but buries it.
fn check_free(endpoint: &str) -> Result<(), LinkError> {
    let refused = |error: std::io::Error| LinkError::Listen {
        endpoint: endpoint.to_owned(),
        why: error.to_string(),
    };
    let addresses = address_of(endpoint).to_socket_addrs().map_err(refused)?;
    let addresses: Vec<_> = addresses.collect();
    TcpListener::bind(&addresses[..]).map_err(refused)?;
    Ok(())
}

/// Bytes sent and received over all links, as Zenoh counts them.
pub(crate) fn bytes(session: &Session) -> Option<(u64, u64)> {
    let key = format!("@/{}/peer", session.zid());
    let replies = session.get(format!("{key}?_stats=true")).wait().ok()?;
    let reply = replies.recv().ok()?;
    let sample = reply.into_result().ok()?;
    let all: Value = serde_json::from_slice(&sample.payload().to_bytes()).ok()?;
    let count = |name: &str| all.get("stats")?.get(name)?.as_u64();
    Some((count("tx_bytes")?, count("rx_bytes")?))
}
