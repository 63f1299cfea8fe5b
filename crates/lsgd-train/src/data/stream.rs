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
//! With `data.split` every worker has a shard of the examples, and of it a stream of its own:
//!
//! ```text
//! batch k                    batch floor(k / W) of the stream of worker k mod W
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
use super::shards::dirichlet;
use crate::image_config::Split;

/// Permutations kept: workers that drift apart in `async` are rarely more than an epoch apart.
const EPOCHS_KEPT: usize = 3;

/// Words of the generator reserved for one example; the longest draw (ten tries of a random resized
/// crop, then ten of a rectangle to erase) takes fewer than two hundred.
const WORDS_PER_EXAMPLE: u128 = 1 << 12;

/// Why a training example is never trained on. Each has a part of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Models are scored on it in place of the test examples: `data.holdout`.
    Validation,
    /// Workers are ranked by it: `method.rank_by = "probe_loss"`.
    Probe,
}

impl Reserve {
    /// The config key that says how many there are.
    pub fn key(self) -> &'static str {
        match self {
            Self::Validation => "data.holdout",
            Self::Probe => "method.probe_examples",
        }
    }

    /// The purpose of the generator that draws them.
    fn purpose(self) -> &'static str {
        match self {
            Self::Validation => "lsgd-train v1 validation examples",
            Self::Probe => "lsgd-train v1 held out training examples",
        }
    }
}

/// The endless stream of training batches: which examples each holds, and the generators that
/// augment them. Clones are cheap and share the permutations already drawn.
#[derive(Debug, Clone)]
pub struct Stream {
    examples: usize,
    /// The examples that are trained on, in ascending order; `None` for all.
    kept: Option<Arc<[u32]>>,
    /// Those held out, in the order in which they were drawn: so any first few are a fair sample.
    validation: Arc<[u32]>,
    probe: Arc<[u32]>,
    /// All of them, in ascending order.
    held_out: Arc<[u32]>,
    /// The examples of each worker, in ascending order; empty if all workers have the same.
    shards: Arc<[Vec<u32>]>,
    batch_size: usize,
    order_key: [u8; 32],
    augment_key: [u8; 32],
    mixing_key: [u8; 32],
    drawn: Arc<Mutex<VecDeque<Drawn>>>,
}

/// The permutation of an epoch.
#[derive(Debug)]
struct Drawn {
    /// The shard, 0 if there are none.
    shard: usize,
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
            validation: Arc::default(),
            probe: Arc::default(),
            held_out: Arc::default(),
            shards: Arc::default(),
            batch_size,
            order_key: key("lsgd-train v1 order of training examples"),
            augment_key: key("lsgd-train v1 augmentation of training examples"),
            mixing_key: key("lsgd-train v1 mixing of training batches"),
            drawn: Arc::default(),
        })
    }

    /// The same without `count` of the examples left, drawn from the seed, which are never trained on.
    ///
    /// Hold out the validation examples first: then they are the same however workers are ranked.
    ///
    /// # Errors
    /// If that leaves no examples.
    pub fn holding_out(
        mut self,
        part: Reserve,
        count: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        let examples = self.epoch();
        if count >= examples {
            return Err(DataError::HeldOut {
                count,
                examples,
                key: part.key(),
            });
        }
        if count == 0 {
            return Ok(self);
        }
        let key = blake3::derive_key(part.purpose(), &seed.to_le_bytes());
        let mut order = self.left();
        order.shuffle(&mut ChaCha8Rng::from_seed(key));
        let (held_out, kept) = order.split_at(count);
        let sorted = |part: &[u32]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            Arc::from(part)
        };
        self.held_out = sorted(&[&self.held_out, held_out].concat());
        match part {
            Reserve::Validation => self.validation = held_out.into(),
            // Always scored whole: in the order that it had before there was another part.
            Reserve::Probe => self.probe = sorted(held_out),
        }
        self.kept = Some(sorted(kept));
        self.drawn = Arc::default();
        Ok(self)
    }

    /// The same, with a shard of the examples left for each of `workers` workers, of the classes that
    /// `class_of` says. Hold out examples before.
    ///
    /// # Errors
    ///
    /// [`DataError::Split`] if there are fewer examples than workers.
    pub fn sharded(
        mut self,
        class_of: impl Fn(u32) -> Option<usize>,
        workers: usize,
        split: Split,
        seed: u64,
    ) -> Result<Self, DataError> {
        let with_class = |example| Some((example, class_of(example)?));
        let examples: Vec<(u32, usize)> = self.left().into_iter().filter_map(with_class).collect();
        let shards = dirichlet(&examples, workers, split.dirichlet, seed)?;
        self.shards = shards.into();
        self.drawn = Arc::default();
        Ok(self)
    }

    /// The examples that are trained on, in ascending order.
    fn left(&self) -> Vec<u32> {
        match &self.kept {
            Some(kept) => kept.to_vec(),
            None => (0..self.examples as u32).collect(),
        }
    }

    /// The examples that are held out for this. Those of a validation split are in random order.
    pub fn held_out(&self, part: Reserve) -> &[u32] {
        match part {
            Reserve::Validation => &self.validation,
            Reserve::Probe => &self.probe,
        }
    }

    /// Whether the worker that takes batch `number` trains on example `index`.
    pub(crate) fn trains_on(&self, number: u64, index: usize) -> bool {
        let workers = self.shards.len().max(1) as u64;
        match self.shards.get((number % workers) as usize) {
            Some(shard) => {
                u32::try_from(index).is_ok_and(|index| shard.binary_search(&index).is_ok())
            }
            None => !self.holds_out(index),
        }
    }

    /// Examples of the smallest shard, or of all if there are none: what a batch is taken from.
    pub fn least_per_worker(&self) -> usize {
        let shards = self.shards.iter().map(Vec::len);
        shards.min().unwrap_or(self.epoch())
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
        let workers = self.shards.len().max(1) as u64;
        let (number, shard) = (number / workers, (number % workers) as usize);
        let examples = self.shards.get(shard).map_or(self.epoch(), Vec::len) as u128;
        let mut position = u128::from(number) * self.batch_size as u128;
        let mut indices = Vec::with_capacity(self.batch_size);
        while indices.len() < self.batch_size {
            let permutation = self.permutation(shard, (position / examples) as u64);
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

    /// The order of a shard's examples in `epoch`, or of all if there are no shards.
    fn permutation(&self, shard: usize, epoch: u64) -> Arc<[u32]> {
        // Only whole permutations are behind the lock, so a poisoned one is consistent.
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = drawn.iter().find(|d| (d.shard, d.epoch) == (shard, epoch)) {
            return Arc::clone(&known.order);
        }
        let mut order = match self.shards.get(shard) {
            Some(own) => own.clone(),
            None => self.left(),
        };
        let mut rng = ChaCha8Rng::from_seed(self.order_key);
        // Without shards the epoch itself.
        let workers = self.shards.len().max(1) as u64;
        rng.set_stream(epoch.wrapping_mul(workers).wrapping_add(shard as u64));
        order.shuffle(&mut rng);
        let order: Arc<[u32]> = order.into();
        if drawn.len() >= EPOCHS_KEPT * self.shards.len().max(1) {
            drawn.pop_front();
        }
        drawn.push_back(Drawn {
            shard,
            epoch,
            order: Arc::clone(&order),
        });
        order
    }
}

#[cfg(test)]
mod tests;
