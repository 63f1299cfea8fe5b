//! Durations of simulated steps.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

use crate::config::SimulateConfig;

/// The duration of every worker's steps, each drawn by its own generator: they do not depend on the
/// order of workers.
#[derive(Debug)]
pub struct Durations {
    workers: Vec<(f64, ChaCha8Rng)>,
    spread: Option<LogNormal<f64>>,
    /// Total duration of each worker's steps.
    stepped: Vec<Duration>,
}

impl Durations {
    /// For `workers` workers.
    pub fn new(config: &SimulateConfig, workers: usize, seed: u64) -> Self {
        let slow =
            workers.saturating_sub(usize::try_from(config.slow_workers).unwrap_or(usize::MAX));
        let worker = |worker: usize| {
            let factor = if worker < slow {
                1.0
            } else {
                config.slow_factor
            };
            (config.step_seconds * factor, generator(seed, worker))
        };
        Self {
            workers: (0..workers).map(worker).collect(),
            // The sigma of a checked config is finite and not below zero.
            spread: LogNormal::new(0.0, config.step_sigma)
                .ok()
                .filter(|_| config.step_sigma > 0.0),
            stepped: vec![Duration::ZERO; workers],
        }
    }

    /// The duration of worker `worker`'s next step.
    pub fn draw(&mut self, worker: usize) -> Duration {
        let Some((median, random)) = self.workers.get_mut(worker) else {
            return Duration::ZERO;
        };
        let factor = self.spread.map_or(1.0, |spread| spread.sample(random));
        let takes = Duration::try_from_secs_f64(*median * factor).unwrap_or(Duration::MAX / 4);
        if let Some(stepped) = self.stepped.get_mut(worker) {
            *stepped = stepped.saturating_add(takes);
        }
        takes
    }

    /// Mean seconds that these workers did not spend in steps, of `seconds` of training.
    pub fn waited(&self, workers: impl IntoIterator<Item = usize>, seconds: f64) -> f64 {
        let stepped = workers.into_iter().filter_map(|w| self.stepped.get(w));
        let waits: Vec<f64> = stepped
            .map(|s| (seconds - s.as_secs_f64()).max(0.0))
            .collect();
        waits.iter().sum::<f64>() / waits.len().max(1) as f64
    }
}

fn generator(seed: u64, worker: usize) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("lsgd-train v1 simulated step times");
    for part in [seed, worker as u64] {
        hasher.update(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(durations: &mut Durations, worker: usize) -> f64 {
        durations.draw(worker).as_secs_f64()
    }

    #[test]
    fn without_a_spread_all_steps_take_the_same_but_those_of_the_slow() {
        let config = SimulateConfig {
            step_seconds: 0.25,
            slow_workers: 1,
            slow_factor: 3.0,
            ..SimulateConfig::default()
        };
        let mut durations = Durations::new(&config, 3, 7);
        for _ in 0..3 {
            let all: Vec<f64> = (0..3).map(|w| seconds(&mut durations, w)).collect();
            assert_eq!(all, [0.25, 0.25, 0.75]);
        }
    }

    #[test]
    fn with_a_spread_the_median_is_the_one_asked_for() {
        let config = SimulateConfig {
            step_seconds: 2.0,
            step_sigma: 0.5,
            ..SimulateConfig::default()
        };
        let drawn = |first: usize| {
            let mut durations = Durations::new(&config, 2, 7);
            // Another worker's draws change nothing.
            for _ in 0..first {
                let _ = durations.draw(0);
            }
            let mut all: Vec<f64> = (0..1001).map(|_| seconds(&mut durations, 1)).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let all = drawn(0);
        assert_eq!(all, drawn(5));
        assert!((1.9..2.1).contains(&all[500]), "{}", all[500]);
        // Of a normal distribution 68.3 % lie within one sigma.
        let within = |t: &&f64| (t.ln() - 2.0f64.ln()).abs() < 0.5;
        let share = all.iter().filter(within).count() as f64 / 1001.0;
        assert!((0.65..0.72).contains(&share), "{share}");
    }
}
