//! LGD and EAGD, and gradient descent without a pull, of twelve workers.

use ndarray::Array2;

use crate::completion::Completion;

pub const WORKERS: usize = 12;
pub const ITERATIONS: usize = 50;
/// Pull strength of an iteration, for each unit of the learning rate.
pub const PENALTY: f64 = 0.22;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `x <- x - rate grad F(x) - strength (x - leader)`, which has the lowest F.
    Lgd,
    /// `x <- x - rate grad F(x) - strength (x - centre)` and
    /// `centre <- centre + W strength (mean of x - centre)`; the centre begins at the mean.
    Eagd,
    /// `x <- x - rate grad F(x)`
    Gd,
}

impl Method {
    pub const ALL: [Self; 3] = [Self::Lgd, Self::Eagd, Self::Gd];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lgd => "LGD",
            Self::Eagd => "EAGD",
            Self::Gd => "GD",
        }
    }
}

/// F over the workers at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Of the best worker.
    pub best: f64,
    pub mean: f64,
}

/// Runs `method` from `starts` with learning rate `rate`: F before the first iteration and after
/// each. Right sides of the equations have what was there before.
pub fn run(method: Method, problem: &Completion, starts: &[Array2<f64>], rate: f64) -> Vec<Moment> {
    let strength = PENALTY * rate;
    let mut workers = starts.to_vec();
    let mut centre = mean(&workers);
    let mut moments = Vec::with_capacity(ITERATIONS + 1);
    loop {
        let (values, gradients): (Vec<f64>, Vec<_>) =
            workers.iter().map(|x| problem.evaluate(x)).unzip();
        let best = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]));
        let Some(best) = best else {
            return moments;
        };
        moments.push(Moment {
            best: values[best],
            mean: values.iter().sum::<f64>() / values.len() as f64,
        });
        if moments.len() > ITERATIONS {
            return moments;
        }
        let target = match method {
            Method::Lgd => Some(workers[best].clone()),
            Method::Eagd => {
                let before = centre.clone();
                centre.scaled_add(workers.len() as f64 * strength, &(mean(&workers) - &before));
                Some(before)
            }
            Method::Gd => None,
        };
        for (x, gradient) in workers.iter_mut().zip(&gradients) {
            let apart = target.as_ref().map(|target| &*x - target);
            x.scaled_add(-rate, gradient);
            if let Some(apart) = apart {
                x.scaled_add(-strength, &apart);
            }
        }
    }
}

fn mean(workers: &[Array2<f64>]) -> Array2<f64> {
    let mut sum = Array2::zeros(workers[0].raw_dim());
    workers.iter().for_each(|x| sum += x);
    sum / workers.len() as f64
}
