//! Elastic averaging SGD, synchronous (Zhang, Choromanska and LeCun, arXiv 1412.6651, equations 5
//! and 6; alpha = beta / W as in its section 2).
//!
//! ```text
//! x_i    <- x_i - beta/W (x_i - centre)                        every tau steps, W workers
//! centre <- centre + beta (1/W sum of the workers' x - centre)
//! ```
//!
//! Both right sides have what was there before. The centre begins where the workers do. Every worker
//! keeps it for itself and comes to the same one, so that only the mean crosses between them. Over
//! several nodes there is a centre for each node's workers, and one for all.
//!
//! Its asynchronous form (Algorithm 1 there) has a centre that workers come to one by one, each every
//! tau of its own steps:
//!
//! ```text
//! d      <- beta/W (x - centre)
//! x      <- x - d
//! centre <- centre + d
//! ```

use std::sync::Arc;

use super::{
    Meeting, MeetingConfig, Method, MethodError, Move, Own, Rule, Scoped, Told, Visit,
    check_strength,
};
use crate::{Delivered, Refusal, Snapshot, Source, Vector};

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
    fn anew(&self) -> Box<dyn Rule> {
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

    fn meet(&mut self, at: Meeting, delivered: &Delivered) -> Option<Move> {
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
        let moved = Snapshot::between(&before, mean, self.beta);
        *centre = Some(Snapshot::of(&moved, Source::Centre { version }));
        Some(Move {
            target: before,
            strength: self.beta / workers.max(1) as f64,
        })
    }
}

/// The asynchronous form.
#[derive(Debug)]
struct OneByOne {
    /// beta / W.
    alpha: f64,
    /// Whether it waits to be told the centre.
    asked: bool,
}

impl Rule for OneByOne {
    fn anew(&self) -> Box<dyn Rule> {
        let (alpha, asked) = (self.alpha, false);
        Box::new(Self { alpha, asked })
    }

    fn meet(&mut self, _at: Meeting, _delivered: &Delivered) -> Option<Move> {
        None
    }

    fn visit(&mut self, _own: &mut Own) -> Result<Visit, Refusal> {
        Ok(match std::mem::replace(&mut self.asked, true) {
            true => Visit::Stay,
            false => Visit::Ask,
        })
    }

    fn told(&mut self, own: Arc<Snapshot>, centre: Arc<Snapshot>) -> Told {
        self.asked = false;
        let strength = self.alpha;
        let d = own.combined(&centre, |x, centre| strength * (x - centre));
        let target = centre;
        Told {
            go: Some(Move { target, strength }),
            bring: Some(Arc::new(d)),
        }
    }
}

impl Method {
    /// Elastic averaging SGD, asynchronous, of `workers` workers a node. `beta` is in [0, 1].
    /// `meetings.periods.local` is tau, the global one how many steps of a worker lie between visits of
    /// a node's centre to another's.
    ///
    /// # Errors
    ///
    /// As [`downpour`](Self::downpour), and for a beta outside [0, 1].
    pub fn easgd_async(
        meetings: MeetingConfig,
        beta: f64,
        workers: u32,
    ) -> Result<Self, MethodError> {
        meetings.check_unmet("easgd")?;
        check_strength("beta", beta)?;
        let rule = OneByOne {
            alpha: beta / f64::from(workers.max(1)),
            asked: false,
        };
        let carries = &[Vector::Centre];
        Ok(Self {
            max_staleness: Self::two_periods(meetings.periods),
            ..Self::of_meetings("easgd", carries, meetings, rule)
        })
    }

    /// Elastic averaging SGD, synchronous. `beta` is in [0, 1]; the paper's is 0.43.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a beta outside [0, 1], and as [`local_sgd`](Self::local_sgd).
    pub fn easgd(meetings: MeetingConfig, beta: f64) -> Result<Self, MethodError> {
        meetings.check_leaderless("easgd")?;
        check_strength("beta", beta)?;
        let carries = &[Vector::Mean];
        Ok(Self::of_meetings(
            "easgd",
            carries,
            meetings,
            Elastic::new(beta),
        ))
    }
}
