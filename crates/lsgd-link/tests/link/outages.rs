//! Links that freeze without being closed, as when a process is stopped or a cable is cut.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lsgd_link::Incoming;

use crate::nodes::{Node, TIMEOUT, configs, snapshot, status};
use crate::ports::free_port;

/// In which a link that has frozen is noticed on the busiest machine: four times as long as a silent
/// one is kept. At what Zenoh is set to by itself it would take ten seconds.
const NOTICED: Duration = Duration::from_secs(9);

/// Forwards bytes between each client and `to`, while it is not frozen.
struct Cable {
    port: u16,
    frozen: Arc<(Mutex<bool>, Condvar)>,
}

impl Cable {
    fn to(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let frozen = Arc::new((Mutex::new(false), Condvar::new()));
        let gate = frozen.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = TcpStream::connect(&to) else {
                    continue;
                };
                for (mut from, mut to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ] {
                    let gate = gate.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            let (frozen, thawed) = &*gate;
                            drop(thawed.wait_while(frozen.lock().unwrap(), |frozen| *frozen));
                            if to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { port, frozen }
    }

    fn set_frozen(&self, frozen: bool) {
        *self.frozen.0.lock().unwrap() = frozen;
        self.frozen.1.notify_all();
    }
}

#[test]
fn a_link_that_freezes_is_noticed_in_time_and_heals() {
    let mut configs = configs("frozen", 3);
    for config in &mut configs {
        // Long enough to see what is told before the freeze is noticed, even if the machine stands still.
        config.lease = Duration::from_millis(2250);
    }
    // Node 1 reaches node 0 over the cable only; node 2 has a link of its own to node 0.
    let address = configs[0].listen[0]
        .strip_prefix("tcp/")
        .unwrap()
        .to_owned();
    let cable = Cable::to(address);
    configs[0].connect.clear();
    // A list of all nodes, so that it does not connect to node 0 at the address that it hears of: the two
    // would share two links, and the other would go on. Nobody is at the last endpoint.
    configs[1].known_as = configs[1].listen.pop();
    configs[1].connect = [cable.port, free_port()]
        .map(|port| format!("tcp/127.0.0.1:{port}"))
        .into();
    configs[2].connect.truncate(1);
    configs[2].listen.clear();
    let nodes: Vec<_> = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap())
        .collect();
    nodes[1].wait_appeared(0);
    nodes[2].wait_appeared(0);
    let digest = nodes[0].link.publish(snapshot(1));
    nodes[0].link.broadcast(&status(0, 1));
    nodes[1].wait_status(|heard| heard.node == 0);
    cable.set_frozen(true);
    let frozen = Instant::now();
    // A fetch that begins now gets nowhere, and ends with its holder.
    nodes[1].fetch(digest, &[0]);
    for sequence in 2..1000 {
        nodes[0].link.broadcast(&status(0, sequence));
    }
    // Telling the others is not held up by the link that is frozen, which would take until it is given up.
    let told = nodes[0].told();
    let given_up = |incoming: &Incoming| matches!(incoming, Incoming::Disconnected { node: 1, .. });
    assert!(!told.iter().any(given_up), "{told:?}");
    // A busy link drops statuses; the next one that it takes says more.
    let mut sequence = 1000;
    while !nodes[2].hears_soon(|heard| heard.sequence >= 999) {
        nodes[0].link.broadcast(&status(0, sequence));
        sequence += 1;
        assert!(frozen.elapsed() < TIMEOUT, "no status passes any more");
    }
    nodes[0].wait_vanished(1);
    nodes[1].wait_vanished(0);
    let noticed = frozen.elapsed();
    assert!(noticed < NOTICED, "{noticed:?}");
    assert!(nodes[1].wait_fetched(digest).is_err());
    cable.set_frozen(false);
    nodes[0].wait_appeared(1);
    nodes[1].wait_appeared(0);
    nodes[1].fetch(digest, &[0]);
    nodes[1].wait_fetched(digest).unwrap();
}
