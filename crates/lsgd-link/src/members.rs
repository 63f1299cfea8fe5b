//! Which nodes are connected: from liveliness tokens and hellos to nodes that connect, disconnect
//! or are refused.
//!
//! A state machine without sockets or a clock of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lsgd_core::Status;

use crate::hello::{Difference, Hello};
use crate::incoming::Incoming;

/// Time between two requests for the hello of a node that has not answered.
const HELLO_RETRY: Duration = Duration::from_millis(500);
/// How long another incarnation with this node's number may be a remnant of a dead process.
const DUPLICATE_TIMEOUT: Duration = Duration::from_secs(3);
/// Delay before a refused node is reported, which may end this process: meanwhile the other node
/// gets this one's hello and detects the difference too. Longer than `HELLO_RETRY`.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);
/// How long a node is heard from without being seen before its token counts as lost.
const UNSEEN: Duration = Duration::from_secs(3);
/// Tokens remembered per node, and nodes remembered beyond the run's own: more cannot be
/// accidental.
const MAX_INCARNATIONS: usize = 8;
const MAX_UNKNOWN_NODES: usize = 64;
/// Incarnations that are heard of without a token, of all nodes together.
const MAX_UNSEEN: usize = 4096;

/// Something for the link's thread to do.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and soon done")]
pub(crate) enum MemberAction {
    /// Call the sink.
    Emit(Incoming),
    /// Request the hello of a node's incarnation.
    RequestHello {
        /// The node.
        node: u32,
        /// Its incarnation.
        incarnation: u64,
    },
    /// Repeat this node's status: a node that has not received it has connected.
    ResendStatus,
}

/// The other nodes' tokens, and what is known of each node.
#[derive(Debug)]
pub(crate) struct Members {
    own: Hello,
    /// The incarnations of each node, oldest first. Only the first counts: a second one is either
    /// its successor, and the first one's token disappears within the lease, or a process started
    /// by mistake, which must not displace it.
    incarnations: BTreeMap<u32, Vec<Incarnation>>,
    /// Other incarnations with this node's own number, since when, and whether they were reported.
    duplicates: BTreeMap<u64, (Instant, bool)>,
    /// Incarnations without a token whose statuses arrive: since when, and when the last one came.
    unseen: BTreeMap<(u32, u64), (Instant, Instant)>,
}

#[derive(Debug)]
struct Incarnation {
    incarnation: u64,
    standing: Standing,
    asked: Option<Instant>,
    /// The newest status that arrived before the hello.
    early: Option<Status>,
    /// The differences and since when they are known, until they are reported.
    refusal: Option<(Instant, Vec<Difference>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Connected,
    Refused,
}

impl Members {
    /// No node is connected yet.
    pub fn new(own: Hello) -> Self {
        Self {
            own,
            incarnations: BTreeMap::new(),
            duplicates: BTreeMap::new(),
            unseen: BTreeMap::new(),
        }
    }

    /// The token of an incarnation has appeared.
    ///
    /// # Errors
    ///
    /// A line, if there are more tokens than are plausible.
    pub fn token(
        &mut self,
        node: u32,
        incarnation: u64,
        now: Instant,
    ) -> Result<Vec<MemberAction>, String> {
        if node == self.own.node {
            if incarnation != self.own.incarnation {
                if self.duplicates.len() >= MAX_INCARNATIONS {
                    return Err(format!("too many incarnations of node {node}"));
                }
                self.duplicates.entry(incarnation).or_insert((now, false));
            }
            return Ok(Vec::new());
        }
        self.unseen.remove(&(node, incarnation));
        let unknown = self.incarnations.range(self.own.nodes..).count();
        let known = self.incarnations.contains_key(&node);
        if node >= self.own.nodes && !known && unknown >= MAX_UNKNOWN_NODES {
            return Err(format!(
                "too many nodes beyond the run's {}",
                self.own.nodes
            ));
        }
        let incarnations = self.incarnations.entry(node).or_default();
        if incarnations.len() >= MAX_INCARNATIONS {
            return Err(format!("too many incarnations of node {node}"));
        }
        if incarnations
            .iter()
            .all(|known| known.incarnation != incarnation)
        {
            incarnations.push(Incarnation {
                incarnation,
                standing: Standing::Unknown,
                asked: None,
                early: None,
                refusal: None,
            });
        }
        Ok(self.tick(now))
    }

    /// The token of an incarnation has disappeared.
    pub fn gone(&mut self, node: u32, incarnation: u64, now: Instant) -> Vec<MemberAction> {
        if node == self.own.node {
            self.duplicates.remove(&incarnation);
        }
        let mut actions = Vec::new();
        if let Some(incarnations) = self.incarnations.get_mut(&node) {
            let index = incarnations
                .iter()
                .position(|known| known.incarnation == incarnation);
            let gone = index.map(|index| incarnations.remove(index));
            if let Some(gone) = gone {
                if gone.standing == Standing::Connected {
                    actions.push(MemberAction::Emit(Incoming::Disconnected {
                        node,
                        incarnation,
                    }));
                }
                actions.extend(
                    gone.refusal
                        .map(|(_, differences)| refused(node, differences)),
                );
            }
            if incarnations.is_empty() {
                self.incarnations.remove(&node);
            }
        }
        actions.extend(self.tick(now));
        actions
    }

    /// The hello of an incarnation has arrived.
    pub fn hello(&mut self, hello: &Hello, now: Instant) -> Vec<MemberAction> {
        let (node, incarnation) = (hello.node, hello.incarnation);
        let Some(known) = self.first(node, incarnation) else {
            return Vec::new();
        };
        if known.standing != Standing::Unknown {
            return Vec::new();
        }
        let early = known.early.take();
        let differences = self.own.differences(hello);
        let agreed = differences.is_empty();
        if let Some(known) = self.first(node, incarnation) {
            if !agreed {
                known.standing = Standing::Refused;
                known.refusal = Some((now, differences));
                return Vec::new();
            }
            known.standing = Standing::Connected;
        }
        let mut actions = vec![
            MemberAction::Emit(Incoming::Connected { node, incarnation }),
            MemberAction::ResendStatus,
        ];
        actions.extend(early.map(|message| MemberAction::Emit(Incoming::Status(message))));
        actions
    }

    /// Returns the status if its node is connected. A status that arrives before its node's hello
    /// is kept until then.
    pub fn accept_status(&mut self, message: Status) -> Option<Status> {
        let (node, incarnation) = (message.node, message.incarnation);
        let known = self.first(node, incarnation)?;
        match known.standing {
            Standing::Connected => Some(message),
            Standing::Refused => None,
            Standing::Unknown => {
                let newer = |early: &Status| message.sequence > early.sequence;
                if known.early.as_ref().is_none_or(newer) {
                    known.early = Some(message);
                }
                None
            }
        }
    }

    /// Whether the sender of a status has been heard from for a while without being seen. Its token,
    /// and whatever else it declared, was lost with a connection while another stayed, and Zenoh
    /// does not repeat it: only a new session helps.
    pub fn is_unseen(&mut self, status: &Status, now: Instant) -> bool {
        let (node, incarnation) = (status.node, status.incarnation);
        let known = self.incarnations.get(&node).is_some_and(|known| {
            let mut known = known.iter();
            known.any(|known| known.incarnation == incarnation)
        });
        if known || node == self.own.node || node >= self.own.nodes {
            return false;
        }
        if self.unseen.len() >= MAX_UNSEEN {
            self.unseen.clear();
        }
        let (since, last) = self.unseen.entry((node, incarnation)).or_insert((now, now));
        if now.saturating_duration_since(*last) >= UNSEEN {
            // It was gone in between: its token may come yet.
            *since = now;
        }
        *last = now;
        now.saturating_duration_since(*since) >= UNSEEN
    }

    /// Forgets all nodes. Tokens that still exist will be reported again.
    pub fn forget(&mut self) -> Vec<MemberAction> {
        let present = self.present();
        *self = Self::new(self.own.clone());
        let disconnected =
            |(node, incarnation)| MemberAction::Emit(Incoming::Disconnected { node, incarnation });
        present.into_iter().map(disconnected).collect()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) -> Vec<MemberAction> {
        let mut actions = Vec::new();
        for (&node, incarnations) in &mut self.incarnations {
            let Some(first) = incarnations.first_mut() else {
                continue;
            };
            let due = first
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= HELLO_RETRY);
            if first.standing == Standing::Unknown && due {
                first.asked = Some(now);
                let incarnation = first.incarnation;
                actions.push(MemberAction::RequestHello { node, incarnation });
            }
            let is_due = |(since, _): &mut (Instant, _)| {
                now.saturating_duration_since(*since) >= REFUSAL_DELAY
            };
            let refusal = first.refusal.take_if(is_due);
            actions.extend(refusal.map(|(_, differences)| refused(node, differences)));
        }
        let node = self.own.node;
        for (&incarnation, (since, emitted)) in &mut self.duplicates {
            if !*emitted && now.saturating_duration_since(*since) >= DUPLICATE_TIMEOUT {
                *emitted = true;
                actions.push(MemberAction::Emit(Incoming::DuplicateNode {
                    node,
                    incarnation,
                }));
            }
        }
        actions
    }

    /// The connected nodes, with their incarnations.
    pub fn present(&self) -> BTreeMap<u32, u64> {
        let first = |(node, incarnations): (&u32, &Vec<Incarnation>)| {
            Some((*node, incarnations.first()?.connected()?))
        };
        self.incarnations.iter().filter_map(first).collect()
    }

    fn first(&mut self, node: u32, incarnation: u64) -> Option<&mut Incarnation> {
        let first = self.incarnations.get_mut(&node)?.first_mut()?;
        (first.incarnation == incarnation).then_some(first)
    }
}

fn refused(node: u32, differences: Vec<Difference>) -> MemberAction {
    MemberAction::Emit(Incoming::Refused { node, differences })
}

impl Incarnation {
    fn connected(&self) -> Option<u64> {
        (self.standing == Standing::Connected).then_some(self.incarnation)
    }
}

#[cfg(test)]
mod tests;
