//! BatchNorm's running statistics: `batch_norm = "own" | "leader" | "mean"`, and Burn's pending
//! updates, which would undo what is written before them.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use lsgd_core::{
    BatchNorm as Follow, Command, Delivery, Event, ExchangeOutcome, Layout, LeaderConfig,
    LeaderSgd, LocalLeader, Loss, Message, Method, Mode, Objective, Snapshot, SnapshotError,
    Source, VectorKind, Worker, WorkerId, read, read_buffers, write,
};

use crate::memory::QueueExchange;
use crate::setting::{config, device, exchanges, lsgd, report, sgd};

#[derive(Module, Debug)]
struct Net {
    norm: BatchNorm,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            norm: BatchNormConfig::new(2).with_momentum(0.5).init(device),
        }
    }

    /// A training forward of a batch with mean (2, 6) and variance (1, 4), and its gradients.
    fn train_forward(&self) -> GradientsParams {
        let batch = Tensor::<2>::from_floats([[1.0, 4.0], [3.0, 8.0]], &device());
        let loss = self.norm.forward(batch).powi_scalar(2).sum();
        GradientsParams::from_grads(loss.backward(), self)
    }
}

/// Running means, then variances, as a snapshot has them.
fn statistics(net: &Net) -> Vec<f32> {
    let source = Source::Mean { workers: 1 };
    let layout = Layout::of(net);
    let snapshot = read(net, &layout, source).expect("of its own layout");
    let alone = read_buffers(net, &layout).expect("of its own layout");
    assert_eq!(alone, snapshot.buffers(), "read without the parameters");
    alone
}

/// A module that is not of the layout it is said to be has none of its buffers.
#[test]
fn buffers_of_another_layout_are_refused() {
    let net = Net::new(&device());
    let other = Layout::of(&crate::setting::Point::at(&[0.0]));
    let (expected, found) = (1, 0);
    let refused = Err(SnapshotError::Length { expected, found });
    assert_eq!(read_buffers(&net, &other), refused);
}

/// The statistics start at (0, 0), (1, 1); half of the batch's comes in with every forward.
const AFTER_ONE: [f32; 4] = [1.0, 3.0, 1.0, 2.5];
const LEADERS: [f32; 4] = [5.0, 7.0, 9.0, 0.5];

fn leaders_snapshot(net: &Net, parameters: &[f32]) -> Arc<Snapshot> {
    let source = Source::Worker {
        id: WorkerId::new(0, 1),
        step: 1,
    };
    let (parameters, buffers) = (parameters.to_vec(), LEADERS.to_vec());
    let made = Snapshot::new(Layout::of(net), source, parameters, buffers);
    Arc::new(made.expect("as long as its layout"))
}

/// A training step of a worker with `batch_norm = follow`, and the exchange after it.
fn after_an_exchange(follow: Follow, pull: f64, mean: Option<[f32; 4]>) -> (Net, LeaderSgd) {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let method = lsgd(LeaderConfig {
        batch_norm: follow,
        local_pull: pull,
        ..config()
    });
    let mut worker = LeaderSgd::new(sgd(), method, exchange.clone());
    let net = Net::new(&device());
    let delivery = Delivery {
        local: ExchangeOutcome::leader(leaders_snapshot(&net, &[2.0, 2.0, 1.0, 1.0])),
        global: ExchangeOutcome::default(),
        buffers: mean.map(|mean| mean.as_slice().into()),
    };
    exchange
        .queues()
        .commands
        .push_back(Command::Adopt(delivery));
    let gradients = net.train_forward();
    (worker.step(0.0, net, gradients), worker)
}

impl Objective<Net> for () {
    type Error = std::convert::Infallible;

    fn gradients(&mut self, net: &Net, _: u64) -> Result<(Loss, GradientsParams), Self::Error> {
        Ok((Loss::from(1.0), net.train_forward()))
    }

    fn learning_rate(&self, _: u64) -> f64 {
        0.1
    }
}

/// Otherwise a node's centre would start with the statistics of whichever worker came first.
#[test]
fn a_worker_starts_as_it_was_before_its_first_forward() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let method = Method::downpour(exchanges(1)).expect("valid");
    let optimizer = LeaderSgd::new(sgd(), method, exchange.clone());
    let mut worker = Worker::new(Net::new(&device()), optimizer, ());
    worker.gradient_step().expect("has a gradient");
    let Some(Message::Begin(start)) = exchange.queues().sent.pop_front() else {
        panic!("it says where it starts first");
    };
    assert_eq!(start.buffers(), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(statistics(worker.module()), AFTER_ONE);
}

/// Parameters first, buffers apart; a snapshot has the last forward's update in it.
#[test]
fn read_flushes_the_pending_update() {
    let net = Net::new(&device());
    assert_eq!(statistics(&net), [0.0, 0.0, 1.0, 1.0]);
    let _ = net.train_forward();
    assert_eq!(statistics(&net), AFTER_ONE);
    let layout = Layout::of(&net);
    assert_eq!((layout.parameter_len(), layout.buffer_len()), (4, 4));
}

#[test]
fn own_statistics_stay_and_lose_no_update() {
    for pull in [0.5, 1.0] {
        let (net, _) = after_an_exchange(Follow::Own, pull, None);
        assert_eq!(statistics(&net), AFTER_ONE);
    }
}

#[test]
fn leaders_statistics_are_pulled_like_parameters() {
    let (net, _) = after_an_exchange(Follow::Leader, 0.5, None);
    assert_eq!(statistics(&net), [3.0, 5.0, 5.0, 1.5]);
    let (net, _) = after_an_exchange(Follow::Leader, 1.0, None);
    assert_eq!(statistics(&net), LEADERS);
    let (net, _) = after_an_exchange(Follow::Leader, 0.0, None);
    assert_eq!(statistics(&net), AFTER_ONE);
}

#[test]
fn mean_statistics_are_taken_over_whatever_the_pull() {
    for pull in [0.0, 0.5] {
        let (net, _) = after_an_exchange(Follow::Mean, pull, Some([4.0, 3.0, 2.0, 1.0]));
        assert_eq!(statistics(&net), [4.0, 3.0, 2.0, 1.0]);
    }
}

/// What is written stays: the next training forward starts from it.
#[test]
fn written_statistics_survive_a_training_step() {
    let half_way = |from: [f32; 4]| {
        [2.0, 6.0, 1.0, 4.0]
            .map(f32::from)
            .iter()
            .zip(from)
            .map(|(batch, from)| (batch + from) / 2.0)
            .collect::<Vec<f32>>()
    };

    let net = Net::new(&device());
    let _ = net.train_forward();
    let snapshot = leaders_snapshot(&net, &[1.0, 1.0, 0.0, 0.0]);
    let net = write(net.clone(), &Layout::of(&net), &snapshot).expect("one layout");
    assert_eq!(statistics(&net), LEADERS);
    let _ = net.train_forward();
    assert_eq!(statistics(&net), half_way(LEADERS));

    for (follow, mean) in [(Follow::Leader, None), (Follow::Mean, Some(LEADERS))] {
        let (net, mut worker) = after_an_exchange(follow, 1.0, mean);
        let gradients = net.train_forward();
        let net = worker.step(0.0, net, gradients);
        assert_eq!(statistics(&net), half_way(LEADERS));
    }
}

/// A pull of parameters alone loses none of a sequence of updates.
#[test]
fn updates_go_on_under_pulls() {
    let plain = Net::new(&device());
    let (mut net, mut worker) = after_an_exchange(Follow::Own, 0.25, None);
    let _ = plain.train_forward();
    for _ in 0..3 {
        let _ = plain.train_forward();
        let gradients = net.train_forward();
        net = worker.step(0.0, net, gradients);
    }
    assert_eq!(statistics(&net), statistics(&plain));
}

/// Those of another model, say: a worker keeps its own.
#[test]
fn mean_statistics_of_another_length_are_not_taken() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Async);
    let method = lsgd(LeaderConfig {
        batch_norm: Follow::Mean,
        ..config()
    });
    for len in [2, 6] {
        let mut worker = LeaderSgd::new(sgd(), method.clone(), exchange.clone());
        let delivery = Delivery {
            buffers: Some(vec![4.0; len].into()),
            ..Delivery::default()
        };
        exchange
            .queues()
            .commands
            .push_back(Command::Adopt(delivery));
        let net = Net::new(&device());
        let gradients = net.train_forward();
        let net = worker.step(0.0, net, gradients);
        assert_eq!(statistics(&net), AFTER_ONE, "{len} values");
    }
}

/// A worker sends its statistics, as they are after the step, where their mean is wanted, and else
/// none: each report would have to be read from the device.
#[test]
fn statistics_are_reported_where_their_mean_is_wanted() {
    for (follow, expected) in [
        (Follow::Own, None),
        (Follow::Leader, None),
        (Follow::Mean, Some(AFTER_ONE.to_vec())),
    ] {
        let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Sync);
        let method = lsgd(LeaderConfig {
            batch_norm: follow,
            ..config()
        });
        let mut worker = LeaderSgd::new(sgd(), method, exchange.clone());
        let net = Net::new(&device());
        let gradients = net.train_forward();
        worker.step(0.0, net, gradients);
        let reported = exchange
            .queues()
            .sent
            .iter()
            .find_map(|message| match message {
                Message::Report { buffers, .. } => Some(buffers.as_deref().map(<[f32]>::to_vec)),
                _ => None,
            });
        assert_eq!(reported, Some(expected), "{follow:?}");
    }
}

/// Where parameters are averaged too, a worker's part says nothing of statistics that stay its own.
#[test]
fn a_part_of_a_mean_does_not_report_statistics() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Sync);
    let method = lsgd_core::Method::local_sgd(exchanges(1)).expect("valid");
    let mut worker = LeaderSgd::new(sgd(), method, exchange.clone());
    let net = Net::new(&device());
    let gradients = net.train_forward();
    worker.step(0.0, net, gradients);
    let sent: Vec<Message> = exchange.queues().sent.drain(..).collect();
    assert!(matches!(sent[0], Message::Report { buffers: None, .. }));
    assert!(matches!(sent[1], Message::Publish(VectorKind::Mean, Ok(_))));
}

/// Statistics that are to stay local are not averaged, even where workers send them.
#[test]
fn own_statistics_are_not_averaged() {
    let mut leader = LocalLeader::new(0, 1, lsgd(config()), Mode::Sync).expect("runs in sync");
    leader.receive(0, with_buffers(report(0, 1, 1.0), &LEADERS));
    let snapshot = leaders_snapshot(&Net::new(&device()), &[1.0, 1.0, 0.0, 0.0]);
    leader.receive(0, Message::Publish(VectorKind::Parameters, Ok(snapshot)));
    let adopted =
        std::iter::from_fn(|| leader.next_command()).find_map(|(_, command)| match command {
            Command::Adopt(delivery) => Some(delivery),
            _ => None,
        });
    assert!(adopted.expect("the meeting's end").buffers.is_none());
}

fn with_buffers(message: Message, buffers: &[f32]) -> Message {
    match message {
        Message::Report { report, .. } => Message::Report {
            report,
            behind: 0,
            buffers: Some(buffers.into()),
        },
        other => other,
    }
}

/// Runs an exchange of three that report these statistics; the mean that comes of it.
fn mean_of(buffers: [&[f32]; 3]) -> Option<Vec<f32>> {
    let method = lsgd(LeaderConfig {
        batch_norm: Follow::Mean,
        ..config()
    });
    let mut leader = LocalLeader::new(0, 3, method, Mode::Sync).expect("runs in sync");
    for (worker, buffers) in (0..).zip(buffers) {
        leader.receive(worker, with_buffers(report(worker, 1, 1.0), buffers));
    }
    let snapshot = leaders_snapshot(&Net::new(&device()), &[1.0, 1.0, 0.0, 0.0]);
    leader.receive(0, Message::Publish(VectorKind::Parameters, Ok(snapshot)));
    while let Some((_, command)) = leader.next_command() {
        if let Command::Adopt(delivery) = command {
            return delivery.buffers.map(|buffers| buffers.to_vec());
        }
    }
    None
}

#[test]
fn mean_statistics_are_the_workers_mean() {
    let mean = mean_of([
        &[1.0, 0.0, 1.0, 1.0],
        &[2.0, 0.0, 1.0, 1.0],
        &[6.0, 3.0, 1.0, 1.0],
    ]);
    assert_eq!(mean, Some(vec![3.0, 1.0, 1.0, 1.0]));
}

/// One worker whose statistics are not finite must not spoil everybody's.
#[test]
fn mean_statistics_leave_out_a_worker_whose_are_not_finite() {
    let mean = mean_of([&[1.0; 4], &[f32::NAN, 1.0, 1.0, 1.0], &[3.0; 4]]);
    assert_eq!(mean, Some(vec![2.0; 4]));
}

/// Nor may statistics of another model be added to them.
#[test]
fn mean_statistics_leave_out_another_model() {
    let mean = mean_of([&[1.0; 4], &[9.0; 2], &[3.0; 4]]);
    assert_eq!(mean, Some(vec![2.0; 4]));
}

/// With `local_sgd` and `batch_norm = "own"` the mean is of parameters alone.
#[test]
fn local_sgd_keeps_own_statistics() {
    let exchange = QueueExchange::new(WorkerId::new(0, 0), Mode::Sync);
    let method = lsgd_core::Method::local_sgd(exchanges(1)).expect("valid");
    let mut worker = LeaderSgd::new(sgd(), method, exchange.clone());
    let net = Net::new(&device());
    let delivery = Delivery {
        local: ExchangeOutcome::mean(leaders_snapshot(&net, &[2.0, 3.0, 4.0, 5.0])),
        ..Delivery::default()
    };
    exchange
        .queues()
        .commands
        .push_back(Command::Adopt(delivery));
    let gradients = net.train_forward();
    let net = worker.step(0.0, net, gradients);
    assert_eq!(statistics(&net), AFTER_ONE);
    let source = Source::Mean { workers: 1 };
    let now = read(&net, &Layout::of(&net), source).expect("of its own layout");
    assert_eq!(now.parameters(), [2.0, 3.0, 4.0, 5.0]);
}

/// Events are for the record: nothing in them is lost in JSON.
#[test]
fn refusal_in_an_event_survives_json() {
    let net = Net::new(&device());
    let other = Layout::of(&crate::setting::Point::at(&[0.0]));
    let why = leaders_snapshot(&net, &[1.0; 4]).check(&other);
    let event = Event::Refused {
        step: 3,
        worker: WorkerId::new(0, 1),
        why: why.expect_err("another model"),
    };
    let text = serde_json::to_string(&event).expect("plain data");
    assert_eq!(
        serde_json::from_str::<Event>(&text).expect("as written"),
        event
    );
}
