//! DOWNPOUR SGD (Dean et al., *Large Scale Distributed Deep Networks*, NeurIPS 2012), in the form that
//! Zhang, Choromanska and LeCun compare with (arXiv 1412.6651, section 5).
//!
//! ```text
//! centre <- centre + (x - base)      every tau of the worker's own steps
//! x      <- centre
//! base   <- centre
//! ```
//!
//! base is where the worker last took the centre over, so that x - base is the sum of its steps since.
//! It goes on while the centre is on its way to it: it then moves by as much as the centre is off the
//! x that it brought, and brings the steps taken meanwhile the next time.

use std::sync::Arc;

use super::{Meeting, MeetingConfig, Method, MethodError, Move, Own, Rule, Told, Visit};
use crate::{Delivered, Refusal, Snapshot, Vector};

#[derive(Debug, Default)]
struct Downpour {
    base: Option<Arc<Snapshot>>,
    /// What was x when the worker brought its steps, until it is told the centre.
    brought: Option<Arc<Snapshot>>,
}

impl Rule for Downpour {
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(Self::default())
    }

    fn wants_start(&self) -> bool {
        true
    }

    fn begin(&mut self, start: Arc<Snapshot>) {
        self.base = Some(start);
    }

    fn meet(&mut self, _at: Meeting, _delivered: &Delivered) -> Option<Move> {
        None
    }

    fn visit(&mut self, own: &mut Own) -> Result<Visit, Refusal> {
        let Some(base) = self.base.as_ref().filter(|_| self.brought.is_none()) else {
            return Ok(Visit::Stay);
        };
        let own = own()?;
        let steps = own.combined(base, |x, base| x - base);
        self.brought = Some(own);
        Ok(Visit::Bring(Arc::new(steps)))
    }

    fn told(&mut self, own: Arc<Snapshot>, centre: Arc<Snapshot>) -> Told {
        let Some(brought) = self.brought.take() else {
            return Told::default();
        };
        let since = own.combined(&brought, |x, brought| x - brought);
        let target = Arc::new(centre.combined(&since, |centre, since| centre + since));
        self.base = Some(centre);
        let strength = 1.0;
        Told {
            go: Some(Move { target, strength }),
            bring: None,
        }
    }
}

impl Method {
    /// DOWNPOUR SGD, which is asynchronous. `meetings.periods.local` is tau, the global one how many
    /// steps of a worker lie between visits of a node's centre to another's.
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a period or window of nought, a global period that is not a multiple of the
    /// local one, or BatchNorm statistics that are not each worker's own.
    pub fn downpour(meetings: MeetingConfig) -> Result<Self, MethodError> {
        meetings.check_unmet("downpour")?;
        let carries = &[Vector::Centre];
        let rule = Downpour::default();
        Ok(Self {
            max_staleness: Self::two_periods(meetings.periods),
            ..Self::of_meetings("downpour", carries, meetings, rule)
        })
    }
}
