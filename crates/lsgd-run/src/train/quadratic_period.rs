//! Periods that grow as the learning rate falls: the quadratic synchronization rule (Gu, Lyu, Arora, Zhang and
//! Huang, arXiv 2310.14423).
//!
//! ```text
//! H = max(tau, floor((alpha / eta)^2))      steps to the next exchange; eta the rate after the last one
//! ```
//!
//! While the rate still rises, eta is the rate that it rises to, as in the paper. The last exchange is at the
//! end of the budget, however near the one before.

use crate::learning_rate::LearningRate;

/// Most exchanges of a run whose steps are kept in memory.
pub(super) const MAX_EXCHANGES: usize = 1 << 20;

/// The steps of a run of `steps` steps after which workers exchange; `None` if there are too many of them.
pub(super) fn exchanges(rate: &LearningRate, alpha: f64, tau: u64, steps: u64) -> Option<Vec<u64>> {
    let mut exchanges = Vec::new();
    let mut at = 0;
    while at < steps {
        let eta = rate.at(at.max(rate.highest()));
        let quadratic = (alpha / eta).powi(2).floor();
        // A rate of zero, or nearly, leaves one period to the end.
        let period = match quadratic < steps as f64 {
            true => (quadratic as u64).max(tau.max(1)),
            false => steps,
        };
        at = at.saturating_add(period).min(steps);
        exchanges.push(at);
        if exchanges.len() > MAX_EXCHANGES {
            return None;
        }
    }
    Some(exchanges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ScheduleConfig, ScheduleKind, Span};
    use crate::epoch::Epoch;

    fn rate(kind: ScheduleKind, warmup: Option<u64>, steps: u64) -> LearningRate {
        let schedule = ScheduleConfig {
            kind,
            learning_rate: 0.4,
            warmup: warmup.map(|steps| Span {
                epochs: None,
                steps: Some(steps),
            }),
            ..ScheduleConfig::default()
        };
        let epoch = Epoch {
            examples: 100,
            examples_per_step: 10,
        };
        LearningRate::new(&schedule, epoch, Some(steps))
    }

    /// From numpy: t, out = 0, []; while t < 200: eta = 0.2 * (1 + np.cos(np.pi * t / 200));
    /// t = min(200, t + max(4, int((1.0 / eta) ** 2))); out.append(t)
    #[test]
    fn periods_grow_as_a_cosine_falls() {
        let rate = rate(ScheduleKind::Cosine, None, 200);
        assert_eq!(
            exchanges(&rate, 1.0, 4, 200).unwrap(),
            [6, 12, 18, 24, 30, 36, 43, 50, 58, 67, 78, 91, 110, 145, 200]
        );
    }

    /// While the rate rises, the period is that of the top.
    #[test]
    fn a_warm_up_has_the_period_of_its_end() {
        let plain = rate(ScheduleKind::Constant, None, 100);
        let warmed = rate(ScheduleKind::Constant, Some(50), 100);
        let expected: Vec<u64> = (1..=16).map(|k| 6 * k).chain([100]).collect();
        assert_eq!(exchanges(&plain, 1.0, 2, 100).unwrap(), expected);
        assert_eq!(exchanges(&warmed, 1.0, 2, 100).unwrap(), expected);
        let cycle = rate(ScheduleKind::OneCycle, None, 100);
        let rising = exchanges(&cycle, 1.0, 2, 100).unwrap();
        assert_eq!(rising[..4], [6, 12, 18, 24]);
        assert!(
            rising.len() < 16 && rising.last() == Some(&100),
            "{rising:?}"
        );
    }

    /// With an alpha of next to nothing it is every tau steps, and once more at the end.
    #[test]
    fn the_period_is_tau_at_least() {
        let rate = rate(ScheduleKind::Constant, None, 10);
        assert_eq!(exchanges(&rate, 1e-9, 4, 10).unwrap(), [4, 8, 10]);
        assert_eq!(exchanges(&rate, 1e9, 4, 10).unwrap(), [10]);
        assert_eq!(exchanges(&rate, 1e-9, 1, u64::MAX), None);
    }
}
