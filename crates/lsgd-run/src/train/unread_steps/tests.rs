//! When the losses of steps are read, and that nothing else depends on it.

use std::sync::Arc;
use std::sync::mpsc::channel;

use burn::module::{Module, Param};
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use lsgd_core::{Group, LocalLeader};

use super::*;
use crate::RunError;
use crate::config::Settings;
use crate::task::{StepKey, Sums, Task};
use crate::train::Job;
use crate::train::messages::{FromWorker, Start, ToMain, ToWorker};
use crate::train::setup::{Setup, set_up};
use crate::train::training_clock::TrainingClock;
use crate::train::worker_thread::{Assignment, spawn};

#[test]
fn steps_are_read_together_in_their_order() {
    let mut steps = UnreadSteps::new(3);
    for (step, loss) in [(7, 0.5), (8, 0.25), (9, f32::INFINITY)] {
        assert!(!steps.is_full());
        let loss = Tensor::<1>::from_data([loss], &Device::flex());
        steps.push(step, loss.into(), 0.1);
    }
    assert!(steps.is_full());
    let read = steps.read();
    let read: Vec<(u64, f32)> = read.iter().map(|step| (step.step, step.loss)).collect();
    assert_eq!(read, [(7, 0.5), (8, 0.25), (9, f32::INFINITY)]);
    assert_eq!(steps.read(), []);
}

#[test]
fn a_gpu_is_not_asked_in_every_step() {
    assert_eq!(read_every(false, Mode::Sync, 16), 1);
    assert_eq!(read_every(false, Mode::Async, 16), 1);
    assert_eq!(read_every(true, Mode::Sync, 16), 10);
    assert_eq!(read_every(true, Mode::Async, 16), 4);
    assert_eq!(read_every(true, Mode::Async, 1), 1);
    assert_eq!(read_every(true, Mode::Async, 640), 10);
}

/// One parameter, and losses that are the numbers of its steps until they are NaN.
struct Numbered {
    nan_from: u64,
}

#[derive(Module, Debug)]
struct One {
    x: Param<Tensor<1>>,
}

impl Task for Numbered {
    type Module = One;
    type Batch = ();
    type Error = String;

    fn module(&self, device: &Device) -> Result<One, String> {
        let x = Param::from_tensor(Tensor::ones([1], device));
        Ok(One { x })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new().init()
    }

    fn train_batch(&self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn loss(&self, one: &One, (): (), _: &Device, key: StepKey) -> Tensor<1> {
        let step = key.step + 1;
        let loss = if step < self.nan_from {
            step as f32
        } else {
            f32::NAN
        };
        one.x.val() * 0.0 + loss
    }

    fn batch_size(&self) -> usize {
        1
    }

    fn epoch(&self) -> u64 {
        100
    }

    fn score(&self, _: &One, _: usize, _: &Device) -> Result<Sums, String> {
        Ok(Sums::default())
    }
}

/// A worker that is said to be on a GPU, or on a CPU: the steps that it reports, and how it ends.
fn steps_of(gpu: bool, nan_from: u64, method: &str) -> (Vec<(u64, String)>, Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.run.folder = folder.path().to_owned();
    settings.workers.count = Some(1);
    settings.budget.steps = Some(27);
    settings.evaluate.every_steps = Some(12);
    settings.faults.bad_steps = Some(3);
    settings.method.local_period = 16;
    if method == "sgd" {
        settings.method.name = crate::config::MethodName::Sgd;
    }
    let job = Job::new(settings).unwrap();
    let (setup, task) = set_up(job, None, |_| Ok(Numbered { nan_from })).unwrap();
    let mut setup: Setup = Arc::into_inner(setup).unwrap();
    setup.devices[0].gpu = gpu;
    let setup = Arc::new(setup);
    let leader = LocalLeader::new(0, 1, setup.method.clone(), Mode::Sync).unwrap();
    let (_group, members) = Group::form(leader, |_| {});
    let (sender, of_worker) = channel();
    let mut commands = Some(sender);
    let (to_main, reports) = channel();
    let start = Start::default();
    let thread = spawn(Assignment {
        clock: Arc::new(TrainingClock::new(setup.plan, &start, Arc::default())),
        setup,
        task,
        start,
        member: members.into_iter().next().unwrap(),
        commands: of_worker,
        reports: to_main,
    });
    let mut steps = Vec::new();
    let mut outcome = None;
    for report in reports {
        let ToMain::Worker(report) = report else {
            continue;
        };
        match report {
            FromWorker::Stepped { step, loss, .. } => steps.push((step, loss.to_string())),
            FromWorker::Ready => {
                let commands = commands.as_ref().unwrap();
                commands.send(ToWorker::Resume).unwrap();
            }
            FromWorker::Paused(paused) => {
                // All steps before a pause are known at it.
                assert_eq!(steps.last().unwrap().0, paused.report.step);
                // At the end the worker is let go.
                commands = commands.filter(|_| paused.pause.end.is_none());
                if let Some(commands) = &commands {
                    commands.send(ToWorker::Resume).unwrap();
                }
            }
            FromWorker::Ended(ended) => {
                outcome = Some(ended.outcome.map_err(|error| match error {
                    RunError::WorkerDiverged { since, .. } => format!("bad since {since}"),
                    other => other.to_string(),
                }));
            }
            other => panic!("not asked for: {other:?}"),
        }
    }
    thread.unwrap().join().unwrap();
    (steps, outcome.unwrap())
}

/// A GPU's steps come late, but all of them, with their losses and in their order; and a worker that
/// is to fail names the same step.
#[test]
fn a_gpus_steps_are_those_of_a_cpu() {
    for method in ["lsgd", "sgd"] {
        for nan_from in [9, 100] {
            let on_cpu = steps_of(false, nan_from, method);
            let on_gpu = steps_of(true, nan_from, method);
            assert_eq!(on_gpu, on_cpu, "{method}, NaN from {nan_from}");
            let last = on_cpu.0.last().unwrap().0;
            let expected = match nan_from {
                9 => (10, Err(String::from("bad since 9"))),
                _ => (27, Ok(())),
            };
            assert_eq!((last, on_cpu.1), expected, "{method}");
        }
    }
}
