use std::collections::VecDeque;

use super::*;
use crate::messages::ChunkRequest;
use crate::plan::most_sharers;
use crate::session::LEASE;

const CHUNK: usize = ChunkRequest::MAX_VALUES;

/// Nodes that fetch one vector from a holder, over links that carry one chunk of each node's at a
/// time: virtual time, in the time that a link takes for a chunk.
struct Swarm {
    downloads: Vec<Download>,
    arrived: Vec<Vec<bool>>,
    /// Requests that wait at each node, the holder last.
    queues: Vec<VecDeque<(usize, Request)>>,
    /// Whom each node has sent a chunk last; the holder last.
    served: Vec<usize>,
    /// Chunks that each node has sent, the holder last.
    sent: Vec<usize>,
    /// When each node begins to fetch: before that it refuses.
    begins: Vec<usize>,
    /// How many times slower than the others each node sends; the holder last.
    slowness: Vec<usize>,
    began: Instant,
    time: usize,
}

/// A link of 100 Mbit/s takes this long for a chunk.
const TICK: Duration = Duration::from_millis(5);

impl Swarm {
    fn new(nodes: usize, chunks: usize) -> Self {
        assert!(nodes <= most_sharers(chunks * CHUNK));
        let began = Instant::now();
        let download = |own| {
            let plan = Plan::new(chunks * CHUNK, vec![false; chunks], nodes - 1, own);
            Download::new(plan, nodes - 1, LEASE, began)
        };
        Self {
            downloads: (0..nodes).map(download).collect(),
            arrived: vec![vec![false; chunks]; nodes],
            queues: vec![VecDeque::new(); nodes + 1],
            served: vec![0; nodes + 1],
            sent: vec![0; nodes + 1],
            begins: vec![0; nodes],
            slowness: vec![1; nodes + 1],
            began,
            time: 0,
        }
    }

    fn now(&self) -> Instant {
        self.began + TICK * self.time as u32
    }

    /// The node that `asker` means by `from`.
    fn node(&self, asker: usize, from: usize) -> usize {
        match from {
            HOLDER => self.downloads.len(),
            _ if from <= asker => from - 1,
            _ => from,
        }
    }

    fn request(&mut self, asker: usize) {
        let now = self.now();
        for request in self.downloads[asker].next(now) {
            let node = self.node(asker, request.from);
            match self.begins.get(node) {
                Some(&begins) if begins > self.time => self.downloads[asker].failed(&request, now),
                _ => self.queues[node].push_back((asker, request)),
            }
        }
        if self.downloads[asker].wait(now).is_zero() && !self.downloads[asker].is_complete() {
            let again = self.downloads[asker].waited(now);
            assert_eq!(again, Some(Vec::new()), "the holder answers");
        }
    }

    /// Each node sends a chunk that it has to one of those who asked, in turn: for each it has a thread.
    fn tick(&mut self) {
        self.time += 1;
        let now = self.now();
        for asker in 0..self.downloads.len() {
            if self.begins[asker] <= self.time {
                self.request(asker);
            }
        }
        let count = self.downloads.len();
        let mut delivered = Vec::new();
        for node in 0..self.queues.len() {
            if !self.time.is_multiple_of(self.slowness[node]) {
                continue;
            }
            let has = |chunk: usize| node == self.downloads.len() || self.arrived[node][chunk];
            let after = (self.served[node] + 1) % count;
            let first = (0..self.queues[node].len())
                .filter(|&index| has(self.queues[node][index].1.chunk()))
                .min_by_key(|&index| (self.queues[node][index].0 + count - after) % count);
            if let Some(index) = first {
                let answered = self.queues[node].remove(index).unwrap();
                self.served[node] = answered.0;
                delivered.push(answered);
                self.sent[node] += 1;
            }
        }
        for (asker, request) in delivered {
            self.arrived[asker][request.chunk()] = true;
            let again = self.downloads[asker].arrived(&request, now);
            assert!(again.is_empty(), "nothing is lost");
        }
    }

    /// Until all have the vector. How often the holder's link carried it, that of the node that sent most,
    /// and the time in multiples of what one transfer takes.
    fn run(mut self) -> (f64, f64, f64) {
        while !self.downloads.iter().all(Download::is_complete) {
            self.tick();
        }
        let (holder, nodes) = self.sent.split_last().unwrap();
        let most = nodes.iter().max().unwrap();
        let once = self.arrived[0].len() as f64;
        (
            *holder as f64 / once,
            *most as f64 / once,
            self.time as f64 / once,
        )
    }
}

/// One node or sixty: the holder sends the vector once, and each node about once; all have it in little
/// more than the time in which a link carries it.
#[test]
fn the_holder_sends_the_vector_once_however_many_fetch_it() {
    for (nodes, chunks) in [(1, 240), (3, 17), (3, 240), (15, 240), (60, 930)] {
        let (holder, most, time) = Swarm::new(nodes, chunks).run();
        assert!(
            holder == 1.0 && most <= 1.05 && time <= 1.15,
            "{nodes} nodes, {chunks} chunks: {holder} {most} {time}"
        );
    }
}

/// They need not begin at the same moment: here each begins four chunks' time after the one before.
#[test]
fn nodes_that_begin_one_after_another_share_too() {
    for (nodes, chunks) in [(3, 240), (15, 240), (15, 930)] {
        let mut swarm = Swarm::new(nodes, chunks);
        swarm.begins = (0..nodes).map(|node| 4 * node).collect();
        let (holder, most, time) = swarm.run();
        assert!(
            holder <= 1.25 && most <= 1.0 && time <= 1.25,
            "{nodes} nodes, {chunks} chunks: {holder} {most} {time}"
        );
    }
}

/// A node that never fetches costs its share: the holder sends that to each of the three others.
#[test]
fn a_node_that_does_not_fetch_costs_its_share() {
    let mut swarm = Swarm::new(4, 240);
    swarm.downloads[3] = Download::new(Plan::new(0, vec![], 0, 0), 0, LEASE, swarm.began);
    swarm.begins[3] = usize::MAX;
    assert_costs(swarm, 1.55, 0.0);
}

/// How long a partner is waited for at most, in the time of a transfer of 240 chunks: half a second, a hundred
/// chunks' time.
const HALF_A_SECOND: f64 = 100.0 / 240.0;

/// The holder sends so many vectors at most, and all have theirs within that time and `waiting` more.
#[track_caller]
fn assert_costs(swarm: Swarm, vectors: f64, waiting: f64) {
    let (holder, _, time) = swarm.run();
    assert!(
        holder <= vectors && time <= vectors + waiting,
        "{holder} {time}"
    );
}

/// And one that hangs, half a second more at most.
#[test]
fn a_partner_that_hangs_costs_its_share_and_half_a_second() {
    let mut swarm = Swarm::new(4, 240);
    swarm.downloads[3] = Download::new(Plan::new(0, vec![], 0, 0), 0, LEASE, swarm.began);
    swarm.slowness[3] = usize::MAX;
    assert_costs(swarm, 1.55, HALF_A_SECOND);
}

/// As does one whose link is forty times slower than the others'.
#[test]
fn a_slow_partner_costs_its_share_and_half_a_second() {
    let mut swarm = Swarm::new(15, 240);
    swarm.slowness[7] = 40;
    assert_costs(swarm, 2.0, HALF_A_SECOND);
}

/// One that is known to be slow is not asked at all, and costs no time but what its share takes.
#[test]
fn a_partner_that_is_not_asked_costs_its_share() {
    let mut swarm = Swarm::new(15, 240);
    swarm.slowness[7] = 40;
    for asker in (0..15).filter(|&asker| asker != 7) {
        let from = if asker < 7 { 7 } else { 8 };
        swarm.downloads[asker].without(from);
        assert!(swarm.downloads[asker].given_up().eq([from]));
    }
    assert_costs(swarm, 2.0, 0.0);
}
