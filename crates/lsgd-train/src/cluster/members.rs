//! Who is there: from liveliness tokens and hellos to nodes that appear, vanish or are refused.
//!
//! A state machine without sockets or a clock of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::hello::{Difference, Hello};
use super::link::Incoming;
use super::messages::Told;

/// Time between two questions to a node that has not answered with its hello.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long another life with this node's number may be what is left of a dead process.
const TWIN_PATIENCE: Duration = Duration::from_secs(3);
/// How long a node that does not fit is kept before that is said, which may end this one: meanwhile it
/// gets this one's hello, and sees for itself. Longer than until it asks again.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
/// Tokens remembered of one node, and nodes remembered beyond the run's own: more are no accident.
const MOST_LIVES: usize = 8;
const MOST_ODD_NODES: usize = 64;

/// Something to do.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and soon done")]
pub(crate) enum Act {
    /// Tell the driver.
    Say(Incoming),
    /// Ask a life of a node for its hello.
    Ask {
        /// The node.
        node: u32,
        /// Which life.
        life: u64,
    },
    /// Repeat this node's status: somebody has appeared who has not heard it.
    Greet,
}

/// The other nodes' tokens, and what is known of each.
#[derive(Debug)]
pub(crate) struct Members {
    own: Hello,
    /// The lives of each node, the one that was there first in front. Only that one counts: a life
    /// that comes while another is there is either its successor, and the other one's token
    /// vanishes within the lease, or a process started by mistake, which must not displace it.
    lives: BTreeMap<u32, Vec<Life>>,
    /// Other lives with this node's own number, since when, and whether that was said.
    twins: BTreeMap<u64, (Instant, bool)>,
}

#[derive(Debug)]
struct Life {
    life: u64,
    standing: Standing,
    asked: Option<Instant>,
    /// The newest status that came before the hello.
    early: Option<Told>,
    /// How it differs and since when that is known, until it is said.
    refusal: Option<(Instant, Vec<Difference>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Appeared,
    Refused,
}

impl Members {
    /// Nobody is there yet.
    pub fn new(own: Hello) -> Self {
        Self {
            own,
            lives: BTreeMap::new(),
            twins: BTreeMap::new(),
        }
    }

    /// A life's token has come.
    ///
    /// # Errors
    ///
    /// A line, when there are more tokens than can be true.
    pub fn token(&mut self, node: u32, life: u64, now: Instant) -> Result<Vec<Act>, String> {
        if node == self.own.node {
            if life != self.own.life {
                if self.twins.len() >= MOST_LIVES {
                    return Err(format!("too many lives of node {node}"));
                }
                self.twins.entry(life).or_insert((now, false));
            }
            return Ok(Vec::new());
        }
        let odd = self.lives.range(self.own.nodes..).count();
        let known = self.lives.contains_key(&node);
        if node >= self.own.nodes && !known && odd >= MOST_ODD_NODES {
            return Err(format!(
                "too many nodes beyond the run's {}",
                self.own.nodes
            ));
        }
        let lives = self.lives.entry(node).or_default();
        if lives.len() >= MOST_LIVES {
            return Err(format!("too many lives of node {node}"));
        }
        if lives.iter().all(|known| known.life != life) {
            lives.push(Life {
                life,
                standing: Standing::Unknown,
                asked: None,
                early: None,
                refusal: None,
            });
        }
        Ok(self.tick(now))
    }

    /// A life's token is gone.
    pub fn gone(&mut self, node: u32, life: u64, now: Instant) -> Vec<Act> {
        if node == self.own.node {
            self.twins.remove(&life);
        }
        let mut acts = Vec::new();
        if let Some(lives) = self.lives.get_mut(&node) {
            let index = lives.iter().position(|known| known.life == life);
            let gone = index.map(|index| lives.remove(index));
            if let Some(gone) = gone {
                if gone.standing == Standing::Appeared {
                    acts.push(Act::Say(Incoming::Vanished { node, life }));
                }
                acts.extend(
                    gone.refusal
                        .map(|(_, differences)| refused(node, differences)),
                );
            }
            if lives.is_empty() {
                self.lives.remove(&node);
            }
        }
        acts.extend(self.tick(now));
        acts
    }

    /// A life has said what it is set to.
    pub fn hello(&mut self, hello: &Hello, now: Instant) -> Vec<Act> {
        let (node, life) = (hello.node, hello.life);
        let Some(known) = self.first(node, life) else {
            return Vec::new();
        };
        if known.standing != Standing::Unknown {
            return Vec::new();
        }
        let early = known.early.take();
        let differences = self.own.differences(hello);
        let agreed = differences.is_empty();
        if let Some(known) = self.first(node, life) {
            if !agreed {
                known.standing = Standing::Refused;
                known.refusal = Some((now, differences));
                return Vec::new();
            }
            known.standing = Standing::Appeared;
        }
        let mut acts = vec![Act::Say(Incoming::Appeared { node, life }), Act::Greet];
        acts.extend(early.map(|told| Act::Say(Incoming::Status(told.status))));
        acts
    }

    /// The status, if it comes from a node that has appeared. One that comes before its node's
    /// hello waits for it.
    pub fn told(&mut self, told: Told) -> Option<Told> {
        let (node, life) = (told.status.node, told.status.life);
        let known = self.first(node, life)?;
        match known.standing {
            Standing::Appeared => Some(told),
            Standing::Refused => None,
            Standing::Unknown => {
                let newer = |early: &Told| told.status.sequence > early.status.sequence;
                if known.early.as_ref().is_none_or(newer) {
                    known.early = Some(told);
                }
                None
            }
        }
    }

    /// Nobody is there any more, as far as is known. Tokens that are still there come anew.
    pub fn forget(&mut self) -> Vec<Act> {
        let present = self.present();
        *self = Self::new(self.own.clone());
        let vanished = |(node, life)| Act::Say(Incoming::Vanished { node, life });
        present.into_iter().map(vanished).collect()
    }

    /// What is due.
    pub fn tick(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        for (&node, lives) in &mut self.lives {
            let Some(first) = lives.first_mut() else {
                continue;
            };
            let due = first
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
            if first.standing == Standing::Unknown && due {
                first.asked = Some(now);
                let life = first.life;
                acts.push(Act::Ask { node, life });
            }
            let told = |(since, _): &mut (Instant, _)| {
                now.saturating_duration_since(*since) >= REFUSAL_PATIENCE
            };
            let refusal = first.refusal.take_if(told);
            acts.extend(refusal.map(|(_, differences)| refused(node, differences)));
        }
        let node = self.own.node;
        for (&life, (since, said)) in &mut self.twins {
            if !*said && now.saturating_duration_since(*since) >= TWIN_PATIENCE {
                *said = true;
                acts.push(Act::Say(Incoming::Twice { node, life }));
            }
        }
        acts
    }

    /// The nodes that have appeared, with their lives.
    pub fn present(&self) -> BTreeMap<u32, u64> {
        let first = |(node, lives): (&u32, &Vec<Life>)| Some((*node, lives.first()?.appeared()?));
        self.lives.iter().filter_map(first).collect()
    }

    fn first(&mut self, node: u32, life: u64) -> Option<&mut Life> {
        let first = self.lives.get_mut(&node)?.first_mut()?;
        (first.life == life).then_some(first)
    }
}

fn refused(node: u32, differences: Vec<Difference>) -> Act {
    Act::Say(Incoming::Refused { node, differences })
}

impl Life {
    fn appeared(&self) -> Option<u64> {
        (self.standing == Standing::Appeared).then_some(self.life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u32, life: u64) -> Hello {
        Hello {
            node,
            life,
            nodes: 3,
            description: BTreeMap::new(),
        }
    }

    /// What was done, in short.
    fn line(acts: &[Act]) -> String {
        let word = |act: &Act| match act {
            Act::Say(Incoming::Appeared { node, life }) => format!("{node}/{life} appeared"),
            Act::Say(Incoming::Vanished { node, life }) => format!("{node}/{life} vanished"),
            Act::Say(Incoming::Twice { life, .. }) => format!("twin {life}"),
            Act::Say(Incoming::Refused { node, .. }) => format!("{node} refused"),
            Act::Say(other) => format!("{other:?}"),
            Act::Ask { node, life } => format!("ask {node}/{life}"),
            Act::Greet => String::from("greet"),
        };
        acts.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_successor_waits_until_the_life_before_it_is_gone() {
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
        assert_eq!(
            line(&members.hello(&hello(1, 5), start)),
            "1/5 appeared, greet"
        );
        assert_eq!(line(&members.token(1, 6, start).unwrap()), "");
        assert_eq!(line(&members.hello(&hello(1, 6), start)), "");
        assert_eq!(members.present(), BTreeMap::from([(1, 5)]));
        assert_eq!(line(&members.gone(1, 5, start)), "1/5 vanished, ask 1/6");
        assert_eq!(
            line(&members.hello(&hello(1, 6), start)),
            "1/6 appeared, greet"
        );
    }

    #[test]
    fn who_does_not_answer_is_asked_again_while_it_is_there() {
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        assert_eq!(line(&members.token(2, 5, start).unwrap()), "ask 2/5");
        assert_eq!(line(&members.tick(start + ASK_AGAIN / 2)), "");
        assert_eq!(line(&members.tick(start + ASK_AGAIN)), "ask 2/5");
        assert_eq!(line(&members.gone(2, 5, start + ASK_AGAIN)), "");
        assert_eq!(line(&members.tick(start + 3 * ASK_AGAIN)), "");
    }

    /// Whoever refuses first would otherwise be gone before the other knows why.
    #[test]
    fn a_refusal_is_said_once_the_other_can_have_seen_it_too() {
        let other = Hello {
            nodes: 4,
            ..hello(1, 5)
        };
        let known = || {
            let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
            assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
            assert_eq!(line(&members.hello(&other, start)), "");
            assert_eq!(line(&members.tick(start + REFUSAL_PATIENCE / 2)), "");
            (members, start)
        };
        let (mut members, start) = known();
        assert_eq!(line(&members.tick(start + REFUSAL_PATIENCE)), "1 refused");
        assert_eq!(line(&members.gone(1, 5, start + REFUSAL_PATIENCE)), "");
        let (mut members, start) = known();
        assert_eq!(line(&members.gone(1, 5, start)), "1 refused");
        assert_eq!(line(&members.tick(start + REFUSAL_PATIENCE)), "");
    }

    /// Nobody can make a node remember tokens without end, and nobody keeps the run's own nodes out.
    #[test]
    fn tokens_beyond_reason_are_refused() {
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        for node in [0, 1] {
            for life in 100..100 + MOST_LIVES as u64 {
                assert!(members.token(node, life, start).is_ok());
            }
            let why = members.token(node, 200, start).unwrap_err();
            assert_eq!(why, format!("too many lives of node {node}"));
            members.gone(node, 100, start);
            assert!(
                members.token(node, 200, start).is_ok(),
                "there is room again"
            );
        }
        // The run has nodes 0 to 2.
        for odd in 3..3 + MOST_ODD_NODES as u32 {
            assert!(members.token(odd, 1, start).is_ok());
        }
        let why = members.token(1000, 1, start).unwrap_err();
        assert_eq!(why, "too many nodes beyond the run's 3");
        assert!(members.token(3, 2, start).is_ok(), "one that is known");
        assert!(members.token(2, 1, start).is_ok(), "one of the run");
        members.gone(4, 1, start);
        assert!(members.token(1000, 1, start).is_ok(), "there is room again");
    }

    #[test]
    fn a_token_that_comes_twice_is_one_life() {
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
        assert_eq!(line(&members.token(1, 5, start).unwrap()), "");
        assert_eq!(
            line(&members.hello(&hello(1, 5), start)),
            "1/5 appeared, greet"
        );
        assert_eq!(line(&members.hello(&hello(1, 5), start)), "");
        assert_eq!(
            line(&members.tick(start + ASK_AGAIN)),
            "",
            "it has answered"
        );
        assert_eq!(line(&members.gone(1, 6, start)), "", "that was never there");
        assert_eq!(line(&members.gone(1, 5, start)), "1/5 vanished");
        assert_eq!(line(&members.gone(1, 5, start)), "");
        assert_eq!(members.present(), BTreeMap::new());
    }

    /// A status that comes before its node's hello waits for it, the newest of several.
    #[test]
    fn an_early_status_is_heard_after_the_hello() {
        let told = |life, sequence| Told {
            telling: crate::cluster::Telling::Report,
            status: lsgd_core::Status {
                node: 1,
                life,
                sequence,
                phase: lsgd_core::Phase::Training,
                progress: 0,
                rounds: 0,
                steps: 0,
                trained: 0,
                workers: 1,
                offers: [None, None],
                delivered: None,
                result: None,
            },
        };
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        assert_eq!(members.told(told(5, 1)), None, "nobody is there");
        members.token(1, 5, start).unwrap();
        for sequence in [3, 7, 6] {
            assert_eq!(members.told(told(5, sequence)), None);
        }
        let acts = members.hello(&hello(1, 5), start);
        let heard = acts.into_iter().find_map(|act| match act {
            Act::Say(Incoming::Status(status)) => Some(status.sequence),
            _ => None,
        });
        assert_eq!(heard, Some(7));
        assert_eq!(members.told(told(5, 8)), Some(told(5, 8)));
        assert_eq!(members.told(told(4, 9)), None, "another life");

        // One that does not fit is not heard, neither early nor later.
        let (mut members, other) = (
            Members::new(hello(0, 1)),
            Hello {
                nodes: 4,
                ..hello(1, 5)
            },
        );
        members.token(1, 5, start).unwrap();
        assert_eq!(members.told(told(5, 1)), None);
        assert_eq!(line(&members.hello(&other, start)), "");
        assert_eq!(members.told(told(5, 2)), None);
        assert_eq!(line(&members.tick(start + REFUSAL_PATIENCE)), "1 refused");
    }

    /// After a cut all come anew.
    #[test]
    fn whoever_is_forgotten_has_vanished() {
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        for node in [1, 2] {
            members.token(node, 5, start).unwrap();
        }
        members.hello(&hello(1, 5), start);
        assert_eq!(
            line(&members.forget()),
            "1/5 vanished",
            "2 has not appeared"
        );
        assert_eq!(members.present(), BTreeMap::new());
        assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
    }

    #[test]
    fn what_a_dead_process_left_is_no_twin() {
        let (mut members, start) = (Members::new(hello(0, 9)), Instant::now());
        for life in [7, 8, 9] {
            assert_eq!(line(&members.token(0, life, start).unwrap()), "");
        }
        // Another node's life of the same number is no twin's end.
        assert_eq!(line(&members.gone(1, 8, start)), "");
        assert_eq!(line(&members.gone(0, 7, start + TWIN_PATIENCE / 2)), "");
        assert_eq!(line(&members.tick(start + TWIN_PATIENCE)), "twin 8");
        assert_eq!(line(&members.tick(start + 2 * TWIN_PATIENCE)), "");
    }
}
