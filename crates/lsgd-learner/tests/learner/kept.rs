//! What of burn-train keeps working: files, early stopping, resuming, stopping from outside.

use std::path::Path;

use burn::lr_scheduler::constant::ConstantLr;
use burn::module::Module;
use burn_train::metric::LossMetric;
use burn_train::metric::store::{Aggregate, Direction, Split};
use burn_train::{Interrupter, Learner, MetricEarlyStoppingStrategy, StoppingCondition};
use lsgd_core::{Event, Mode};
use lsgd_learner::LeaderSgdStrategy;

use crate::setting::{
    EPOCHS, Net, devices, end, folder, learner, loader, lsgd, momentum, points, training,
};

fn strategy(mode: Mode) -> LeaderSgdStrategy {
    LeaderSgdStrategy::new(lsgd(4), mode, devices(2)).expect("a valid set-up")
}

/// A learner that stays where it is.
fn still(model: &Net) -> Learner<Net> {
    Learner::new(model.valid().train(), momentum(), ConstantLr::new(1e-30))
}

fn epochs(folder: &Path, split: &str) -> usize {
    let logged = |epoch: &usize| folder.join(split).join(format!("epoch-{epoch}/Loss.log"));
    (1..).take_while(|epoch| logged(epoch).is_file()).count()
}

#[test]
fn metrics_and_checkpoints_are_written() {
    for mode in [Mode::Sync, Mode::Async] {
        let folder = folder();
        let training = training(&folder, loader(points(96)), strategy(mode));
        let result = training
            .with_default_checkpointers()
            .launch(learner(&Net::new()));
        assert_eq!(end(&result), None);
        assert_eq!(epochs(folder.path(), "train"), EPOCHS);
        assert_eq!(epochs(folder.path(), "valid"), EPOCHS);
        for file in ["model-3.bpk", "optim-3.bpk", "scheduler-3.bpk"] {
            assert!(
                folder.path().join("checkpoint").join(file).is_file(),
                "{file}"
            );
        }
    }
}

#[test]
fn early_stopping_stops() {
    let folder = folder();
    let stopping = MetricEarlyStoppingStrategy::new(
        &LossMetric::new(),
        Aggregate::Mean,
        Direction::Lowest,
        Split::Train,
        StoppingCondition::NoImprovementSince { n_epochs: 1 },
    );
    let training = training(&folder, loader(points(96)), strategy(Mode::Sync));
    let result = training
        .num_epochs(50)
        .early_stopping(stopping)
        .launch(still(&Net::new()));
    assert_eq!(end(&result), None);
    let epochs = epochs(folder.path(), "valid");
    assert!((2..50).contains(&epochs), "{epochs} epochs");
}

/// All workers continue from the checkpoint: if nothing moves any more, the result is the
/// checkpoint.
#[test]
fn a_checkpoint_is_resumed_from() {
    let folder = folder();
    let saved = training(&folder, loader(points(96)), strategy(Mode::Sync))
        .with_default_checkpointers()
        .launch(learner(&Net::new()));
    assert_eq!(end(&saved), None);
    let resumed = training(&folder, loader(points(96)), strategy(Mode::Sync))
        .with_default_checkpointers()
        .checkpoint(EPOCHS)
        .launch(still(&Net::new()));
    assert_eq!(end(&resumed), None);
    assert_eq!(resumed.model.bits(), saved.model.bits());
}

#[test]
fn an_interrupter_stops_all_workers() {
    for mode in [Mode::Sync, Mode::Async] {
        let interrupter = Interrupter::new();
        let stop = interrupter.clone();
        let strategy = strategy(mode).on_event(move |event| {
            if matches!(event, Event::Election { .. }) {
                stop.stop(Some("that is enough"));
            }
        });
        let folder = folder();
        let result = training(&folder, loader(points(96)), strategy)
            .num_epochs(1_000_000)
            .with_interrupter(interrupter)
            .launch(learner(&Net::new()));
        assert_eq!(end(&result), None);
        let reason = result.interrupted.expect("stopped").reason;
        assert_eq!(reason.as_deref(), Some("that is enough"));
    }
}

/// Five batches per epoch for one worker, six for the other: no worker waits forever.
#[test]
fn shares_may_differ() {
    for mode in [Mode::Sync, Mode::Async] {
        for period in [1, 4] {
            let strategy = LeaderSgdStrategy::new(lsgd(period), mode, devices(2));
            let folder = folder();
            let training = training(&folder, loader(points(81)), strategy.expect("valid"));
            let result = training.launch(learner(&Net::new()));
            assert_eq!(end(&result), None);
        }
    }
}
