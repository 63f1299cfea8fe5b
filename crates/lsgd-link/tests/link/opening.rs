//! What cannot be opened, said in one line.

use std::net::TcpListener;
use std::time::Duration;

use crate::nodes::{Node, config};

fn error(change: impl FnOnce(&mut lsgd_link::LinkConfig)) -> String {
    let mut config = config("opening", 0, 2);
    change(&mut config);
    match Node::open(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp/{}", taken.local_addr().unwrap());
    let line = error(|config| config.listen = vec![endpoint.clone()]);
    assert_eq!(
        line,
        format!("cannot listen on {endpoint}: Address already in use (os error 98)")
    );
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let line = error(|config| config.listen = vec!["tcp/nobody.invalid:7447".into()]);
    let expected = "cannot listen on tcp/nobody.invalid:7447: its name does not resolve: ";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn what_is_no_endpoint_is_named() {
    for (endpoint, why) in [
        ("127.0.0.1:7447", "no protocol and address"),
        ("udp/127.0.0.1:7447", "its protocol is neither tcp nor tls"),
        ("tcp/127.0.0.1", "it does not end in a port"),
        ("tcp/127.0.0.1:70000", "it does not end in a port"),
        (
            "tls/127.0.0.1:7447",
            "tls needs a certificate, its key and an authority",
        ),
    ] {
        for connect in [false, true] {
            let line = error(|config| match connect {
                false => config.listen = vec![endpoint.into()],
                true => config.connect = vec![endpoint.into()],
            });
            let expected = format!(
                "{endpoint} is not an endpoint ({why}); write it as tcp/HOST:PORT or tls/HOST:PORT"
            );
            assert_eq!(line, expected);
        }
    }
}

#[test]
fn a_lease_that_no_connection_keeps_is_refused() {
    for (lease, said) in [
        (Duration::ZERO, "0ns"),
        (Duration::MAX, "18446744073709551615.999999999s"),
    ] {
        let line = error(|config| config.lease = lease);
        assert_eq!(
            line,
            format!("a lease of {said}: it must be between 0.5 s and 60 s")
        );
    }
}

#[test]
fn a_number_beyond_the_run_is_refused() {
    let line = error(|config| config.node = 2);
    assert_eq!(line, "node 3 of 2: nodes are numbered from 1 to 2");
}

#[test]
fn a_description_too_long_to_send_is_refused() {
    let line = error(|config| {
        config.description.insert("key".into(), "x".repeat(1 << 16));
    });
    assert!(
        line.starts_with("the description of this node has 65"),
        "{line}"
    );
}
