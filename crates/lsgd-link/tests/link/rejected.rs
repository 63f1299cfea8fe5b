//! Bytes from strangers: at most a line in the log.

use std::io::{Read, Write};
use std::net::TcpStream;

use lsgd_link::{ChunkRequest, Incoming, TrafficKind};
use zenoh::Wait;

use crate::nodes::{configs, foreign_session, meet, prefix, snapshot, status};

#[test]
fn garbage_on_the_port_changes_nothing() {
    let configs = configs("garbage", 2);
    let endpoint = configs[0].listen[0].clone();
    let address = endpoint.strip_prefix("tcp/").unwrap();
    let nodes = meet(configs);
    let noise: Vec<u8> = (0..100_000u32)
        .map(|index| ((index * 7919) >> 3) as u8)
        .collect();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        &[0; 70_000],
        &[0xff; 70_000],
        &noise,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        // It may hang up at the first bytes.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1000, "{} bytes came back", answer.len());
    }
    nodes[1].link.broadcast(&status(1, 5));
    assert_eq!(nodes[0].wait_status(|_| true), status(1, 5));
    // A heartbeat repeats what it has said.
    let mut others = nodes[0].told();
    others.retain(|told| !matches!(told, Incoming::Status(status) if status.heartbeat));
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_foreign_session_can_put_what_it_likes() {
    let run = "foreign";
    let configs = configs(run, 2);
    let endpoint = configs[0].listen[0].clone();
    let nodes = meet(configs);
    let stranger = foreign_session(std::slice::from_ref(&endpoint));
    let prefix = prefix(run);
    let valid = [&[1][..], &status(1, 99).encode()].concat();
    let of_another = [&[1][..], &status(0, 99).encode()].concat();
    for (key, bytes) in [
        ("status/1", vec![]),
        ("status/1", vec![0; 10]),
        ("status/1", vec![0xff; 513]),
        ("status/1", vec![1; 200_000]),
        ("status/1", of_another),
        ("status/01", valid.clone()),
        ("status/x", valid.clone()),
        ("status/77", [&[1][..], &status(77, 1).encode()].concat()),
        ("hello/1/101", vec![1, 2, 3]),
        ("vector/1/101", vec![1, 2, 3]),
    ] {
        stranger
            .put(format!("{prefix}/{key}"), bytes)
            .wait()
            .unwrap();
    }
    for key in ["node/01/5", "node/x/y", "node/1/-4", "node/4294967296/1"] {
        let token = stranger
            .liveliness()
            .declare_token(format!("{prefix}/{key}"));
        std::mem::forget(token.wait().unwrap());
    }
    let line = nodes[0].wait_stranger();
    assert!(line.contains("refused"), "{line}");
    assert!(line.len() < 300, "{line}");
    nodes[1].link.broadcast(&status(1, 6));
    assert_eq!(nodes[0].wait_status(|_| true), status(1, 6));
}

#[test]
fn hostile_requests_get_no_vector_and_do_no_harm() {
    let run = "hostile";
    let configs = configs(run, 2);
    let endpoint = configs[0].listen[0].clone();
    let nodes = meet(configs);
    let vector = snapshot(1);
    let digest = nodes[0].link.publish(vector.clone());
    let values = vector.bytes() / 4;
    let stranger = foreign_session(std::slice::from_ref(&endpoint));
    let key = format!("{}/vector/0/100", prefix(run));
    let request = |digest, first, count| {
        let request = ChunkRequest {
            asker: 1,
            digest,
            first,
            count,
            waits: false,
        };
        request.encode()
    };
    let mut unknown = digest;
    unknown.0[0] ^= 1;
    for payload in [
        request(digest, u64::MAX, 1),
        request(digest, u64::MAX - 5, 100),
        request(digest, values, 1),
        request(digest, values - 1, 2),
        request(digest, 0, 0),
        request(digest, 0, u32::MAX),
        request(digest, 0, ChunkRequest::MAX_VALUES as u32 + 1),
        request(unknown, 0, 1),
        vec![],
        vec![0; ChunkRequest::LENGTH - 1],
        vec![0; ChunkRequest::LENGTH + 1],
        vec![0xff; ChunkRequest::LENGTH],
        vec![0; 100_000],
    ] {
        let replies = stranger.get(&key).payload(payload.clone()).wait().unwrap();
        for reply in replies {
            assert!(reply.result().is_err(), "{payload:?} was answered");
        }
    }
    assert_eq!(
        nodes[0].link.traffic().total(TrafficKind::Parameters).sent,
        0
    );
    nodes[1].fetch(digest, &[0]);
    nodes[1].wait_fetched(digest).unwrap();
}

#[test]
fn what_the_session_counts_is_not_told_to_others() {
    let configs = configs("counters", 2);
    let endpoint = configs[0].listen[0].clone();
    let nodes = meet(configs);
    let stranger = foreign_session(std::slice::from_ref(&endpoint));
    let replies = stranger.get("@/**").wait().unwrap();
    let own = format!("@/{}/", stranger.zid());
    let told: Vec<_> = replies
        .iter()
        .filter_map(|reply| Some(reply.into_result().ok()?.key_expr().to_string()))
        .filter(|key| !key.starts_with(&own))
        .collect();
    assert!(told.is_empty(), "{told:?}");
    assert!(
        nodes[0]
            .link
            .traffic()
            .link
            .is_some_and(|link| link.sent > 0)
    );
}

#[test]
fn a_flood_of_lives_is_no_more_than_a_line() {
    let run = "flood";
    let configs = configs(run, 2);
    let endpoint = configs[0].listen[0].clone();
    let nodes = meet(configs);
    let stranger = foreign_session(std::slice::from_ref(&endpoint));
    let prefix = prefix(run);
    let tokens: Vec<_> = (0..500)
        .map(|incarnation| {
            let node = [0, 1, 5 + incarnation % 100][incarnation as usize % 3];
            let token = stranger
                .liveliness()
                .declare_token(format!("{prefix}/node/{node}/{incarnation}"));
            token.wait().unwrap()
        })
        .collect();
    let line = nodes[0].wait_stranger();
    assert!(line.contains("too many"), "{line}");
    nodes[1].link.broadcast(&status(1, 6));
    assert_eq!(nodes[0].wait_status(|_| true), status(1, 6));
    drop(tokens);
}
