//! Vectors: bit for bit, from any node that has them.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};

use lsgd_core::{Snapshot, SnapshotDigest, Source, WireFormat};
use lsgd_link::{ChunkRequest, Flow, Hello, HolderFault, Incoming, TrafficKind};
use zenoh::Wait;
use zenoh::query::Query;

use crate::nodes::{
    Node, TIMEOUT, bytes_of, config, configs, foreign_session, meet, prefix, snapshot, source,
};

/// Values of a chunk.
const CHUNK: usize = ChunkRequest::MAX_VALUES;

fn flow(sent: u64, received: u64) -> Flow {
    Flow { sent, received }
}

#[test]
fn a_vector_arrives_bit_for_bit_and_costs_its_bytes() {
    for wire in [WireFormat::F32, WireFormat::Bf16, WireFormat::Int8] {
        let mut configs = configs("exact", 3);
        for config in &mut configs {
            config.wire = wire;
        }
        let nodes = meet(configs);
        let vector = Arc::new(snapshot(1).rounded(wire).unwrap().0);
        let digest = nodes[0].link.publish(vector.clone());
        for node in &nodes[1..] {
            node.fetch(digest, &[0]);
        }
        for node in &nodes[1..] {
            let (fetched, holder) = node.wait_fetched(digest).unwrap();
            assert_eq!(holder, 0);
            assert_eq!(fetched.source(), source(0));
            assert_eq!(fetched.digest(), vector.digest());
        }
        let bytes = bytes_of(&vector, wire);
        let (parameters, buffers) = (vector.parameters().len(), vector.buffers().len());
        let expected = match wire {
            WireFormat::F32 => 4 * (parameters + buffers),
            WireFormat::Bf16 => 2 * (parameters + buffers),
            WireFormat::Int8 => parameters + parameters.div_ceil(32) + 4 * buffers,
            WireFormat::Topk => unreachable!("for changes"),
        };
        assert_eq!(bytes, expected as u64);
        let published = nodes[0].link.traffic();
        assert_eq!(published.total(TrafficKind::Parameters), flow(2 * bytes, 0));
        for (node, own) in nodes[1..].iter().zip([1, 2]) {
            assert_eq!(
                published.peers[&own][&TrafficKind::Parameters],
                flow(bytes, 0)
            );
            let traffic = node.link.traffic();
            assert_eq!(traffic.peers[&0][&TrafficKind::Parameters], flow(0, bytes));
            let link = traffic.link.expect("zenoh counts");
            let payload: u64 = traffic
                .peers
                .values()
                .flat_map(|peer| peer.values())
                .map(|flow| flow.received)
                .sum();
            assert!(link.received > payload, "{link:?} with {payload}");
            assert!(
                link.received < payload + payload / 20,
                "{link:?} with {payload}"
            );
        }
    }
}

/// In a format for changes, these cross in it, from whoever has them, and other vectors as they are.
#[test]
fn changes_cross_in_a_format_of_their_own() {
    let mut configs = configs("changes", 3);
    for config in &mut configs {
        config.wire = WireFormat::Topk;
    }
    let nodes = meet(configs);
    let since = snapshot(2).digest().into();
    let origin = Source::Change { workers: 2, since };
    let change = Snapshot::clone(&snapshot(1)).with_source(origin);
    let (change, _) = change.rounded(WireFormat::Topk).unwrap();
    let (parameters, buffers) = (change.parameters().len(), change.buffers().len());
    let digest = nodes[0].link.publish(Arc::new(change));
    for (node, holder) in [(&nodes[1], 0), (&nodes[2], 1)] {
        node.fetch_of(origin, digest, &[holder]);
        let (fetched, from) = node.wait_fetched(digest).unwrap();
        assert_eq!((fetched.digest(), from), (digest, holder));
        assert_eq!(fetched.source(), origin);
        // 37 blocks of 4,096 and one of 2,816.
        assert_eq!(parameters, 37 * 4096 + 2816);
        let bytes = 37 * 161 + (1 + 44 + 66) + 4 * buffers;
        let traffic = node.link.traffic();
        let received = traffic.peers[&holder][&TrafficKind::Mean];
        assert_eq!(received, flow(0, bytes as u64));
    }

    let mean = Source::Mean { workers: 2 };
    let whole = Arc::new(Snapshot::clone(&snapshot(3)).with_source(mean));
    let digest = nodes[0].link.publish(whole.clone());
    nodes[2].fetch_of(mean, digest, &[0]);
    nodes[2].wait_fetched(digest).unwrap();
    let received = nodes[2].link.traffic().peers[&0][&TrafficKind::Mean].received;
    assert_eq!(received, whole.bytes());
}

#[test]
fn a_vector_that_is_not_rounded_is_refused_as_one_that_is() {
    for wire in [WireFormat::Bf16, WireFormat::Int8] {
        let mut configs = configs("unrounded", 2);
        for config in &mut configs {
            config.wire = wire;
        }
        let nodes = meet(configs);
        let digest = nodes[0].link.publish(snapshot(1));
        nodes[1].fetch(digest, &[0]);
        let error = nodes[1].wait_fetched(digest).unwrap_err();
        assert!(
            matches!(error.faults[..], [(0, HolderFault::Digest { .. })]),
            "{wire:?}: {error}"
        );
    }
}

#[test]
fn who_has_fetched_a_vector_hands_it_on() {
    let mut nodes = meet(configs("on", 3));
    let digest = nodes[0].link.publish(snapshot(1));
    nodes[1].fetch(digest, &[0]);
    nodes[1].wait_fetched(digest).unwrap();
    nodes.remove(0).link.close();
    nodes[1].wait_vanished(0);
    nodes[1].fetch(digest, &[0, 1]);
    let (fetched, holder) = nodes[1].wait_fetched(digest).unwrap();
    assert_eq!((fetched.digest(), holder), (digest, 1));
    // And has it available.
    nodes[1].fetch(digest, &[]);
    assert_eq!(nodes[1].wait_fetched(digest).unwrap().1, 2);
}

#[test]
fn the_error_says_what_became_of_each_holder() {
    let nodes = meet(configs("nobody", 3));
    let digest = snapshot(1).digest();
    nodes[0].fetch(digest, &[1, 5]);
    let error = nodes[0].wait_fetched(digest).unwrap_err();
    let why = "it does not have that vector".into();
    assert_eq!(
        error.faults,
        [(1, HolderFault::Refused { why }), (5, HolderFault::Absent)]
    );
    let line = error.to_string();
    assert!(
        line.ends_with("node 2 refused: it does not have that vector; node 6 is not connected")
    );
    nodes[0].fetch(digest, &[]);
    let line = nodes[0].wait_fetched(digest).unwrap_err().to_string();
    assert!(
        line.ends_with("could not be fetched: nobody was named that has it"),
        "{line}"
    );
}

#[test]
fn the_board_keeps_only_the_last_few() {
    let nodes = meet(configs("few", 2));
    let digests: Vec<_> = (0..4)
        .map(|seed| nodes[0].link.publish(snapshot(seed)))
        .collect();
    for (digest, kept) in digests.into_iter().zip([false, true, true, true]) {
        nodes[1].fetch(digest, &[0]);
        assert_eq!(nodes[1].wait_fetched(digest).is_ok(), kept);
    }
}

/// On a slow link a fetch takes longer than several exchanges.
#[test]
fn what_somebody_fetches_stays_on_the_board() {
    let nodes = meet(configs("slow", 3));
    let first = nodes[0].link.publish(snapshot(1));
    nodes[1].fetch(first, &[0]);
    nodes[1].wait_fetched(first).unwrap();
    for seed in 2..6 {
        nodes[0].link.publish(snapshot(seed));
    }
    nodes[2].fetch(first, &[0]);
    nodes[2].wait_fetched(first).unwrap();
}

/// Node 0 of two, played by `answer`: whatever it says to a request for a chunk.
fn impostor(
    run: &str,
    victims: &[String],
    answer: impl Fn(ChunkRequest, Query) + Send + Sync + 'static,
) -> zenoh::Session {
    let session = foreign_session(victims);
    let prefix = prefix(run);
    let hello = Hello {
        node: 0,
        incarnation: 1,
        nodes: 3,
        description: config(run, 0, 3).description,
    };
    session
        .declare_queryable(format!("{prefix}/hello/0/1"))
        .callback(move |query| {
            query
                .reply(query.key_expr().clone(), hello.encode())
                .wait()
                .unwrap();
        })
        .background()
        .wait()
        .unwrap();
    session
        .declare_queryable(format!("{prefix}/vector/0/1"))
        .callback(move |query| {
            let request = ChunkRequest::decode(&query.payload().unwrap().to_bytes()).unwrap();
            answer(request, query);
        })
        .background()
        .wait()
        .unwrap();
    let token = session
        .liveliness()
        .declare_token(format!("{prefix}/node/0/1"));
    std::mem::forget(token.wait().unwrap());
    session
}

/// What an impostor does with a request.
type Answer = Box<dyn Fn(ChunkRequest, Query) + Send + Sync>;

/// What the honest holder would say.
fn honest(vector: &Snapshot, request: &ChunkRequest) -> Vec<u8> {
    let all: Vec<f32> = [vector.parameters(), vector.buffers()].concat();
    let range = request.first as usize..request.first as usize + request.count as usize;
    all[range]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Nodes 1 and 2, where node 1 has a vector, beside an impostor as node 0: node 2, which sees both,
/// node 1, the vector's digest, and the impostor.
fn with_impostor(
    run: &str,
    answer: impl Fn(ChunkRequest, Query) + Send + Sync + 'static,
) -> (Node, Node, SnapshotDigest, zenoh::Session) {
    let mut configs = configs(run, 3);
    configs.remove(0);
    let victims = [configs[1].listen[0].clone()];
    let mut nodes = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap());
    let (holder, fetcher) = (nodes.next().unwrap(), nodes.next().unwrap());
    let digest = holder.link.publish(snapshot(1));
    let session = impostor(run, &victims, answer);
    fetcher.wait_appeared_all(&[0, 1]);
    (fetcher, holder, digest, session)
}

fn fetched_despite(run: &str, answer: impl Fn(ChunkRequest, Query) + Send + Sync + 'static) {
    let (fetcher, _holder, digest, _session) = with_impostor(run, answer);
    fetcher.fetch(digest, &[0, 1]);
    let (fetched, holder) = fetcher.wait_fetched(digest).unwrap();
    assert_eq!((fetched.digest(), holder), (digest, 1), "{run}");
}

fn reply(query: &Query, bytes: Vec<u8>) {
    // The node that asked may have given up.
    let _ = query.reply(query.key_expr().clone(), bytes).wait();
}

#[test]
fn whoever_serves_wrong_bytes_is_passed_over() {
    let other = snapshot(2);
    fetched_despite("other values", move |request, query| {
        reply(&query, honest(&other, &request))
    });
    fetched_despite("too short", move |request, query| {
        reply(&query, vec![0; 4 * request.count as usize - 1]);
    });
    fetched_despite("too long", move |request, query| {
        reply(&query, vec![0; 4 * request.count as usize + 4]);
    });
    fetched_despite("far too long", move |_, query| {
        reply(&query, vec![0; 10_000_000])
    });
    fetched_despite("not finite", move |request, query| {
        reply(&query, vec![0xff; 4 * request.count as usize]);
    });
    fetched_despite("refuses", |_, query| {
        query
            .reply_err("no\nsuch thing".repeat(1000))
            .wait()
            .unwrap();
    });
    fetched_despite("silent", |_, query| drop(query));
}

#[test]
fn when_the_holder_vanishes_midway_the_next_is_asked() {
    let vector = snapshot(1);
    let asked = AtomicUsize::new(0);
    let unanswered = Mutex::new(Vec::new());
    let (third, wait_third) = mpsc::channel();
    // Two chunks come; the queries for others are still open when the session goes.
    let answer = move |request: ChunkRequest, query: Query| match asked.fetch_add(1, SeqCst) {
        0 | 1 => reply(&query, honest(&vector, &request)),
        _ => {
            unanswered.lock().unwrap().push(query);
            let _ = third.send(());
        }
    };
    let (fetcher, _others, digest, session) = with_impostor("midway", answer);
    fetcher.fetch(digest, &[0, 1]);
    wait_third.recv().unwrap();
    session.close().wait().unwrap();
    let (fetched, holder) = fetcher.wait_fetched(digest).unwrap();
    assert_eq!((fetched.digest(), holder), (digest, 1));
}

/// Node 1 waits for its first chunk. Node 2, to which the holder never gives what node 1 hands on, gets it
/// from node 1: what is there at once, the first chunk when it arrives.
#[test]
fn those_who_fetch_together_hand_on_what_has_arrived() {
    let vector = snapshot(1);
    assert_eq!(vector.values().div_ceil(CHUNK), 10);
    let (digest, copy) = (vector.digest(), vector.clone());
    let (asked, wait_asked) = mpsc::channel();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let answer = move |request: ChunkRequest, query: Query| {
        let chunk = request.first as usize / CHUNK;
        assert!(!request.waits, "the holder has all of it");
        match (request.asker, chunk) {
            // Again and again: later answers overtake it.
            (1, 0) => keep.lock().unwrap().push((request, query)),
            (2, 0 | 2) => std::mem::forget(query),
            _ => reply(&query, honest(&copy, &request)),
        }
        let _ = asked.send((request.asker, chunk));
    };
    let mut configs = configs("together", 3);
    configs.remove(0);
    let victims = [0, 1].map(|index: usize| configs[index].listen[0].clone());
    let nodes: Vec<Node> = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap())
        .collect();
    let _session = impostor("together", &victims, answer);
    nodes[0].wait_appeared_all(&[0, 2]);
    nodes[1].wait_appeared_all(&[0, 1]);
    let until = |wanted: (u32, usize)| while wait_asked.recv_timeout(TIMEOUT).unwrap() != wanted {};

    nodes[0].fetch_together(digest, &[0, 2]);
    until((1, 0));
    nodes[1].fetch_together(digest, &[0, 1]);
    until((2, 1));
    let release = || {
        let kept = std::mem::take(&mut *kept.lock().unwrap());
        for (request, query) in kept {
            reply(&query, honest(&vector, &request));
        }
    };
    release();
    let fetched = nodes[0].wait_fetched(digest).unwrap();
    assert_eq!((fetched.0.digest(), fetched.1), (digest, 0));
    let fetched = nodes[1].wait_fetched(digest).unwrap();
    assert_eq!((fetched.0.digest(), fetched.1), (digest, 0));
    let traffic = nodes[1].link.traffic();
    let handed_on = traffic.peers[&1][&TrafficKind::Parameters].received;
    assert!(handed_on >= 2 * 4 * CHUNK as u64, "{handed_on}");
    let sent = nodes[0].link.traffic().peers[&2][&TrafficKind::Parameters].sent;
    assert!(sent >= handed_on, "{sent} {handed_on}");
}

/// What a partner does not deliver as it should comes from the holder.
#[test]
fn no_partner_can_spoil_a_fetch() {
    let other = snapshot(2);
    let despite = |run: &str, answer: Answer| {
        let (fetcher, _holder, digest, _session) = with_impostor(run, answer);
        fetcher.fetch_together(digest, &[1, 0]);
        let (fetched, holder) = fetcher.wait_fetched(digest).unwrap();
        assert_eq!((fetched.digest(), holder), (digest, 1), "{run}");
    };
    despite(
        "handed on wrong",
        Box::new(move |request, query| reply(&query, honest(&other, &request))),
    );
    despite(
        "handed on not finite",
        Box::new(|request, query| reply(&query, vec![0xff; 4 * request.count as usize])),
    );
    despite(
        "handed on too short",
        Box::new(|request, query| reply(&query, vec![0; 4 * request.count as usize - 1])),
    );
    despite(
        "not handed on",
        Box::new(|_, query| query.reply_err("not I").wait().unwrap()),
    );
    despite("dropped", Box::new(|_, query| drop(query)));
    despite("hangs", Box::new(|_, query| std::mem::forget(query)));
}

#[test]
fn a_fetch_under_way_is_shared() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (begun, wait_begun) = mpsc::channel();
    // Node 0 lets the first request wait, and then refuses.
    let answer = move |_, query: Query| {
        let _ = begun.send(());
        let _ = wait.lock().unwrap().recv();
        query.reply_err("not I").wait().unwrap();
    };
    let (fetcher, _others, digest, _session) = with_impostor("shared", answer);
    fetcher.fetch(digest, &[0]);
    wait_begun.recv().unwrap();
    fetcher.fetch(digest, &[1]);
    drop(go);
    let (_, holder) = fetcher.wait_fetched(digest).unwrap();
    assert_eq!(holder, 1);
    let again = fetcher
        .told()
        .into_iter()
        .filter(|told| matches!(told, Incoming::Fetched { .. }));
    assert_eq!(again.count(), 0);
}
