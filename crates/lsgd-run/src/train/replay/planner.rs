//! Makes a [`Script`] of what the nodes of a run have recorded: pure, and first without what others
//! published, which a [resolver](super::resolver) finds.
//!
//! A node's lines are in the order in which its workers' messages took effect, so that of one worker's
//! lines is the order of what it did. Where a worker publishes and is pulled at one step, that counts.

use lsgd_core::{Scope, ShortDigest, Source, VectorKind, WireFormat, WorkerId};

use super::drafts::{Draft, DraftAction, DraftChange, DraftStage, DraftStart, Wanted};
use super::life::Life;
use super::log::{Decision, NodeLog, Place, Recorded};
use super::resolver::Drafts;
use super::script::Script;
use crate::error::RunError;

/// What the records of a run cannot be understood without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Of each node.
    pub workers: u32,
    /// How parameters cross the network.
    pub wire: WireFormat,
    /// Whether nodes have a centre.
    pub has_centre: bool,
    /// Whether the budget affects more than the end: a learning rate or a pull that goes by it.
    pub budget_counts: bool,
}

impl Shape {
    fn of_node(&self, node: u32) -> impl Iterator<Item = WorkerId> {
        (0..self.workers).map(move |worker| WorkerId::new(node, worker))
    }
}

/// What the workers do, by the records of all nodes.
///
/// # Errors
///
/// [`RunError::NotReplayed`] that names the line which cannot be replayed, and why.
pub fn plan(shape: Shape, logs: &[NodeLog]) -> Result<Script, RunError> {
    let mut drafts = Drafts::new(shape.wire);
    for log in logs {
        let mut planner = Planner::new(shape, log.node, &mut drafts);
        for recorded in &log.decisions {
            planner.take(recorded)?;
        }
        planner.evaluations(log)?;
    }
    drafts.resolve()
}

/// The records of one node.
struct Planner<'a> {
    shape: Shape,
    node: u32,
    drafts: &'a mut Drafts,
    life: Life,
}

/// What versions before this one did not record.
const OLDER: &str = "as versions before it did not record it; only later runs can be replayed";

impl<'a> Planner<'a> {
    /// A node that begins with the initial weights, unless its records say otherwise.
    fn new(shape: Shape, node: u32, drafts: &'a mut Drafts) -> Self {
        let start = (DraftStart::Initial, 0);
        let life = Life::begin(drafts, shape.of_node(node), node, start, f64::NEG_INFINITY);
        Self {
            shape,
            node,
            drafts,
            life,
        }
    }

    fn take(&mut self, recorded: &Recorded) -> Result<(), RunError> {
        let Recorded {
            place,
            seconds,
            decision,
        } = recorded;
        self.drafts.lines += 1;
        match decision {
            Decision::Exchange {
                scope: Scope::Local,
                vector,
                source,
                added,
                averaged,
                digest,
            } => {
                let digest = digest.ok_or_else(|| place.refuse(missing("digest")))?;
                let averaged = averaged.as_deref().unwrap_or_default();
                match vector {
                    VectorKind::Parameters => self.published(place, *source, averaged, digest),
                    VectorKind::Centre => self.added(place, *source, *added, digest),
                    VectorKind::Mean | VectorKind::Gradient => {
                        Err(place.refuse("an exchange that no async run has"))
                    }
                }
            }
            // What came of it is told by those who adopted it.
            Decision::Exchange { .. } | Decision::Other => Ok(()),
            Decision::Adoption {
                step,
                worker,
                source: Source::Centre { version },
                strength,
                ..
            } => self.moved(place, (*worker, *step), *version, *strength),
            Decision::Adoption {
                step,
                worker,
                scope,
                source,
                strength,
                digest,
            } => {
                let digest = digest.ok_or_else(|| place.refuse(missing("digest")))?;
                let (scope, source) = (*scope, *source);
                let wanted = Wanted {
                    node: self.node,
                    source,
                    scope,
                    digest,
                };
                let strength = *strength;
                self.act(place, (*worker, *step), Draft::Adopt { wanted, strength })
            }
            Decision::Led {
                step,
                worker,
                source,
            } => self.act(place, (*worker, *step), Draft::Lead(*source)),
            Decision::Merged {
                source,
                other,
                digest,
            } => {
                let Source::Centre { version: other } = *other else {
                    return Err(place.refuse(format!("merged with {other}, which is no centre")));
                };
                let (node, digest) = (self.node, *digest);
                let change = DraftChange::Merge {
                    node,
                    other,
                    digest,
                };
                self.change(place, *source, change).map(drop)
            }
            Decision::Proposed { source, digest } => {
                let (Some(source), centre) = (*source, self.life.centre) else {
                    return Ok(());
                };
                let digest = digest.ok_or_else(|| place.refuse(missing("digest")))?;
                self.drafts.proposed(self.node, centre, source, digest);
                Ok(())
            }
            // A refused snapshot ends an exchange that no worker learns of; a refused addition is
            // lost, and the records do not tell which one it was.
            Decision::Refused if !self.shape.has_centre => Ok(()),
            Decision::Refused => Err(place
                .refuse("a vector was refused: of a method with a centre this cannot be replayed")),
            Decision::Joined {
                step,
                source,
                digest,
            } => {
                let start = (self.start(place, *source, *digest)?, *step);
                // Its first line; a node that comes back has others before it.
                let began = match self.drafts.is_untouched(&self.life.stages) {
                    true => f64::NEG_INFINITY,
                    false => *seconds,
                };
                let workers = self.shape.of_node(self.node);
                self.life = Life::begin(self.drafts, workers, self.node, start, began);
                Ok(())
            }
            Decision::Restarted { .. } => self.restarted(recorded),
            Decision::Resumed { changes } => self.resumed(place, changes.as_deref()),
        }
    }

    /// What a node that joins begins with.
    fn start(
        &self,
        place: &Place,
        source: Option<Source>,
        digest: Option<ShortDigest>,
    ) -> Result<DraftStart, RunError> {
        let Some(source) = source else {
            return Ok(DraftStart::Initial);
        };
        let digest = digest.ok_or_else(|| place.refuse(missing("digest")))?;
        Ok(match source {
            Source::Centre { version } => DraftStart::Proposed {
                node: self.node,
                version,
                digest,
                place: place.clone(),
            },
            source => DraftStart::Published {
                wanted: Wanted {
                    node: self.node,
                    source,
                    scope: Scope::Global,
                    digest,
                },
                place: place.clone(),
            },
        })
    }

    fn restarted(&mut self, recorded: &Recorded) -> Result<(), RunError> {
        let Recorded { place, seconds, .. } = recorded;
        let Decision::Restarted {
            step,
            worker,
            source,
            scope,
            digest,
        } = recorded.decision
        else {
            return Ok(());
        };
        let (node, centre) = (self.node, self.life.centre);
        let (start, step) = match (source, scope) {
            (None, _) if self.life.resumed => {
                let why = "a worker started again as its checkpoint had it, before any exchange: this \
                           cannot be replayed";
                return Err(place.refuse(why));
            }
            (None, _) => (self.life.start.clone(), self.life.step),
            (Some(Source::Centre { version: number }), None) => {
                (DraftStart::Centre { centre, number }, step)
            }
            (Some(source), Some(scope)) => {
                let digest = digest.ok_or_else(|| place.refuse(missing("digest")))?;
                let wanted = Wanted {
                    node,
                    source,
                    scope,
                    digest,
                };
                let place = place.clone();
                (DraftStart::Published { wanted, place }, step)
            }
            (Some(_), None) => return Err(place.refuse(missing("scope"))),
        };
        let number = self.own(place, worker)?;
        let stage = self.drafts.add_stage(DraftStage {
            worker,
            step,
            start,
            centre,
            seconds: *seconds,
            actions: Vec::new(),
        });
        let life = &mut self.life;
        life.additions.retain(|(by, ..)| *by != worker);
        if let Some(current) = life.stages.get_mut(number) {
            *current = stage;
        }
        Ok(())
    }

    /// The run continued from a checkpoint, with the state that the lines before it lead to.
    fn resumed(&mut self, place: &Place, changes: Option<&[String]>) -> Result<(), RunError> {
        let changes = changes.ok_or_else(|| place.refuse(missing("list of changes")))?;
        let counts = self.shape.budget_counts;
        let is_length = |change: &str| change.starts_with("budget.");
        let is_silence = |change: &str| change.starts_with("cluster.silence_seconds ");
        let is_patience = |change: &str| change.starts_with("budget.patience");
        let matters = |change: &&String| match is_length(change) {
            true => counts && !is_patience(change),
            false => !is_silence(change),
        };
        if let Some(change) = changes.iter().find(matters) {
            let why = format!(
                "the run continued with other settings, which cannot be replayed: {change}"
            );
            return Err(place.refuse(why));
        }
        self.life.resumed = true;
        Ok(())
    }

    fn published(
        &mut self,
        place: &Place,
        source: Source,
        reports: &[(u32, u64)],
        digest: ShortDigest,
    ) -> Result<(), RunError> {
        let Source::Worker { id, step } = source else {
            return Err(place.refuse(format!("{source} is not what a worker publishes")));
        };
        let mut averaged = Vec::new();
        for &(worker, step) in reports {
            let number = self.own(place, WorkerId::new(self.node, worker))?;
            let stage = self.life.stages.get(number).copied().unwrap_or_default();
            self.drafts.report(place, stage, step)?;
            averaged.push((stage, step));
        }
        self.act(place, (id, step), Draft::Publish { digest, averaged })
    }

    /// A worker has added to the centre, which is a new version by that.
    fn added(
        &mut self,
        place: &Place,
        source: Source,
        added: Option<Source>,
        digest: ShortDigest,
    ) -> Result<(), RunError> {
        let Some(Source::Worker { id, step }) = added else {
            return Err(place.refuse(missing("worker that added to the centre")));
        };
        self.own(place, id)?;
        let worker = id.worker;
        let change = DraftChange::Addition { worker, digest };
        let version = self.change(place, source, change)?;
        self.life.additions.push((id, step, version));
        Ok(())
    }

    /// The centre has become `source`. Returns its version.
    fn change(
        &mut self,
        place: &Place,
        source: Source,
        change: DraftChange,
    ) -> Result<u64, RunError> {
        let centre = self.life.centre;
        let next = self.drafts.add_change(centre, place, change);
        match source {
            Source::Centre { version } if version == next => Ok(version),
            source => Err(place.refuse(format!(
                "{source} follows version {} of the centre: lines between them are missing",
                next.saturating_sub(1)
            ))),
        }
    }

    /// A worker has been moved by the centre that it read.
    fn moved(
        &mut self,
        place: &Place,
        (worker, step): (WorkerId, u64),
        read: u64,
        strength: f64,
    ) -> Result<(), RunError> {
        let additions = &mut self.life.additions;
        let own = additions
            .iter()
            .position(|(id, at, _)| (*id, *at) == (worker, step));
        let Some(own) = own else {
            let why = format!("worker {worker} adds nothing to the centre at step {step}");
            return Err(place.refuse(why));
        };
        let (.., made) = additions.remove(own);
        let draft = Draft::Centre {
            read,
            strength,
            made,
        };
        self.act(place, (worker, step), draft)
    }

    /// Adds an action of a worker at this step.
    fn act(
        &mut self,
        place: &Place,
        (worker, step): (WorkerId, u64),
        draft: Draft,
    ) -> Result<(), RunError> {
        let number = self.own(place, worker)?;
        let stage = self.life.stages.get(number).copied().unwrap_or_default();
        let stage = self.drafts.stage(stage);
        let last = stage.actions.last().map(|action| action.step);
        // It takes a step before it comes to an exchange.
        let earliest = last.unwrap_or(stage.step.saturating_add(1));
        if step < earliest {
            let why = format!("worker {worker} is at step {step}, after step {earliest}");
            return Err(place.refuse(why));
        }
        let place = place.clone();
        stage.actions.push(DraftAction { step, place, draft });
        Ok(())
    }

    /// The number of a worker of this node.
    fn own(&self, place: &Place, worker: WorkerId) -> Result<usize, RunError> {
        match worker.node == self.node && worker.worker < self.shape.workers {
            true => Ok(worker.worker as usize),
            false => Err(place.refuse(format!("the node has no worker {worker}"))),
        }
    }

    /// The digests to compare with.
    fn evaluations(&mut self, log: &NodeLog) -> Result<(), RunError> {
        for evaluated in &log.evaluations {
            self.drafts.lines += 1;
            let place = &evaluated.place;
            for score in &evaluated.workers {
                self.own(place, score.worker)?;
                let step = score
                    .step
                    .ok_or_else(|| place.refuse(missing("step of each worker")))?;
                let digest = score.digest.clone();
                self.drafts
                    .compare(place, (score.worker, step), evaluated.seconds, digest)?;
            }
        }
        Ok(())
    }
}

fn missing(what: &str) -> String {
    format!("it has no {what}, {OLDER}")
}
