//! How fast a vector crosses the link between two nodes on loopback, as a ratio to bare TCP and to
//! one bare Zenoh query, all in one run. Prints a line of JSON.
//!
//! ```sh
//! cargo run --release -p lsgd-link --example fetch_speed      # VGG-16's size, 7 rounds
//! ```

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use lsgd_core::{Layout, Snapshot, Source, WireFormat, WorkerId};
use lsgd_link::{FetchRequest, Incoming, Link, LinkConfig};
use serde_json::json;
use zenoh::Wait;

const ROUNDS: usize = 7;

/// Values of the vector: 61 MB, about those of VGG-16 for CIFAR-10.
const VALUES: usize = 15_250_000;

#[derive(Module, Debug)]
struct Values {
    all: Param<Tensor<1>>,
}

fn main() -> zenoh::Result<()> {
    let device = Device::flex().autodiff();
    let layout = Layout::of(&Values {
        all: Param::from_tensor(Tensor::zeros([VALUES], &device)),
    });
    let bytes = 4 * (layout.parameter_len() + layout.buffer_len());
    let nodes = [open(0, &layout)?, open(1, &layout)?];
    for (node, other) in [(&nodes[0], 1), (&nodes[1], 0)] {
        while !matches!(node.1.recv()?, Incoming::Connected { node, .. } if node == other) {}
    }
    let (holder, asker) = bare_sessions(bytes)?;
    let mut seconds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (name, measure) in [
            ("tcp", &(|| tcp(bytes)) as &dyn Fn() -> zenoh::Result<f64>),
            ("query", &|| query(&asker, bytes)),
            ("fetch", &|| fetch(&nodes, &layout, round as u64)),
        ] {
            seconds.entry(name).or_default().push(measure()?);
        }
    }
    drop(holder);
    let median = |name: &str| {
        let mut all = seconds[name].clone();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let rate = |name: &str| bytes as f64 / median(name) / 1e6;
    let line = json!({
        "bytes": bytes,
        "rounds": ROUNDS,
        "tcp_mb_per_second": rate("tcp"),
        "query_mb_per_second": rate("query"),
        "fetch_mb_per_second": rate("fetch"),
        "fetch_over_tcp": rate("fetch") / rate("tcp"),
        "fetch_over_query": rate("fetch") / rate("query"),
        "seconds": seconds,
    });
    println!("{line}");
    Ok(())
}

type Node = (Link, Receiver<Incoming>);

fn open(node: u32, layout: &Arc<Layout>) -> zenoh::Result<Node> {
    let (sink, inbox) = mpsc::channel();
    let endpoint = String::from("tcp/127.0.0.1:17447");
    let (listen, connect) = match node {
        0 => (vec![endpoint], Vec::new()),
        _ => (Vec::new(), vec![endpoint]),
    };
    let config = LinkConfig {
        run: String::from("fetch_speed"),
        node,
        nodes: 2,
        incarnation: u64::from(node),
        listen,
        connect,
        known_as: None,
        tls: None,
        lease: lsgd_link::LEASE,
        wire: WireFormat::F32,
        description: BTreeMap::new(),
        layout: layout.clone(),
    };
    let link = Link::open(config, move |incoming| {
        let _ = sink.send(incoming);
    })?;
    Ok((link, inbox))
}

/// Fetches a new vector, from the call to the checked snapshot.
fn fetch(nodes: &[Node; 2], layout: &Arc<Layout>, step: u64) -> zenoh::Result<f64> {
    let id = WorkerId::new(0, 0);
    let source = Source::Worker { id, step };
    let values = |count| vec![step as f32; count];
    let (parameters, buffers) = (values(layout.parameter_len()), values(layout.buffer_len()));
    let snapshot = Snapshot::new(layout.clone(), source, parameters, buffers)?;
    let digest = nodes[0].0.publish(Arc::new(snapshot));
    let start = Instant::now();
    nodes[1].0.fetch(FetchRequest {
        digest,
        source,
        weights: 0,
        holders: vec![0],
        together: false,
    });
    loop {
        if let Incoming::Fetched { outcome, .. } = nodes[1].1.recv()? {
            outcome?;
            return Ok(start.elapsed().as_secs_f64());
        }
    }
}

fn tcp(bytes: usize) -> zenoh::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(&vec![1; bytes])
    });
    let mut stream = TcpStream::connect(address)?;
    let mut received = vec![0; bytes];
    let start = Instant::now();
    stream.read_exact(&mut received)?;
    let seconds = start.elapsed().as_secs_f64();
    sender.join().expect("the sender does not panic")?;
    Ok(seconds)
}

/// Two sessions as Zenoh sets them up, one of which answers a query with `bytes` bytes.
fn bare_sessions(bytes: usize) -> zenoh::Result<(zenoh::Session, zenoh::Session)> {
    let open = |role: &str| {
        let settings = format!(
            r#"{{ mode: "peer", {role}: {{ endpoints: ["tcp/127.0.0.1:17448"] }},
                 scouting: {{ multicast: {{ enabled: false }} }} }}"#
        );
        zenoh::open(zenoh::Config::from_json5(&settings)?).wait()
    };
    let (holder, asker) = (open("listen")?, open("connect")?);
    holder
        .declare_queryable("bare")
        .callback(move |query| {
            let _ = query.reply("bare", vec![1; bytes]).wait();
        })
        .background()
        .wait()?;
    Ok((holder, asker))
}

fn query(asker: &zenoh::Session, bytes: usize) -> zenoh::Result<f64> {
    loop {
        let start = Instant::now();
        let replies = asker.get("bare").wait()?;
        // Until the two sessions have met there is no reply.
        if let Ok(reply) = replies.recv() {
            let sample = reply.into_result().map_err(|error| error.to_string())?;
            let mut received = vec![0; bytes];
            sample.payload().reader().read_exact(&mut received)?;
            return Ok(start.elapsed().as_secs_f64());
        }
    }
}
