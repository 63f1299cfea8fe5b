//! Two workers of Leader SGD as threads, and their leaders.
//!
//!     cargo run --release -p lsgd-core --example two_workers
//!
//! Both fit `y = 3 x + 1` from their own noisy halves of the data. They meet every 8 steps, and
//! the one with the higher loss is pulled a tenth of the way toward the other.

use std::thread;

use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};
use lsgd_core::{
    Event, Group, LeaderConfig, LeaderSgd, LocalLeader, Member, Method, Mode, WindowLoss,
};

const STEPS: usize = 80;

/// The result of a worker: its report's loss, weight and bias.
struct Outcome {
    loss: WindowLoss,
    weight: f32,
    bias: f32,
}

fn train(worker: usize, method: Method, member: Member) -> Outcome {
    let device = Device::flex().autodiff();
    let mut model: Linear = LinearConfig::new(1, 1).init(&device);
    let mut optimizer = LeaderSgd::new(SgdConfig::new().init(), method, member);
    for step in 0..STEPS {
        // Eight points of [-1, 1] and a disturbance that differs by worker and step.
        let at = |i: usize| ((step * 16 + worker * 8 + i) as f32 * 0.618).fract() * 2.0 - 1.0;
        let x = Tensor::<1>::from_floats(std::array::from_fn::<f32, 8, _>(at), &device);
        let noise = (x.clone() * 40.0).sin() * if worker == 0 { 0.1 } else { 0.3 };
        let y = (x.clone() * 3.0 + 1.0 + noise).reshape([8, 1]);

        let output = model.forward(x.reshape([8, 1]));
        let loss = MseLoss::new().forward(output, y, Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.observe(loss);
        model = optimizer.step(0.1, model, gradients);
    }
    Outcome {
        loss: optimizer.loss(),
        weight: model.weight.val().into_scalar::<f32>(),
        bias: model
            .bias
            .map_or(f32::NAN, |bias| bias.val().into_scalar::<f32>()),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let method = Method::lsgd(&LeaderConfig {
        local_period: 8,
        global_period: 8,
        loss_window: 8,
        ..LeaderConfig::default()
    })?;
    let leader = LocalLeader::new(0, 2, method.clone(), Mode::Sync)?;
    let (_group, members) = Group::form(leader, |event| match event {
        Event::Election { step, election, .. } => match election.leader {
            Some(id) => println!("step {step:3}  worker {id} leads: {:?}", election.reason),
            None => println!("step {step:3}  nobody leads: {:?}", election.excluded),
        },
        Event::Refused { worker, why, .. } => println!("worker {worker} is refused: {why}"),
        _ => {}
    });

    let threads: Vec<_> = (0..)
        .zip(members)
        .map(|(worker, member)| {
            let method = method.clone();
            thread::spawn(move || train(worker, method, member))
        })
        .collect();
    for (worker, thread) in threads.into_iter().enumerate() {
        let outcome = thread.join().map_err(|_| format!("worker {worker} died"))?;
        let Outcome { loss, weight, bias } = outcome;
        println!("worker {worker}  y = {weight:.3} x + {bias:.3}  {loss:?}");
    }
    Ok(())
}
