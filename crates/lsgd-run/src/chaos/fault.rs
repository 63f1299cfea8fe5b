//! Faults: what is done to whom, and when.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A node is killed (SIGKILL), and started again.
    Kill,
    /// All nodes are killed at the same moment.
    KillAll,
    /// A node is frozen (SIGSTOP) for a while.
    Stop,
    /// A worker panics.
    Panic,
    /// All gradients of a worker are NaN in one step.
    NanGradient,
    /// Nothing passes between two nodes, either way.
    Cut,
    /// Nothing passes from one node to another; the other way is open.
    CutOneWay,
    /// All that passes between two nodes comes later.
    Delay,
    /// Packets between two nodes are lost: each time, the stream stalls until it is sent again.
    Loss,
    /// A node has no room on its disk.
    DiskFull,
    /// Every write of a node takes longer.
    DiskSlow,
    /// The clock of a node jumps, and it is killed: its next process may begin before its last.
    ClockJump,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillAll,
        Self::Stop,
        Self::Panic,
        Self::NanGradient,
        Self::Cut,
        Self::CutOneWay,
        Self::Delay,
        Self::Loss,
        Self::DiskFull,
        Self::DiskSlow,
        Self::ClockJump,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill_all",
            Self::Stop => "stop",
            Self::Panic => "panic",
            Self::NanGradient => "nan_gradient",
            Self::Cut => "cut",
            Self::CutOneWay => "cut_one_way",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::DiskFull => "disk_full",
            Self::DiskSlow => "disk_slow",
            Self::ClockJump => "clock_jump",
        }
    }

    /// Whether it is between two nodes.
    pub fn is_of_a_link(self) -> bool {
        matches!(self, Self::Cut | Self::CutOneWay | Self::Delay | Self::Loss)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is done, to whom. Nodes count from 1, workers of a node from 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Act {
    /// See [`Kind::Kill`].
    Kill {
        /// The node.
        node: u32,
    },
    /// See [`Kind::KillAll`].
    KillAll,
    /// See [`Kind::Stop`].
    Stop {
        /// The node.
        node: u32,
        /// How long, in seconds.
        seconds: f64,
    },
    /// See [`Kind::Panic`].
    Panic {
        /// The node.
        node: u32,
        /// Its worker.
        worker: u32,
    },
    /// See [`Kind::NanGradient`].
    NanGradient {
        /// The node.
        node: u32,
        /// Its worker.
        worker: u32,
    },
    /// See [`Kind::Cut`].
    Cut {
        /// One node.
        node: u32,
        /// The other.
        peer: u32,
        /// How long, in seconds.
        seconds: f64,
    },
    /// See [`Kind::CutOneWay`].
    CutOneWay {
        /// From this node nothing arrives
        node: u32,
        /// at this one.
        peer: u32,
        /// How long, in seconds.
        seconds: f64,
    },
    /// See [`Kind::Delay`].
    Delay {
        /// One node.
        node: u32,
        /// The other.
        peer: u32,
        /// How long, in seconds.
        seconds: f64,
        /// How much later everything comes, each way, in milliseconds.
        millis: u64,
    },
    /// See [`Kind::Loss`].
    Loss {
        /// One node.
        node: u32,
        /// The other.
        peer: u32,
        /// How long, in seconds.
        seconds: f64,
        /// How many of a hundred packets are lost.
        percent: f64,
    },
    /// See [`Kind::DiskFull`].
    DiskFull {
        /// The node.
        node: u32,
        /// How long, in seconds.
        seconds: f64,
    },
    /// See [`Kind::DiskSlow`].
    DiskSlow {
        /// The node.
        node: u32,
        /// How long, in seconds.
        seconds: f64,
        /// How much longer each write takes, in milliseconds.
        millis: u64,
    },
    /// See [`Kind::ClockJump`].
    ClockJump {
        /// The node.
        node: u32,
        /// How far forward, in seconds; backward if negative.
        jump: f64,
    },
}

impl Act {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Kill { .. } => Kind::Kill,
            Self::KillAll => Kind::KillAll,
            Self::Stop { .. } => Kind::Stop,
            Self::Panic { .. } => Kind::Panic,
            Self::NanGradient { .. } => Kind::NanGradient,
            Self::Cut { .. } => Kind::Cut,
            Self::CutOneWay { .. } => Kind::CutOneWay,
            Self::Delay { .. } => Kind::Delay,
            Self::Loss { .. } => Kind::Loss,
            Self::DiskFull { .. } => Kind::DiskFull,
            Self::DiskSlow { .. } => Kind::DiskSlow,
            Self::ClockJump { .. } => Kind::ClockJump,
        }
    }

    /// The node that it is done to, or the first of two; `None` if to all.
    pub fn node(&self) -> Option<u32> {
        match *self {
            Self::KillAll => None,
            Self::Kill { node }
            | Self::Stop { node, .. }
            | Self::Panic { node, .. }
            | Self::NanGradient { node, .. }
            | Self::Cut { node, .. }
            | Self::CutOneWay { node, .. }
            | Self::Delay { node, .. }
            | Self::Loss { node, .. }
            | Self::DiskFull { node, .. }
            | Self::DiskSlow { node, .. }
            | Self::ClockJump { node, .. } => Some(node),
        }
    }

    /// The other of two nodes.
    pub fn peer(&self) -> Option<u32> {
        match *self {
            Self::Cut { peer, .. }
            | Self::CutOneWay { peer, .. }
            | Self::Delay { peer, .. }
            | Self::Loss { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// How long it lasts, in seconds; `None` if it is over at once.
    pub fn seconds(&self) -> Option<f64> {
        match *self {
            Self::Stop { seconds, .. }
            | Self::Cut { seconds, .. }
            | Self::CutOneWay { seconds, .. }
            | Self::Delay { seconds, .. }
            | Self::Loss { seconds, .. }
            | Self::DiskFull { seconds, .. }
            | Self::DiskSlow { seconds, .. } => Some(seconds),
            _ => None,
        }
    }
}

/// A fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When, in seconds since the first exchange of the run.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}
