//! Leader mean: every worker moves to a point between the mean and the leader. A trial of this
//! project, with no paper of its own.
//!
//! ```text
//! x <- m + c (z - m)      every tau steps; m the mean, z the leader
//! ```
//!
//! With c = 0 it is local SGD; with c = 1 all copy the leader.

use super::{Meeting, MeetingConfig, Method, MethodError, Move, Rule, check_strength};
use crate::{Delivered, Snapshot, Vector};

#[derive(Debug, Clone, Copy)]
struct ToPointBetween {
    leader_weight: f64,
}

impl Rule for ToPointBetween {
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(*self)
    }

    fn meet(&mut self, _at: Meeting, delivered: &Delivered) -> Option<Move> {
        let (mean, leader) = (delivered.mean.as_ref()?, delivered.leader.as_ref()?);
        Some(Move {
            target: Snapshot::between(mean, leader, self.leader_weight),
            strength: 1.0,
        })
    }
}

impl Method {
    /// Every worker moves to `m + c (z - m)`, with mean m, leader z and c = `leader_weight` in
    /// [0, 1].
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a weight outside [0, 1], a period or window of nought, or a global period
    /// that is not a multiple of the local one.
    pub fn leader_mean(meetings: MeetingConfig, leader_weight: f64) -> Result<Self, MethodError> {
        meetings.check()?;
        check_strength("leader_weight", leader_weight)?;
        let carries = &[Vector::Snapshot, Vector::Mean];
        let rule = ToPointBetween { leader_weight };
        Ok(Self::of_meetings("leader_mean", carries, meetings, rule))
    }
}
