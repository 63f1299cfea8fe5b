//! Invalid set-ups and failing workers: one clear error, and no worker waits forever.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use lsgd_core::{LeaderConfig, Method, Mode};
use lsgd_learner::{LeaderSgdStrategy, SetupError};

use crate::setting::{
    Batch, Loader, Net, devices, end, exchanges, folder, learner, loader, lsgd, points, training,
};

fn refused(method: Method, mode: Mode, workers: usize) -> String {
    let refused = LeaderSgdStrategy::new(method, mode, devices(workers));
    refused.expect_err("cannot work").to_string()
}

/// How a training of two workers on `train` ended.
fn ended(train: Loader, mode: Mode) -> Option<String> {
    let strategy = LeaderSgdStrategy::new(lsgd(4), mode, devices(2)).expect("a valid set-up");
    let folder = folder();
    end(&training(&folder, train, strategy).launch(learner(&Net::new())))
}

#[test]
fn a_setup_that_cannot_work_is_refused() {
    assert_eq!(
        refused(lsgd(4), Mode::Sync, 0),
        "no devices; give one for each worker, the same one twice for two workers on it"
    );
    let local_sgd = Method::local_sgd(exchanges(4)).expect("a valid method");
    assert_eq!(
        refused(local_sgd, Mode::Async, 2),
        "local_sgd cannot run in mode \"async\": a mean of all workers needs all to meet; use \"sync\""
    );
    let probed = Method::lsgd(&LeaderConfig::default()).expect("a valid method");
    assert_eq!(
        refused(probed.ranked_by_probe(), Mode::Sync, 2),
        "lsgd ranks workers by their loss on a probe, which a Learner does not have; leave out \
         ranked_by_probe()"
    );
}

#[test]
fn fewer_items_than_workers_is_an_error() {
    assert_eq!(
        ended(loader(points(1)), Mode::Sync).as_deref(),
        Some(
            "Dataset error: 1 training items cannot be shared among 2 workers; take at most as many \
             devices as there are items"
        )
    );
}

/// A loader that has items but no batches.
struct Empty;

impl Iterator for Empty {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

impl DataLoaderIterator<Batch> for Empty {
    fn progress(&self) -> Progress {
        Progress::new(0, 40, None)
    }
}

impl DataLoader<Batch> for Empty {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Empty)
    }

    fn num_items(&self) -> usize {
        40
    }

    fn to_device(&self, _: &Device) -> Loader {
        Arc::new(Empty)
    }

    fn slice(&self, _: usize, _: usize) -> Loader {
        Arc::new(Empty)
    }
}

#[test]
fn a_share_without_a_batch_is_an_error() {
    let ended = ended(Arc::new(Empty), Mode::Sync).expect("an error");
    let said = SetupError::NoBatches {
        worker: 0,
        items: 40,
    };
    let other = SetupError::NoBatches {
        worker: 1,
        items: 40,
    };
    let errors = [said, other].map(|error| format!("Dataset error: {error}"));
    assert!(errors.contains(&ended), "{ended}");
}

/// The second worker panics in its third batch; the first is then on its way to an exchange, or
/// waits.
#[test]
fn a_worker_that_panics_ends_the_training_with_its_message() {
    for mode in [Mode::Sync, Mode::Async] {
        let mut points = points(96);
        points[48 + 20].is_poison = true;
        let said = ended(loader(points), mode);
        let expected = "training worker on device 1 failed: this batch is poison";
        assert_eq!(said.as_deref(), Some(expected), "{mode:?}");
    }
}
