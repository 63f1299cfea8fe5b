//! Fetching vectors from nodes that hold them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use lsgd_core::{Snapshot, SnapshotDigest, Source};
use zenoh::Wait;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Reply};

use crate::chunks::{Chunks, Pace, Request, patience};
use crate::codec::PartialVector;
use crate::error::{FetchError, HolderFault};
use crate::incoming::Incoming;
use crate::messages::ChunkRequest;
use crate::rejected::sanitize;
use crate::shared::{Shared, lock};
use crate::traffic::TrafficKind;

/// A vector to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Its digest.
    pub digest: SnapshotDigest,
    /// Its origin, for the snapshot that is made of it.
    pub source: Source,
    /// Number of its [weights](Snapshot::weights).
    pub weights: usize,
    /// The nodes that hold it, from 0, in the order in which to ask them.
    pub holders: Vec<u32>,
}

/// The fetches under way.
pub(crate) struct Fetches {
    shared: Arc<Shared>,
    /// The holders left to ask, for each vector.
    under_way: Mutex<HashMap<SnapshotDigest, VecDeque<u32>>>,
}

impl Fetches {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            under_way: Mutex::default(),
        }
    }

    /// Starts a fetch, or joins the one under way.
    pub fn begin(this: &Arc<Self>, mut request: FetchRequest) {
        let digest = request.digest;
        let shared = &this.shared;
        let own = shared.own.node;
        if let Some(snapshot) = shared.snapshots.get(&digest) {
            let outcome = Ok((snapshot, own));
            return shared.emit(Incoming::Fetched { digest, outcome });
        }
        let holders = std::mem::take(&mut request.holders)
            .into_iter()
            .filter(|&holder| holder != own);
        let mut under_way = lock(&this.under_way);
        if let Some(queue) = under_way.get_mut(&digest) {
            for holder in holders {
                if !queue.contains(&holder) {
                    queue.push_back(holder);
                }
            }
            return;
        }
        under_way.insert(digest, holders.collect());
        drop(under_way);
        let fetches = this.clone();
        let thread = thread::Builder::new().name(String::from("fetch"));
        if thread.spawn(move || fetches.run(&request)).is_err() {
            lock(&this.under_way).remove(&digest);
            let faults = vec![(own, HolderFault::NoThread)];
            let outcome = Err(FetchError { digest, faults });
            shared.emit(Incoming::Fetched { digest, outcome });
        }
    }

    fn run(&self, request: &FetchRequest) {
        let digest = request.digest;
        let mut faults = Vec::new();
        let outcome = loop {
            let Some(holder) = self.next_holder(&digest) else {
                break Err(FetchError { digest, faults });
            };
            match self.fetch_from(holder, request) {
                Ok(snapshot) => break Ok((Arc::new(snapshot), holder)),
                Err(fault) => faults.push((holder, fault)),
            }
        };
        if let Ok((snapshot, _)) = &outcome {
            self.shared
                .snapshots
                .insert_fetched(digest, snapshot.clone());
        }
        lock(&self.under_way).remove(&digest);
        self.shared.emit(Incoming::Fetched { digest, outcome });
    }

    /// The next holder to ask. If there is none the fetch ends, under the same lock, so that no
    /// request can join it any more.
    fn next_holder(&self, digest: &SnapshotDigest) -> Option<u32> {
        let mut under_way = lock(&self.under_way);
        let holder = under_way.get_mut(digest).and_then(VecDeque::pop_front);
        if holder.is_none() {
            under_way.remove(digest);
        }
        holder
    }

    fn fetch_from(&self, holder: u32, request: &FetchRequest) -> Result<Snapshot, HolderFault> {
        let &FetchRequest {
            digest,
            source,
            weights,
            ..
        } = request;
        let shared = &self.shared;
        let incarnation = shared.incarnation_of(holder).ok_or(HolderFault::Absent)?;
        let key = shared.keys.vector(holder, incarnation);
        let mut vector = PartialVector::new(shared.wire, &shared.layout, weights);
        let (answers, inbox) = mpsc::channel();
        let ask = |request| self.ask(&key, holder, digest, Answer::to(request, &answers));
        let mut chunks = Chunks::of(vector.values());
        let mut pace = Pace::new(shared.lease, Instant::now());
        while !chunks.are_complete() {
            chunks.next().into_iter().for_each(ask);
            let answer = inbox.recv_timeout(pace.wait(Instant::now()));
            let now = Instant::now();
            match answer {
                Ok((request, None)) if chunks.need(&request) => pace.lost(now),
                Ok((_, None)) => {}
                Ok((request, Some(reply))) => {
                    match take(&mut vector, &request, reply, shared.wire.width()) {
                        Ok(bytes) => {
                            shared
                                .meter
                                .received(holder, TrafficKind::of(source), bytes);
                            shared.emit(Incoming::Arrived);
                            pace.arrived(now);
                            chunks.arrived(&request).into_iter().for_each(ask);
                        }
                        Err(fault) if chunks.need(&request) => return Err(fault),
                        // The chunk has been requested again, or has arrived.
                        Err(_) => {}
                    }
                }
                Err(_)
                    if pace.is_over(now) || shared.incarnation_of(holder) != Some(incarnation) =>
                {
                    let first = chunks.first_missing() as u64;
                    return Err(HolderFault::Silent { first });
                }
                Err(_) if pace.request_again(now) => {
                    chunks.oldest_again().into_iter().for_each(ask);
                }
                Err(_) => {}
            }
        }
        vector.finish(&shared.layout, source, digest)
    }

    /// Requests one chunk. `answer` is always called.
    fn ask(&self, key: &str, holder: u32, digest: SnapshotDigest, answer: Answer) {
        let range = &answer.request.range;
        let request = ChunkRequest {
            asker: self.shared.own.node,
            digest,
            first: range.start as u64,
            count: range.len() as u32,
        };
        let request = request.encode();
        let length = request.len();
        // The reply has the query's priority and congestion control: after everything else, and
        // complete. Only this thread blocks, and the holder's thread for this node.
        let sent = self
            .shared
            .session()
            .get(key)
            .payload(request)
            .priority(Priority::Background)
            .congestion_control(CongestionControl::Block)
            .consolidation(ConsolidationMode::None)
            .timeout(patience(self.shared.lease) + self.shared.lease)
            .callback(move |reply| answer.give(answered(reply)))
            .wait();
        if sent.is_ok() {
            self.shared.meter.sent(holder, TrafficKind::Other, length);
        }
    }
}

/// `None` if Zenoh has given up waiting for the reply: it then replies itself.
fn answered(reply: Reply) -> Option<Reply> {
    match reply.result() {
        Err(error) if *error.payload().to_bytes() == *b"Timeout" => None,
        _ => Some(reply),
    }
}

/// Takes a chunk out of its reply; returns its size in bytes.
fn take(
    vector: &mut PartialVector,
    Request { range, .. }: &Request,
    reply: Reply,
    value_bytes: usize,
) -> Result<usize, HolderFault> {
    let first = range.start as u64;
    let sample = reply.into_result().map_err(|error| HolderFault::Refused {
        why: sanitize(&error.payload().to_bytes()),
    })?;
    let (expected, found) = (range.len() * value_bytes, sample.payload().len());
    let length = HolderFault::Length {
        first,
        expected,
        found,
    };
    if expected != found {
        return Err(length);
    }
    match vector.take(range, sample.payload().reader()) {
        Ok(()) => Ok(found),
        Err(_) => Err(length),
    }
}

/// The receiver of a chunk's answer: the first reply, or `None` if the query ends without one,
/// since its holder has disconnected or the answer was lost.
struct Answer {
    request: Request,
    to: Sender<(Request, Option<Reply>)>,
    given: AtomicBool,
}

impl Answer {
    fn to(request: Request, to: &Sender<(Request, Option<Reply>)>) -> Self {
        Self {
            request,
            to: to.clone(),
            given: AtomicBool::new(false),
        }
    }

    fn give(&self, reply: Option<Reply>) {
        if !self.given.swap(true, Ordering::Relaxed) {
            // A fetch that has given up on this holder no longer listens.
            let _ = self.to.send((self.request.clone(), reply));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(None);
    }
}
