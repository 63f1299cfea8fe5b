//! Two nodes of two workers, each a training of its own, over loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::split::split_dataloader;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::tensor::Device;
use burn_train::Interrupter;
use lsgd_core::{
    Event, ExchangeOutcome, Group, LeaderConfig, LocalLeader, Method, Mode, NodeLoss, NodeUpdate,
    Scope,
};
use lsgd_learner::{ClusterConfig, LeaderSgdStrategy};

use crate::bits::{best, worker};
use crate::setting::{
    BATCH, Batch, EPOCHS, Loader, Net, Point, Points, devices, end, folder, learner, loader, lsgd,
    points, training,
};

const NODES: u32 = 2;
const WORKERS: u32 = 2;
const ITEMS: usize = 192;
/// Steps of a worker in its training.
const STEPS: u64 = (EPOCHS * ITEMS / (NODES * WORKERS) as usize / BATCH) as u64;

/// Endpoints that are unused at this moment.
fn endpoints() -> Vec<String> {
    let held: Vec<TcpListener> = (0..NODES)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
        .collect();
    let address = |held: &TcpListener| {
        let address = held.local_addr().expect("a bound listener has an address");
        format!("tcp/{address}")
    };
    held.iter().map(address).collect()
}

/// How a node's training ended.
struct Outcome {
    /// The error, in a line, if there was one.
    error: Option<String>,
    bits: Vec<u32>,
    events: Vec<Event>,
}

/// A node's training.
struct Node {
    config: ClusterConfig,
    method: Method,
    mode: Mode,
    train: Loader,
    model: Net,
    interrupter: Interrupter,
}

impl Node {
    fn new(number: u32, endpoints: &[String]) -> Self {
        Self {
            config: ClusterConfig {
                wait: Duration::from_secs(60),
                // A machine that stands still for a second or two loses no node.
                lease: Duration::from_secs(10),
                ..ClusterConfig::new(number, endpoints.to_vec())
            },
            method: both_pull(),
            mode: Mode::Sync,
            train: loader(points(ITEMS)),
            model: Net::new(),
            interrupter: Interrupter::new(),
        }
    }

    /// Trains; `watch` is called with every event.
    fn train(self, watch: impl Fn(&Event) + Send + Sync + 'static) -> Outcome {
        let events = Arc::new(Mutex::new(Vec::new()));
        let record = {
            let events = events.clone();
            move |event: Event| {
                watch(&event);
                events.lock().expect("no thread panicked").push(event);
            }
        };
        let strategy = LeaderSgdStrategy::new(self.method, self.mode, devices(WORKERS as usize));
        let strategy = strategy.expect("a valid set-up").with_cluster(self.config);
        let folder = folder();
        let training = training(&folder, self.train, strategy.on_event(record));
        let training = training.with_interrupter(self.interrupter);
        let result = training.launch(learner(&self.model));
        let events = std::mem::take(&mut *events.lock().expect("no thread panicked"));
        Outcome {
            error: end(&result),
            bits: result.model.bits(),
            events,
        }
    }

    fn start(self) -> JoinHandle<Outcome> {
        self.start_watched(|_| {})
    }

    fn start_watched(self, watch: impl Fn(&Event) + Send + Sync + 'static) -> JoinHandle<Outcome> {
        thread::spawn(move || self.train(watch))
    }
}

fn outcomes(nodes: [Node; 2]) -> [Outcome; 2] {
    nodes.map(Node::start).map(ended)
}

fn ended(node: JoinHandle<Outcome>) -> Outcome {
    node.join().expect("its panics are errors")
}

/// Pulls to the node's leader every second step, to that of all every fourth.
fn both_pull() -> Method {
    let config = LeaderConfig {
        local_pull: 0.3,
        global_pull: 0.2,
        local_period: 2,
        global_period: 4,
        loss_window: 2,
        ..LeaderConfig::default()
    };
    Method::lsgd(&config).expect("a valid method")
}

/// The models of each node's best worker where nodes meet by hand: whichever brings the lowest loss
/// leads all.
fn by_hand(method: &Method, model: &Net, train: Loader, rounds: usize) -> Vec<Vec<u32>> {
    let all = (NODES * WORKERS) as usize;
    let mut shares = split_dataloader(train, &vec![Device::flex().autodiff(); all]).into_iter();
    let (updates, brought) = channel();
    let mut groups = Vec::new();
    let mut nodes = Vec::new();
    for node in 0..NODES {
        let leader = LocalLeader::new(node, WORKERS, method.clone(), Mode::Sync);
        let leader = leader.expect("runs in sync").among_nodes();
        let (group, members) = Group::form(leader, |_| {});
        let updates: Sender<(u32, NodeUpdate)> = updates.clone();
        group.on_update(move |update| updates.send((node, update)).expect("all are awaited"));
        groups.push(group);
        let start = |member| {
            let (method, model) = (method.clone(), model.valid().train());
            let batches = shares.next().expect("one for each worker");
            thread::spawn(move || worker(method, member, model, batches))
        };
        nodes.push(members.into_iter().map(start).collect::<Vec<_>>());
    }
    for _ in 0..rounds {
        let mut updates: Vec<(u32, NodeUpdate)> = brought.iter().take(NODES as usize).collect();
        updates.sort_by_key(|(node, _)| *node);
        let offers = updates.into_iter().filter_map(|(_, update)| update.leader);
        // Of two equals the first, which is the lower.
        let best = offers.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let (leader, _) = best.expect("windows are full by then");
        for group in &groups {
            group.adopt_global(ExchangeOutcome::leader(leader.clone()));
        }
    }
    let join = |workers: Vec<JoinHandle<_>>| {
        let ends = workers.into_iter().map(|w| w.join().expect("finishes"));
        best(&ends.collect::<Vec<_>>()).bits()
    };
    nodes.into_iter().map(join).collect()
}

/// How often some event was recorded.
fn count(outcome: &Outcome, is: impl Fn(&Event) -> bool) -> usize {
    outcome.events.iter().filter(|event| is(event)).count()
}

fn is_global_election(event: &Event) -> bool {
    let global = |scope: &Scope| *scope == Scope::Global;
    matches!(event, Event::Election { scope, .. } if global(scope))
}

/// The steps at which a node's own workers met.
fn exchanges(outcome: &Outcome) -> Vec<u64> {
    let step = |event: &Event| match event {
        Event::Election {
            step,
            scope: Scope::Local,
            ..
        } => Some(*step),
        _ => None,
    };
    outcome.events.iter().filter_map(step).collect()
}

/// Where a node's workers began, each time: the step, and whether with the parameters of another.
fn beginnings(outcome: &Outcome) -> Vec<(u64, bool)> {
    let beginning = |event: &Event| match event {
        Event::Joined { step, source, .. } => Some((*step, source.is_some())),
        _ => None,
    };
    outcome.events.iter().filter_map(beginning).collect()
}

/// Workers wait at it until it is opened.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        let (is_open, opened) = &*self.0;
        *is_open.lock().expect("no thread panicked") = true;
        opened.notify_all();
    }

    fn wait(&self) {
        let (is_open, opened) = &*self.0;
        let is_open = is_open.lock().expect("no thread panicked");
        let shut = |is_open: &mut bool| !*is_open;
        drop(
            opened
                .wait_while(is_open, shut)
                .expect("no thread panicked"),
        );
    }
}

/// Gives so many batches, and the rest once the door is open.
struct Held {
    free: AtomicU64,
    door: Door,
}

impl Batcher<Point, Batch> for Held {
    fn batch(&self, points: Vec<Point>, device: &Device) -> Batch {
        let one_less = |free: u64| free.checked_sub(1);
        let order = Ordering::Relaxed;
        if self.free.fetch_update(order, order, one_less).is_err() {
            self.door.wait();
        }
        Points.batch(points, device)
    }
}

/// Data that lets each of a node's two workers take so many steps before `door` is open.
fn held(steps: u64, door: &Door) -> Loader {
    let held = Held {
        free: AtomicU64::new(u64::from(WORKERS) * steps),
        door: door.clone(),
    };
    let loader = DataLoaderBuilder::new(held).batch_size(BATCH);
    loader.build(InMemDataset::new(points(ITEMS)))
}

/// The two items at the end that cannot be shared evenly are left over.
#[test]
fn two_nodes_of_two_workers_have_the_bits_of_leader_sgd_by_hand() {
    let endpoints = endpoints();
    let rounds = STEPS as usize / 4;
    let (model, method) = (Net::new(), both_pull());
    let expected = by_hand(&method, &model, loader(points(ITEMS)), rounds);
    let nodes = [0, 1].map(|number| Node {
        train: loader(points(ITEMS + 2)),
        ..Node::new(number, &endpoints)
    });
    let outcomes = outcomes(nodes);
    for (outcome, expected) in outcomes.iter().zip(expected) {
        assert_eq!(outcome.error, None);
        assert_eq!(count(outcome, is_global_election), rounds);
        assert_eq!(outcome.bits, expected);
    }
    assert_ne!(outcomes[0].bits, model.bits(), "it trains");
}

/// Data that the second node's second worker dies of in its third step, before nodes first meet.
fn poisoned() -> Vec<Point> {
    let mut points = points(ITEMS);
    points[ITEMS - ITEMS / 4 + 2 * BATCH].is_poison = true;
    points
}

/// In `async` no worker waits, so nothing but the end is sure.
#[test]
fn both_nodes_come_to_their_end_in_either_mode() {
    for mode in [Mode::Sync, Mode::Async] {
        let endpoints = endpoints();
        let nodes = [0, 1].map(|number| Node {
            mode,
            ..Node::new(number, &endpoints)
        });
        for outcome in outcomes(nodes) {
            assert_eq!(outcome.error, None, "{mode:?}");
            assert_eq!(beginnings(&outcome), [(0, false)], "{mode:?}");
            assert_eq!(count(&outcome, |e| matches!(e, Event::NodeLost { .. })), 0);
        }
    }
}

#[test]
fn a_node_goes_on_alone_when_the_other_dies() {
    let endpoints = endpoints();
    let [first, second] = outcomes([
        Node::new(0, &endpoints),
        Node {
            train: loader(poisoned()),
            ..Node::new(1, &endpoints)
        },
    ]);
    let said = "training worker on device 1 failed: this batch is poison";
    assert_eq!(second.error.as_deref(), Some(said));
    assert_eq!(first.error, None);
    let is_lost = |event: &Event| {
        let disconnected = |why: &NodeLoss| matches!(why, NodeLoss::Disconnected);
        matches!(event, Event::NodeLost { node: 1, why, .. } if disconnected(why))
    };
    assert_eq!(count(&first, is_lost), 1);
    assert_eq!(
        exchanges(&first),
        (2..=STEPS).step_by(2).collect::<Vec<_>>()
    );
}

/// Where a node begins with the parameters of another that waits after step 8, depending on what it
/// has received from that one.
const LATER: [(u64, bool); 2] = [(4, true), (8, true)];

/// The first node continues alone past two exchanges and waits there until the second is back.
#[test]
fn a_node_that_comes_back_begins_where_the_other_is() {
    let endpoints = endpoints();
    let (door, (alone, is_alone)) = (Door::default(), channel());
    let first = Node {
        train: held(8, &door),
        ..Node::new(0, &endpoints)
    };
    let first = first.start_watched(move |event| {
        if is_global_election(event) {
            // Later ones no worker waits for.
            let _ = alone.send(());
        }
    });
    let died = Node {
        train: loader(poisoned()),
        ..Node::new(1, &endpoints)
    };
    assert!(ended(died.start()).error.is_some());
    for _ in 0..2 {
        is_alone.recv().expect("the first node goes on");
    }
    let back = Node::new(1, &endpoints).start_watched(move |event| {
        if matches!(event, Event::Joined { .. }) {
            door.open();
        }
    });
    let [first, back] = [first, back].map(ended);
    assert_eq!((first.error, back.error.as_ref()), (None, None));
    let first_beginning = beginnings(&back)[0];
    assert!(LATER.contains(&first_beginning), "{first_beginning:?}");
    assert_eq!(exchanges(&back).last(), Some(&STEPS));
}

/// The second node stalls until the first has given up on it and moved on.
#[test]
fn a_node_that_is_left_behind_begins_again_where_the_other_is() {
    let endpoints = endpoints();
    let door = Door::default();
    let [first, second] = [(0, 8), (1, 2)].map(|(number, steps)| {
        let mut node = Node {
            train: held(steps, &door),
            ..Node::new(number, &endpoints)
        };
        // Longer than a machine stands still.
        node.config.round_limit = Duration::from_secs(3);
        node
    });
    let first = first.start();
    let second = second.start_watched(move |event| {
        let source = match event {
            Event::Joined { source, .. } => source,
            _ => return,
        };
        if source.is_some() {
            door.open();
        }
    });
    let [first, second] = [first, second].map(ended);
    assert_eq!((first.error, second.error.as_ref()), (None, None));
    let beginnings = beginnings(&second);
    assert_eq!(beginnings[0], (0, false));
    assert!(LATER.contains(&beginnings[1]), "{beginnings:?}");
    assert_eq!(exchanges(&second).last(), Some(&STEPS));
}

/// The second node stalls; the first, which waits for it at an exchange, is told to stop.
#[test]
fn a_node_that_waits_for_another_can_be_stopped() {
    let endpoints = endpoints();
    let door = Door::default();
    let second = Node {
        train: held(2, &door),
        ..Node::new(1, &endpoints)
    };
    let second = second.start();
    let first = Node::new(0, &endpoints);
    let interrupter = first.interrupter.clone();
    let first = first.start_watched(move |event| {
        if matches!(event, Event::Proposed { .. }) {
            interrupter.stop(None);
        }
    });
    let first = ended(first);
    assert_eq!(first.error, None);
    assert_eq!(exchanges(&first), [2, 4]);
    door.open();
    assert_eq!(ended(second).error, None);
}

#[test]
fn nodes_with_other_data_do_not_train_together() {
    let endpoints = endpoints();
    let nodes = [0, 1].map(|number| {
        let mut node = Node::new(number, &endpoints);
        node.train = loader(points(ITEMS + 4 * number as usize));
        // A node that sees the other leave before it learns why waits for it.
        node.config.wait = Duration::from_secs(5);
        node
    });
    let errors = outcomes(nodes).map(|outcome| outcome.error.unwrap_or_default());
    let differs = "training items is 192 here and 196 there";
    let also = "training items is 196 here and 192 there";
    assert!(
        errors
            .iter()
            .any(|e| e.contains(differs) || e.contains(also)),
        "{errors:?}"
    );
    assert!(errors.iter().all(|error| !error.is_empty()), "{errors:?}");
}

#[test]
fn a_link_that_cannot_be_opened_is_an_error() {
    let mut node = Node::new(0, &endpoints());
    node.config.listen = vec![String::from("udp/127.0.0.1:1")];
    let error = ended(node.start()).error.expect("an error");
    assert!(error.contains("udp/127.0.0.1:1"), "{error}");
}

#[test]
fn one_node_needs_no_link() {
    let alone = Node {
        method: lsgd(4),
        ..Node::new(0, &[String::from("nowhere")])
    };
    assert_eq!(ended(alone.start()).error, None);
}
