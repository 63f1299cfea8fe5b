//! The thread that drives the global leader with the link, the workers and the clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lsgd_core::{Action, Fetched, GlobalLeader, Group, Layout};

use super::{Clock, ClusterError, ClusterEvent, Input, Training};
use crate::fetch::FetchRequest;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::traffic::Traffic;

/// How often the bytes so far are told, of up to [`PEERS`] other nodes. With k times as many, the interval is k
/// times as long, so that the record grows no faster.
const TRAFFIC: Duration = Duration::from_secs(5);

/// Other nodes whose bytes are told in [`TRAFFIC`].
const PEERS: u32 = 4;

/// Which node it is, and what its vectors hold.
pub(super) struct Own {
    pub node: u32,
    pub incarnation: u64,
    pub layout: Arc<Layout>,
}

/// The state of the driver's thread.
pub(super) struct ClusterDriver {
    leader: GlobalLeader,
    link: Link,
    own: Own,
    training: Training,
    tell: Box<dyn FnMut(ClusterEvent) + Send>,
    began: Instant,
    /// The workers, while there are any, with the number of their pool.
    group: Option<(u64, Group)>,
    /// The run's training time, once workers have started.
    clock: Option<Clock>,
    /// How many times the node's workers have been told to start.
    begins: u64,
    /// When the bytes so far are told next.
    traffic: Duration,
    /// Whether anything has moved on since they were told.
    progressed: bool,
    /// The last obstacle to connecting: an untrusted certificate, or another run.
    obstacle: Option<String>,
}

impl ClusterDriver {
    pub fn new(
        leader: GlobalLeader,
        link: Link,
        own: Own,
        training: Training,
        tell: Box<dyn FnMut(ClusterEvent) + Send>,
    ) -> Self {
        Self {
            leader,
            link,
            own,
            training,
            tell,
            began: Instant::now(),
            group: None,
            clock: None,
            begins: 0,
            traffic: TRAFFIC,
            progressed: false,
            obstacle: None,
        }
    }

    /// Runs until no node needs this one any more.
    pub fn run(mut self, inputs: &Receiver<Input>) -> Traffic {
        let mut closes_at = None;
        self.act();
        loop {
            let now = self.began.elapsed();
            if closes_at.is_some_and(|at| now >= at || self.leader.others_are_done()) {
                break;
            }
            let until = self
                .leader
                .deadline()
                .min(closes_at.unwrap_or(Duration::MAX));
            let input = inputs.recv_timeout(until.saturating_sub(now));
            if let Some(clock) = &self.clock {
                self.leader.trained(clock());
            }
            self.progressed |= matches!(
                input,
                Ok(Input::Progress | Input::Update(..) | Input::Link(Incoming::Arrived))
            );
            if self.clock.is_some() {
                self.tell_traffic();
            }
            match input {
                Ok(Input::Close(Some(timeout))) => {
                    closes_at = Some(self.began.elapsed() + timeout);
                    self.leader.close(self.began.elapsed());
                }
                Ok(Input::Close(None)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => self.leader.tick(self.began.elapsed()),
            }
            self.act();
        }
        let traffic = self.link.traffic();
        self.link.close();
        traffic
    }

    fn take(&mut self, input: Input) {
        let now = self.began.elapsed();
        match input {
            Input::Link(incoming) => self.on_incoming(incoming, now),
            Input::Update(number, update) => {
                if self
                    .group
                    .as_ref()
                    .is_some_and(|(current, _)| *current == number)
                {
                    self.leader.propose(update, now);
                }
            }
            Input::Progress => self.leader.progress(),
            // A pool that is to be replaced already is ignored.
            Input::Begun(number, group, clock) if number == self.begins => {
                self.group = Some((number, group));
                self.clock = Some(clock);
            }
            Input::Begun(..) => {}
            Input::Resume(state) => self.leader.resume(state, now),
            // If the asker is gone, it needs no answer.
            Input::State(answer) => drop(answer.send(self.leader.state())),
            Input::Finish(sum) => self.leader.finish(sum, now),
            // Handled by the loop.
            Input::Close(_) => {}
        }
    }

    fn on_incoming(&mut self, incoming: Incoming, now: Duration) {
        match incoming {
            Incoming::Connected { node, incarnation } => {
                self.leader.connected(node, incarnation, now)
            }
            Incoming::Disconnected { node, incarnation } => {
                self.leader.disconnected(node, incarnation, now)
            }
            Incoming::Status(status) => self.leader.receive(status, now),
            // On a slow link a vector may take longer than the others wait for a node that makes no
            // progress.
            Incoming::Arrived => self.leader.progress(),
            Incoming::Fetched { digest, outcome } => {
                let own = self.own.node;
                let fetched = |(snapshot, holder)| Fetched {
                    snapshot,
                    crossed: holder != own,
                };
                let outcome = outcome.map(fetched).map_err(|why| why.to_string());
                self.leader.fetched(digest, outcome, now);
            }
            Incoming::Averaged { name, outcome } => self.leader.averaged(name, outcome, now),
            Incoming::Refused { node, differences } => {
                let error = ClusterError::NodeDiffers { node, differences };
                match self.begins {
                    0 => self.fail(error),
                    _ => self.notice(format!("refused: {error}")),
                }
            }
            // Both are told; the one that started later exits.
            Incoming::DuplicateNode { node, incarnation } if incarnation < self.own.incarnation => {
                self.fail(ClusterError::NodeRuns { node });
            }
            Incoming::DuplicateNode { .. } => self.notice(String::from(
                "another process was started as this node; it will exit",
            )),
            Incoming::Untrusted { endpoint, why } => self.on_obstacle(format!("{endpoint}: {why}")),
            Incoming::OtherRun { name } => self.on_obstacle(format!(
                "a node of another run is at these endpoints: {name}"
            )),
            Incoming::Unreachable(line) => self.notice(line),
            Incoming::Rejected(line) => self.notice(line),
        }
    }

    /// Carries out the actions of the state machine.
    fn act(&mut self) {
        while let Some(action) = self.leader.next_action() {
            match action {
                Action::Broadcast(status) => self.link.broadcast(&status),
                Action::Publish(snapshot) => {
                    self.link.publish(snapshot);
                }
                Action::Fetch { vector, holders } => self.link.fetch(FetchRequest {
                    digest: vector.digest,
                    source: vector.source,
                    weights: self
                        .training
                        .method
                        .weights_of(vector.source, &self.own.layout),
                    holders,
                    together: vector.kind.is_handed_on(),
                }),
                Action::Average(mean) => self.link.average(mean),
                Action::Deliver(delivered) => {
                    if let Some((_, group)) = &self.group {
                        group.adopt_global(delivered);
                    }
                }
                Action::Begin {
                    step,
                    parameters,
                    trained,
                    resumes,
                } => {
                    // Updates of workers that are training already are ignored.
                    self.group = None;
                    if self.begins > 0 {
                        self.notice(format!(
                            "the other nodes have moved on to step {step}; restarting there \
                             from their parameters"
                        ));
                    }
                    self.begins += 1;
                    (self.tell)(ClusterEvent::Begin {
                        step,
                        parameters,
                        trained,
                        resumes,
                    });
                }
                Action::Await(nodes) if nodes.is_empty() => {}
                Action::Await(nodes) => self.notice(format!(
                    "waiting for {}, at most {} s",
                    names(&nodes),
                    self.training.wait.as_secs()
                )),
                Action::Conclude(mean) => (self.tell)(ClusterEvent::Concluded(mean)),
                Action::GiveUp(nodes) => self.fail(ClusterError::NodesAbsent {
                    nodes: names(&nodes),
                    seconds: self.training.wait.as_secs(),
                    seen: self.obstacle.clone(),
                }),
                Action::CannotJoin => {
                    let method = self.training.method.name();
                    self.fail(ClusterError::CannotJoin { method });
                }
                Action::Record(event) => {
                    if let Some(line) = event.notice() {
                        self.notice(line);
                    }
                    (self.tell)(ClusterEvent::Event(event));
                }
            }
        }
    }

    /// Tells the bytes so far, if it is time. Of a node that makes no progress it tells nothing: its
    /// record is to show that.
    fn tell_traffic(&mut self) {
        let now = self.began.elapsed();
        if now >= self.traffic && std::mem::take(&mut self.progressed) {
            let traffic = self.link.traffic();
            self.traffic = now + interval(traffic.peers.len());
            (self.tell)(ClusterEvent::Traffic(traffic));
        }
    }

    /// Something prevents a connection. Other nodes may still connect.
    fn on_obstacle(&mut self, line: String) {
        self.obstacle = Some(line.clone());
        self.notice(line);
    }

    fn notice(&mut self, line: String) {
        (self.tell)(ClusterEvent::Notice(line));
    }

    fn fail(&mut self, error: ClusterError) {
        (self.tell)(ClusterEvent::Failed(error));
    }
}

/// Time between two tellings of the bytes exchanged with so many other nodes.
fn interval(peers: usize) -> Duration {
    let times = u32::try_from(peers).unwrap_or(u32::MAX).div_ceil(PEERS);
    TRAFFIC.saturating_mul(times.max(1))
}

/// `node 2`, or `nodes 2, 3 and 5`, as users count.
fn names(nodes: &BTreeSet<u32>) -> String {
    let numbers: Vec<String> = nodes
        .iter()
        .map(|n| (u64::from(*n) + 1).to_string())
        .collect();
    match numbers.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("nodes {} and {last}", rest.join(", "))
        }
        _ => format!("node {}", numbers.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_many_nodes_are_told_less_often() {
        for (peers, times) in [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (255, 64)] {
            assert_eq!(interval(peers), TRAFFIC * times, "{peers}");
        }
    }
}
