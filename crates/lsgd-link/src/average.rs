//! Makes a mean over nodes together with them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use lsgd_core::{Averaged, MeanRef, NotAveraged, Snapshot, SnapshotDigest, Source};
use zenoh::query::Reply;

use crate::arriving::ArrivingVector;
use crate::codec::{decode, values_of};
use crate::error::HolderFault;
use crate::fetch::{Answer, Fetches, chunk_bytes};
use crate::incoming::Incoming;
use crate::messages::ChunkRequest;
use crate::plan::{chunk_range, chunks_of};
use crate::shared::{Peer, Shared, lock};
use crate::shared_mean::{Ask, SharedMean, What};

/// An answer, or none, to a request.
type Answered = (Ask, Option<Reply>);

/// A mean that is to be made, and this node's sum, with its place among all.
struct Task {
    mean: MeanRef,
    name: SnapshotDigest,
    own: usize,
    own_sum: Arc<Snapshot>,
    vector: Arc<ArrivingVector>,
}

/// A mean that is being made.
struct MeanInProgress<'a> {
    shared: &'a Shared,
    task: &'a Task,
    /// The other nodes, in order, and the threads that ask them: each blocks while the link to its node is full.
    others: Vec<(Peer, Sender<Ask>)>,
    /// The other nodes' sums of the chunks that are made here, by chunk.
    sums: HashMap<usize, Vec<Option<Vec<f32>>>>,
    bytes: u64,
}

/// Takes the mean out of those that arrive, whatever ends it.
struct Arriving<'a>(&'a Shared, &'a Task);

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let Self(shared, task) = self;
        lock(&shared.arriving).remove(&task.name);
        task.vector.end();
    }
}

impl Fetches {
    /// Makes a mean in the background, unless it is being made; [`Incoming::Averaged`] reports the outcome.
    pub fn average(this: &Arc<Self>, mean: MeanRef) {
        let (shared, name) = (&this.shared, mean.name());
        let tell = |outcome| shared.emit(Incoming::Averaged { name, outcome });
        if let Some(mean) = shared.snapshots.get(&name) {
            return tell(Ok(Averaged { mean, bytes: 0 }));
        }
        let Some((own, own_sum)) = this.own_sum(&mean) else {
            return tell(Err(NotAveraged::Declined));
        };
        let workers = mean.workers();
        let source = Source::Mean { workers };
        let vector = ArrivingVector::new(shared.wire, &shared.layout, source, name, 0);
        let vector = Arc::new(vector);
        match lock(&shared.arriving).entry(name) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(vector.clone()),
        };
        let task = Task {
            mean,
            name,
            own,
            own_sum,
            vector,
        };
        let fetches = this.clone();
        let thread = thread::Builder::new().name(String::from("average"));
        let begun = thread.spawn(move || {
            let arriving = Arriving(&fetches.shared, &task);
            let outcome = Self::make(&fetches, &task);
            drop(arriving);
            fetches.shared.emit(Incoming::Averaged { name, outcome });
        });
        if begun.is_err() {
            lock(&shared.arriving).remove(&name);
            // The sums are fetched by threads too, which may be there by then.
            tell(Err(NotAveraged::Declined));
        }
    }

    /// The sum of this node, and its place among all; `None` if it is not in that mean, or the mean is not
    /// to be made together.
    fn own_sum(&self, mean: &MeanRef) -> Option<(usize, Arc<Snapshot>)> {
        let node = self.shared.own.node;
        let own = mean.sums.iter().position(|(member, _)| *member == node)?;
        let sum = self.shared.snapshots.get(&mean.sums[own].1.digest)?;
        let is_shared = mean.is_shared(sum.values() as u64) && sum.weights().is_empty();
        is_shared.then_some((own, sum))
    }

    fn make(this: &Arc<Self>, task: &Task) -> Result<Averaged, NotAveraged> {
        let shared = &*this.shared;
        let (answers, inbox) = mpsc::channel();
        let (mut others, mut missing) = (Vec::new(), Vec::new());
        for (node, sum) in task
            .mean
            .sums
            .iter()
            .filter(|(node, _)| *node != shared.own.node)
        {
            let Some(peer) = shared.peer(*node) else {
                missing.push((*node, HolderFault::Absent.to_string()));
                continue;
            };
            let digests = [sum.digest, task.name];
            let asker = this.asker(peer.clone(), digests, task.vector.values(), &answers);
            let Ok(asker) = asker else {
                return Err(NotAveraged::Declined);
            };
            others.push((peer, asker));
        }
        if !missing.is_empty() {
            return Err(NotAveraged::Missing(missing));
        }
        let making = MeanInProgress {
            shared,
            task,
            others,
            sums: HashMap::new(),
            bytes: 0,
        };
        let made = making.make(&inbox)?;
        shared
            .snapshots
            .insert_fetched(task.name, made.mean.clone());
        Ok(made)
    }

    /// Starts a thread that asks a node for chunks of its sum and of the mean, which have these digests, until
    /// nothing more is to be asked.
    fn asker(
        self: &Arc<Self>,
        peer: Peer,
        [of_sum, of_mean]: [SnapshotDigest; 2],
        values: usize,
        answers: &Sender<Answered>,
    ) -> std::io::Result<Sender<Ask>> {
        let (asks, inbox) = mpsc::channel();
        let (fetches, answers) = (self.clone(), answers.clone());
        let ask = move |ask: Ask| {
            let range = chunk_range(ask.chunk, values);
            let request = ChunkRequest {
                asker: fetches.shared.own.node,
                digest: match ask.what {
                    What::Sum => of_sum,
                    What::Mean => of_mean,
                },
                first: range.start as u64,
                count: range.len() as u32,
                waits: ask.what == What::Mean,
            };
            fetches.ask(&peer, &request, Answer::to(ask, &answers));
        };
        let thread = thread::Builder::new().name(String::from("average-ask"));
        thread.spawn(move || inbox.into_iter().for_each(ask))?;
        Ok(asks)
    }
}

impl MeanInProgress<'_> {
    fn make(mut self, inbox: &Receiver<Answered>) -> Result<Averaged, NotAveraged> {
        let chunks = chunks_of(self.task.vector.values());
        let (others, own, lease) = (self.others.len(), self.task.own, self.shared.lease);
        let mut shared_mean = SharedMean::new(chunks, others, own, lease, Instant::now());
        while !shared_mean.is_complete() {
            self.ask(shared_mean.next(Instant::now()));
            self.check_connected()?;
            self.receive(inbox, &mut shared_mean)?;
        }
        let mean = self.task.vector.complete();
        Ok(Averaged {
            mean: mean.map_err(|_| NotAveraged::Declined)?,
            bytes: self.bytes,
        })
    }

    /// Others may have all chunks of a node that is gone. But all who need them are to find so, and not one of
    /// them to have the mean with it and the others without.
    fn check_connected(&self) -> Result<(), NotAveraged> {
        let gone = self
            .others
            .iter()
            .filter(|(peer, _)| !self.shared.is_connected(peer));
        let gone: Vec<(u32, String)> = gone
            .map(|(peer, _)| (peer.node, HolderFault::Absent.to_string()))
            .collect();
        match gone.is_empty() {
            true => Ok(()),
            false => Err(NotAveraged::Missing(gone)),
        }
    }

    fn ask(&self, asks: Vec<Ask>) {
        for ask in asks {
            // Its thread ends when this does.
            let _ = self.others[ask.of].1.send(ask);
        }
    }

    /// Waits for an answer, and takes it.
    fn receive(
        &mut self,
        inbox: &Receiver<Answered>,
        shared_mean: &mut SharedMean,
    ) -> Result<(), NotAveraged> {
        let Task { vector, .. } = self.task;
        let answer = inbox.recv_timeout(shared_mean.wait(Instant::now()));
        let now = Instant::now();
        let Ok((ask, reply)) = answer else {
            let again = shared_mean.waited(now).map_err(|(of, chunk)| {
                let first = chunk_range(chunk, vector.values()).start as u64;
                self.missing(of, &HolderFault::Silent { first })
            })?;
            self.ask(again);
            return Ok(());
        };
        let Some(reply) = reply else {
            shared_mean.lost(ask, now);
            return Ok(());
        };
        let range = chunk_range(ask.chunk, vector.values());
        let node = self.others[ask.of].0.node;
        match (self.decode(&range, reply), ask.what) {
            (Ok((values, bytes)), what) => {
                self.bytes += bytes as u64;
                self.shared.meter.received(node, vector.kind, bytes);
                self.shared.emit(Incoming::Arrived);
                match what {
                    _ if !shared_mean.needs(ask) => {}
                    What::Mean => vector.put(node, &range, &values),
                    What::Sum => {
                        let none = vec![None; self.others.len()];
                        self.sums.entry(ask.chunk).or_insert(none)[ask.of] = Some(values);
                    }
                }
                if shared_mean.arrived(ask, now) {
                    self.make_chunk(ask.chunk)?;
                    shared_mean.made(ask.chunk);
                }
            }
            (Err(fault), What::Mean) => {
                if !matches!(fault, HolderFault::Refused { .. }) {
                    let key = &self.others[ask.of].0.key;
                    self.shared.rejected.note(key, &fault.to_string());
                }
                shared_mean.refused(ask, now);
            }
            (Err(fault), What::Sum) if shared_mean.needs(ask) => {
                return Err(self.missing(ask.of, &fault));
            }
            // It has been asked for again, or has come.
            (Err(_), What::Sum) => {}
        }
        Ok(())
    }

    /// The values of a reply, and its bytes.
    fn decode(&self, range: &Range<usize>, reply: Reply) -> Result<(Vec<f32>, usize), HolderFault> {
        let bytes = chunk_bytes(&self.task.vector, range, reply)?;
        let (first, found) = (range.start as u64, bytes.len());
        let (wire, layout) = (self.shared.wire, &self.shared.layout);
        let values = decode(wire, layout, range, bytes.reader());
        let values = values.map_err(|_| HolderFault::Length {
            first,
            expected: found,
            found,
        })?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(HolderFault::NotFinite {
                index: range.start + index,
            }),
            None => Ok((values, found)),
        }
    }

    /// Makes a chunk of which all sums are here.
    fn make_chunk(&mut self, chunk: usize) -> Result<(), NotAveraged> {
        let range = chunk_range(chunk, self.task.vector.values());
        let others = self.sums.remove(&chunk).unwrap_or_default();
        let mut sums: Vec<Vec<f32>> = others.into_iter().flatten().collect();
        sums.insert(self.task.own, values_of(&self.task.own_sum, &range));
        let parameters = self.shared.layout.parameter_len();
        let wire = self.shared.wire;
        let made = self.task.mean.chunk(wire, parameters, &range, &sums);
        let made = made.map_err(NotAveraged::Unfit)?;
        self.task.vector.put(self.shared.own.node, &range, &made);
        Ok(())
    }

    fn missing(&self, of: usize, fault: &HolderFault) -> NotAveraged {
        NotAveraged::Missing(vec![(self.others[of].0.node, fault.to_string())])
    }
}
