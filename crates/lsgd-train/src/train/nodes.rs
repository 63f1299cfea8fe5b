//! The exchange with other nodes: a thread that drives a [`GlobalLeader`] with what the link, the
//! workers and the clock bring, and does what it says.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lsgd_core::{Action, Bid, Event, Fetched, GlobalLeader, Group, Membership, Snapshot};

use super::crew::Crew;
use super::inbox::Inbox;
use super::messages::{FromNodes, Start, ToMain};
use super::setup::Setup;
use super::stopwatch::Stopwatch;
use crate::cluster::{Incoming, Link, LinkConfig, Telling, Traffic, Wanted};
use crate::error::TrainError;

/// The main thread's side of the exchange with other nodes. Dropping it ends it at once.
#[derive(Debug)]
pub struct Nodes {
    inputs: Sender<Input>,
    thread: Option<JoinHandle<Traffic>>,
    /// How many times workers have begun: as often as they were told to, or less while they are late.
    crews: u64,
}

/// What reaches the thread.
enum Input {
    /// From the other nodes.
    Link(Incoming),
    /// From the workers that began as number so and so.
    Bid(u64, Bid),
    /// A worker got on with something.
    Progress,
    /// Workers have begun, by this clock.
    Begun(u64, Group, Arc<Stopwatch>),
    /// Workers have come to their end, with this sum of their values.
    Finish(Option<Snapshot>),
    /// The node needs nothing more; it ends once no other needs anything of it, at the latest
    /// after so long. Without a time it leaves at once, and without a word.
    Close(Option<Duration>),
}

impl Nodes {
    /// Connects to the other nodes, and from then on tells `inbox` what they bring.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the link cannot be opened or the machine gives no thread.
    pub fn open(setup: &Arc<Setup>, inbox: &mut Inbox) -> Result<Self, TrainError> {
        let (inputs, received) = channel();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let life = now.map_or(0, |since| since.as_nanos() as u64);
        let link = {
            let inputs = inputs.clone();
            Link::open(link_config(setup, life)?, move |incoming| {
                let _ = inputs.send(Input::Link(incoming));
            })?
        };
        let cluster = &setup.config.cluster;
        let membership = Membership {
            node: setup.node,
            nodes: setup.nodes,
            workers: u32::try_from(setup.workers()).unwrap_or(u32::MAX),
            life,
            wire: cluster.wire,
            wait: Duration::from_secs(cluster.wait_seconds),
            limit: Duration::from_secs(cluster.round_limit_seconds),
        };
        let mode = setup.plan.mode;
        let leader = GlobalLeader::new(membership, setup.method.clone(), mode, Duration::ZERO)?;
        let driver = Driver {
            leader,
            link,
            setup: setup.clone(),
            to_main: inbox.sender(),
            began: Instant::now(),
            group: None,
            clock: None,
            life,
            begins: 0,
            apart: None,
        };
        let thread = Builder::new()
            .name(String::from("nodes"))
            .spawn(move || driver.run(&received))
            .map_err(|why| TrainError::NoThread {
                thread: String::from("the exchange with other nodes"),
                why: why.to_string(),
            })?;
        inbox.on_progress({
            let inputs = inputs.clone();
            move || {
                let _ = inputs.send(Input::Progress);
            }
        });
        Ok(Self {
            inputs,
            thread: Some(thread),
            crews: 0,
        })
    }

    /// The node's workers have begun. What those before them still send is not heard.
    pub fn begun(&mut self, crew: &Crew) {
        self.crews += 1;
        let number = self.crews;
        let inputs = self.inputs.clone();
        crew.group().on_bid(move |bid| {
            let _ = inputs.send(Input::Bid(number, bid));
        });
        let (group, clock) = (crew.group().clone(), crew.stopwatch().clone());
        self.send(Input::Begun(number, group, clock));
    }

    /// The node's workers have come to their end, with this sum of their values if they are
    /// finite. [`FromNodes::Concluded`] follows.
    pub fn finish(&self, sum: Option<Snapshot>) {
        self.send(Input::Finish(sum));
    }

    /// Ends the exchange, and tells what was counted. With patience, the others hear that the mean of
    /// all is evaluated, and are waited for until they know it, at most so long. Without, the node
    /// leaves at once, and what it may have been evaluating is left to the others.
    pub fn close(mut self, patience: Option<Duration>) -> Traffic {
        self.send(Input::Close(patience));
        let thread = self.thread.take();
        thread.and_then(|t| t.join().ok()).unwrap_or_default()
    }

    fn send(&self, input: Input) {
        // If the thread is gone, it has said why.
        let _ = self.inputs.send(input);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.send(Input::Close(None));
            let _ = thread.join();
        }
    }
}

fn link_config(setup: &Setup, life: u64) -> Result<LinkConfig, TrainError> {
    let cluster = &setup.config.cluster;
    let mut description = setup.config.description()?;
    for (key, value) in [
        ("workers.count", setup.workers().to_string()),
        ("the model's layout", setup.layout.digest().to_string()),
        ("the initial weights", setup.initial.digest().to_string()),
        ("the data", setup.dataset.digest().to_owned()),
        ("the version", env!("CARGO_PKG_VERSION").to_owned()),
    ] {
        description.insert(key.to_owned(), value);
    }
    Ok(LinkConfig {
        run: setup.config.run.name.clone(),
        node: setup.node,
        nodes: setup.nodes,
        life,
        listen: cluster.listen.clone(),
        // All nodes can be given the same list, this one's own endpoint in it.
        connect: cluster
            .connect
            .iter()
            .filter(|endpoint| !cluster.listen.contains(endpoint))
            .cloned()
            .collect(),
        known_as: match cluster.connect.len() == setup.nodes as usize {
            true => cluster.connect.get(setup.node as usize).cloned(),
            false => None,
        },
        tls: cluster.tls.clone(),
        wire: cluster.wire,
        description,
        layout: setup.layout.clone(),
    })
}

/// The thread's own state.
struct Driver {
    leader: GlobalLeader,
    link: Link,
    setup: Arc<Setup>,
    to_main: Sender<ToMain>,
    began: Instant,
    /// The workers, while there are any.
    group: Option<(u64, Group)>,
    /// Tells how long the run has been trained, once workers have begun.
    clock: Option<Arc<Stopwatch>>,
    /// Which life of the node this is.
    life: u64,
    /// How many times the node's workers have been told to begin.
    begins: u64,
    /// What was last seen that keeps nodes apart: a certificate that is not trusted, another run.
    apart: Option<String>,
}

impl Driver {
    /// Until nobody needs the node any more.
    fn run(mut self, inputs: &Receiver<Input>) -> Traffic {
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
                self.leader.trained(clock.elapsed());
            }
            match input {
                Ok(Input::Close(Some(patience))) => {
                    closes_at = Some(self.began.elapsed() + patience);
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
            Input::Link(incoming) => self.hear(incoming, now),
            Input::Bid(crew, bid) => {
                if self
                    .group
                    .as_ref()
                    .is_some_and(|(current, _)| *current == crew)
                {
                    self.leader.bid(bid, now);
                }
            }
            Input::Progress => self.leader.progress(),
            // Those that are to begin again already are not heard.
            Input::Begun(crew, group, clock) if crew == self.begins => {
                self.group = Some((crew, group));
                self.clock = Some(clock);
            }
            Input::Begun(..) => {}
            Input::Finish(sum) => self.leader.finish(sum, now),
            // Taken where it ends the loop.
            Input::Close(_) => {}
        }
    }

    fn hear(&mut self, incoming: Incoming, now: Duration) {
        match incoming {
            Incoming::Appeared { node, life } => self.leader.appeared(node, life, now),
            Incoming::Vanished { node, life } => self.leader.vanished(node, life, now),
            Incoming::Status(status) => self.leader.receive(status, now),
            // On a slow link a vector takes longer than others wait for who makes no progress.
            Incoming::Arrived => self.leader.progress(),
            Incoming::Fetched { digest, outcome } => {
                let own = self.setup.node;
                let fetched = |(snapshot, holder)| Fetched {
                    snapshot,
                    crossed: holder != own,
                };
                let outcome = outcome.map(fetched).map_err(|why| why.to_string());
                self.leader.fetched(digest, outcome, now);
            }
            Incoming::Refused { node, differences } => {
                let error = TrainError::NodeDiffers { node, differences };
                match self.begins {
                    0 => self.fail(error),
                    _ => self.notice(format!("refused: {error}")),
                }
            }
            // Both are told, and the one that began later ends.
            Incoming::Twice { node, life } if life < self.life => {
                self.fail(TrainError::NodeRuns { node });
            }
            Incoming::Twice { .. } => self.notice(String::from(
                "another process was started as this node; it is to end itself",
            )),
            Incoming::Untrusted { endpoint, why } => self.is_apart(format!("{endpoint}: {why}")),
            Incoming::OtherRun { name } => self.is_apart(format!(
                "a node of another run is at these endpoints: {name}"
            )),
            Incoming::Unreachable(line) => self.notice(line),
            Incoming::Stranger(line) => self.notice(line),
        }
    }

    /// Does what the state machine says.
    fn act(&mut self) {
        while let Some(action) = self.leader.next_action() {
            match action {
                Action::Tell { status, heartbeat } => {
                    let telling = match heartbeat {
                        true => Telling::Heartbeat,
                        false => Telling::Report,
                    };
                    self.link.tell(&status, telling);
                }
                Action::Publish(snapshot) => {
                    self.link.publish(snapshot);
                }
                Action::Fetch { vector, holders } => self.link.fetch(Wanted {
                    digest: vector.digest,
                    source: vector.source,
                    weights: self
                        .setup
                        .method
                        .weights_of(vector.source, &self.setup.layout),
                    holders,
                }),
                Action::Deliver(delivered) => {
                    if let Some((_, group)) = &self.group {
                        group.adopt_global(delivered);
                    }
                }
                Action::Begin {
                    step,
                    parameters,
                    trained,
                } => {
                    // Workers that train already are not heard any more.
                    self.group = None;
                    if self.begins > 0 {
                        self.notice(format!(
                            "the other nodes have gone on to step {step}; beginning there again, \
                             with their leader's parameters"
                        ));
                    }
                    self.begins += 1;
                    self.send(FromNodes::Begin(Start {
                        step,
                        parameters,
                        trained,
                    }));
                }
                Action::Await(nodes) if nodes.is_empty() => {}
                Action::Await(nodes) => self.notice(format!(
                    "waiting for {}, at most {} s",
                    names(&nodes),
                    self.setup.config.cluster.wait_seconds
                )),
                Action::Conclude(mean) => self.send(FromNodes::Concluded(mean)),
                Action::GiveUp(nodes) => self.fail(TrainError::NodesAbsent {
                    nodes: names(&nodes),
                    seconds: self.setup.config.cluster.wait_seconds,
                    seen: self.apart.clone(),
                }),
                Action::CannotJoin => {
                    let method = self.setup.method.name();
                    self.fail(TrainError::CannotJoin { method });
                }
                Action::Record(event) => {
                    if let Some(line) = line(&event) {
                        self.notice(line);
                    }
                    self.send(FromNodes::Event(event));
                }
            }
        }
    }

    /// Something keeps nodes apart. Others may still come.
    fn is_apart(&mut self, line: String) {
        self.apart = Some(line.clone());
        self.notice(line);
    }

    fn notice(&self, line: String) {
        self.send(FromNodes::Notice(line));
    }

    fn fail(&self, error: TrainError) {
        self.send(FromNodes::Failed(error));
    }

    fn send(&self, message: FromNodes) {
        // If the main thread is gone, the run is over.
        let _ = self.to_main.send(ToMain::Nodes(message));
    }
}

/// What a person is told of an event.
fn line(event: &Event) -> Option<String> {
    use lsgd_core::Lost;
    let number = |node: &u32| u64::from(*node) + 1;
    match event {
        Event::NodeAppeared { node, .. } => Some(format!("node {} is there", number(node))),
        Event::NodeLost { node, step, why } => Some(match why {
            Lost::Vanished => format!(
                "node {} is gone at step {step}: its connection was lost; going on without it",
                number(node)
            ),
            Lost::Silent { seconds } => format!(
                "node {} has got on with nothing for {seconds:.0} s; going on without it from step \
                 {step} on",
                number(node)
            ),
        }),
        Event::NotFetched { source, why, .. } => Some(format!("{source}: {why}")),
        _ => None,
    }
}

/// `node 2`, or `nodes 2, 3 and 5`, as users count.
fn names(nodes: &std::collections::BTreeSet<u32>) -> String {
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
