//! Eight workers of Leader SGD without a thread: one loop gives each its turn.
//!
//!     cargo run --release -p lsgd-core --example simulated
//!
//! They fit `y = sin(3 x)` with a small network, each on its own batches, until one of them is good
//! enough. One dies on the way without disturbing the others. There are no threads, no clock and
//! one seed: the output is the same every time.

mod memory;

use std::convert::Infallible;

use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use lsgd_core::{
    Event, LeaderConfig, LeaderSgd, LocalLeader, Loss, Method, Mode, Objective, WindowLoss, Worker,
};
use memory::Node;

const WORKERS: u32 = 8;
/// Mean squared error at which they stop.
const TARGET: f64 = 0.005;
/// Steps of a worker after which they stop in any case.
const LIMIT: u64 = 1600;

/// One hidden layer of 16.
#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    output: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(1, 16).init(device),
            output: LinearConfig::new(16, 1).init(device),
        }
    }

    /// `[batch, 1]` to `[batch, 1]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(tanh(self.hidden.forward(x)))
    }
}

/// Sixteen points of the interval [-1, 1] a batch, other ones for every worker and step.
struct Sine {
    worker: u64,
    device: Device,
}

impl Objective<Net> for Sine {
    type Error = Infallible;

    fn gradients(&mut self, net: &Net, step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let first = (step * u64::from(WORKERS) + self.worker) * 16;
        // Multiples of the golden ratio, without their whole part, fill an interval evenly.
        let points: [f32; 16] = std::array::from_fn(|i| {
            let turn = (first + i as u64) as f64 * 0.618_033_988_749_895;
            (2.0 * turn.fract() - 1.0) as f32
        });
        let x = Tensor::<1>::from_floats(points, &self.device).reshape([16, 1]);
        let y = x.clone().mul_scalar(3.0).sin();
        let loss = MseLoss::new().forward(net.forward(x), y, Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), net);
        Ok((loss.into(), gradients))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        0.1
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    device.seed(7);
    let method = Method::lsgd(&LeaderConfig::default())?;
    let leader = LocalLeader::new(0, WORKERS, method.clone(), Mode::Sync)?;
    let mut node = Node::new(leader, |exchange| {
        let objective = Sine {
            worker: u64::from(lsgd_core::Exchange::id(&exchange).worker),
            device: device.clone(),
        };
        let optimizer = LeaderSgd::new(SgdConfig::new().init(), method.clone(), exchange);
        Worker::new(Net::new(&device), optimizer, objective)
    });

    let (mut step, mut told) = (0, 0);
    while best_loss(&node) > TARGET && step < LIMIT {
        step += 16;
        if step == 320 {
            println!("step {step:4}  worker 0.3 dies");
            node.leave(3);
        }
        if !node.run(step)? {
            return Err("the workers wait for each other".into());
        }
        told = tell(node.events(), told);
    }
    node.close();
    node.run(u64::MAX)?;
    tell(node.events(), told);

    for worker in node.workers() {
        let report = worker.optimizer().report();
        let (id, step) = (report.id, report.step);
        let said = node.next(id.worker as usize);
        println!("worker {id}  step {step}  {:?}  {said:?}", report.loss);
    }
    Ok(())
}

/// Prints the leaders in the events after the first `told`, and returns how many there are now.
fn tell(events: &[Event], told: usize) -> usize {
    for event in &events[told..] {
        if let Event::Election { step, election, .. } = event
            && let Some(leader) = election.leader
            && step % 64 == 0
        {
            println!(
                "step {step:4}  worker {leader} leads: {:?}",
                election.reason
            );
        }
    }
    events.len()
}

/// The lowest mean loss over a window, of all workers.
fn best_loss(node: &Node<Net, Sine>) -> f64 {
    let losses = node
        .workers()
        .map(|worker| match worker.optimizer().loss() {
            WindowLoss::Mean(loss) => loss,
            WindowLoss::Filling { .. } => f64::INFINITY,
        });
    losses.fold(f64::INFINITY, f64::min)
}
