//! Serves vectors to other nodes.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;

use zenoh::Wait;
use zenoh::query::Query;

use crate::codec::encode;
use crate::messages::ChunkRequest;
use crate::shared::{Shared, lock};
use crate::traffic::TrafficKind;

/// Maximum number of waiting requests per node: several fetches with all their chunks in flight.
const MAX_WAITING: usize = 64;

/// One thread for each node that has ever sent a request. An answer blocks while the link to that
/// node is congested, so a node that is slow, or dead before its lease has run out, does not delay
/// the others.
///
/// The threads end when this is dropped and no request waits for a vector that is arriving.
pub(crate) struct Servers {
    shared: Arc<Shared>,
    askers: Mutex<BTreeMap<u32, SyncSender<(ChunkRequest, Query)>>>,
}

impl Servers {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            askers: Mutex::default(),
        }
    }

    /// Passes a request on to the node's thread. Invalid or excessive requests end without an
    /// answer.
    pub fn take(&self, query: Query) {
        let refused = |why: &str| self.shared.rejected.note(query.key_expr().as_str(), why);
        let payload = query
            .payload()
            .filter(|payload| payload.len() == ChunkRequest::LENGTH);
        let Some(payload) = payload else {
            return refused("a request for part of a vector of another length than those have");
        };
        let request = match ChunkRequest::decode(&payload.to_bytes()) {
            Ok(request) if request.asker < self.shared.own.nodes => request,
            Ok(request) => return refused(&format!("a request of node {}", request.asker)),
            Err(why) => return refused(&why),
        };
        let mut askers = lock(&self.askers);
        let queue = match askers.entry(request.asker) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => match self.start(request.asker) {
                Ok(queue) => entry.insert(queue),
                Err(error) => return refused(&format!("no thread to answer it: {error}")),
            },
        };
        let (shared, queue) = (self.shared.clone(), queue.clone());
        drop(askers);
        let answer = move || match queue.try_send((request, query)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full((_, query))) => {
                let key = query.key_expr().as_str();
                shared
                    .rejected
                    .note(key, "more requests than can be answered");
            }
        };
        let arriving = self.shared.arriving(&request.digest);
        let arriving = arriving.filter(|_| request.waits);
        match arriving.map(|vector| (request.range(vector.values()), vector)) {
            Some((Ok(range), vector)) => vector.when_here(request.asker, range, answer),
            _ => answer(),
        }
    }

    fn start(&self, asker: u32) -> std::io::Result<SyncSender<(ChunkRequest, Query)>> {
        let (queue, inbox) = mpsc::sync_channel(MAX_WAITING);
        let shared = self.shared.clone();
        thread::Builder::new()
            .name(format!("serve-{}", u64::from(asker) + 1))
            .spawn(move || {
                for (request, query) in inbox {
                    answer(&shared, &request, &query);
                }
            })?;
        Ok(queue)
    }
}

fn answer(shared: &Shared, request: &ChunkRequest, query: &Query) {
    let (kind, bytes) = match find(shared, request) {
        Ok(found) => found,
        Err(Missing::Vector) => return refuse(query, "it does not have that vector"),
        Err(Missing::Range(why)) => {
            shared.rejected.note(query.key_expr().as_str(), &why);
            return refuse(query, &why);
        }
    };
    let length = bytes.len();
    // A node that has gone in the meantime needs no answer.
    if query.reply(query.key_expr().clone(), bytes).wait().is_ok() {
        shared.meter.sent(request.asker, kind, length);
    }
}

/// Why there is nothing to answer with.
enum Missing {
    /// The vector is not here, or not this part of it.
    Vector,
    /// No vector of that kind has such values.
    Range(String),
}

/// The requested bytes, and what they count as. Those of a vector that is arriving are for nodes that
/// fetch it too: a holder has all of it.
fn find(shared: &Shared, request: &ChunkRequest) -> Result<(TrafficKind, Vec<u8>), Missing> {
    // In this order: a vector is among the snapshots before it no longer counts as arriving.
    let arriving = shared.arriving(&request.digest);
    if let Some(vector) = arriving.filter(|_| request.waits) {
        let range = request.range(vector.values()).map_err(Missing::Range)?;
        if let Some(bytes) = vector.bytes(&range) {
            return Ok((vector.kind, bytes));
        }
    }
    let snapshot = shared.snapshots.get(&request.digest);
    let snapshot = snapshot.ok_or(Missing::Vector)?;
    let range = request.range(snapshot.values()).map_err(Missing::Range)?;
    let format = shared.wire.of(snapshot.source());
    let bytes = encode(format, &snapshot, range).ok_or(Missing::Vector)?;
    Ok((TrafficKind::of(snapshot.source()), bytes))
}

fn refuse(query: &Query, why: &str) {
    let _ = query.reply_err(why.as_bytes()).wait();
}
