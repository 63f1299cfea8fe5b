//! Few open files, and strangers that hold connections.

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use super::cluster::{Cluster, ENDLESS, LIMIT, Place};
use super::ports::free_port;
use super::program::Runs;

fn few_files(most: u32) -> Vec<Place> {
    let place = |_| Place::on_loopback(&format!("tcp/127.0.0.1:{}", free_port()));
    let places = (0..2).map(place);
    places.map(|place| place.with_open_files(most)).collect()
}

/// More connections than a node may have files. None of them says anything. Some may fail: the node
/// closes those that are too many.
fn idle_connections(endpoint: &str) -> Vec<TcpStream> {
    let address = endpoint.strip_prefix("tcp/").unwrap();
    let connect = |_| TcpStream::connect(address).ok();
    (0..150).filter_map(connect).collect()
}

/// Two nodes with few files, once both train and write checkpoints; what they are started with, and where
/// they listen.
fn training<'a>(
    runs: &'a Runs,
    name: &str,
    saving: &'a str,
) -> (Cluster<'a>, Vec<&'a str>, [String; 2]) {
    let set = [&ENDLESS[..], &["workers.count=1", saving]].concat();
    let mut cluster = Cluster::at(runs, name, few_files(100))
        .patient()
        .started(&set);
    for node in &mut cluster.nodes {
        node.hear("; replica mean");
    }
    let endpoints = [1, 2].map(|number| cluster.endpoint(number).to_owned());
    (cluster, set, endpoints)
}

/// Connections are accepted before they are counted: a hundred at once hold every file that a node
/// may have, until those that are too many are closed.
#[test]
fn bursts_of_connections_end_nothing() {
    let runs = Runs::new();
    let (mut cluster, _, endpoints) = training(&runs, "bursts", "checkpoint.every_steps=4");
    thread::scope(|scope| {
        // Dropped at the end, also when this thread panics.
        let _until = endpoints.each_ref().map(|endpoint| {
            let (until, over) = channel::<()>();
            scope.spawn(move || {
                while over.try_recv() == Err(TryRecvError::Empty) {
                    let mut burst = idle_connections(endpoint);
                    // Until the node has closed the last one.
                    if let Some(last) = burst.last_mut() {
                        last.set_read_timeout(Some(LIMIT)).unwrap();
                        let _ = last.read(&mut [0]);
                    }
                }
            });
            until
        });
        cluster.train_on();
    });
    cluster.stop();
    for run in cluster.all_runs() {
        assert_eq!(run.summary()["end"], "interrupted");
    }
}

/// Checkpoints can be written all the while, and a node that is killed still comes back.
#[test]
fn idle_connections_take_no_files_from_the_run() {
    let runs = Runs::new();
    let (mut cluster, set, endpoints) = training(&runs, "crowded", "checkpoint.every_steps=20");
    let idle: Vec<_> = endpoints.iter().flat_map(|e| idle_connections(e)).collect();
    assert!(idle.len() >= 100, "{} connections", idle.len());
    cluster.train_on();
    cluster.nodes[1].signal("KILL");
    cluster.nodes[0].hear("node 2 disconnected");
    cluster.restart(2, &set);
    cluster.nodes[0].hear("node 2 connected");
    cluster.train_on();
    drop(idle);
    cluster.stop();
    for run in cluster.all_runs() {
        assert_eq!(run.summary()["end"], "interrupted");
    }
}

#[test]
fn too_few_open_files_are_named() {
    let runs = Runs::new();
    let cluster = Cluster::at(&runs, "few", few_files(24));
    let mut node = cluster.node(1, &[]);
    assert_eq!(node.end(), Some(2));
    let expected = "error: cluster: 2 nodes need 73 open files, and the limit is 24: raise it, as with \
                    ulimit -n 73";
    assert_eq!(node.said(), expected);
}

/// The soft limit, which shells set low, is no limit.
#[test]
fn the_soft_limit_is_raised() {
    let runs = Runs::new();
    let mut places = few_files(24);
    for place in &mut places {
        place.command[2] = place.command[2].replace("-n", "-Sn");
    }
    let set = ["budget.steps=8", "workers.count=1"];
    Cluster::at(&runs, "raised", places)
        .patient()
        .started(&set)
        .finish();
}
