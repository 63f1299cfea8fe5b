//! Elastic averaging SGD, synchronous (Zhang, Choromanska and LeCun, arXiv 1412.6651, equations 5
//! and 6; alpha = beta / W as in its section 2).
//!
//! ```text
//! x_i    <- x_i - beta/W (x_i - centre)                        every tau steps, W workers
//! centre <- centre + beta (1/W sum of the workers' x - centre)
//! ```
//!
//! Both right-hand sides use the old values. The centre starts where the workers do. Every worker
//! keeps its own copy and computes the same values, so that only the mean is exchanged. Over
//! several nodes there is a centre for each node's workers, and a global one.
//!
//! In its asynchronous form (Algorithm 1 of the paper) workers access the centre one by one, each
//! every tau of its own steps:
//!
//! ```text
//! d      <- beta/W (x - centre)
//! x      <- x - d
//! centre <- centre + d
//! ```

use std::sync::Arc;

use super::mixing::Shares;
use super::{ExchangeAt, ExchangeConfig, Method, MethodError, Pull, Rule, Scoped, check_strength};
use crate::{ExchangeOutcome, RuleState, Snapshot, Source, StateError, VectorKind};

#[derive(Debug)]
struct Elastic {
    beta: f64,
    centre: Scoped<Option<Arc<Snapshot>>>,
}

impl Elastic {
    fn new(beta: f64) -> Self {
        Self {
            beta,
            centre: Scoped {
                local: None,
                global: None,
            },
        }
    }
}

impl Rule for Elastic {
    fn fresh(&self) -> Box<dyn Rule> {
        Box::new(Self::new(self.beta))
    }

    fn wants_start(&self) -> bool {
        true
    }

    fn begin(&mut self, start: Arc<Snapshot>) {
        let centre = Snapshot::of(&start, Source::Centre { version: 0 });
        self.centre = Scoped {
            local: Some(centre.clone()),
            global: Some(centre),
        };
    }

    fn on_exchange(&mut self, at: ExchangeAt, delivered: &ExchangeOutcome) -> Option<Pull> {
        let mean = delivered.mean.as_ref()?;
        let Source::Mean { workers } = mean.source() else {
            return None;
        };
        let centre = self.centre.of(at.scope);
        let before = centre.take()?;
        let version = match before.source() {
            Source::Centre { version } => version + 1,
            _ => 1,
        };
        let moved = Snapshot::interpolate(&before, mean, self.beta);
        *centre = Some(Snapshot::of(&moved, Source::Centre { version }));
        Some(Pull {
            target: before,
            strength: self.beta / workers.max(1) as f64,
        })
    }

    fn state(&self) -> RuleState {
        let mut state = RuleState::default();
        self.centre.save("centre", &mut state);
        state
    }

    fn resume(&mut self, state: &RuleState) -> Result<(), StateError> {
        state.needed("easgd", "centre.local")?;
        state.needed("easgd", "centre.global")?;
        self.centre = Scoped::saved("centre", state);
        Ok(())
    }
}

impl Method {
    /// Elastic averaging SGD, asynchronous, with `workers` workers per node. `beta` is in [0, 1].
    /// `exchanges.periods.local` is tau; the global period is the number of a worker's steps
    /// between merges of its node's centre with another's.
    ///
    /// # Errors
    ///
    /// As [`downpour`](Self::downpour), and for a beta outside [0, 1].
    pub fn easgd_async(
        exchanges: ExchangeConfig,
        beta: f64,
        workers: u32,
    ) -> Result<Self, MethodError> {
        exchanges.check_centre("easgd")?;
        check_strength("beta", beta)?;
        let alpha = beta / f64::from(workers.max(1));
        let shares = Shares {
            worker: alpha,
            centre: alpha,
        };
        Ok(Self::mixing("easgd", exchanges, shares))
    }

    /// Elastic averaging SGD, synchronous. `beta` is in [0, 1]; the paper's is 0.43.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a beta outside [0, 1], and as [`local_sgd`](Self::local_sgd).
    pub fn easgd(exchanges: ExchangeConfig, beta: f64) -> Result<Self, MethodError> {
        exchanges.check_leaderless("easgd")?;
        check_strength("beta", beta)?;
        let carries = &[VectorKind::Mean];
        Ok(Self::of_exchanges(
            "easgd",
            carries,
            exchanges,
            Elastic::new(beta),
        ))
    }
}
