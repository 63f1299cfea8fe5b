//! The endless stream of training batches and its assignment to workers.
//!
//! The stream is a seeded permutation of the examples for every epoch, one after another, cut into
//! full batches:
//!
//! ```text
//! position p of the stream   example  permutation[p / examples][p mod examples]
//! batch k                    positions k * batch_size .. (k + 1) * batch_size
//! worker r of W, its step s  batch s * W + r
//! ```
//!
//! with the examples that are not held out. A batch may straddle two epochs, so there are no
//! partial batches and no example is left out: any `examples` positions from the start of an epoch
//! hold every example once. Batch k is a pure function of the seed and k, so a position in the
//! stream is one integer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::DataError;

/// Permutations kept: workers that drift apart in `async` are rarely more than an epoch apart.
const EPOCHS_KEPT: usize = 3;

/// Words of the generator reserved for one example; the longest draw (ten tries of a random resized
/// crop, then ten of a rectangle to erase) takes fewer than two hundred.
const WORDS_PER_EXAMPLE: u128 = 1 << 12;

/// The endless stream of training batches: which examples each holds, and the generators that
/// augment them. Clones are cheap and share the permutations already drawn.
#[derive(Debug, Clone)]
pub struct Stream {
    examples: usize,
    /// The examples that are trained on, in ascending order; `None` for all.
    kept: Option<Arc<[u32]>>,
    held_out: Arc<[u32]>,
    batch_size: usize,
    order_key: [u8; 32],
    augment_key: [u8; 32],
    mixing_key: [u8; 32],
    drawn: Arc<Mutex<VecDeque<Drawn>>>,
}

/// The permutation of an epoch.
#[derive(Debug)]
struct Drawn {
    epoch: u64,
    order: Arc<[u32]>,
}

impl Stream {
    /// A stream over `examples` training examples in batches of `batch_size`.
    ///
    /// `batch_size` may exceed `examples`; a batch then holds examples more than once.
    ///
    /// # Errors
    /// If either is zero, or there are 2^32 examples or more.
    pub fn new(examples: usize, batch_size: usize, seed: u64) -> Result<Self, DataError> {
        if examples == 0 || batch_size == 0 || u32::try_from(examples).is_err() {
            return Err(DataError::EmptyStream {
                examples,
                batch_size,
            });
        }
        // Several keys, so that drawing more of one never changes another.
        let key = |purpose: &str| blake3::derive_key(purpose, &seed.to_le_bytes());
        Ok(Self {
            examples,
            kept: None,
            held_out: Arc::default(),
            batch_size,
            order_key: key("lsgd-train v1 order of training examples"),
            augment_key: key("lsgd-train v1 augmentation of training examples"),
            mixing_key: key("lsgd-train v1 mixing of training batches"),
            drawn: Arc::default(),
        })
    }

    /// The same without `count` examples, drawn from the seed, which are never trained on.
    ///
    /// # Errors
    /// If that leaves no examples.
    pub fn holding_out(mut self, count: usize, seed: u64) -> Result<Self, DataError> {
        if count >= self.examples {
            return Err(DataError::HeldOut {
                count,
                examples: self.examples,
            });
        }
        let key = blake3::derive_key(
            "lsgd-train v1 held out training examples",
            &seed.to_le_bytes(),
        );
        let mut order: Vec<u32> = (0..self.examples as u32).collect();
        order.shuffle(&mut ChaCha8Rng::from_seed(key));
        let (held_out, kept) = order.split_at(count);
        let sorted = |part: &[u32]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            Arc::from(part)
        };
        self.held_out = sorted(held_out);
        self.kept = (count > 0).then(|| sorted(kept));
        self.drawn = Arc::default();
        Ok(self)
    }

    /// The examples that are never trained on, in ascending order.
    pub fn held_out(&self) -> &[u32] {
        &self.held_out
    }

    /// Whether example `index` is never trained on.
    pub(crate) fn holds_out(&self, index: usize) -> bool {
        let among = |index| self.held_out.binary_search(&index).is_ok();
        u32::try_from(index).is_ok_and(among)
    }

    /// Number of examples of the data set.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// Examples per epoch: those of the data set without those held out.
    pub fn epoch(&self) -> usize {
        self.examples - self.held_out.len()
    }

    /// Examples per batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The examples of batch `number`, in order; each below [`examples`](Self::examples).
    pub fn indices(&self, number: u64) -> Vec<u32> {
        let examples = self.epoch() as u128;
        let mut position = u128::from(number) * self.batch_size as u128;
        let mut indices = Vec::with_capacity(self.batch_size);
        while indices.len() < self.batch_size {
            let permutation = self.permutation((position / examples) as u64);
            let rest = &permutation[(position % examples) as usize..];
            let taken = rest.len().min(self.batch_size - indices.len());
            indices.extend_from_slice(&rest[..taken]);
            position += taken as u128;
        }
        indices
    }

    /// The generator that augments the example at `place` in batch `number`: always the same, in
    /// whatever order they are requested.
    pub(crate) fn augmentation(&self, number: u64, place: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.augment_key);
        rng.set_stream(number);
        rng.set_word_pos(place as u128 * WORDS_PER_EXAMPLE);
        rng
    }

    /// The generator that mixes the images of batch `number`.
    pub(crate) fn mixing(&self, number: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.mixing_key);
        rng.set_stream(number);
        rng
    }

    /// The order of the examples in `epoch`.
    fn permutation(&self, epoch: u64) -> Arc<[u32]> {
        // Only whole permutations are behind the lock, so a poisoned one is consistent.
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = drawn.iter().find(|d| d.epoch == epoch) {
            return Arc::clone(&known.order);
        }
        let mut order: Vec<u32> = match &self.kept {
            Some(kept) => kept.to_vec(),
            None => (0..self.examples as u32).collect(),
        };
        let mut rng = ChaCha8Rng::from_seed(self.order_key);
        rng.set_stream(epoch);
        order.shuffle(&mut rng);
        let order: Arc<[u32]> = order.into();
        if drawn.len() == EPOCHS_KEPT {
            drawn.pop_front();
        }
        drawn.push_back(Drawn {
            epoch,
            order: Arc::clone(&order),
        });
        order
    }
}

#[cfg(test)]
mod tests {
    use lsgd_run::train::batch_of;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The positions of any epoch hold every example once.
        #[test]
        fn every_epoch_is_a_permutation(
            examples in 1usize..80, batch in 1usize..40, seed: u64, epoch in 0u64..4,
        ) {
            let stream = Stream::new(examples, batch, seed).unwrap();
            let first = epoch * examples as u64;
            let batches = first / batch as u64..=(first + examples as u64) / batch as u64;
            let skipped = (first % batch as u64) as usize;
            let mut seen: Vec<u32> = batches.flat_map(|k| stream.indices(k)).skip(skipped).take(examples).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..examples as u32).collect::<Vec<_>>());
        }

        /// Workers that step together use each example once an epoch, whatever their number.
        #[test]
        fn workers_in_sync_use_each_example_once(
            batch in 1usize..8, per_worker in 1u64..5, workers in 1usize..6, seed: u64, epoch in 0u64..3,
        ) {
            let examples = batch * per_worker as usize * workers;
            let stream = Stream::new(examples, batch, seed).unwrap();
            let mut seen = Vec::new();
            for step in epoch * per_worker..(epoch + 1) * per_worker {
                for worker in 0..workers {
                    seen.extend(stream.indices(batch_of(worker as u64, workers as u64, step)));
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..examples as u32).collect::<Vec<_>>());
        }

        /// No batch is given to two workers, or twice to one.
        #[test]
        fn batches_are_dealt_once(workers in 1usize..9, steps in 1u64..20) {
            let mut dealt: Vec<u64> = (0..steps)
                .flat_map(|s| (0..workers).map(move |r| batch_of(r as u64, workers as u64, s)))
                .collect();
            dealt.sort_unstable();
            prop_assert_eq!(dealt, (0..steps * workers as u64).collect::<Vec<_>>());
        }

        /// Batch k does not depend on earlier requests, on a clone either.
        #[test]
        fn a_batch_is_a_function_of_its_number(
            examples in 1usize..50, batch in 1usize..60, seed: u64,
            asked in prop::collection::vec(0u64..100, 0..12), number in 0u64..100,
        ) {
            let used = Stream::new(examples, batch, seed).unwrap();
            for k in asked {
                used.indices(k);
            }
            let fresh = Stream::new(examples, batch, seed).unwrap();
            prop_assert_eq!(used.indices(number), fresh.indices(number));
            prop_assert_eq!(used.clone().indices(number), fresh.indices(number));
        }
    }

    #[test]
    fn seeds_epochs_and_batches_differ() {
        let stream = |seed| Stream::new(1000, 1000, seed).unwrap();
        assert_ne!(stream(1).indices(0), stream(2).indices(0));
        assert_ne!(stream(1).indices(0), stream(1).indices(1));
        assert_ne!(
            stream(1).indices(0),
            (0..1000).collect::<Vec<u32>>(),
            "the first epoch is shuffled"
        );
    }

    /// Held-out examples are in no epoch; every other one is in each epoch once.
    #[test]
    fn held_out_examples_are_never_trained_on() {
        let stream = Stream::new(20, 5, 3).unwrap().holding_out(5, 3).unwrap();
        assert_eq!((stream.held_out().len(), stream.epoch()), (5, 15));
        for epoch in 0..3 {
            let mut seen: Vec<u32> = (3 * epoch..3 * epoch + 3)
                .flat_map(|k| stream.indices(k))
                .chain(stream.held_out().iter().copied())
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
        }
        let again = Stream::new(20, 5, 3).unwrap().holding_out(5, 3).unwrap();
        assert_eq!(again.held_out(), stream.held_out());
        let all = Stream::new(20, 5, 3).unwrap();
        let none = all.clone().holding_out(0, 3).unwrap();
        assert_eq!(none.indices(2), all.indices(2));
        let refused = all.holding_out(20, 3).unwrap_err().to_string();
        assert!(
            refused.starts_with("20 examples to hold out of 20"),
            "{refused}"
        );
    }

    /// Resuming depends on the order being the same in all versions of this program.
    #[test]
    fn the_order_is_pinned() {
        let stream = Stream::new(10, 5, 42).unwrap();
        assert_eq!(
            [stream.indices(0), stream.indices(1), stream.indices(2)],
            PINNED
        );
    }
    const PINNED: [[u32; 5]; 3] = [[2, 1, 8, 0, 4], [5, 6, 9, 7, 3], [7, 6, 4, 8, 9]];

    #[test]
    fn a_far_batch_costs_no_more() {
        let stream = Stream::new(7, 3, 0).unwrap();
        assert_eq!(stream.indices(u64::MAX / 2).len(), 3);
    }

    #[test]
    fn nothing_cannot_be_streamed() {
        let text = |e, b| Stream::new(e, b, 0).unwrap_err().to_string();
        assert!(
            text(0, 5).starts_with("no batches can be made of 5 examples each from 0 examples")
        );
        assert!(
            text(5, 0).starts_with("no batches can be made of 0 examples each from 5 examples")
        );
    }
}
