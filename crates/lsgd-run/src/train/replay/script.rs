//! What a replay does, in terms of workers and vectors: the product of a [planner](super::planner).

use std::collections::BTreeSet;

use lsgd_core::{Scope, ShortDigest, Source, WorkerId};

use super::log::Place;

/// The number of a [`Stage`] in a [`Script`].
pub type StageId = usize;

/// The number of an action in its stage.
pub type ActionId = usize;

/// The whole replay.
#[derive(Debug, Default)]
pub struct Script {
    /// Those of one worker in order of time.
    pub stages: Vec<Stage>,
    pub centres: Vec<Centre>,
    /// Lines that it goes by.
    pub lines: usize,
}

/// A worker from one start to the next.
#[derive(Debug)]
pub struct Stage {
    pub worker: WorkerId,
    /// Steps it has taken before.
    pub step: u64,
    pub start: Start,
    /// In order of step.
    pub actions: Vec<Action>,
}

/// The parameters that a worker starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// The run's initial weights.
    Initial,
    /// What a worker published.
    Published(Taken),
    /// A node's centre, as it is or as it was proposed.
    Centre {
        version: Version,
        digest: Option<ShortDigest>,
    },
}

/// A published vector, as it arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// Where it was published.
    pub from: (StageId, ActionId),
    /// Over all nodes it arrives in its wire format.
    pub scope: Scope,
    /// As recorded where it arrived.
    pub digest: ShortDigest,
}

/// A version of a centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub centre: usize,
    pub number: u64,
}

/// What a worker does at a step boundary.
#[derive(Debug)]
pub struct Action {
    /// Its step.
    pub step: u64,
    /// The line that tells.
    pub place: Place,
    pub act: Act,
}

/// See [`Action`].
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// It has reported its running statistics, which others average.
    Report,
    /// It publishes its parameters, whose digest this is, and leads its node.
    Publish {
        digest: ShortDigest,
        /// The reports whose statistics are averaged, and delivered with the parameters.
        averaged: Vec<(StageId, ActionId)>,
    },
    /// It is pulled toward what was published.
    Adopt { taken: Taken, strength: f64 },
    /// It leads all nodes by these parameters.
    Lead(Source),
    /// It reads this version of its centre; its addition makes that version.
    Centre {
        read: Version,
        strength: f64,
        made: u64,
    },
    /// Its parameters and running statistics have this digest.
    Compare(String),
}

/// The centre of a node, for as long as its process lived.
#[derive(Debug)]
pub struct Centre {
    pub node: u32,
    /// Where it starts: where the workers do.
    pub start: Start,
    /// What makes version 1, 2, and so on.
    pub changes: Vec<Change>,
}

/// What makes a new version of a centre.
#[derive(Debug)]
pub struct Change {
    pub place: Place,
    pub by: ChangedBy,
}

/// See [`Change`].
#[derive(Debug, Clone, PartialEq)]
pub enum ChangedBy {
    /// A worker's addition, with this digest.
    Addition {
        worker: u32,
        /// In which it reads the centre, too; `None` if the record ends before that.
        action: Option<(StageId, ActionId)>,
        digest: ShortDigest,
    },
    /// Another node's centre, as it arrived.
    Merge { other: Version, digest: ShortDigest },
}

impl Script {
    /// How many actions of each stage have to be done so that every worker comes to step `until` as
    /// recorded: its own up to there, and whatever these depend on. A worker that never comes to that
    /// step does all.
    pub fn needed(&self, until: Option<u64>) -> Vec<usize> {
        let mut needed = vec![0; self.stages.len()];
        let mut open: Vec<(StageId, usize)> = Vec::new();
        for (number, stage) in self.stages.iter().enumerate() {
            let within = |action: &&Action| until.is_none_or(|until| action.step <= until);
            let count = stage.actions.iter().take_while(within).count();
            open.push((number, count));
        }
        let mut seen: BTreeSet<Version> = BTreeSet::new();
        while let Some((number, count)) = open.pop() {
            let (Some(done), Some(stage)) = (needed.get_mut(number), self.stages.get(number))
            else {
                continue;
            };
            let before = std::mem::replace(done, count.max(*done));
            if before == 0 && count > 0 {
                self.depend_on_start(&stage.start, &mut open, &mut seen);
            }
            let added = stage.actions.iter().take(count).skip(before);
            for action in added {
                match &action.act {
                    Act::Adopt { taken, .. } => open.push((taken.from.0, taken.from.1 + 1)),
                    Act::Centre { read, .. } => self.depend_on(*read, &mut open, &mut seen),
                    Act::Publish { averaged, .. } => {
                        open.extend(averaged.iter().map(|(stage, action)| (*stage, action + 1)));
                    }
                    Act::Report | Act::Lead(_) | Act::Compare(_) => {}
                }
            }
        }
        needed
    }

    fn depend_on_start(
        &self,
        start: &Start,
        open: &mut Vec<(StageId, usize)>,
        seen: &mut BTreeSet<Version>,
    ) {
        match start {
            Start::Initial => {}
            Start::Published(taken) => open.push((taken.from.0, taken.from.1 + 1)),
            Start::Centre { version, .. } => self.depend_on(*version, open, seen),
        }
    }

    /// All that a version of a centre is made of.
    fn depend_on(
        &self,
        version: Version,
        open: &mut Vec<(StageId, usize)>,
        seen: &mut BTreeSet<Version>,
    ) {
        let mut versions = vec![version];
        while let Some(version) = versions.pop() {
            let Some(centre) = self.centres.get(version.centre) else {
                continue;
            };
            if !seen.insert(version) {
                continue;
            }
            let Some(before) = version.number.checked_sub(1) else {
                match &centre.start {
                    Start::Initial => {}
                    Start::Published(taken) => open.push((taken.from.0, taken.from.1 + 1)),
                    Start::Centre { version, .. } => versions.push(*version),
                }
                continue;
            };
            versions.push(Version {
                number: before,
                ..version
            });
            let change = usize::try_from(before)
                .ok()
                .and_then(|at| centre.changes.get(at));
            match change.map(|change| &change.by) {
                Some(ChangedBy::Addition {
                    action: Some((stage, action)),
                    ..
                }) => {
                    open.push((*stage, action + 1));
                }
                Some(ChangedBy::Merge { other, .. }) => versions.push(*other),
                Some(ChangedBy::Addition { action: None, .. }) | None => {}
            }
        }
    }
}
