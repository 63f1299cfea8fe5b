//! Auditors of a run in memory: each knows one thing that must hold, and computes it anew from what
//! was offered, sent and received.

mod bytes;
mod elections;
mod finite;
mod formula;
mod rounding;
mod views;

use crate::network::{Setting, Sight};

pub use elections::{Elections, Splits};
use views::Views;

use bytes::Bytes;
use finite::Finite;
use formula::Formula;

/// What an auditor found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which auditor.
    pub auditor: &'static str,
    /// What it saw.
    pub what: String,
}

/// All auditors, over one run.
pub struct Audit {
    views: Views,
    finite: Finite,
    formula: Formula,
    bytes: Bytes,
    pub elections: Elections,
}

impl Audit {
    pub fn new(setting: &Setting) -> Self {
        Self {
            views: Views::new(setting),
            finite: Finite,
            formula: Formula::new(setting),
            bytes: Bytes::new(setting),
            elections: Elections::new(setting),
        }
    }

    /// Takes what happened, in order. Returns the first finding.
    pub fn see(&mut self, sights: &[Sight]) -> Result<(), Finding> {
        for sight in sights {
            self.views.see(sight);
            let views = &self.views;
            let outcomes = [
                ("finite", self.finite.see(sight)),
                ("formula", self.formula.see(sight, views)),
                ("elections", self.elections.see(sight, views)),
                ("bytes", self.bytes.see(sight, views)),
            ];
            for (auditor, outcome) in outcomes {
                outcome.map_err(|what| Finding {
                    auditor,
                    what: format!("{:?}, node {}: {what}", sight.at, sight.node),
                })?;
            }
            self.views.settle(sight);
        }
        Ok(())
    }
}
