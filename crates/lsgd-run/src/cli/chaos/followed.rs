//! The records of a node, followed while it writes them.

use std::path::Path;

use crate::chaos::log::{Seen, What};
use crate::chaos::tail::Tail;
use crate::error::RunError;
use crate::storage::MetricRecord;

/// The records of a node.
#[derive(Debug)]
pub(super) struct Followed {
    node: u32,
    events: Tail,
    metrics: Tail,
    /// Its furthest step, as last told.
    step: u64,
}

impl Followed {
    /// Follows the records of node `node`, from 1, which writes to `folder`.
    pub fn new(node: u32, folder: &Path) -> Self {
        Self {
            node,
            events: Tail::new(folder.join("events.jsonl"), |_| 0),
            metrics: Tail::new(folder.join("metrics.jsonl"), steps),
            step: 0,
        }
    }

    /// What has become known since the last call, in order.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`].
    pub fn news(&mut self, folder: &Path) -> Result<Vec<What>, RunError> {
        let node = self.node;
        let mut told = Vec::new();
        let events = self.events.news().map_err(RunError::read(folder))?;
        let metrics = self.metrics.news().map_err(RunError::read(folder))?;
        for (file, news) in [("events.jsonl", &events), ("metrics.jsonl", &metrics)] {
            if news.removed > 0 {
                told.push(What::Removed {
                    node,
                    file: file.to_owned(),
                    lines: news.removed,
                    steps: news.removed_weight,
                });
            }
        }
        let mut furthest = None;
        for line in &events.lines {
            // A line that is not understood concerns no report; its file is read again at the end.
            let Ok(line) = serde_json::from_str::<Seen>(line) else {
                continue;
            };
            match line {
                Seen::Other => {}
                Seen::Exchange { step, scope, .. } => {
                    furthest = Some(step);
                    if scope == lsgd_core::Scope::Global {
                        told.push(What::Seen { node, line });
                    }
                }
                line => {
                    if let Seen::Joined { step } | Seen::Resumed { step } = line {
                        self.step = step;
                        furthest = None;
                    }
                    told.push(What::Seen { node, line });
                }
            }
        }
        if let Some(step) = furthest.filter(|step| *step != self.step) {
            self.step = step;
            told.push(What::Trained { node, step });
        }
        Ok(told)
    }
}

/// Steps that a line of `metrics.jsonl` tells of.
fn steps(line: &str) -> u64 {
    match serde_json::from_str(line) {
        Ok(MetricRecord::Interval(interval)) => interval.steps,
        _ => 0,
    }
}
