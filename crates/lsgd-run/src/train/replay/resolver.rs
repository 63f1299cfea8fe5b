//! Finds what workers adopted among what others published.

use std::collections::BTreeMap;

use lsgd_core::{Scope, ShortDigest, Source, WireFormat, WorkerId};

use super::drafts::{Draft, DraftAction, DraftCentre, DraftChange, DraftStage, DraftStart, Wanted};
use super::log::Place;
use super::script::{
    Act, Action, ActionId, Centre, Change, ChangedBy, Script, Stage, StageId, Start, Taken, Version,
};
use crate::error::RunError;

/// A [`Script`] under way.
#[derive(Debug)]
pub struct Drafts {
    wire: WireFormat,
    pub lines: usize,
    stages: Vec<DraftStage>,
    centres: Vec<DraftCentre>,
    /// Digests of workers' parameters in their wire format, in the order of their proposals.
    rounded: BTreeMap<(WorkerId, u64), Vec<ShortDigest>>,
    /// The nodes and centres that were proposed by this version and digest.
    proposed: BTreeMap<(u64, ShortDigest), Vec<(u32, usize)>>,
}

/// Where a worker published its parameters of a step, and their digests.
type Published = BTreeMap<(WorkerId, u64), Vec<(ShortDigest, (StageId, ActionId))>>;

impl Drafts {
    pub fn new(wire: WireFormat) -> Self {
        Self {
            wire,
            lines: 0,
            stages: Vec::new(),
            centres: Vec::new(),
            rounded: BTreeMap::new(),
            proposed: BTreeMap::new(),
        }
    }

    pub fn add_centre(&mut self, node: u32, start: DraftStart) -> usize {
        self.centres.push(DraftCentre {
            node,
            start,
            changes: Vec::new(),
        });
        self.centres.len() - 1
    }

    /// Adds a change of a centre. Returns the version that it makes.
    pub fn add_change(&mut self, centre: usize, place: &Place, change: DraftChange) -> u64 {
        let centre = &mut self.centres[centre];
        centre.changes.push((place.clone(), change));
        centre.changes.len() as u64
    }

    /// Whether nothing is known of these stages.
    pub fn is_untouched(&self, stages: &[StageId]) -> bool {
        let mut stages = stages.iter().filter_map(|stage| self.stages.get(*stage));
        stages.all(|stage| stage.actions.is_empty())
    }

    pub fn add_stage(&mut self, stage: DraftStage) -> StageId {
        self.stages.push(stage);
        self.stages.len() - 1
    }

    pub fn stage(&mut self, stage: StageId) -> &mut DraftStage {
        &mut self.stages[stage]
    }

    /// A node has proposed a vector, whose digest in its wire format this is.
    pub fn proposed(&mut self, node: u32, centre: usize, source: Source, digest: ShortDigest) {
        match source {
            Source::Worker { id, step } => {
                self.rounded.entry((id, step)).or_default().push(digest);
            }
            Source::Centre { version } => {
                let named = self.proposed.entry((version, digest)).or_default();
                named.push((node, centre));
            }
            Source::Mean { .. }
            | Source::Sum { .. }
            | Source::Final { .. }
            | Source::Change { .. } => {}
        }
    }

    /// A worker has reported its running statistics at this step, before anything else that it did there.
    pub fn report(&mut self, place: &Place, stage: StageId, step: u64) -> Result<(), RunError> {
        let Some(stage) = self.stages.get_mut(stage).filter(|stage| stage.step < step) else {
            return Err(place.refuse("statistics are averaged that no worker can have reported"));
        };
        let at = stage.actions.partition_point(|action| action.step < step);
        let is_report =
            |action: &DraftAction| action.step == step && matches!(action.draft, Draft::Report);
        if !stage.actions.get(at).is_some_and(is_report) {
            let (place, draft) = (place.clone(), Draft::Report);
            stage.actions.insert(at, DraftAction { step, place, draft });
        }
        Ok(())
    }

    /// Compares a worker's parameters after the last thing that it did up to this step.
    ///
    /// # Errors
    ///
    /// [`RunError::NotReplayed`] if it had not begun.
    pub fn compare(
        &mut self,
        place: &Place,
        (worker, step): (WorkerId, u64),
        seconds: f64,
        digest: String,
    ) -> Result<(), RunError> {
        let mut stages = self.stages.iter_mut().rev();
        let stage = stages.find(|stage| stage.worker == worker && stage.seconds <= seconds);
        let Some(stage) = stage.filter(|stage| stage.step <= step) else {
            let why = format!("worker {worker} is at step {step}, and began after that");
            return Err(place.refuse(why));
        };
        let at = stage.actions.partition_point(|action| action.step <= step);
        let place = place.clone();
        let draft = Draft::Compare(digest);
        stage.actions.insert(at, DraftAction { step, place, draft });
        Ok(())
    }

    /// The script, with everything in it found.
    ///
    /// # Errors
    ///
    /// [`RunError::NotReplayed`] that names the first line whose vector no node has published.
    pub fn resolve(self) -> Result<Script, RunError> {
        let mut published = Published::new();
        let mut additions: BTreeMap<(usize, u64), (StageId, ActionId)> = BTreeMap::new();
        for (number, stage) in self.stages.iter().enumerate() {
            for (at, action) in stage.actions.iter().enumerate() {
                match &action.draft {
                    Draft::Publish { digest, .. } => {
                        let name = (stage.worker, action.step);
                        let all = published.entry(name).or_default();
                        all.push((*digest, (number, at)));
                    }
                    Draft::Centre { made, .. } => {
                        additions.insert((stage.centre, *made), (number, at));
                    }
                    Draft::Report | Draft::Adopt { .. } | Draft::Lead(_) | Draft::Compare(_) => {}
                }
            }
        }
        let centres = self.centres.iter().enumerate();
        let centres = centres.map(|(number, centre)| {
            let changes = centre.changes.iter().zip(1..);
            let changes = changes.map(|((place, change), version)| {
                let action = additions.get(&(number, version)).copied();
                let by = self.change(place, change, action)?;
                let place = place.clone();
                Ok(Change { place, by })
            });
            Ok(Centre {
                node: centre.node,
                start: self.start(&centre.start, &published)?,
                changes: changes.collect::<Result<_, RunError>>()?,
            })
        });
        let centres: Vec<Centre> = centres.collect::<Result<_, RunError>>()?;
        let stages = self.stages.iter().map(|stage| {
            let actions = stage.actions.iter().map(|action| {
                Ok(Action {
                    step: action.step,
                    place: action.place.clone(),
                    act: self.act(action, stage.centre, &centres, &published)?,
                })
            });
            Ok(Stage {
                worker: stage.worker,
                step: stage.step,
                start: self.start(&stage.start, &published)?,
                actions: actions.collect::<Result<_, RunError>>()?,
            })
        });
        Ok(Script {
            stages: stages.collect::<Result<_, RunError>>()?,
            lines: self.lines,
            centres,
        })
    }

    fn act(
        &self,
        action: &DraftAction,
        centre: usize,
        centres: &[Centre],
        published: &Published,
    ) -> Result<Act, RunError> {
        Ok(match &action.draft {
            Draft::Report => Act::Report,
            Draft::Publish { digest, averaged } => {
                let reports = averaged.iter().map(|&(stage, step)| {
                    let actions = self.stages.get(stage).map(|stage| &stage.actions);
                    let is_it = |action: &DraftAction| {
                        action.step == step && matches!(action.draft, Draft::Report)
                    };
                    let at = actions.and_then(|actions| actions.iter().position(is_it));
                    let absent = || action.place.refuse("a report that is averaged is missing");
                    Ok((stage, at.ok_or_else(absent)?))
                });
                Act::Publish {
                    digest: *digest,
                    averaged: reports.collect::<Result<_, RunError>>()?,
                }
            }
            Draft::Lead(source) => Act::Lead(*source),
            Draft::Compare(digest) => Act::Compare(digest.clone()),
            Draft::Adopt { wanted, strength } => Act::Adopt {
                taken: self.find(wanted, &action.place, published)?,
                strength: *strength,
            },
            Draft::Centre {
                read,
                strength,
                made,
            } => {
                let changes = centres.get(centre).map_or(0, |centre| centre.changes.len());
                if *read > changes as u64 {
                    let why = format!("version {read} of the centre, whose line is missing");
                    return Err(action.place.refuse(why));
                }
                let number = *read;
                Act::Centre {
                    read: Version { centre, number },
                    strength: *strength,
                    made: *made,
                }
            }
        })
    }

    fn start(&self, start: &DraftStart, published: &Published) -> Result<Start, RunError> {
        Ok(match start {
            DraftStart::Initial => Start::Initial,
            DraftStart::Published { wanted, place } => {
                Start::Published(self.find(wanted, place, published)?)
            }
            DraftStart::Proposed {
                node,
                version,
                digest,
                place,
            } => Start::Centre {
                version: self.find_centre(place, *node, (*version, *digest))?,
                digest: Some(*digest),
            },
            DraftStart::Centre { centre, number } => Start::Centre {
                version: Version {
                    centre: *centre,
                    number: *number,
                },
                digest: None,
            },
        })
    }

    fn change(
        &self,
        place: &Place,
        change: &DraftChange,
        action: Option<(StageId, ActionId)>,
    ) -> Result<ChangedBy, RunError> {
        Ok(match *change {
            DraftChange::Addition { worker, digest } => ChangedBy::Addition {
                worker,
                action,
                digest,
            },
            DraftChange::Merge {
                node,
                other,
                digest,
            } => ChangedBy::Merge {
                other: self.find_centre(place, node, (other, digest))?,
                digest,
            },
        })
    }

    /// Where a vector that has arrived was published.
    fn find(
        &self,
        wanted: &Wanted,
        place: &Place,
        published: &Published,
    ) -> Result<Taken, RunError> {
        let Wanted {
            node,
            source,
            scope,
            digest,
        } = *wanted;
        let absent = || {
            place.refuse(format!(
                "{source} with digest {digest} is in no exchange that is recorded; its lines were not \
                 written when a process was killed, or were removed when the run continued"
            ))
        };
        let Source::Worker { id, step } = source else {
            return Err(place.refuse(format!("{source} is not what a worker publishes")));
        };
        if scope == Scope::Local && id.node != node {
            return Err(place.refuse(format!("worker {id} is not of this node")));
        }
        let named = published.get(&(id, step)).ok_or_else(absent)?;
        let rounded = scope == Scope::Global && self.wire != WireFormat::F32;
        // Of several times that a worker published at one step, each was proposed.
        let proposed = self.rounded.get(&(id, step)).map_or(&[][..], Vec::as_slice);
        let from = match (rounded, named.as_slice()) {
            (false, named) => named.iter().find(|(found, _)| *found == digest),
            // The last line of a process that was killed: the replay finds out whether it is this one.
            (true, [only]) if proposed.is_empty() => Some(only),
            (true, named) => match proposed.iter().position(|found| *found == digest) {
                Some(_) if named.len() != proposed.len() => {
                    let why =
                        format!("{source} was published several times: which is not recorded");
                    return Err(place.refuse(why));
                }
                at => at.and_then(|at| named.get(at)),
            },
        };
        let (_, from) = *from.ok_or_else(absent)?;
        Ok(Taken {
            from,
            scope,
            digest,
        })
    }

    /// Another node's centre that has arrived. Equal digests mean equal values, so any will do.
    fn find_centre(
        &self,
        place: &Place,
        node: u32,
        (number, digest): (u64, ShortDigest),
    ) -> Result<Version, RunError> {
        let named = self.proposed.get(&(number, digest));
        let other = named.and_then(|named| named.iter().find(|(proposer, _)| *proposer != node));
        let exists = |centre: &usize| {
            let centre = self.centres.get(*centre);
            centre.is_some_and(|centre| number <= centre.changes.len() as u64)
        };
        match other.map(|(_, centre)| *centre).filter(exists) {
            Some(centre) => Ok(Version { centre, number }),
            None => Err(place.refuse(format!(
                "no other node has recorded that it proposed version {number} of its centre with digest \
                 {digest}"
            ))),
        }
    }
}
