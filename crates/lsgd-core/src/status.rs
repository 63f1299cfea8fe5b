//! What nodes tell each other.
//!
//! A node's [`Status`] is its whole state as others need to know it, and the newest replaces all
//! before: one that is lost, late, doubled or out of order does no harm. Vectors are named by the
//! hash of their values, so any node that has one can hand it on.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{Rank, SnapshotDigest, Source, Vector};

/// What a node tells all others of itself.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Status {
    /// The node, from 0.
    pub node: u32,
    /// Which life of the node: a process that is started again has another.
    pub life: u64,
    /// Grows with every status of a life.
    pub sequence: u64,
    /// Where the node is in the run.
    pub phase: Phase,
    /// Grows whenever the node gets on with something: a step, or a part of an evaluation.
    pub progress: u64,
    /// Global exchanges that it has completed; in `sync` the number of the last one.
    pub rounds: u64,
    /// Steps of its workers together, those before it joined included.
    pub steps: u64,
    /// How long the run has been trained, as far as the node knows, in milliseconds.
    pub trained: u64,
    /// Its live workers.
    pub workers: u32,
    /// Its last two offers, the newest first.
    pub offers: [Option<Offer>; 2],
    /// What its last global exchange delivered: the parameters that a node which joins starts from.
    pub delivered: Option<Basis>,
    /// Once it is done, the sum over its workers.
    pub result: Option<Offered>,
}

/// Where a node is in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Phase {
    /// It has not begun to train, or waits for the run's parameters.
    Joining,
    /// It trains.
    Training,
    /// It has trained to the end of its budget.
    Done,
    /// It needs nothing more of the others: the mean of all is evaluated, here or elsewhere.
    Closed,
}

/// What a node brings to a global exchange.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Offer {
    /// Which exchange: in `sync` the round, from 1; in `async` the node's own count of offers.
    pub round: u64,
    /// Its local leader's parameters, or its centre; `None` when the method has neither, no worker of
    /// the node may lead, or its vector was refused.
    pub leader: Option<Offered>,
    /// The sum over its workers; `None` when the method has no mean, or a vector was refused.
    pub sum: Option<Offered>,
    /// Who led the last global exchange, if somebody did and the node has what it delivered.
    pub followed: Option<Rank>,
}

impl Offer {
    /// All that is offered.
    pub fn vectors(&self) -> impl Iterator<Item = Offered> + use<> {
        self.leader.into_iter().chain(self.sum)
    }
}

/// What a global exchange has delivered, for nodes that join to begin with.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Basis {
    /// Which exchange.
    pub round: u64,
    /// Parameters.
    pub vector: Offered,
}

/// A vector that nodes can fetch.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Offered {
    /// What kind of vector.
    pub kind: Vector,
    /// Whose it is: a worker's, the sum over the workers of a node, or a node's centre.
    pub source: Source,
    /// What the worker was elected for, its loss in nats; 0 for a mean and a centre.
    pub loss: f64,
    /// Its name.
    pub digest: SnapshotDigest,
}

impl Status {
    /// Longest encoded status, in bytes. Nothing longer is decoded.
    pub const LONGEST: usize = 512;
    /// Greatest number of steps, rounds, statuses and milliseconds that is decoded: 2^53, a run of
    /// hundreds of thousands of years, so that sums of them do not overflow.
    pub const GREATEST_COUNT: u64 = 1 << 53;

    /// The status as bytes. Its length depends only on which of its optional parts are there.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("memory can be written")
    }

    /// A status from bytes that came from anywhere.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::LONGEST {
            let (found, most) = (bytes.len(), Self::LONGEST);
            return Err(format!("{found} bytes where a status has at most {most}"));
        }
        let status: Self = borsh::from_slice(bytes).map_err(|error| error.to_string())?;
        let own = |vector: Offered| match vector.source {
            Source::Worker { rank, .. } => rank.node == status.node,
            _ => true,
        };
        if !status.offered().all(own) {
            return Err(format!("node {} offers another's vector", status.node));
        }
        if !status.losses().all(f64::is_finite) {
            return Err(format!(
                "node {} offers a loss that is not finite",
                status.node
            ));
        }
        let sources = status.offered().chain(status.basis_and_result());
        let counts = sources.map(|vector| count_of(vector.source));
        if status
            .counts()
            .chain(counts)
            .any(|count| count > Self::GREATEST_COUNT)
        {
            return Err(format!(
                "node {} counts beyond what any run comes to",
                status.node
            ));
        }
        Ok(status)
    }

    /// All vectors that it offers.
    fn offered(&self) -> impl Iterator<Item = Offered> {
        self.offers.iter().flatten().flat_map(Offer::vectors)
    }

    /// The other vectors that it names.
    fn basis_and_result(&self) -> impl Iterator<Item = Offered> {
        let delivered = self.delivered.map(|basis| basis.vector);
        delivered.into_iter().chain(self.result)
    }

    fn losses(&self) -> impl Iterator<Item = f64> {
        let vectors = self.offered().chain(self.basis_and_result());
        vectors.map(|vector| vector.loss)
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        let offers = self.offers.iter().flatten().map(|offer| offer.round);
        let rounds = offers.chain(self.delivered.map(|basis| basis.round));
        let own = [
            self.sequence,
            self.progress,
            self.rounds,
            self.steps,
            self.trained,
        ];
        own.into_iter().chain(rounds)
    }
}

/// The number in a source: of workers, steps or additions.
fn count_of(source: Source) -> u64 {
    match source {
        Source::Worker { step, .. } => step,
        Source::Mean { workers } | Source::Sum { workers } | Source::Final { workers } => {
            u64::try_from(workers).unwrap_or(u64::MAX)
        }
        Source::Centre { version } => version,
    }
}
