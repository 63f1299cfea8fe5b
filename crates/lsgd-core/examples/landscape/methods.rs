//! Leader gradient descent and elastic averaging gradient descent, recorded.

use std::convert::Infallible;
use std::error::Error;

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use lsgd_core::{
    Event, LeaderConfig, LeaderSgd, LocalLeader, Loss, Method, Mode, Objective, Scope, Worker,
};

use crate::memory::Node;
use crate::surface;

pub const WORKERS: usize = 4;
/// Where the workers begin.
pub const STARTS: [[f64; 2]; WORKERS] = [[-6.0, -4.0], [-15.0, -18.0], [20.0, 11.0], [17.0, 8.0]];
pub const ITERATIONS: u64 = 100;
pub const RATE: f64 = 0.1;
/// lambda: the pull of an iteration toward the leader.
pub const PULL: f64 = 0.1;
/// EAGD's pull of the centre toward the mean; a worker's toward the centre is a quarter of it.
pub const BETA: f64 = 0.43;

/// What the workers of one method did.
#[derive(Debug)]
pub struct Trace {
    pub method: &'static str,
    /// Before the first iteration and after each.
    pub moments: Vec<Moment>,
}

/// Where the workers are.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub at: [[f64; 2]; WORKERS],
    /// The leader from here on: the worker elected, or in EAGD, where no worker is followed, and at
    /// the end the one with the lowest f.
    pub leader: usize,
}

impl Moment {
    fn of_lowest(at: [[f64; 2]; WORKERS]) -> Self {
        // As a worker reports it.
        let values = at.map(|place| surface::value(place) as f32);
        let lower = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        let leader = (0..WORKERS).min_by(lower).unwrap_or_default();
        Self { at, leader }
    }
}

/// LGD, by the crate's own workers: an iteration is a gradient step of each and its pull to the
/// one that had the lowest f.
///
/// ```text
/// x_i <- x_i - rate grad f(x_i)
/// x_i <- x_i - lambda (x_i - x_leader)      leader: lowest f before its gradient step
/// ```
///
/// In `f32`, as a model's parameters are.
pub fn leader() -> Result<Trace, Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let method = Method::lsgd(&LeaderConfig {
        local_pull: PULL,
        local_period: 1,
        global_period: 1,
        loss_window: 1,
        ..LeaderConfig::default()
    })?;
    let leader = LocalLeader::new(0, WORKERS as u32, method.clone(), Mode::Sync)?;
    let mut node = Node::new(leader, |exchange| {
        let number = lsgd_core::Exchange::id(&exchange).worker as usize;
        let optimizer = LeaderSgd::new(SgdConfig::new().init(), method.clone(), exchange);
        let point = Point::at(STARTS[number], &device);
        Worker::new(point, optimizer, Landscape)
    });

    let mut places = vec![STARTS];
    for iteration in 1..=ITERATIONS {
        if !node.run(iteration)? {
            return Err("the workers wait for each other".into());
        }
        let mut at = [[0.0; 2]; WORKERS];
        for (at, worker) in at.iter_mut().zip(node.workers()) {
            *at = worker.module().place();
        }
        places.push(at);
    }
    let leaders = node.events().iter().filter_map(|event| match event {
        Event::Election {
            scope: Scope::Local,
            election,
            ..
        } => election.leader,
        _ => None,
    });
    let mut moments: Vec<Moment> = places.into_iter().map(Moment::of_lowest).collect();
    for (moment, leader) in moments.iter_mut().zip(leaders) {
        moment.leader = leader.worker as usize;
    }
    Ok(Trace {
        method: "LGD",
        moments,
    })
}

/// EAGD. The [rule](Method::easgd) of the crate begins its centre where all workers begin; these
/// begin apart, so here are its lines with the centre at their mean.
///
/// ```text
/// x_i    <- x_i - rate grad f(x_i) - beta/4 (x_i - centre)
/// centre <- centre + beta (mean of x - centre)
/// ```
///
/// All right sides have what was there before.
pub fn elastic() -> Trace {
    let mut at = STARTS;
    let mut centre = mean(&at);
    let mut moments = vec![Moment::of_lowest(at)];
    for _ in 0..ITERATIONS {
        let before = mean(&at);
        for place in &mut at {
            let gradient = surface::gradient(*place);
            for axis in 0..2 {
                let apart = place[axis] - centre[axis];
                place[axis] -= RATE * gradient[axis] + BETA / WORKERS as f64 * apart;
            }
        }
        for axis in 0..2 {
            centre[axis] += BETA * (before[axis] - centre[axis]);
        }
        moments.push(Moment::of_lowest(at));
    }
    Trace {
        method: "EAGD",
        moments,
    }
}

fn mean(at: &[[f64; 2]; WORKERS]) -> [f64; 2] {
    let sum = |axis: usize| at.iter().map(|place| place[axis]).sum::<f64>();
    [0, 1].map(|axis| sum(axis) / WORKERS as f64)
}

/// A worker's two parameters.
#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

impl Point {
    fn at(place: [f64; 2], device: &Device) -> Self {
        let data = TensorData::new(place.map(|x| x as f32).to_vec(), [2]);
        Self {
            x: Param::from_data(data, device),
        }
    }

    fn place(&self) -> [f64; 2] {
        let data = self.x.val().into_data();
        let mut values = data.iter::<f32>().map(f64::from);
        [0, 1].map(|_| values.next().unwrap_or(f64::NAN))
    }
}

/// f with its full gradient, the same for all workers.
struct Landscape;

impl Objective<Point> for Landscape {
    type Error = Infallible;

    fn gradients(&mut self, at: &Point, _step: u64) -> Result<(Loss, GradientsParams), Infallible> {
        let place = at.place();
        let gradient = surface::gradient(place).map(|slope| slope as f32);
        let data = TensorData::new(gradient.to_vec(), [2]);
        let mut gradients = GradientsParams::new();
        gradients.register(at.x.id, Tensor::<1>::from_data(data, &Device::flex()));
        Ok(((surface::value(place) as f32).into(), gradients))
    }

    fn learning_rate(&self, _step: u64) -> f64 {
        RATE
    }
}
