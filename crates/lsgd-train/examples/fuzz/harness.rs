//! Feeds inputs to a decoder, and catches panics, excessive memory and excessive time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lsgd_run::generator;

use crate::changes::{Form, input};
use crate::memory::Counting;

/// A decoder, and what it may do.
pub struct Decoder {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// The form of its inputs.
    pub form: Form,
    /// Inputs that it accepts.
    pub valid: Vec<Vec<u8>>,
    /// The memory that it may use.
    pub bound: Bound,
    /// How many inputs it gets for each one that the slowest decoders get.
    pub share: u64,
    /// Decodes an input, and uses the result as the program does. Whether it was accepted.
    pub read: Read,
}

/// Decodes an input.
pub type Read = Box<dyn FnMut(&[u8]) -> bool>;

/// Most bytes that may be in use at once for an input: so many, and so many for each byte of the input.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// For an input of any length.
    pub fixed: usize,
    /// For each byte of it.
    pub per_byte: usize,
}

impl Bound {
    fn of(self, input: &[u8]) -> usize {
        self.fixed + self.per_byte * input.len()
    }
}

/// What became of the inputs of a decoder.
#[derive(Debug, Default)]
pub struct Tally {
    /// Inputs that it accepted.
    pub accepted: u64,
    /// Inputs that it refused with an error.
    pub refused: u64,
    /// Most memory that an input needed, in bytes.
    pub memory: usize,
    /// The bound for that input.
    pub bound: usize,
    /// The longest that an input took.
    pub slowest: Duration,
    /// What went wrong, with the number of the input.
    pub failures: Vec<(u64, String)>,
}

/// The input that is being decoded.
#[derive(Debug, Clone, Copy)]
pub struct Current {
    /// The decoder.
    pub decoder: &'static str,
    /// The number of the input.
    pub number: u64,
    /// When it began.
    pub began: Instant,
}

/// Runs decoders one input at a time.
pub struct Harness {
    memory: &'static Counting,
    seed: u64,
    panics: Arc<Mutex<Vec<String>>>,
    current: Arc<Mutex<Option<Current>>>,
    /// Whether to say the number of each input before it is decoded.
    pub traces: bool,
}

/// Failures of a decoder after which it gets no more inputs.
const MOST_FAILURES: usize = 8;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Harness {
    /// For the inputs that belong to `seed`. From now on panics of all threads are noted, whether they are
    /// caught or not.
    pub fn new(memory: &'static Counting, seed: u64) -> Self {
        let panics = Arc::<Mutex<Vec<String>>>::default();
        let noted = panics.clone();
        std::panic::set_hook(Box::new(move |panic| lock(&noted).push(panic.to_string())));
        Self {
            memory,
            seed,
            panics,
            current: Arc::default(),
            traces: false,
        }
    }

    /// What is being decoded, for a watcher.
    pub fn current(&self) -> Arc<Mutex<Option<Current>>> {
        self.current.clone()
    }

    /// Input `number` of a decoder.
    pub fn input(&self, decoder: &Decoder, number: u64) -> Vec<u8> {
        let purpose = format!("lsgd-train fuzz: {}", decoder.name);
        let mut random = generator(&purpose, &[self.seed, number]);
        input(decoder.form, &decoder.valid, &mut random)
    }

    /// Gives a decoder its valid inputs, which it must accept, and then the inputs of these numbers.
    pub fn run(&self, decoder: &mut Decoder, numbers: std::ops::Range<u64>) -> Tally {
        let mut tally = Tally::default();
        for valid in decoder.valid.clone() {
            // What is made once, such as threads and tables, is made here and not counted.
            let (_, accepted) = self.read(decoder, u64::MAX, &valid);
            if accepted != Ok(true) {
                let shown = String::from_utf8_lossy(&valid[..valid.len().min(400)]).into_owned();
                let why = format!("a valid input is not accepted ({accepted:?}): {shown}");
                tally.failures.push((u64::MAX, why));
            }
        }
        for number in numbers {
            let input = self.input(decoder, number);
            if self.traces {
                eprintln!("{} {number}: {} bytes", decoder.name, input.len());
            }
            let (spent, outcome) = self.read(decoder, number, &input);
            let bound = decoder.bound.of(&input);
            tally.slowest = tally.slowest.max(spent.time);
            if spent.memory > tally.memory {
                (tally.memory, tally.bound) = (spent.memory, bound);
            }
            if spent.memory > bound {
                let why = format!("{} bytes in use at once, and {bound} allowed", spent.memory);
                tally.failures.push((number, why));
            }
            match outcome {
                Ok(true) => tally.accepted += 1,
                Ok(false) => tally.refused += 1,
                Err(why) => tally.failures.push((number, why)),
            }
            if tally.failures.len() >= MOST_FAILURES {
                break;
            }
        }
        tally
    }

    /// Decodes one input: what it cost, and whether it was accepted; an error if anything panicked.
    fn read(
        &self,
        decoder: &mut Decoder,
        number: u64,
        input: &[u8],
    ) -> (Spent, Result<bool, String>) {
        lock(&self.panics).clear();
        let began = Instant::now();
        *lock(&self.current) = Some(Current {
            decoder: decoder.name,
            number,
            began,
        });
        let before = self.memory.begin();
        let accepted = catch_unwind(AssertUnwindSafe(|| (decoder.read)(input)));
        let spent = Spent {
            memory: self.memory.peak().saturating_sub(before),
            time: began.elapsed(),
        };
        *lock(&self.current) = None;
        let panics = lock(&self.panics).join("; ");
        let outcome = match accepted {
            Ok(accepted) if panics.is_empty() => Ok(accepted),
            _ => Err(panics.replace('\n', " ")),
        };
        (spent, outcome)
    }
}

/// What an input cost.
struct Spent {
    memory: usize,
    time: Duration,
}
