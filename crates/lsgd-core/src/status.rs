//! The statuses that nodes send each other.
//!
//! A node's [`Status`] is its whole state as others need to know it, and the newest replaces all
//! earlier ones: lost, late, duplicate or reordered statuses do no harm. Vectors are named by the
//! hash of their values, so any node that has one can serve it.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{Factors, SnapshotDigest, Source, VectorKind, WorkerId};

/// A node's state, as it broadcasts it.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Status {
    /// The node, from 0.
    pub node: u32,
    /// The node's incarnation: a restarted process has a new one.
    pub incarnation: u64,
    /// Increases with every status of an incarnation.
    pub sequence: u64,
    /// Whether it only shows that the node is alive and makes progress: nothing of an exchange has
    /// changed.
    pub heartbeat: bool,
    /// The node's phase in the run.
    pub phase: NodePhase,
    /// Increases whenever the node makes progress: a step, or part of an evaluation.
    pub progress: u64,
    /// Global exchanges that it has completed; in `sync` the number of the last one.
    pub rounds: u64,
    /// A name for what the last of them delivered: equal on nodes to which it delivered the same. 0
    /// before the first, and until the next for a node that has joined.
    pub exchanged: u64,
    /// Steps of all its workers, including those before it joined.
    pub steps: u64,
    /// How long the run has been trained, as far as the node knows, in milliseconds.
    pub trained: u64,
    /// Its live workers.
    pub workers: u32,
    /// Its last two proposals, newest first.
    pub proposals: [Option<Proposal>; 2],
    /// The outcome of its last global exchange: the parameters that a joining node starts from.
    pub join_point: Option<JoinPoint>,
    /// Once it is done, the sum over its workers.
    pub result: Option<VectorRef>,
    /// Until it begins: its last checkpoints, at most
    /// [`MAX_CHECKPOINTS`](Self::MAX_CHECKPOINTS), if it is to continue a run.
    pub checkpoints: Vec<CheckpointRef>,
}

/// A reference to a checkpoint of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct CheckpointRef {
    /// Its step.
    pub step: u64,
    /// A name for what the last exchange before it delivered ([`Status::exchanged`]).
    pub exchanged: u64,
}

/// A node's phase in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum NodePhase {
    /// It has not started training, or waits for the run's parameters.
    Joining,
    /// It trains.
    Training,
    /// It has trained to the end of its budget.
    Done,
    /// It needs nothing more from the others: the mean over all workers has been evaluated, here or
    /// elsewhere.
    Closed,
}

/// What a node proposes for a global exchange.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// Which exchange: in `sync` the round, from 1; in `async` the node's own count of proposals.
    pub round: u64,
    /// Its local leader's parameters, or its centre; `None` when the method has neither, no worker
    /// of the node is eligible, or its vector was rejected.
    pub leader: Option<VectorRef>,
    /// The sum over its workers, or over their changes; `None` when the method has no mean, or a vector was rejected.
    pub sum: Option<VectorRef>,
    /// The leader of the last global exchange, if there was one and the node has what it delivered.
    pub followed: Option<WorkerId>,
}

impl Proposal {
    /// All proposed vectors.
    pub fn vectors(&self) -> impl Iterator<Item = VectorRef> + use<> {
        self.leader.into_iter().chain(self.sum)
    }
}

/// The outcome of a global exchange, from which a joining node can start.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct JoinPoint {
    /// Which exchange.
    pub round: u64,
    /// Parameters.
    pub vector: VectorRef,
}

/// A reference to a vector that nodes can fetch.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct VectorRef {
    /// What kind of vector.
    pub kind: VectorKind,
    /// Where it comes from: a worker, the sum over the workers of a node, or a node's centre.
    pub source: Source,
    /// The loss that the worker was elected for, in nats; of a sum the lowest loss of its workers if the
    /// method filters by it; otherwise 0.
    pub loss: f64,
    /// Its name.
    pub digest: SnapshotDigest,
    /// The factors of the worker that it comes from, if others may take them over.
    pub factors: Option<Factors>,
}

impl Status {
    /// Longest encoded status, in bytes. Nothing longer is decoded.
    pub const MAX_LEN: usize = 512;
    /// Greatest number of steps, rounds, statuses and milliseconds that is accepted: 2^53, a run of
    /// hundreds of thousands of years, so that sums of them do not overflow.
    pub const MAX_COUNT: u64 = 1 << 53;

    /// Most checkpoints that a status names.
    pub const MAX_CHECKPOINTS: usize = 8;

    /// Encodes the status. The length depends only on which optional parts are present.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("memory can be written")
    }

    /// Decodes a status from untrusted bytes.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::MAX_LEN {
            let (found, most) = (bytes.len(), Self::MAX_LEN);
            return Err(format!("{found} bytes where a status has at most {most}"));
        }
        let status: Self = borsh::from_slice(bytes).map_err(|error| error.to_string())?;
        let own = |vector: VectorRef| match vector.source {
            Source::Worker { id, .. } => id.node == status.node,
            _ => true,
        };
        if !status.proposed_vectors().all(own) {
            return Err(format!("node {} offers another's vector", status.node));
        }
        if status.checkpoints.len() > Self::MAX_CHECKPOINTS {
            let (node, found) = (status.node, status.checkpoints.len());
            return Err(format!("node {node} names {found} checkpoints"));
        }
        if !status.losses().all(f64::is_finite) {
            return Err(format!(
                "node {} offers a loss that is not finite",
                status.node
            ));
        }
        let vectors = status
            .proposed_vectors()
            .chain(status.join_point_and_result());
        let factors = vectors.filter_map(|vector| vector.factors);
        if let Some(factor) = factors.filter_map(Factors::out_of_bounds).next() {
            return Err(format!(
                "node {} offers the factor {factor:e}, which is not from {:e} to {:e}",
                status.node,
                Factors::LEAST,
                Factors::MOST
            ));
        }
        let sources = status
            .proposed_vectors()
            .chain(status.join_point_and_result());
        let counts = sources.map(|vector| count_of(vector.source));
        if status
            .counts()
            .chain(counts)
            .any(|count| count > Self::MAX_COUNT)
        {
            return Err(format!(
                "node {} counts beyond what any run comes to",
                status.node
            ));
        }
        Ok(status)
    }

    /// All vectors in its proposals.
    fn proposed_vectors(&self) -> impl Iterator<Item = VectorRef> {
        self.proposals.iter().flatten().flat_map(Proposal::vectors)
    }

    /// The other vectors that it names.
    fn join_point_and_result(&self) -> impl Iterator<Item = VectorRef> {
        let start = self.join_point.map(|join_point| join_point.vector);
        start.into_iter().chain(self.result)
    }

    fn losses(&self) -> impl Iterator<Item = f64> {
        let vectors = self.proposed_vectors().chain(self.join_point_and_result());
        vectors.map(|vector| vector.loss)
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        let proposals = self
            .proposals
            .iter()
            .flatten()
            .map(|proposal| proposal.round);
        let rounds = proposals.chain(self.join_point.map(|join_point| join_point.round));
        let own = [
            self.sequence,
            self.progress,
            self.rounds,
            self.steps,
            self.trained,
        ];
        own.into_iter()
            .chain(rounds)
            .chain(self.checkpoints.iter().map(|checkpoint| checkpoint.step))
    }
}

/// The count in a source: of workers, steps or updates.
fn count_of(source: Source) -> u64 {
    match source {
        Source::Worker { step, .. } => step,
        Source::Mean { workers }
        | Source::Sum { workers }
        | Source::Final { workers }
        | Source::Change { workers, .. } => u64::try_from(workers).unwrap_or(u64::MAX),
        Source::Centre { version } => version,
    }
}
