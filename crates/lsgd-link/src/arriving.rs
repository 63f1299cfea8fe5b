//! A vector that is arriving: what is here of it can be handed on already.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsgd_core::{Layout, Snapshot, SnapshotDigest, Source, WireFormat};

use crate::codec::{PartialVector, bytes_of, encode, verify};
use crate::error::HolderFault;
use crate::plan::{chunk_at, chunks_of};
use crate::traffic::TrafficKind;

/// Maximum number of requests per node that wait for chunks: twice as many as one makes.
const MAX_WAITING: usize = 16;

/// Answers a request with what is here by then.
type Answer = Box<dyn FnOnce() + Send>;

/// A vector that is arriving.
pub(crate) struct ArrivingVector {
    /// What its bytes count as.
    pub kind: TrafficKind,
    wire: WireFormat,
    layout: Arc<Layout>,
    source: Source,
    digest: SnapshotDigest,
    weights: usize,
    values: usize,
    state: Mutex<State>,
}

struct State {
    values: Values,
    /// Whether each chunk is here.
    arrived: Vec<bool>,
    /// The nodes that they came from.
    from: BTreeSet<u32>,
    /// Requests for chunks that are not.
    waiting: Vec<Waiting>,
    /// Whether the fetch has ended, so that nothing waits any longer.
    has_ended: bool,
}

enum Values {
    Partial(PartialVector),
    /// All of them, perhaps not verified yet.
    Complete(Arc<Snapshot>),
}

struct Waiting {
    asker: u32,
    range: Range<usize>,
    answer: Answer,
}

impl ArrivingVector {
    /// Nothing yet of the vector with this digest and number of weights.
    pub fn new(
        wire: WireFormat,
        layout: &Arc<Layout>,
        source: Source,
        digest: SnapshotDigest,
        weights: usize,
    ) -> Self {
        let vector = PartialVector::new(wire, layout, weights);
        let values = vector.values();
        Self {
            kind: TrafficKind::of(source),
            wire,
            layout: layout.clone(),
            source,
            digest,
            weights,
            values,
            state: Mutex::new(State {
                values: Values::Partial(vector),
                arrived: vec![false; chunks_of(values)],
                from: BTreeSet::new(),
                waiting: Vec::new(),
                has_ended: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is consistent after every statement, so a panic elsewhere does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Bytes of the values of `range`.
    pub fn bytes_of(&self, range: &Range<usize>) -> usize {
        bytes_of(self.wire, self.layout.parameter_len(), range)
    }

    /// Whether each chunk is here.
    pub fn arrived(&self) -> Vec<bool> {
        self.lock().arrived.clone()
    }

    /// Reads a chunk from `bytes`, which came from `node`, and answers those who wait for it. One
    /// that is here already stays as it is.
    ///
    /// # Errors
    ///
    /// If `bytes` end before the chunk does.
    pub fn take(&self, node: u32, range: &Range<usize>, bytes: impl Read) -> io::Result<()> {
        let mut state = self.lock();
        let State {
            values, arrived, ..
        } = &mut *state;
        let here = arrived[chunk_at(range.start)];
        match values {
            Values::Partial(vector) if !here => vector.take(range, bytes)?,
            _ => return Ok(()),
        }
        Self::has_come(state, node, range);
        Ok(())
    }

    /// Puts a chunk in place that was made here, or has been checked, and answers those who wait for it.
    pub fn put(&self, node: u32, range: &Range<usize>, values: &[f32]) {
        let mut state = self.lock();
        if let Values::Partial(vector) = &mut state.values {
            vector.put(range, values);
        }
        Self::has_come(state, node, range);
    }

    /// A chunk is in place: answers those who wait for it.
    fn has_come(mut state: MutexGuard<State>, node: u32, range: &Range<usize>) {
        state.arrived[chunk_at(range.start)] = true;
        state.from.insert(node);
        let ready = state.pop_ready();
        drop(state);
        ready.into_iter().for_each(|answer| answer());
    }

    /// The values of `range` as bytes, as they arrived; `None` if not all of them are here.
    pub fn bytes(&self, range: &Range<usize>) -> Option<Vec<u8>> {
        let state = self.lock();
        match &state.values {
            Values::Partial(vector) if state.has(range) => vector.encode(range.clone()),
            Values::Partial(_) => None,
            Values::Complete(snapshot) => encode(self.wire, snapshot, range.clone()),
        }
    }

    /// Calls `answer` once all of `range` is here or the fetch has ended; drops it if too many requests
    /// of `asker` wait already.
    pub fn when_here(
        &self,
        asker: u32,
        range: Range<usize>,
        answer: impl FnOnce() + Send + 'static,
    ) {
        let mut state = self.lock();
        if state.has_ended || state.has(&range) {
            drop(state);
            return answer();
        }
        let waiting = state.waiting.iter().filter(|other| other.asker == asker);
        if waiting.count() < MAX_WAITING {
            let answer = Box::new(answer);
            state.waiting.push(Waiting {
                asker,
                range,
                answer,
            });
        }
    }

    /// The vector, once all of it is here, if it is the one that its digest names. Otherwise nothing
    /// of it is here any more.
    ///
    /// # Errors
    ///
    /// As [`PartialVector::finish`], with the nodes that parts came from.
    pub fn finish(&self) -> Result<Arc<Snapshot>, (HolderFault, BTreeSet<u32>)> {
        self.complete()
            .and_then(|snapshot| {
                verify(&snapshot, &self.layout, self.digest)?;
                Ok(snapshot)
            })
            .map_err(|fault| {
                let mut state = self.lock();
                state.values = Values::Partial(self.nothing());
                state.arrived.fill(false);
                (fault, std::mem::take(&mut state.from))
            })
    }

    /// The vector, once all of it is here; not verified.
    ///
    /// # Errors
    ///
    /// As [`PartialVector::into_unverified`].
    pub fn complete(&self) -> Result<Arc<Snapshot>, HolderFault> {
        let mut state = self.lock();
        // Memory to which nothing is written is not taken up.
        let nothing = Values::Partial(self.nothing());
        let snapshot = match std::mem::replace(&mut state.values, nothing) {
            Values::Partial(vector) => Arc::new(vector.into_unverified(&self.layout, self.source)?),
            Values::Complete(snapshot) => snapshot,
        };
        state.values = Values::Complete(snapshot.clone());
        Ok(snapshot)
    }

    fn nothing(&self) -> PartialVector {
        PartialVector::new(self.wire, &self.layout, self.weights)
    }

    /// The fetch has ended: answers all who wait.
    pub fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|waiting| (waiting.answer)());
    }
}

impl State {
    fn has(&self, range: &Range<usize>) -> bool {
        range.is_empty()
            || self.arrived[chunk_at(range.start)..=chunk_at(range.end - 1)]
                .iter()
                .all(|&arrived| arrived)
    }

    /// Takes out the answers to those requests that need not wait any longer.
    fn pop_ready(&mut self) -> Vec<Answer> {
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| self.has(&waiting.range));
        self.waiting = waiting;
        ready.into_iter().map(|waiting| waiting.answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use burn::module::{Module, Param};
    use burn::tensor::{Device, Tensor};
    use lsgd_core::WorkerId;

    use super::*;
    use crate::messages::ChunkRequest;

    const CHUNK: usize = ChunkRequest::MAX_VALUES;

    #[derive(Module, Debug)]
    struct Values {
        all: Param<Tensor<1>>,
    }

    /// Two chunks and a half, and nothing of it yet.
    fn vector() -> (Snapshot, ArrivingVector) {
        let device = Device::flex().autodiff();
        let count = 2 * CHUNK + CHUNK / 2;
        let layout = Layout::of(&Values {
            all: Param::from_tensor(Tensor::zeros([count], &device)),
        });
        let id = WorkerId::new(0, 0);
        let source = Source::Worker { id, step: 1 };
        let values = (0..count).map(|index| index as f32).collect();
        let vector = Snapshot::new(layout.clone(), source, values, vec![]).unwrap();
        let arriving = ArrivingVector::new(WireFormat::F32, &layout, source, vector.digest(), 0);
        (vector, arriving)
    }

    fn range(vector: &Snapshot, chunk: usize) -> Range<usize> {
        chunk * CHUNK..vector.values().min((chunk + 1) * CHUNK)
    }

    fn bytes(vector: &Snapshot, range: Range<usize>) -> Vec<u8> {
        bytemuck::cast_slice(&vector.parameters()[range]).to_vec()
    }

    #[test]
    fn what_is_here_is_handed_on_at_once_and_the_rest_when_it_comes() {
        let (vector, arriving) = vector();
        let ranges = [0, 1, 2].map(|chunk| range(&vector, chunk));
        let of = ranges.clone().map(|range| bytes(&vector, range));
        arriving.take(4, &ranges[1], &of[1][..]).unwrap();
        let (answers, inbox) = mpsc::channel();
        for (name, wanted) in [(1, ranges[1].clone()), (2, ranges[2].clone()), (0, 5..9)] {
            let answers = answers.clone();
            arriving.when_here(1, wanted, move || answers.send(name).unwrap());
        }
        let answered = || inbox.try_iter().collect::<Vec<_>>();
        assert_eq!(answered(), [1], "nothing else is here");
        let within = CHUNK + 3..CHUNK + 5;
        assert_eq!(arriving.bytes(&within), Some(bytes(&vector, within)));
        assert_eq!(arriving.bytes(&(CHUNK - 1..CHUNK + 1)), None);
        arriving.take(4, &ranges[2], &of[2][..]).unwrap();
        assert_eq!(answered(), [2]);
        assert_eq!(arriving.arrived(), [false, true, true]);
        arriving.take(7, &ranges[0], &of[0][..]).unwrap();
        assert_eq!(answered(), [0]);
        let finished = arriving.finish().map_err(|(fault, _)| fault);
        assert_eq!(finished.unwrap().digest(), vector.digest());
        assert_eq!(arriving.bytes(&(5..9)), Some(bytes(&vector, 5..9)));
    }

    /// Those who ask later, too.
    #[test]
    fn the_end_answers_all_who_wait() {
        let (vector, arriving) = vector();
        let (answers, inbox) = mpsc::channel();
        let ask = |name: u32| {
            let answers = answers.clone();
            arriving.when_here(1, range(&vector, 0), move || answers.send(name).unwrap());
        };
        ask(1);
        arriving.end();
        ask(2);
        assert_eq!(inbox.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    /// And none of it is handed on any more.
    #[test]
    fn parts_that_do_not_make_up_the_vector_are_dropped_and_named() {
        let (vector, arriving) = vector();
        for (node, chunk) in [(4, 0), (2, 1), (4, 2)] {
            let range = range(&vector, chunk);
            let mut bytes = bytes(&vector, range.clone());
            bytes[0] ^= u8::from(chunk == 1);
            arriving.take(node, &range, &bytes[..]).unwrap();
        }
        let (fault, from) = arriving.finish().unwrap_err();
        assert!(matches!(fault, HolderFault::Digest { .. }), "{fault}");
        assert_eq!(from, BTreeSet::from([2, 4]));
        assert_eq!(arriving.arrived(), [false; 3]);
        assert_eq!(arriving.bytes(&(0..1)), None);
    }

    /// Bytes that arrive a second time change nothing.
    #[test]
    fn the_first_answer_counts() {
        let (vector, arriving) = vector();
        let first = range(&vector, 0);
        let right = bytes(&vector, first.clone());
        arriving.take(4, &first, &right[..]).unwrap();
        arriving.take(2, &first, &vec![0; right.len()][..]).unwrap();
        assert_eq!(arriving.bytes(&first), Some(right));
        let short = arriving.take(4, &range(&vector, 1), &[0; 3][..]);
        assert!(short.is_err());
        assert_eq!(arriving.arrived(), [true, false, false]);
    }

    #[test]
    fn one_node_cannot_make_many_requests_wait() {
        let (vector, arriving) = vector();
        let (answers, inbox) = mpsc::channel();
        for asker in [1, 2] {
            for _ in 0..100 {
                let answers = answers.clone();
                arriving.when_here(asker, range(&vector, 0), move || {
                    answers.send(asker).unwrap();
                });
            }
        }
        arriving.end();
        let answered: Vec<u32> = inbox.try_iter().collect();
        assert_eq!(answered, [[1; MAX_WAITING], [2; MAX_WAITING]].concat());
    }
}
