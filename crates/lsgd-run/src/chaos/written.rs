//! A fault as it stands in a file.

use serde::Deserialize;

use super::error::PlanProblem;
use super::fault::{Act, Fault, Kind};
use crate::injection::{MAX_SECONDS, MAX_SLOW_MILLIS};

/// When the latest fault is due, in seconds: after a day.
const MAX_AT: f64 = 86_400.0;

/// Furthest that a clock jumps at once, in seconds: a day.
const MAX_JUMP: f64 = 86_400.0;

/// A fault as it stands in a file: which keys there are depends on the kind.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    at: f64,
    kind: Kind,
    node: Option<u32>,
    peer: Option<u32>,
    worker: Option<u32>,
    seconds: Option<f64>,
    millis: Option<u64>,
    percent: Option<f64>,
    jump: Option<f64>,
}

impl Written {
    /// The fault, number `number` of a file for `nodes` nodes of `workers` workers.
    ///
    /// # Errors
    ///
    /// [`PlanProblem`] for a key that is missing, unused, or out of its range.
    pub fn check(self, number: usize, nodes: u32, workers: u32) -> Result<Fault, PlanProblem> {
        let Self { at, kind, .. } = self;
        let lacks = |key| PlanProblem::Missing {
            number,
            kind: kind.to_string(),
            key,
        };
        let range = |key: &str, value: String, range| PlanProblem::Range {
            key: format!("fault {number}, {kind}: {key}"),
            value,
            range,
        };
        let of_nodes = |key: &'static str, node: Option<u32>| {
            let node = node.ok_or_else(|| lacks(key))?;
            match (1..=nodes).contains(&node) {
                true => Ok(node),
                false => Err(range(key, node.to_string(), "the number of a node, from 1")),
            }
        };
        let node = || of_nodes("node", self.node);
        let peer = || match of_nodes("peer", self.peer)? {
            peer if Some(peer) == self.node => {
                Err(range("peer", peer.to_string(), "another node than `node`"))
            }
            peer => Ok(peer),
        };
        let worker = || match self.worker.ok_or_else(|| lacks("worker"))? {
            worker if worker < workers => Ok(worker),
            worker => Err(range(
                "worker",
                worker.to_string(),
                "a worker of a node, from 0",
            )),
        };
        let seconds = || match self.seconds.ok_or_else(|| lacks("seconds"))? {
            seconds if seconds > 0.0 && seconds <= MAX_SECONDS as f64 => Ok(seconds),
            seconds => Err(range("seconds", seconds.to_string(), "over 0, at most 600")),
        };
        let millis = || match self.millis.ok_or_else(|| lacks("millis"))? {
            millis if (1..=MAX_SLOW_MILLIS).contains(&millis) => Ok(millis),
            millis => Err(range("millis", millis.to_string(), "from 1 to 10000")),
        };
        let percent = || match self.percent.ok_or_else(|| lacks("percent"))? {
            percent if percent > 0.0 && percent < 100.0 => Ok(percent),
            percent => Err(range(
                "percent",
                percent.to_string(),
                "over 0 and under 100",
            )),
        };
        let jump = || match self.jump.ok_or_else(|| lacks("jump"))? {
            jump if jump != 0.0 && jump.abs() <= MAX_JUMP => Ok(jump),
            jump => Err(range(
                "jump",
                jump.to_string(),
                "from -86400 to 86400, and not 0",
            )),
        };
        if !(0.0..=MAX_AT).contains(&at) {
            return Err(range("at", at.to_string(), "seconds, from 0 to 86400"));
        }
        self.check_unused(number)?;
        let act = match kind {
            Kind::Kill => Act::Kill { node: node()? },
            Kind::KillAll => Act::KillAll,
            Kind::Stop => Act::Stop {
                node: node()?,
                seconds: seconds()?,
            },
            Kind::Panic => Act::Panic {
                node: node()?,
                worker: worker()?,
            },
            Kind::NanGradient => Act::NanGradient {
                node: node()?,
                worker: worker()?,
            },
            Kind::Cut => Act::Cut {
                node: node()?,
                peer: peer()?,
                seconds: seconds()?,
            },
            Kind::CutOneWay => Act::CutOneWay {
                node: node()?,
                peer: peer()?,
                seconds: seconds()?,
            },
            Kind::Delay => Act::Delay {
                node: node()?,
                peer: peer()?,
                seconds: seconds()?,
                millis: millis()?,
            },
            Kind::Loss => Act::Loss {
                node: node()?,
                peer: peer()?,
                seconds: seconds()?,
                percent: percent()?,
            },
            Kind::DiskFull => Act::DiskFull {
                node: node()?,
                seconds: seconds()?,
            },
            Kind::DiskSlow => Act::DiskSlow {
                node: node()?,
                seconds: seconds()?,
                millis: millis()?,
            },
            Kind::ClockJump => Act::ClockJump {
                node: node()?,
                jump: jump()?,
            },
        };
        Ok(Fault { at, act })
    }

    fn check_unused(&self, number: usize) -> Result<(), PlanProblem> {
        let kind = self.kind;
        let link = kind.is_of_a_link();
        let lasts = link || matches!(kind, Kind::Stop | Kind::DiskFull | Kind::DiskSlow);
        let of_worker = matches!(kind, Kind::Panic | Kind::NanGradient);
        let keys = [
            ("node", self.node.is_some(), kind != Kind::KillAll),
            ("peer", self.peer.is_some(), link),
            ("worker", self.worker.is_some(), of_worker),
            ("seconds", self.seconds.is_some(), lasts),
            (
                "millis",
                self.millis.is_some(),
                matches!(kind, Kind::Delay | Kind::DiskSlow),
            ),
            ("percent", self.percent.is_some(), kind == Kind::Loss),
            ("jump", self.jump.is_some(), kind == Kind::ClockJump),
        ];
        match keys.into_iter().find(|(_, given, used)| *given && !used) {
            Some((key, ..)) => Err(PlanProblem::Unused {
                number,
                kind: kind.to_string(),
                key,
            }),
            None => Ok(()),
        }
    }
}
