//! Gradient steps of several batches.

use std::sync::{Arc, Mutex};

use lsgd_core::Mode;
use lsgd_run::config::{MethodName, Settings};
use lsgd_run::train::{self, Context, Replay, Requests, replay};
use lsgd_run::{Observer, Stepped};

use crate::toy::{INPUTS, Toy, batch, job, run, run_watched, settings};

const STEPS: u64 = 30;
const RATE: f64 = 0.1;

struct Losses(Arc<Mutex<[Vec<f32>; 2]>>);

impl Observer for Losses {
    fn stepped(&mut self, step: Stepped) {
        self.0.lock().unwrap()[step.worker].push(step.loss);
    }
}

/// Steps of worker `worker` of two by plain SGD on the mean over `batches` batches: the loss of each.
fn reference(worker: u64, batches: u64) -> Vec<f64> {
    let (mut weight, mut bias) = ([0.0; INPUTS], 0.0);
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let numbers = (0..batches).map(|i| 2 * (step * batches + i) + worker);
        let (mut loss, mut of_weight, mut of_bias, mut examples) = (0.0, [0.0; INPUTS], 0.0, 0.0);
        for batch in numbers.map(batch) {
            for (x, target) in batch.inputs.chunks(INPUTS).zip(&batch.targets) {
                let products = x.iter().zip(&weight).map(|(x, w)| f64::from(*x) * w);
                let error: f64 = products.sum::<f64>() + bias - f64::from(*target);
                loss += error * error;
                for (gradient, x) in of_weight.iter_mut().zip(x) {
                    *gradient += 2.0 * error * f64::from(*x);
                }
                of_bias += 2.0 * error;
                examples += 1.0;
            }
        }
        losses.push(loss / examples);
        for (weight, gradient) in weight.iter_mut().zip(of_weight) {
            *weight -= RATE * gradient / examples;
        }
        bias -= RATE * of_bias / examples;
    }
    losses
}

#[test]
fn a_step_takes_the_mean_over_its_batches() {
    for batches in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let set = settings(folder.path(), |settings| {
            settings.method.name = MethodName::Sgd;
            settings.schedule.learning_rate = RATE;
            settings.budget.steps = Some(STEPS);
            settings.workers.accumulate = batches;
        });
        let losses = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
        let outcome = run_watched(Toy::default(), set, Box::new(Losses(losses.clone()))).unwrap();
        for (worker, found) in losses.lock().unwrap().iter().enumerate() {
            let expected = reference(worker as u64, batches);
            assert_eq!(found.len(), expected.len());
            for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
                let difference = (f64::from(*found) - expected).abs();
                assert!(
                    difference <= 1e-5 * expected.max(1.0),
                    "{batches} batches, worker {worker}, step {step}: {found}, not {expected}"
                );
            }
        }
        let summary = &outcome.summary;
        assert_eq!(summary.steps, STEPS);
        assert_eq!(summary.samples, 2 * STEPS * batches * 8);
        assert_eq!(summary.epochs, (2 * STEPS * batches * 8) as f64 / 80.0);
    }
}

/// Two epochs of 80 examples, of 48 a step of both workers.
#[test]
fn epochs_count_every_batch() {
    let folder = tempfile::tempdir().unwrap();
    let set = settings(folder.path(), |settings| {
        settings.workers.accumulate = 3;
        settings.budget.steps = None;
        settings.budget.epochs = Some(2.0);
    });
    let summary = run(Toy::default(), set).unwrap().summary;
    assert_eq!((summary.steps, summary.samples), (3, 2 * 3 * 24));
}

/// However many threads load, on the virtual clock, and again by its events.
#[test]
fn the_bits_are_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str, change: fn(&mut Settings)| {
        settings(folder.path(), |settings| {
            settings.run.name = name.to_owned();
            settings.workers.accumulate = 3;
            change(settings);
        })
    };
    let one = run(Toy::default(), named("one", |_| {})).unwrap();
    let many = named("many", |settings| settings.workers.loaders = Some(4));
    let many = run(Toy::default(), many).unwrap();
    let simulated = train::simulate(
        job(named("simulated", |_| {})),
        |_: Context| Ok(Toy::default()),
        Box::new(()),
        Arc::new(Requests::default()),
    );
    assert_eq!(one.summary.digests, many.summary.digests);
    assert_eq!(one.summary.digests, simulated.unwrap().summary.digests);

    let set = || named("async", |settings| settings.run.mode = Mode::Async);
    let outcome = run(Toy::default(), set()).unwrap();
    let of = Replay::of(outcome.folder.path(), None).unwrap();
    replay(of, job(set()), |_| Ok(Toy::default()))
        .unwrap()
        .unwrap();
}
