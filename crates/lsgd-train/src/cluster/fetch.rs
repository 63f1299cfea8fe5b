//! Fetching vectors from those who have them.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lsgd_core::{Snapshot, SnapshotDigest, Source};
use zenoh::Wait;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Reply};

use super::codec::Arriving;
use super::error::{FetchError, HolderFault};
use super::messages::ChunkRequest;
use super::shared::{Event, Shared, lock};
use super::strangers::tame;
use super::traffic::Kind;

/// Chunks asked for at a time: enough to keep a link busy for a round trip, few enough that what
/// waits in the holder stays small.
const WINDOW: usize = 8;
/// How long a chunk may take. A holder that is gone is noticed by its token long before; this is
/// for one that is there and does not answer, also behind other vectors on a slow link.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(15);

/// A vector to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub digest: SnapshotDigest,
    /// Where it comes from, for the snapshot that is made of it.
    pub source: Source,
    /// Number of its [weights](Snapshot::weights).
    pub weights: usize,
    /// The nodes that have it, from 0, in the order in which to ask them.
    pub holders: Vec<u32>,
}

/// What of it is the same whoever is asked.
#[derive(Debug, Clone, Copy)]
struct Named {
    digest: SnapshotDigest,
    source: Source,
    weights: usize,
}

/// The fetches under way.
pub(super) struct Fetches {
    shared: Arc<Shared>,
    /// Who is still to be asked, for each vector.
    under_way: Mutex<HashMap<SnapshotDigest, VecDeque<u32>>>,
}

impl Fetches {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            under_way: Mutex::default(),
        }
    }

    /// Begins a fetch, or joins the one that is under way.
    pub fn begin(this: &Arc<Self>, wanted: Wanted) {
        let Wanted {
            digest,
            source,
            weights,
            holders,
        } = wanted;
        let named = Named {
            digest,
            source,
            weights,
        };
        let shared = &this.shared;
        if let Some(snapshot) = shared.board.get(&digest) {
            return shared.send(Event::Fetched(digest, Ok((snapshot, shared.own.node))));
        }
        let holders = holders
            .into_iter()
            .filter(|&holder| holder != shared.own.node);
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
        if thread.spawn(move || fetches.run(named)).is_err() {
            lock(&this.under_way).remove(&digest);
            let told = vec![(shared.own.node, HolderFault::NoThread)];
            shared.send(Event::Fetched(digest, Err(FetchError { digest, told })));
        }
    }

    fn run(&self, named: Named) {
        let digest = named.digest;
        let mut told = Vec::new();
        let outcome = loop {
            let Some(holder) = self.next_holder(&digest) else {
                break Err(FetchError { digest, told });
            };
            match self.fetch_from(holder, named) {
                Ok(snapshot) => break Ok((Arc::new(snapshot), holder)),
                Err(fault) => told.push((holder, fault)),
            }
        };
        if let Ok((snapshot, _)) = &outcome {
            self.shared.board.hand_on(digest, snapshot.clone());
        }
        lock(&self.under_way).remove(&digest);
        self.shared.send(Event::Fetched(digest, outcome));
    }

    /// Who is to be asked next. When there is nobody the fetch is over, in the same breath, so that
    /// nobody can join it any more.
    fn next_holder(&self, digest: &SnapshotDigest) -> Option<u32> {
        let mut under_way = lock(&self.under_way);
        let holder = under_way.get_mut(digest).and_then(VecDeque::pop_front);
        if holder.is_none() {
            under_way.remove(digest);
        }
        holder
    }

    fn fetch_from(&self, holder: u32, named: Named) -> Result<Snapshot, HolderFault> {
        let Named {
            digest,
            source,
            weights,
        } = named;
        let shared = &self.shared;
        let life = shared.life_of(holder).ok_or(HolderFault::Absent)?;
        let key = shared.keys.vector(holder, life);
        let mut vector = Arriving::new(shared.wire, &shared.layout, weights);
        let total = vector.values();
        let (answers, inbox) = mpsc::channel();
        let mut asked = 0;
        let mut in_flight = 0;
        loop {
            while in_flight < WINDOW && asked < total {
                let range = asked..total.min(asked + ChunkRequest::MOST_VALUES);
                asked = range.end;
                self.ask(&key, holder, digest, Answer::to(range, &answers));
                in_flight += 1;
            }
            if in_flight == 0 {
                break;
            }
            // An `Answer` always sends, so this ends.
            let Ok((range, reply)) = inbox.recv() else {
                break;
            };
            in_flight -= 1;
            let bytes = take(&mut vector, &range, reply, shared.wire.width())?;
            shared.meter.received(holder, Kind::of(source), bytes);
            shared.send(Event::Arrived);
        }
        if let Some(index) = vector.first_not_finite() {
            return Err(HolderFault::NotFinite { index });
        }
        let Arriving {
            parameters,
            buffers,
            weights,
            ..
        } = vector;
        let snapshot = Snapshot::new(shared.layout.clone(), source, parameters, buffers);
        let snapshot = snapshot.and_then(|snapshot| {
            let snapshot = snapshot.with_weights(weights)?;
            snapshot.check(&shared.layout).map(|()| snapshot)
        });
        let snapshot = snapshot.map_err(|why| HolderFault::Refused {
            why: why.to_string(),
        })?;
        let found = snapshot.digest();
        if found != digest {
            return Err(HolderFault::Digest { found });
        }
        Ok(snapshot)
    }

    /// Asks for one chunk. An answer comes in any case.
    fn ask(&self, key: &str, holder: u32, digest: SnapshotDigest, answer: Answer) {
        let request = ChunkRequest {
            asker: self.shared.own.node,
            digest,
            first: answer.range.start as u64,
            count: answer.range.len() as u32,
        };
        let request = request.encode();
        let length = request.len();
        // The reply has the query's priority and congestion control: behind everything else, and
        // complete. What blocks is this thread, and the holder's thread for this node.
        let sent = self
            .shared
            .session()
            .get(key)
            .payload(request)
            .priority(Priority::Background)
            .congestion_control(CongestionControl::Block)
            .consolidation(ConsolidationMode::None)
            .timeout(CHUNK_TIMEOUT)
            .callback(move |reply| answer.give(Some(reply)))
            .wait();
        if sent.is_ok() {
            self.shared.meter.sent(holder, Kind::Other, length);
        }
    }
}

/// Takes a chunk out of its reply; how many bytes it had.
fn take(
    vector: &mut Arriving,
    range: &Range<usize>,
    reply: Option<Reply>,
    value_bytes: usize,
) -> Result<usize, HolderFault> {
    let first = range.start as u64;
    let Some(reply) = reply else {
        return Err(HolderFault::Silent { first });
    };
    let sample = reply.into_result().map_err(|error| HolderFault::Refused {
        why: tame(&error.payload().to_bytes()),
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

/// Where the answer for a chunk goes: the first reply, or nothing when the query ends without one
/// (its holder has vanished, or is out of time).
struct Answer {
    range: Range<usize>,
    to: Sender<(Range<usize>, Option<Reply>)>,
    given: AtomicBool,
}

impl Answer {
    fn to(range: Range<usize>, to: &Sender<(Range<usize>, Option<Reply>)>) -> Self {
        Self {
            range,
            to: to.clone(),
            given: AtomicBool::new(false),
        }
    }

    fn give(&self, reply: Option<Reply>) {
        if !self.given.swap(true, Ordering::Relaxed) {
            // A fetch that has given up on this holder listens no more.
            let _ = self.to.send((self.range.clone(), reply));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(None);
    }
}
