//! Runs under a virtual clock: what they compute, when they end, and what passes between nodes.
//! Steps take a second; times are checked by hand.

use std::time::Duration;

use burn::nn::BatchNormConfig;
use lsgd_core::{
    BatchNorm, Event, LeaderConfig, LeaderSgd, LocalLeader, Method, Mode, NodeLoss, Scope,
    SimulatedLink, SimulatedTraffic, Simulation, SimulationConfig, Source, Status, WireFormat,
    Worker, WorkerId,
};

use crate::memory::Node;
use crate::setting::{Point, bits, bowl_worker, config, device, exchanges, lsgd, sgd};
use crate::sim_workers::{
    LATENCY, LINK, Net, SECOND, Still, ends, every_step, milliseconds, run, sim_workers,
    simulation, still,
};

/// What is computed is what workers in memory compute, to the bit.
#[test]
fn a_simulated_node_computes_what_workers_in_memory_do() {
    let periodic = lsgd(LeaderConfig {
        local_period: 2,
        global_period: 2,
        ..config()
    });
    for method in [
        periodic,
        Method::local_sgd(exchanges(2)).expect("valid"),
        Method::leader_mean(exchanges(2), 0.5).expect("valid"),
    ] {
        let config = simulation(1, 3, method.clone(), Mode::Sync);
        let sim_workers = sim_workers(&config, 8, |_, exchange| {
            bowl_worker(method.clone(), sgd(), exchange)
        });
        let simulated = run(&config, sim_workers);
        let leader = LocalLeader::new(0, 3, method.clone(), Mode::Sync).expect("valid");
        let mut node = Node::new(leader, |exchange| {
            bowl_worker(method.clone(), sgd(), exchange)
        });
        assert_eq!(node.run(8), Ok(true));
        let in_memory: Vec<Vec<u32>> = node
            .workers()
            .map(|worker| bits(&worker.module().values()))
            .collect();
        let name = method.name();
        assert_eq!(ends(&simulated.sim_workers), in_memory, "{name}");
        // Workers in memory have their turns in another order after an exchange.
        let exchanges = |event: &&Event| !matches!(event, Event::Adoption { .. });
        let events = simulated.sim_workers.events.iter().map(|(.., event)| event);
        let events: Vec<&Event> = events.filter(exchanges).collect();
        let in_memory: Vec<&Event> = node.events().iter().filter(exchanges).collect();
        assert_eq!(events, in_memory, "{name}");
        assert_eq!(simulated.end, 8 * SECOND, "{name}");
        assert_eq!(simulated.traffic, SimulatedTraffic::default(), "{name}");
    }
}

/// An exchange is a report, the command to publish, the snapshot, and its delivery: four times the
/// latency, and the snapshot's bytes twice.
#[test]
fn a_meeting_takes_as_long_as_its_messages_and_bytes() {
    for (scale, exchange) in [(1.0, 40 + 20), (3.0, 40 + 60)] {
        let config = SimulationConfig {
            local: LINK,
            scale,
            ..simulation(1, 2, every_step(), Mode::Sync)
        };
        let run = run(&config, still(&config, 4));
        assert_eq!(run.end, 4 * (SECOND + milliseconds(exchange)), "{scale}");
        let bytes = run
            .sim_workers
            .events
            .iter()
            .find_map(|(.., event)| match event {
                Event::Exchange { bytes, .. } => Some(*bytes),
                _ => None,
            });
        assert_eq!(bytes, Some(8 * scale as u64));
    }
}

/// A snapshot of four parameters and four running statistics is 32 bytes; it is delivered with the
/// mean of the statistics, 16 bytes.
#[test]
fn mean_statistics_take_their_time_too() {
    let method = lsgd(LeaderConfig {
        batch_norm: BatchNorm::Mean,
        ..config()
    });
    let config = SimulationConfig {
        local: LINK,
        ..simulation(1, 1, method, Mode::Sync)
    };
    let sim_workers = sim_workers(&config, 1, |_, exchange| {
        let norm = BatchNormConfig::new(2).init(&device());
        let optimizer = LeaderSgd::new(sgd(), config.method.clone(), exchange);
        Worker::new(Net { norm }, optimizer, Still { loss: 1.0 })
    });
    let bytes = 32 + (32 + 16);
    let exchange = Duration::from_secs_f64(bytes as f64 / LINK.bandwidth);
    let end = run(&config, sim_workers).end;
    assert_eq!(end, SECOND + milliseconds(40) + exchange);
}

/// A worker requests its centre, receives it and adds its difference: three times the latency, and
/// the bytes both ways.
#[test]
fn a_centre_takes_its_time() {
    let method = Method::easgd_async(exchanges(1), 0.5, 1).expect("valid");
    let config = SimulationConfig {
        local: SimulatedLink {
            bandwidth: 8.0,
            ..LINK
        },
        ..simulation(1, 1, method, Mode::Async)
    };
    let run = run(&config, still(&config, 5));
    let adopted = run
        .sim_workers
        .events
        .iter()
        .find_map(|(at, _, event)| match event {
            Event::Adoption { .. } => Some(*at),
            _ => None,
        });
    // It requests after its first step and receives during the third. What it then says arrives
    // after its difference.
    assert_eq!(adopted, Some(4 * SECOND + milliseconds(10)));
    assert_eq!(run.end, 5 * SECOND);
}

/// The leader's node continues once it has received the other's update, the other once it has
/// requested and received the leader's parameters. All begin when each has heard from the other.
#[test]
fn a_round_takes_as_long_as_what_passes_between_nodes() {
    for (wire, scale, bytes) in [
        (WireFormat::F32, 1.0, 8),
        (WireFormat::Bf16, 1.0, 4),
        (WireFormat::Int8, 1.0, 3),
        (WireFormat::F32, 3.0, 24),
    ] {
        let config = SimulationConfig {
            global: LATENCY,
            wire,
            scale,
            ..simulation(2, 1, every_step(), Mode::Sync)
        };
        let run = run(&config, still(&config, 2));
        let begins = 10;
        let (leads, follows) = (begins + 1000 + 10, begins + 1000 + 10 + 20);
        // The leader has its update earlier; the other receives that in time, and it receives the
        // other's update after 10.
        let again = (follows + 1000 + 10, follows + 1000 + 20);
        let at = |times: [u64; 2], bytes| times.map(|time| (milliseconds(time), bytes));
        assert_eq!(run.exchanges(0), at([leads, again.0], 0), "{wire:?}");
        assert_eq!(run.exchanges(1), at([follows, again.1], bytes), "{wire:?}");
        assert_eq!(run.end, milliseconds(again.1));
        let SimulatedTraffic {
            vectors,
            vector_bytes,
            statuses,
            status_bytes,
        } = run.traffic;
        assert_eq!((vectors, vector_bytes), (2, 2 * bytes));
        // Each node at least says that it is connected, trains, and contributes to each round.
        assert!((8..40).contains(&statuses), "{statuses}");
        let longest = Status::MAX_LEN as u64;
        assert!((statuses * 50..statuses * longest).contains(&status_bytes));
    }
}

/// A second for a vector. A leader's crosses its node's link once, however many fetch it, since they hand
/// it on; of the sums for a mean a node sends its own to one node after another.
#[test]
fn a_leaders_vector_takes_as_long_to_many_as_to_one() {
    let last = |nodes: u32, method: &Method| {
        let config = SimulationConfig {
            global: SimulatedLink {
                bandwidth: 8000.0,
                ..LATENCY
            },
            scale: 1000.0,
            ..simulation(nodes, 1, method.clone(), Mode::Sync)
        };
        let run = run(&config, still(&config, 1));
        let last = (0..nodes).map(|node| run.exchanges(node)[0]).max();
        (last.expect("at least one").0, run.traffic.vector_bytes)
    };
    let leader = every_step();
    let (to_one, bytes) = last(2, &leader);
    assert_eq!(bytes, 8000);
    assert_eq!(last(3, &leader), (to_one, 16_000));
    assert_eq!(last(6, &leader), (to_one, 40_000));
    let mean = Method::local_sgd(exchanges(1)).expect("valid");
    let ((of_two, _), (of_three, bytes)) = (last(2, &mean), last(3, &mean));
    assert!(of_three >= of_two + SECOND, "{of_three:?} {of_two:?}");
    assert_eq!(bytes, 6 * 8000);
}

/// A heartbeat a second, however long a step takes.
#[test]
fn nodes_send_heartbeats_while_their_workers_step() {
    let statuses = |pace: fn(WorkerId) -> Duration| {
        let config = SimulationConfig {
            global: LATENCY,
            ..simulation(2, 1, every_step(), Mode::Sync)
        };
        let mut sim_workers = still(&config, 1);
        sim_workers.pace = pace;
        run(&config, sim_workers).traffic.statuses
    };
    let in_nine_seconds = statuses(|_| 10 * SECOND) - statuses(|_| SECOND);
    assert_eq!(in_nine_seconds, 2 * 9);
}

/// The parameters that lead and the sums to be averaged are both there for others as long as they
/// are needed.
#[test]
fn nodes_that_exchange_two_vectors_find_both() {
    let method = Method::leader_mean(exchanges(1), 0.5).expect("valid");
    let config = simulation(2, 2, method, Mode::Sync);
    let sim_workers = sim_workers(&config, 4, |id, exchange| {
        let optimizer = LeaderSgd::new(sgd(), config.method.clone(), exchange);
        let loss = id.worker as f32;
        let at = Point::at(&[id.node as f32, loss]);
        Worker::new(at, optimizer, Still { loss })
    });
    let run = run(&config, sim_workers);
    assert!(!run.has(|event| matches!(event, Event::NotFetched { .. })));
    let means = |event: &Event| {
        matches!(
            event,
            Event::Exchange {
                source: Source::Mean { workers: 4 },
                ..
            }
        )
    };
    assert!(run.has(means));
    // A leader's to one other, and each sum to the other.
    assert_eq!(run.traffic.vectors, 4 * 3);
}

/// A worker that only computes for a long time is not taken for dead.
#[test]
fn a_slow_node_is_waited_for() {
    let config = simulation(2, 1, every_step(), Mode::Sync);
    let mut sim_workers = still(&config, 1);
    sim_workers.pace = |id| match id.node {
        0 => SECOND,
        _ => 100 * SECOND,
    };
    let run = run(&config, sim_workers);
    assert!(!run.has(|event| matches!(event, Event::NodeLost { .. })));
    assert_eq!(run.exchanges(0)[0].0, 100 * SECOND);
}

/// The other continues alone once the node's workers have finished, which is sooner.
#[test]
fn a_node_that_has_ended_is_not_waited_for() {
    let config = simulation(2, 2, every_step(), Mode::Sync);
    let mut sim_workers = still(&config, 4);
    sim_workers.less = [0, 1].map(|worker| (WorkerId::new(0, worker), 2)).into();
    let run = run(&config, sim_workers);
    assert_eq!(run.end, 4 * SECOND);
    assert_eq!((run.exchanges(0).len(), run.exchanges(1).len()), (2, 4));
}

/// The others of its node continue without it, and it takes no more steps.
#[test]
fn a_dead_worker_is_not_waited_for() {
    let config = SimulationConfig {
        deaths: vec![(WorkerId::new(0, 0), milliseconds(1500))],
        ..simulation(1, 2, every_step(), Mode::Sync)
    };
    let run = run(&config, still(&config, 4));
    assert_eq!(run.end, 4 * SECOND);
    let left = Event::Left {
        step: 1,
        worker: WorkerId::new(0, 0),
    };
    assert!(run.has(|event| *event == left));
    let steps = run.sim_workers.slots.values();
    let steps: Vec<u64> = steps
        .map(|(worker, _)| worker.optimizer().steps())
        .collect();
    assert_eq!(steps, [1, 4]);
}

/// Who has finished does not die any more.
#[test]
fn a_worker_that_has_ended_cannot_die() {
    let config = SimulationConfig {
        deaths: vec![(WorkerId::new(0, 0), milliseconds(3500))],
        ..simulation(1, 2, every_step(), Mode::Async)
    };
    let mut sim_workers = still(&config, 3);
    sim_workers.pace = |id| (1 + id.worker) * SECOND;
    let run = run(&config, sim_workers);
    assert_eq!(run.end, 6 * SECOND);
    assert!(!run.has(|event| matches!(event, Event::Left { .. })));
}

/// The other node waits until it notices, and continues alone.
#[test]
fn a_dead_node_is_noticed_after_the_lease() {
    let config = SimulationConfig {
        global: LATENCY,
        lease: milliseconds(300),
        deaths: vec![(WorkerId::new(1, 0), milliseconds(1950))],
        ..simulation(2, 1, every_step(), Mode::Sync)
    };
    let run = run(&config, still(&config, 2));
    let lost = run
        .sim_workers
        .events
        .iter()
        .find_map(|(at, node, event)| match event {
            Event::NodeLost {
                node: gone, why, ..
            } => Some((*at, *node, *gone, *why)),
            _ => None,
        });
    let noticed = milliseconds(1950 + 300);
    assert_eq!(lost, Some((noticed, 0, 1, NodeLoss::Disconnected)));
    assert_eq!(run.exchanges(0)[1].0, noticed);
    assert_eq!(run.end, noticed);
}

/// The leader's node dies when the other has learned of its vector and not yet requested it.
#[test]
fn a_vector_of_a_dead_node_cannot_be_had() {
    let config = SimulationConfig {
        global: LATENCY,
        deaths: vec![(WorkerId::new(0, 0), milliseconds(1015))],
        ..simulation(2, 1, every_step(), Mode::Sync)
    };
    let run = run(&config, still(&config, 1));
    let source = Source::Worker {
        id: WorkerId::new(0, 0),
        step: 1,
    };
    let not_fetched = Event::NotFetched {
        step: 1,
        source,
        why: String::from("nobody has it"),
    };
    assert!(run.has(|event| *event == not_fetched));
    assert_eq!(run.exchanges(1), [(milliseconds(1020), 0)], "its own");
}

/// In `async` too a run repeats: what happened, and where it ended.
#[test]
fn a_run_repeats_to_the_bit() {
    let history = || {
        let method = lsgd(LeaderConfig {
            local_period: 2,
            global_period: 4,
            ..config()
        });
        let config = SimulationConfig {
            local: LINK,
            global: LATENCY,
            ..simulation(2, 2, method.clone(), Mode::Async)
        };
        let mut sim_workers = sim_workers(&config, 40, |_, exchange| {
            bowl_worker(method.clone(), sgd(), exchange)
        });
        sim_workers.pace = |id| milliseconds(300 + 70 * u64::from(id.worker + id.node));
        let run = run(&config, sim_workers);
        let adoptions = |event: &Event| matches!(event, Event::Adoption { scope, .. } if *scope == Scope::Global);
        assert!(run.has(adoptions));
        (
            ends(&run.sim_workers),
            run.end,
            run.traffic,
            run.sim_workers.events,
        )
    };
    let (first, second) = (history(), history());
    assert_eq!(first, second);
    // The slowest takes 40 steps, counted from when the nodes have heard from each other.
    assert_eq!(first.1, milliseconds(10) + 40 * milliseconds(300 + 140));
}

/// What would take centuries does not overflow the clock.
#[test]
fn a_link_that_is_all_but_cut_takes_for_ever() {
    let config = SimulationConfig {
        local: SimulatedLink {
            bandwidth: 1e-20,
            ..LINK
        },
        ..simulation(1, 1, every_step(), Mode::Sync)
    };
    let end = run(&config, still(&config, 1)).end;
    assert!(end > Duration::from_secs(1 << 61), "{end:?}");
}

#[test]
fn a_run_without_steps_is_over_at_once() {
    let config = simulation(2, 2, every_step(), Mode::Sync);
    let run = run(&config, still(&config, 0));
    assert_eq!(run.end, Duration::ZERO);
}

/// The workers learn when, to save what there is.
#[test]
fn a_failure_ends_the_run_and_says_when() {
    let config = simulation(1, 2, every_step(), Mode::Sync);
    let mut sim_workers = still(&config, 4);
    sim_workers.fails_at = Some(milliseconds(2500));
    let aborted = sim_workers.aborted.clone();
    let simulation = Simulation::new(&config, sim_workers).expect("runs in sync");
    assert_eq!(simulation.run().err(), Some("out of memory"));
    assert_eq!(aborted.get(), Some(&(3 * SECOND)));
}
