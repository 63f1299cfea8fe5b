//! Parameters that are frozen and drawn at random.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use burn::module::{Module, Param, ParamId};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Bool, Device, Distribution, Int, Tensor};
use lsgd_core::Frozen;
use lsgd_run::config::Settings;
use lsgd_run::storage::{CheckpointName, CheckpointState, Which};
use lsgd_run::train::NodesError;
use lsgd_run::train::{self, Context, Outcome};
use lsgd_run::{Metric, RunError, StepKey, Sums, Task};

use super::toy::{endpoints, job, node, settings};

/// A frozen random projection of masked, shuffled inputs, and a trainable head.
#[derive(Module, Debug)]
struct Projected {
    order: Param<Tensor<1, Int>>,
    dropped: Param<Tensor<1, Bool>>,
    projection: Linear,
    head: Linear,
}

#[derive(Debug, Clone, Default)]
struct Projection {
    /// Makes all parameters constant, those of the projection this value.
    constant: Option<f64>,
    /// The frozen parameters with which losses and scores were computed.
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Projection {
    fn look(&self, module: &Projected) {
        let data = [
            module.order.val().into_data(),
            module.dropped.val().into_data(),
            module.projection.weight.val().into_data(),
        ];
        self.seen.lock().unwrap().insert(format!("{data:?}"));
    }

    fn squares(&self, module: &Projected, number: u64, device: &Device) -> Tensor<1> {
        self.look(module);
        let inputs: Tensor<2> = Tensor::from_data([[number as f32 % 3.0, 1.0, -1.0, 0.5]], device);
        let inputs = inputs.select(1, module.order.val());
        let inputs = inputs.mask_fill(module.dropped.val().unsqueeze(), 0.0);
        let outputs = module.head.forward(module.projection.forward(inputs));
        (outputs - 1.0).square().mean()
    }
}

impl Task for Projection {
    type Module = Projected;
    type Batch = u64;
    type Error = Infallible;

    fn module(&self, device: &Device) -> Result<Projected, Infallible> {
        let random = || Tensor::<1>::random([4], Distribution::Uniform(0.0, 1.0), device);
        let (projection, head) = (LinearConfig::new(4, 6), LinearConfig::new(6, 1));
        let constant = |value| Initializer::Constant { value };
        let (numbers, projection, head) = match self.constant {
            None => (random(), projection, head),
            Some(value) => (
                Tensor::from_data([0.1, 0.7, 0.4, 0.9], device),
                projection.with_initializer(constant(value)),
                head.with_initializer(constant(0.5)),
            ),
        };
        Ok(Projected {
            order: Param::initialized(ParamId::new(), numbers.clone().argsort(0)),
            dropped: Param::initialized(ParamId::new(), numbers.lower_elem(0.3)),
            projection: projection.init(device).no_grad(),
            head: head.init(device),
        })
    }

    fn optimizer(&self) -> ModuleOptimizer {
        SgdConfig::new().init()
    }

    fn train_batch(&self, number: u64) -> Result<u64, Infallible> {
        Ok(number)
    }

    fn loss(&self, module: &Projected, batch: u64, device: &Device, _: StepKey) -> Tensor<1> {
        self.squares(module, batch, device)
    }

    fn batch_size(&self) -> usize {
        1
    }

    fn epoch(&self) -> u64 {
        30
    }

    fn parts(&self) -> usize {
        3
    }

    fn score(&self, module: &Projected, part: usize, device: &Device) -> Result<Sums, Infallible> {
        let squares = self.squares(module, part as u64, device);
        Ok(Sums::of_mean(squares.into_scalar::<f32>(), 1))
    }

    fn metrics(&self) -> &'static [Metric] {
        const { &[Metric::lower("square", "")] }
    }

    fn title(&self) -> String {
        String::from("a head on a random projection")
    }
}

fn run(task: &Projection, settings: Settings) -> Result<Outcome, RunError> {
    let make = |_: Context| Ok(task.clone());
    train::train(job(settings), make, Box::new(()), Arc::default())
}

#[test]
fn all_workers_and_evaluations_have_the_same_and_a_checkpoint_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let task = Projection::default();
    let outcome = run(&task, settings(folder.path(), |_| {})).unwrap();
    let seen = task.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1, "{seen:?}");

    // A task that has nothing in common with the first but its code.
    let again = Projection::default();
    let device = Device::flex();
    let module = train::load(&again, &outcome.folder, Which::Leader, &device).unwrap();
    let scored = train::score(&again, &module, &device).unwrap().unwrap();
    assert_eq!(Some(scored.score), outcome.summary.test.leader);
    assert_eq!(*again.seen.lock().unwrap(), seen);

    let (checkpoint, state) =
        CheckpointState::named(&outcome.folder, CheckpointName::Newest).unwrap();
    std::fs::remove_file(checkpoint.join("frozen.safetensors")).unwrap();
    let like = Frozen::of(&again.module(&device.autodiff()).unwrap());
    let error = state.read_frozen(&checkpoint, &like).unwrap_err();
    assert!(matches!(error, RunError::Read { .. }), "{error}");
}

#[test]
fn all_nodes_of_a_simulation_have_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let task = Projection::default();
    let make = |_: Context| Ok(task.clone());
    let simulated = settings(folder.path(), |settings| settings.simulate.nodes = 2);
    train::simulate(job(simulated), make, Box::new(()), Arc::default()).unwrap();
    let seen = task.seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// The nodes have the same trainable parameters and different frozen ones.
#[test]
fn a_node_with_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = endpoints(2);
    let nodes = [(1, 0.25), (2, 0.75)].map(|(number, value)| {
        let settings = node(folder.path(), number, &endpoints);
        let task = Projection {
            constant: Some(value),
            ..Projection::default()
        };
        std::thread::spawn(move || run(&task, settings))
    });
    for node in nodes {
        let error = node.join().unwrap().unwrap_err();
        assert!(
            matches!(error, RunError::Nodes(NodesError::NodeDiffers { .. })),
            "{error}"
        );
        assert!(
            error.to_string().contains("the frozen parameters"),
            "{error}"
        );
    }
}
