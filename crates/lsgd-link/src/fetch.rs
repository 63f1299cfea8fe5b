//! Fetching vectors from nodes that hold them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use lsgd_core::{Snapshot, SnapshotDigest, Source};
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Reply};

use crate::arriving::ArrivingVector;
use crate::download::Download;
use crate::error::{FetchError, HolderFault};
use crate::incoming::Incoming;
use crate::messages::ChunkRequest;
use crate::pace::patience;
use crate::plan::{HOLDER, Plan, Request, most_sharers};
use crate::rejected::sanitize;
use crate::shared::{Peer, Shared, lock};
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
    /// The nodes to ask for it, from 0, in this order. The first holds it; the others may.
    pub holders: Vec<u32>,
    /// Whether the other nodes fetch it at the same time, if they do not hold it: each then gets a
    /// share of it from the holder and the rest from the others, so that the holder sends it about
    /// once.
    pub together: bool,
}

/// The fetches under way.
pub(crate) struct Fetches {
    pub shared: Arc<Shared>,
    /// The holders left to ask, for each vector.
    under_way: Mutex<HashMap<SnapshotDigest, VecDeque<u32>>>,
    /// For how many more fetches each node that was given up as a partner is not asked.
    resting: Mutex<BTreeMap<u32, u32>>,
}

/// For how many fetches a partner that was given up is not asked: it may stay slow, and to find that out
/// takes half a second each time.
const REST: u32 = 16;

impl Fetches {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            under_way: Mutex::default(),
            resting: Mutex::default(),
        }
    }

    /// Starts a fetch, or joins the one under way.
    pub fn begin(this: &Arc<Self>, request: FetchRequest) {
        let digest = request.digest;
        let shared = &this.shared;
        let own = shared.own.node;
        if let Some(snapshot) = shared.snapshots.get(&digest) {
            let outcome = Ok((snapshot, own));
            return shared.emit(Incoming::Fetched { digest, outcome });
        }
        let holders = request.holders.clone();
        let holders = holders.into_iter().filter(|&holder| holder != own);
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
        let shared = &self.shared;
        let vector = Arc::new(ArrivingVector::new(
            shared.wire.of(request.source),
            &shared.layout,
            request.source,
            digest,
            request.weights,
        ));
        lock(&shared.arriving).insert(digest, vector.clone());
        let mut faults = Vec::new();
        let outcome = loop {
            let Some(holder) = self.next_holder(&digest) else {
                break Err(FetchError { digest, faults });
            };
            match self.fetch_from(holder, request, &vector) {
                Ok(snapshot) => break Ok((snapshot, holder)),
                Err(fault) => faults.push((holder, fault)),
            }
        };
        if let Ok((snapshot, _)) = &outcome {
            shared.snapshots.insert_fetched(digest, snapshot.clone());
            lock(&self.under_way).remove(&digest);
        }
        // After a failure another fetch of it may have begun.
        let mut arriving = lock(&shared.arriving);
        if arriving
            .get(&digest)
            .is_some_and(|other| Arc::ptr_eq(other, &vector))
        {
            arriving.remove(&digest);
        }
        drop(arriving);
        vector.end();
        shared.emit(Incoming::Fetched { digest, outcome });
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

    fn fetch_from(
        &self,
        holder: u32,
        request: &FetchRequest,
        vector: &ArrivingVector,
    ) -> Result<Arc<Snapshot>, HolderFault> {
        let peer = self.shared.peer(holder).ok_or(HolderFault::Absent)?;
        let (mut partners, mut place) = match request.together {
            true => self.partners(holder, &request.holders, vector.values()),
            false => (Vec::new(), 0),
        };
        loop {
            let peers: Vec<&Peer> = std::iter::once(&peer).chain(&partners).collect();
            let plan = Plan::new(vector.values(), vector.arrived(), partners.len(), place);
            self.collect(request.digest, &peers, plan, vector)?;
            match vector.finish() {
                Ok(snapshot) => return Ok(snapshot),
                Err((fault, from)) if from.iter().all(|&node| node == holder) => return Err(fault),
                Err((fault, from)) => {
                    let from: Vec<u64> = from.iter().map(|&node| u64::from(node) + 1).collect();
                    let why = format!(
                        "parts from nodes {from:?} do not make up the vector that was requested ({fault}); \
                         requesting all of it again from node {}",
                        u64::from(holder) + 1
                    );
                    self.shared.rejected.note(&peer.key, &why);
                    (partners, place) = (Vec::new(), 0);
                }
            }
        }
    }

    /// The nodes with which a vector of `values` values is shared: those of the connected ones besides
    /// `holder` that are in this node's group. And this node's place in the group, in ascending order.
    fn partners(&self, holder: u32, holders: &[u32], values: usize) -> (Vec<Peer>, usize) {
        let own = self.shared.own.node;
        let others = holders.iter().copied();
        let others = others.filter(|&node| node != holder && self.shared.peer(node).is_some());
        let fetching: BTreeSet<u32> = others.chain([own]).collect();
        let fetching: Vec<u32> = fetching.into_iter().collect();
        let mut groups = fetching.chunks(most_sharers(values));
        let group = groups.find(|group| group.contains(&own)).unwrap_or(&[]);
        let partners = group.iter().filter(|&&node| node != own);
        let partners: Vec<Peer> = partners
            .filter_map(|&node| self.shared.peer(node))
            .collect();
        let place = partners.iter().filter(|peer| peer.node < own).count();
        (partners, place)
    }

    /// Whether a partner is not asked this time.
    fn rests(&self, node: u32) -> bool {
        let mut resting = lock(&self.resting);
        let Some(fetches) = resting.get_mut(&node) else {
            return false;
        };
        *fetches -= 1;
        if *fetches == 0 {
            resting.remove(&node);
        }
        true
    }

    /// Requests all chunks that are not here, from `peers` as the `plan` says.
    fn collect(
        &self,
        digest: SnapshotDigest,
        peers: &[&Peer],
        plan: Plan,
        vector: &ArrivingVector,
    ) -> Result<(), HolderFault> {
        let shared = &self.shared;
        let (answers, inbox) = mpsc::channel();
        let ask = |request: Request| {
            let peer = peers[request.from];
            let chunk = ChunkRequest {
                asker: shared.own.node,
                digest,
                first: request.range.start as u64,
                count: request.range.len() as u32,
                waits: request.from != HOLDER,
            };
            self.ask(peer, &chunk, Answer::to(request, &answers));
        };
        let silent = |download: &Download| HolderFault::Silent {
            first: download.first_missing() as u64,
        };
        let mut download = Download::new(plan, peers.len() - 1, shared.lease, Instant::now());
        let partners = peers.iter().enumerate().skip(1);
        let resting: Vec<usize> = partners
            .filter(|(_, partner)| self.rests(partner.node))
            .map(|(from, _)| from)
            .collect();
        for &from in &resting {
            download.without(from);
        }
        while !download.is_complete() {
            download.next(Instant::now()).into_iter().for_each(ask);
            // Partners could have all of it. But if the holder is gone, all who fetch are to find so,
            // and not one of them to have the vector later than the others.
            if !shared.is_connected(peers[HOLDER]) {
                return Err(silent(&download));
            }
            let answer = inbox.recv_timeout(download.wait(Instant::now()));
            let now = Instant::now();
            let (request, reply) = match answer {
                Ok((request, Some(reply))) => (request, reply),
                Ok((request, None)) => {
                    download.failed(&request, now);
                    continue;
                }
                Err(_) => {
                    let again = download.waited(now).ok_or_else(|| silent(&download))?;
                    again.into_iter().for_each(ask);
                    // One that was not asked has not been found slow again.
                    for from in download.given_up().filter(|from| !resting.contains(from)) {
                        lock(&self.resting).entry(peers[from].node).or_insert(REST);
                    }
                    continue;
                }
            };
            let peer = peers[request.from];
            match take(vector, peer.node, &request, reply) {
                Ok(bytes) => {
                    shared.meter.received(peer.node, vector.kind, bytes);
                    shared.emit(Incoming::Arrived);
                    download.arrived(&request, now).into_iter().for_each(ask);
                }
                Err(fault) if request.from != HOLDER => {
                    if !matches!(fault, HolderFault::Refused { .. }) {
                        shared.rejected.note(&peer.key, &fault.to_string());
                    }
                    download.failed(&request, now);
                }
                Err(fault) if download.needs(&request) => return Err(fault),
                // The chunk has been requested again, or has arrived.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Requests one chunk. `answer` is always called.
    pub fn ask<T: Clone + Send + Sync + 'static>(
        &self,
        peer: &Peer,
        request: &ChunkRequest,
        answer: Answer<T>,
    ) {
        let request = request.encode();
        let length = request.len();
        // The reply has the query's priority and congestion control: after everything else, and
        // complete. Only this thread blocks, while the link to that node is full and until it counts as
        // dead at most, and that node's thread for this one.
        let sent = self
            .shared
            .session()
            .get(&peer.key)
            .payload(request)
            .priority(Priority::Background)
            .congestion_control(CongestionControl::Block)
            .consolidation(ConsolidationMode::None)
            .timeout(patience(self.shared.lease) + self.shared.lease)
            .callback(move |reply| answer.give(answered(reply)))
            .wait();
        if sent.is_ok() {
            self.shared
                .meter
                .sent(peer.node, TrafficKind::Other, length);
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
    vector: &ArrivingVector,
    from: u32,
    Request { range, .. }: &Request,
    reply: Reply,
) -> Result<usize, HolderFault> {
    let bytes = chunk_bytes(vector, range, reply)?;
    let (first, found) = (range.start as u64, bytes.len());
    match vector.take(from, range, bytes.reader()) {
        Ok(()) => Ok(found),
        Err(_) => Err(HolderFault::Length {
            first,
            expected: found,
            found,
        }),
    }
}

/// The bytes of a chunk, as many as it has.
pub(crate) fn chunk_bytes(
    vector: &ArrivingVector,
    range: &Range<usize>,
    reply: Reply,
) -> Result<ZBytes, HolderFault> {
    let first = range.start as u64;
    let sample = reply.into_result().map_err(|error| HolderFault::Refused {
        why: sanitize(&error.payload().to_bytes()),
    })?;
    let (expected, found) = (vector.bytes_of(range), sample.payload().len());
    match expected == found {
        true => Ok(sample.payload().clone()),
        false => Err(HolderFault::Length {
            first,
            expected,
            found,
        }),
    }
}

/// The receiver of a chunk's answer: the first reply, or `None` if the query ends without one,
/// since its holder has disconnected or the answer was lost.
pub(crate) struct Answer<T: Clone> {
    request: T,
    to: Sender<(T, Option<Reply>)>,
    given: AtomicBool,
}

impl<T: Clone> Answer<T> {
    pub fn to(request: T, to: &Sender<(T, Option<Reply>)>) -> Self {
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

impl<T: Clone> Drop for Answer<T> {
    fn drop(&mut self) {
        self.give(None);
    }
}
