//! Through a `Learner` or by hand: the same bits.

use std::sync::{Arc, Mutex};
use std::thread;

use burn::data::dataloader::split::split_dataloader;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn_train::ExecutionStrategy;
use lsgd_core::{
    Candidate, Event, Group, LeaderSgd, LocalLeader, Member, Method, Mode, Report, elect,
};
use lsgd_learner::LeaderSgdStrategy;

use crate::setting::{
    EPOCHS, Loader, Net, devices, end, exchanges, falling, folder, learner, loader, lsgd, momentum,
    points, shuffled, training,
};

/// What elections decided, and of which losses.
type Record = Arc<Mutex<Vec<Event>>>;

fn recorder(record: &Record) -> impl Fn(Event) + Send + Sync + 'static {
    let record = record.clone();
    move |event| {
        // A worker is let go at the end of a training and by hand at that of its thread.
        if !matches!(event, Event::Left { .. }) {
            record.lock().expect("no thread panicked").push(event);
        }
    }
}

/// A worker's steps, as a training loop of one's own takes them.
pub fn worker(method: Method, member: Member, mut model: Net, batches: Loader) -> (Report, Net) {
    let mut optimizer = LeaderSgd::new(momentum(), method, member);
    let mut rate = falling();
    for _ in 0..EPOCHS {
        for batch in batches.iter() {
            let output = model.classify(batch.expect("points are in memory"));
            optimizer.observe(output.loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(output.loss.backward(), &model);
            model = optimizer.step(rate.step(), model, gradients);
        }
    }
    (optimizer.report(), model)
}

/// The model of the worker that leads at the end.
fn by_hand(model: &Net, method: &Method, record: &Record, train: Loader, workers: u32) -> Vec<u32> {
    let leader = LocalLeader::new(0, workers, method.clone(), Mode::Sync).expect("runs in sync");
    let (_group, members) = Group::form(leader, recorder(record));
    let autodiff: Vec<Device> = vec![Device::flex().autodiff(); workers as usize];
    let threads: Vec<_> = members
        .into_iter()
        .zip(split_dataloader(train, &autodiff))
        .map(|(member, batches)| {
            let (method, model) = (method.clone(), model.valid().train());
            thread::spawn(move || worker(method, member, model, batches))
        })
        .collect();
    let ends = threads.into_iter().map(|t| t.join().expect("finishes"));
    best(&ends.collect::<Vec<_>>()).bits()
}

/// The model of the worker that leads.
pub fn best(ends: &[(Report, Net)]) -> &Net {
    let candidates = ends.iter().map(|(report, _)| Candidate {
        report: *report,
        age: 0,
    });
    let elected = elect(&candidates.collect::<Vec<_>>(), u64::MAX);
    let leader = elected.leader.expect("losses are finite");
    &ends[leader.worker as usize].1
}

fn methods() -> Vec<Method> {
    let period = exchanges(4);
    let methods = [
        Method::local_sgd(period),
        Method::easgd(period, 0.3),
        Method::data_parallel(exchanges(1).loss_window, period.batch_norm),
    ];
    let methods = methods.into_iter().map(|m| m.expect("a valid method"));
    methods.chain([lsgd(4), Method::sgd(2)]).collect()
}

/// Parameters, running statistics and elections of two workers, for every kind of exchange: none, a
/// leader (whose pulls continue between exchanges), means, gradients.
#[test]
fn two_workers_have_the_bits_of_leader_sgd_by_hand() {
    for method in methods() {
        let model = Net::new();
        let (hand, through) = (Record::default(), Record::default());
        let expected = by_hand(&model, &method, &hand, loader(points(96)), 2);

        let strategy = LeaderSgdStrategy::new(method.clone(), Mode::Sync, devices(2));
        let strategy = strategy
            .expect("a valid set-up")
            .on_event(recorder(&through));
        let folder = folder();
        let result = training(&folder, loader(points(96)), strategy).launch(learner(&model));
        assert_eq!(end(&result), None, "{}", method.name());
        assert_ne!(
            result.model.bits(),
            model.bits(),
            "{} trains",
            method.name()
        );
        assert_eq!(result.model.bits(), expected, "{}", method.name());
        assert_eq!(sorted(through), sorted(hand), "{}", method.name());
    }
}

/// Events in an order of their own: those of different workers come as threads go.
fn sorted(record: Record) -> Vec<String> {
    let record = record.lock().expect("no thread panicked");
    let mut events: Vec<String> = record.iter().map(|event| format!("{event:?}")).collect();
    events.sort();
    events
}

/// One worker is burn-train on one device: parameters, statistics and what the metrics logged.
#[test]
fn one_worker_has_the_bits_of_burn_train() {
    for accumulation in [None, Some(3)] {
        for method in [Method::sgd(2), lsgd(4)] {
            let model = Net::new();
            let run = |strategy: burn_train::TrainingStrategy<Net>| {
                let folder = folder();
                let mut training = training(&folder, shuffled(points(100)), strategy);
                if let Some(batches) = accumulation {
                    training = training.grads_accumulation(batches);
                }
                let result = training.launch(learner(&model));
                assert_eq!(end(&result), None);
                let logged = |split: &str| {
                    let file = folder.path().join(split).join("epoch-3/Loss.log");
                    std::fs::read_to_string(file).expect("metrics are logged")
                };
                let model = result.model.bits();
                // What holds it writes the logs.
                drop(result.renderer);
                (model, logged("train"), logged("valid"))
            };
            let strategy = LeaderSgdStrategy::new(method, Mode::Sync, devices(1));
            let own = run(strategy.expect("a valid set-up").into());
            let single = ExecutionStrategy::SingleDevice(Device::flex().autodiff());
            assert_eq!(own, run(single.into()));
        }
    }
}
