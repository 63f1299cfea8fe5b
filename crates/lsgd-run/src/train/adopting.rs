//! Workers with hyperparameters of their own, and followers that take over those of their leader:
//! `workers.vary` and `method.adopt`.

use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use lsgd_core::{Exchange, ExchangeAt, Factors, LeaderSgd, Scope, TakeOver};
use rand_distr::{Distribution, StandardNormal};

use super::setup::Setup;
use crate::config::Variation;
use crate::task::generator;

/// How followers take over their leader's factors.
#[derive(Debug, Clone, Copy)]
struct Adopting {
    /// `run.seed`.
    seed: u64,
    /// The standard deviation of the natural logarithm of the random change.
    spread: f64,
    /// Whether the inner optimizer has weight decay.
    decays: bool,
}

impl Setup {
    /// Leader SGD around `inner`, for this node's worker `worker`.
    pub(super) fn leader_sgd(
        &self,
        inner: ModuleOptimizer,
        worker: usize,
        exchange: impl Exchange + 'static,
    ) -> LeaderSgd {
        let varied = Variation::of(&self.settings().workers, self.global_rank(worker) as u64);
        LeaderSgd::new(inner, self.method.clone(), exchange)
            .varying(varied.factors(), self.take_over())
    }

    /// What a follower makes of its leader's factors, if it takes them over.
    pub(super) fn take_over(&self) -> Option<TakeOver> {
        let settings = self.settings();
        let adopting = Adopting {
            seed: settings.run.seed,
            spread: settings.method.adopt_spread,
            decays: self.facts.decays,
        };
        let take_over: TakeOver = Arc::new(move |at, leaders| adopting.take_over(at, leaders));
        settings.method.adopt.then_some(take_over)
    }
}

impl Adopting {
    /// The leader's factors, each times a log-normal number of its own, which depends on the worker, its step
    /// and the scope of the exchange alone.
    fn take_over(&self, at: ExchangeAt, leaders: Factors) -> Factors {
        let scope = match at.scope {
            Scope::Local => 0,
            Scope::Global => 1,
        };
        let (node, worker) = (u64::from(at.own.node), u64::from(at.own.worker));
        let key = [self.seed, node, worker, at.step, scope];
        let mut generator = generator("lsgd-run v1 adopted factors", &key);
        let mut change = || {
            let normal: f64 = StandardNormal.sample(&mut generator);
            (self.spread * normal).exp()
        };
        let learning_rate = leaders.learning_rate * change();
        let weight_decay = match self.decays {
            true => leaders.weight_decay * change(),
            false => leaders.weight_decay,
        };
        Factors {
            learning_rate,
            weight_decay,
        }
    }
}

#[cfg(test)]
mod tests {
    use lsgd_core::WorkerId;

    use super::*;

    const LEADERS: Factors = Factors {
        learning_rate: 2.0,
        weight_decay: 0.5,
    };

    fn at(worker: u32, step: u64, scope: Scope) -> ExchangeAt {
        ExchangeAt {
            own: WorkerId::new(0, worker),
            step,
            scope,
        }
    }

    fn adopting(spread: f64, decays: bool) -> Adopting {
        Adopting {
            seed: 1,
            spread,
            decays,
        }
    }

    /// The logarithm of the change has mean 0 and this standard deviation, apart for each factor.
    #[test]
    fn changes_are_log_normal() {
        let adopting = adopting(0.2, true);
        let taken: Vec<Factors> = (0..10_000)
            .map(|step| adopting.take_over(at(1, step, Scope::Local), LEADERS))
            .collect();
        let logs = |of: fn(&Factors) -> f64, from: f64| -> Vec<f64> {
            taken.iter().map(|taken| (of(taken) / from).ln()).collect()
        };
        let rates = logs(|taken| taken.learning_rate, LEADERS.learning_rate);
        let decays = logs(|taken| taken.weight_decay, LEADERS.weight_decay);
        for logs in [&rates, &decays] {
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            let deviation = (variance / logs.len() as f64).sqrt();
            assert!(mean.abs() < 0.01, "{mean}");
            assert!((deviation - 0.2).abs() < 0.01, "{deviation}");
        }
        let product = rates.iter().zip(&decays).map(|(a, b)| a * b).sum::<f64>();
        assert!((product / rates.len() as f64).abs() < 0.002, "{product}");
    }

    #[test]
    fn a_change_is_that_of_its_worker_step_and_scope() {
        let adopting = adopting(0.2, true);
        let taken = |worker, step, scope| adopting.take_over(at(worker, step, scope), LEADERS);
        let first = taken(1, 8, Scope::Local);
        assert_eq!(taken(1, 8, Scope::Local), first);
        for other in [
            taken(2, 8, Scope::Local),
            taken(1, 9, Scope::Local),
            taken(1, 8, Scope::Global),
            Adopting {
                seed: 2,
                ..adopting
            }
            .take_over(at(1, 8, Scope::Local), LEADERS),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn without_spread_factors_are_the_leaders_and_without_decay_its_factor_stays() {
        let at = at(1, 8, Scope::Local);
        assert_eq!(adopting(0.0, true).take_over(at, LEADERS), LEADERS);
        let taken = adopting(0.2, false).take_over(at, LEADERS);
        assert_eq!(taken.weight_decay, LEADERS.weight_decay);
        assert_ne!(taken.learning_rate, LEADERS.learning_rate);
    }
}
