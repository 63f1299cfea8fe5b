//! The vectors of a replay: each is kept from when it is published until all have taken it that will.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsgd_core::{
    Event, ExchangeOutcome, LocalLeader, Message, Method, MethodError, Mode, Scope, Snapshot,
    VectorKind, WireFormat, mean_statistics,
};

use super::script::{Act, ActionId, Centre, ChangedBy, Script, StageId, Start, Taken, Version};
use crate::error::RunError;

/// What was published so far and is still to be taken.
#[derive(Debug)]
pub struct Vectors {
    wire: WireFormat,
    /// How often each is still to be taken.
    uses: BTreeMap<(StageId, ActionId), usize>,
    published: BTreeMap<(StageId, ActionId), Published>,
    /// Running statistics that were reported, and how often they are still to be averaged.
    reports: BTreeMap<(StageId, ActionId), Statistics>,
    /// The same of centres.
    reads: BTreeMap<Version, usize>,
    centres: Vec<LiveCentre>,
}

/// Running statistics, and how often they are still to be averaged.
type Statistics = (Arc<[f32]>, usize);

/// What an exchange within a node delivers.
#[derive(Debug, Clone)]
pub struct Published {
    pub snapshot: Arc<Snapshot>,
    /// The mean running statistics, if they are averaged.
    pub buffers: Option<Arc<[f32]>>,
}

/// A centre as it is.
#[derive(Debug)]
struct LiveCentre {
    leader: LocalLeader,
    /// Its last version, once it has begun.
    version: Option<u64>,
    /// Those that are still to be read, and the last.
    versions: BTreeMap<u64, Arc<Snapshot>>,
    /// Additions, by the version that they make.
    additions: BTreeMap<u64, Arc<Snapshot>>,
}

impl Vectors {
    /// None yet, for the actions of `script` that are needed.
    ///
    /// # Errors
    ///
    /// [`MethodError`] of a method that does not run in `async`.
    pub fn new(
        script: &Script,
        needed: &[usize],
        (method, workers): (&Method, u32),
        wire: WireFormat,
    ) -> Result<Self, MethodError> {
        let mut vectors = Self {
            wire,
            uses: BTreeMap::new(),
            published: BTreeMap::new(),
            reports: BTreeMap::new(),
            reads: BTreeMap::new(),
            centres: Vec::new(),
        };
        let centres = if method.has_centre() {
            &script.centres[..]
        } else {
            &[]
        };
        for centre in centres {
            vectors.count_start(&centre.start);
            for change in &centre.changes {
                if let ChangedBy::Merge { other, .. } = change.by {
                    *vectors.reads.entry(other).or_default() += 1;
                }
            }
            vectors.centres.push(LiveCentre {
                leader: LocalLeader::new(centre.node, workers, method.clone(), Mode::Async)?,
                version: None,
                versions: BTreeMap::new(),
                additions: BTreeMap::new(),
            });
        }
        for (stage, count) in script.stages.iter().zip(needed) {
            if *count > 0 {
                vectors.count_start(&stage.start);
            }
            for action in stage.actions.iter().take(*count) {
                match &action.act {
                    Act::Adopt { taken, .. } => *vectors.uses.entry(taken.from).or_default() += 1,
                    Act::Centre { read, .. } => *vectors.reads.entry(*read).or_default() += 1,
                    Act::Publish { averaged, .. } => {
                        for report in averaged {
                            *vectors.uses.entry(*report).or_default() += 1;
                        }
                    }
                    Act::Report | Act::Lead(_) | Act::Compare(_) => {}
                }
            }
        }
        Ok(vectors)
    }

    fn count_start(&mut self, start: &Start) {
        match start {
            Start::Initial => {}
            Start::Published(taken) => *self.uses.entry(taken.from).or_default() += 1,
            Start::Centre { version, .. } => *self.reads.entry(*version).or_default() += 1,
        }
    }

    /// A worker has published its parameters.
    pub fn publish(&mut self, at: (StageId, ActionId), published: Published) {
        if self.uses.contains_key(&at) {
            self.published.insert(at, published);
        }
    }

    /// A worker has reported its running statistics.
    pub fn report(&mut self, at: (StageId, ActionId), buffers: Arc<[f32]>) {
        if let Some(uses) = self.uses.get(&at) {
            self.reports.insert(at, (buffers, *uses));
        }
    }

    /// The mean of these reports' statistics, once all are there; the inner one is `None` of none.
    pub fn average(&mut self, reports: &[(StageId, ActionId)]) -> Option<Option<Arc<[f32]>>> {
        let own = reports.iter().map(|at| Some(&*self.reports.get(at)?.0));
        let buffers: Vec<&[f32]> = own.collect::<Option<_>>()?;
        let mean = mean_statistics(buffers.into_iter());
        for at in reports {
            if let Some((_, uses)) = self.reports.get_mut(at) {
                *uses -= 1;
                if *uses == 0 {
                    self.reports.remove(at);
                }
            }
        }
        Some(mean)
    }

    /// A published vector as it arrives, once it is there.
    ///
    /// # Errors
    ///
    /// [`RunError::Unfit`] if it cannot be rounded for the wire.
    pub fn take(&mut self, taken: Taken) -> Result<Option<Published>, RunError> {
        let Some(published) = self.published.get(&taken.from).cloned() else {
            return Ok(None);
        };
        if let Some(uses) = self.uses.get_mut(&taken.from) {
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&taken.from);
                self.published.remove(&taken.from);
            }
        }
        match taken.scope {
            Scope::Local => Ok(Some(published)),
            Scope::Global => Ok(Some(Published {
                snapshot: self.rounded(&published.snapshot)?,
                buffers: None,
            })),
        }
    }

    /// Whether what a worker starts from, or takes, is there.
    pub fn has(&self, start: &Start) -> bool {
        match start {
            Start::Initial => true,
            Start::Published(taken) => self.published.contains_key(&taken.from),
            Start::Centre { version, .. } => self.has_version(*version),
        }
    }

    /// What a worker starts from, once it is there; `initial` if it is the initial weights.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn start(
        &mut self,
        start: &Start,
        initial: &Arc<Snapshot>,
    ) -> Result<Option<Arc<Snapshot>>, RunError> {
        match start {
            Start::Initial => Ok(Some(initial.clone())),
            Start::Published(taken) => Ok(self.take(*taken)?.map(|taken| taken.snapshot)),
            Start::Centre { version, digest } => match (self.read(*version), digest) {
                (Some(centre), Some(_)) => self.rounded(&centre).map(Some),
                (centre, _) => Ok(centre),
            },
        }
    }

    /// A vector as it crosses the network.
    fn rounded(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<Snapshot>, RunError> {
        match snapshot.rounded(self.wire) {
            Ok((_, None)) => Ok(snapshot.clone()),
            Ok((rounded, Some(_))) => Ok(Arc::new(rounded)),
            Err(why) => Err(RunError::Unfit { why }),
        }
    }

    /// Whether a version of a centre is there.
    pub fn has_version(&self, version: Version) -> bool {
        let centre = self.centres.get(version.centre);
        centre.is_some_and(|centre| centre.versions.contains_key(&version.number))
    }

    /// A version of a centre, once it is there.
    pub fn read(&mut self, version: Version) -> Option<Arc<Snapshot>> {
        let centre = self.centres.get_mut(version.centre)?;
        let snapshot = centre.versions.get(&version.number)?.clone();
        if let Some(reads) = self.reads.get_mut(&version) {
            *reads -= 1;
            if *reads == 0 {
                self.reads.remove(&version);
                centre.versions.retain(|number, _| {
                    *number != version.number || Some(*number) == centre.version
                });
            }
        }
        Some(snapshot)
    }

    /// A worker has added to its centre, which makes this version.
    pub fn add(&mut self, version: Version, addition: Arc<Snapshot>) {
        if let Some(centre) = self.centres.get_mut(version.centre) {
            centre.additions.insert(version.number, addition);
        }
    }

    /// Brings a centre forward by one version, if what makes that is there. Returns whether it was.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it cannot be made, or is not what was recorded.
    pub fn bring_forward(
        &mut self,
        number: usize,
        plan: &Centre,
        initial: &Arc<Snapshot>,
    ) -> Result<bool, RunError> {
        let Some(version) = self.centres.get(number).map(|centre| centre.version) else {
            return Ok(false);
        };
        let Some(version) = version else {
            let Some(start) = self.start(&plan.start, initial)? else {
                return Ok(false);
            };
            self.change(number, (0, 0), Message::Begin(start));
            return Ok(true);
        };
        let change = usize::try_from(version)
            .ok()
            .and_then(|at| plan.changes.get(at));
        let Some(change) = change else {
            return Ok(false);
        };
        let made = version + 1;
        let done = match &change.by {
            ChangedBy::Addition { worker, .. } => {
                let centre = self.centres.get_mut(number);
                let Some(addition) = centre.and_then(|c| c.additions.remove(&made)) else {
                    return Ok(false);
                };
                let addition = Message::Publish(VectorKind::Centre, Ok(addition));
                self.change(number, (*worker, made), addition)
            }
            ChangedBy::Merge { other, digest } => {
                let Some(other) = self.read(*other) else {
                    return Ok(false);
                };
                let other = self.rounded(&other)?;
                if *digest != other.digest().into() {
                    let why = "the other node's centre has another digest";
                    return Err(change.place.refuse(why));
                }
                self.merge(number, made, other)
            }
        };
        match done {
            true => Ok(true),
            false => Err(change.place.refuse("the centre refuses it")),
        }
    }

    /// Passes a message to a centre's leader, which makes this version. Returns whether it did.
    fn change(&mut self, number: usize, (worker, made): (u32, u64), message: Message) -> bool {
        let Some(centre) = self.centres.get_mut(number) else {
            return false;
        };
        centre.leader.receive(worker, message);
        self.settle(number, made)
    }

    fn merge(&mut self, number: usize, made: u64, other: Arc<Snapshot>) -> bool {
        let Some(centre) = self.centres.get_mut(number) else {
            return false;
        };
        centre.leader.adopt_global(ExchangeOutcome::leader(other));
        self.settle(number, made)
    }

    /// Keeps the new version, and the one before it only if it is still to be read.
    fn settle(&mut self, number: usize, made: u64) -> bool {
        let Some(centre) = self.centres.get_mut(number) else {
            return false;
        };
        let mut refused = false;
        while let Some(event) = centre.leader.next_event() {
            refused |= matches!(event, Event::Refused { .. });
        }
        let Some(snapshot) = centre.leader.state().centre.filter(|_| !refused) else {
            return false;
        };
        centre.version = Some(made);
        centre.versions.insert(made, snapshot);
        let reads = &self.reads;
        centre.versions.retain(|version, _| {
            let version = Version {
                centre: number,
                number: *version,
            };
            version.number == made || reads.contains_key(&version)
        });
        true
    }
}
