//! The configuration of Zenoh.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use zenoh::config::{Config, EndPoint};
use zenoh::{Session, Wait};

use crate::config::LinkConfig;
use crate::connection_limits::ConnectionLimits;
use crate::error::LinkError;
use crate::tls::Tls;

/// The usual lease, for which a silent peer counts as alive: one that is killed, frozen or cut off
/// is detected within 2 s.
pub const LEASE: Duration = Duration::from_millis(1250);
/// The leases that a link can have.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);
/// Keep-alives per lease: three may be lost or late.
const KEEP_ALIVES: u64 = 5;
/// The kernel's send buffer, in bytes (Linux doubles it). Its contents are sent before anything of
/// higher priority: at 10 Mbit/s, a fifth of a second.
const SEND_BUFFER: u32 = 128 * 1024;
/// Batches of 64 KiB in a link's queue for parts of vectors: twice as many as a fetch requests.
/// Anything beyond waits while holding a lock of the link that Zenoh needs to detect a death.
const VECTOR_QUEUE: u64 = 16;
/// How long a handshake may take: a lease, but not less than this, so that a peer has the time, and
/// not more, so that a connection that hangs is soon retried.
const HANDSHAKE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(5);
/// How long a congested link may block before it is closed, as a share of the lease.
const BLOCKED: f64 = 0.72;
/// Longest message reassembled from fragments, in bytes: nothing here is longer.
const MAX_MESSAGE: u64 = 256 * 1024;

/// Opens the session.
pub(crate) fn open(config: &LinkConfig) -> Result<Session, LinkError> {
    if !LEASES.contains(&config.lease) {
        return Err(LinkError::Lease {
            lease: config.lease,
        });
    }
    for endpoint in config.listen.iter().chain(&config.connect) {
        check(endpoint, config.tls.is_some())?;
    }
    if let Some(tls) = &config.tls {
        tls.check()?;
        if let Some(endpoint) = &config.known_as {
            tls.check_name(address_of(endpoint))?;
        }
    }
    let connection_limits = ConnectionLimits::of(config.nodes, open_files())?;
    for endpoint in &config.listen {
        check_free(endpoint)?;
    }
    let refused = |error: zenoh::Error| LinkError::Session {
        why: describe(&error),
    };
    let config =
        Config::from_json5(&settings(config, connection_limits).to_string()).map_err(refused)?;
    zenoh::open(config).wait().map_err(refused)
}

/// The process's limit on open files; `None` if there is none.
#[cfg(unix)]
fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}

fn settings(config: &LinkConfig, connection_limits: ConnectionLimits) -> Value {
    let handshake = config
        .lease
        .clamp(*HANDSHAKE.start(), *HANDSHAKE.end())
        .as_millis() as u64;
    let listens: Vec<_> = config
        .listen
        .iter()
        .map(|own| with_timeout(own, handshake))
        .collect();
    let blocked = config.lease.mul_f64(BLOCKED).as_micros() as u64;
    json!({
        "mode": "peer",
        "listen": { "endpoints": listens },
        "connect": {
            "endpoints": others(config),
            // Retried without end: nodes start in any order, and a network cut may heal at any
            // time.
            "timeout_ms": -1,
            "exit_on_failure": false,
            "retry": {
                "period_init_ms": 250,
                "period_max_ms": 1000,
                "period_increase_factor": 2.0,
            },
        },
        // Nodes may start in any order, so opening does not wait for any.
        "open": { "return_conditions": { "connect_scouted": false, "declares": false } },
        "scouting": {
            "multicast": { "enabled": false },
            "gossip": { "enabled": true, "autoconnect": { "router": [], "peer": gossip(config) } },
        },
        // Only this process reads its counters here: the rules below exclude others.
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
                // A connection that hangs is retried soon after a cut has healed.
                "open_timeout": handshake,
                "accept_timeout": handshake,
                // Connections beyond these are closed at once.
                "accept_pending": connection_limits.pending,
                "max_sessions": connection_limits.sessions,
            },
            "link": {
                "protocols": ["tcp", "tls"],
                "tx": {
                    "lease": config.lease.as_millis() as u64,
                    "keep_alive": KEEP_ALIVES,
                    "queue": {
                        "size": { "background": VECTOR_QUEUE },
                        "congestion_control": { "block": { "wait_before_close": blocked } },
                    },
                },
                "rx": { "max_message_size": MAX_MESSAGE },
                "tcp": { "so_sndbuf": SEND_BUFFER },
                "tls": tls_settings(config.tls.as_ref()),
            },
        },
    })
}

/// What kinds of peers a node connects to that it has only heard of: none if its own list has one
/// endpoint for each node. It then reaches each under the endpoint that the user has given, and no other.
fn gossip(config: &LinkConfig) -> &'static [&'static str] {
    let lists_all = config.known_as.is_some() && others(config).len() + 1 == config.nodes as usize;
    match lists_all {
        true => &[],
        false => &["router", "peer"],
    }
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

/// An endpoint to listen on, with the same limit for a TLS handshake as for any other: Zenoh's
/// default is ten seconds.
fn with_timeout(endpoint: &str, milliseconds: u64) -> String {
    match endpoint.starts_with("tls/") {
        true => format!("{endpoint}#tls_handshake_timeout_ms={milliseconds}"),
        false => endpoint.to_owned(),
    }
}

/// Checks that `endpoint` can be used.
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

/// The endpoints to connect to, without this node's own, which Zenoh would retry without end, with
/// two log lines each time.
pub(crate) fn others(config: &LinkConfig) -> Vec<&str> {
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

/// A line, if nodes run on other machines and none of those can connect to this node, for example
/// because the machine's own name is a loopback address. `None` for a node that does not listen.
pub(crate) fn unreachable(listen: &[String], others: &[&str]) -> Option<String> {
    let is_near = |address: &SocketAddr| address.ip().is_loopback();
    let (own, own_address) = listen
        .iter()
        .find_map(|own| Some((own, *addresses(own).first()?)))?;
    if !listen
        .iter()
        .flat_map(|own| addresses(own))
        .all(|a| is_near(&a))
    {
        return None;
    }
    // A name without an address is not this machine's.
    let far = others
        .iter()
        .find(|other| !addresses(other).iter().any(is_near))?;
    let (protocol, port) = (
        own.split('/').next().unwrap_or_default(),
        own_address.port(),
    );
    Some(format!(
        "{own} is {} on this machine, where nodes on other machines, such as {far}, cannot connect: \
         listen on all interfaces, as with --listen {protocol}/0.0.0.0:{port}, or on the address of one",
        own_address.ip()
    ))
}

/// The addresses of an endpoint's host; empty if it does not resolve.
fn addresses(endpoint: &str) -> Vec<SocketAddr> {
    let addresses = address_of(endpoint).to_socket_addrs();
    addresses.map(Iterator::collect).unwrap_or_default()
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

/// Checks that `endpoint` can be listened on. Zenoh reports this too, but hides it among other
/// lines.
fn check_free(endpoint: &str) -> Result<(), LinkError> {
    let addresses = address_of(endpoint).to_socket_addrs();
    let addresses: Vec<_> = addresses
        .map_err(|source| LinkError::Unresolved {
            endpoint: endpoint.to_owned(),
            source,
        })?
        .collect();
    TcpListener::bind(&addresses[..]).map_err(|source| LinkError::Listen {
        endpoint: endpoint.to_owned(),
        source,
    })?;
    Ok(())
}

/// Zenoh's error without the source locations that it adds to each cause: they are paths of the
/// machine that built the program.
pub(crate) fn describe(error: &zenoh::Error) -> String {
    without_places(&error.to_string())
}

/// `text` without each ` at FILE.rs:LINE.`
fn without_places(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" at ") {
        kept.push_str(before);
        rest = match place_end(after) {
            Some(end) => &after[end..],
            None => {
                kept.push_str(" at ");
                after
            }
        };
    }
    kept.push_str(rest);
    kept
}

/// The end of the `FILE.rs:LINE.` that `text` starts with.
fn place_end(text: &str) -> Option<usize> {
    let line = text.find(".rs:")? + ".rs:".len();
    let digits = text[line..].bytes().take_while(u8::is_ascii_digit).count();
    let end = line + digits;
    let is_place = digits > 0 && !text[..line].contains(" at ") && text[end..].starts_with('.');
    is_place.then_some(end + 1)
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

#[cfg(test)]
mod tests {
    use super::{unreachable, without_places};

    #[test]
    fn who_listens_on_loopback_is_out_of_reach_of_other_machines() {
        let line = |listen: &[&str], others: &[&str]| {
            let listen: Vec<_> = listen.iter().map(ToString::to_string).collect();
            unreachable(&listen, others)
        };
        // TEST-NET-1, which no machine has.
        let (near, far) = ("tls/127.0.0.1:7402", "tls/192.0.2.1:7447");
        assert_eq!(
            line(&["tls/127.0.1.1:7447"], &[near, far]).unwrap(),
            "tls/127.0.1.1:7447 is 127.0.1.1 on this machine, where nodes on other machines, such \
             as tls/192.0.2.1:7447, cannot connect: listen on all interfaces, as with --listen \
             tls/0.0.0.0:7447, or on the address of one"
        );
        assert!(line(&["tls/[::1]:7447"], &["tls/nobody.invalid:7447"]).is_some());
        for (listen, others) in [
            (&["tls/127.0.1.1:7447"][..], &[near, "tls/[::1]:7447"][..]),
            (&["tls/0.0.0.0:7447"], &[far]),
            (&["tls/127.0.1.1:7447", "tls/192.0.2.9:7447"], &[far]),
            (&[], &[far]),
        ] {
            assert_eq!(line(listen, others), None, "{listen:?} {others:?}");
        }
    }

    #[test]
    fn what_zenoh_says_names_no_file_of_the_machine_that_built_it() {
        let nested = "Unable to listen at all at /home/a/.cargo/registry/src/x-1/zenoh-1.10.2/src/net/o.rs:12. \
                      - Caused by Can not bind [refused at C:\\src\\tcp.rs:7.] at /b/manager.rs:305.";
        assert_eq!(
            without_places(nested),
            "Unable to listen at all - Caused by Can not bind [refused]"
        );
        for kept in ["at once at all", "look at a.rs: there", "", " at "] {
            assert_eq!(without_places(kept), kept);
        }
    }
}
